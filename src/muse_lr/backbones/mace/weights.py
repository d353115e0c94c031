"""Weights of a saved MACE, for one head, the chosen elements and the product basis used here."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from muse_lr.backbones.mace.config import MaceConfig
from muse_lr.errors import InputError


def read_state(
    model: Any, config: MaceConfig, n_heads: int, head: int, selection: list[int]
) -> dict[str, Tensor]:
    """Weights of one head and of the selected elements, by the names of the backbone.

    Parameters
    ----------
    model : Module
        Model of mace-torch in float64.
    config : MaceConfig
        Hyperparameters of the model.
    n_heads, head : int
        Number of heads, and the one to keep.
    selection : list of int
        Positions of the elements to keep.
    """
    n_elements = len(model.atomic_numbers)
    parts = ("node_embedding.", "interactions.", "products.", "readouts.")
    state = {k: v.detach().clone() for k, v in model.named_parameters() if k.startswith(parts)}
    # The skip connections of the nonlinear blocks do not depend on the element.
    skips = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if name.endswith("skip_tp") and type(module).__name__ == "FullyConnectedTensorProduct"
    }
    for name, weight in state.items():
        if n_heads > 1 and name.startswith("readouts."):
            state[name] = _select_head(name, weight, n_heads, head, config.readout_channels)
        elif name == "node_embedding.linear.weight" or name.endswith(
            ("source_embedding.weight", "target_embedding.weight")
        ):
            by_element = weight.reshape(n_elements, -1)
            state[name] = _share(selection, n_elements) * by_element[selection].flatten()
        elif name in skips:
            by_path = weight.reshape(-1, config.channels, n_elements, config.channels)
            state[name] = _share(selection, n_elements) * by_path[:, :, selection].flatten()
        elif ".symmetric_contractions." in name and not config.agnostic_product:
            state[name] = weight[selection].clone()
    for name in ("bessel_weights", "gaussian_weights"):
        weights = getattr(model.radial_embedding.bessel_fn, name, None)
        if weights is not None:
            state[f"radial_embedding.bessel_fn.{name}"] = weights.detach().clone()
    scale_shift = getattr(model, "scale_shift", None)
    for name, neutral in (("scale", 1.0), ("shift", 0.0)):
        values = torch.atleast_1d(getattr(scale_shift, name, torch.tensor(neutral)))
        state[name] = values[min(head, len(values) - 1)].detach().to(torch.float64)
    return state


def _share(selection: list[int], n_elements: int) -> float:
    """Correction of the weights, since e3nn divides by the root of the number of elements."""
    return float((len(selection) / n_elements) ** 0.5)


def _select_head(name: str, weight: Tensor, n_heads: int, head: int, hidden: int) -> Tensor:
    """Select one head of a readout. Hidden channels are grouped by head, output channels are heads.

    e3nn divides by the square root of the number of incoming channels. This number includes the
    masked channels of the other heads, so that the weights of a single head are rescaled.
    """
    share = n_heads**-0.5
    match name.split(".", 2)[2]:
        case "linear.weight":  # (channels, heads)
            part = weight.reshape(-1, n_heads)[:, head]
        case "linear_1.weight":  # (channels, heads, hidden)
            part = weight.reshape(-1, n_heads, hidden)[:, head]
        case "linear_mid.weight":  # (heads, hidden, heads, hidden)
            part = weight.reshape(n_heads, hidden, n_heads, hidden)[head, :, head] * share
        case "linear_mid.bias":  # (heads, hidden)
            part = weight.reshape(n_heads, hidden)[head]
        case "linear_2.weight":  # (heads, hidden, heads)
            part = weight.reshape(n_heads, hidden, n_heads)[head, :, head] * share
        case "linear_2.bias":  # (heads,)
            part = weight[head : head + 1]
        case _:
            part = weight
    return part.flatten().clone()


def express_in_basis(
    weights: Tensor, theirs: Tensor, ours: Tensor, order: int, where: str
) -> Tensor:
    """Transform weights of a product basis to another basis of the same polynomials.

    A product of ``order`` features depends only on the symmetric part of a U matrix. The solution X
    of sym(ours) X = sym(theirs) therefore gives the weights X w.

    Parameters
    ----------
    weights : Tensor
        (n_elements, k, channels).
    theirs, ours : Tensor
        ([2l + 1,] d, ..., d, k) U matrices of the file and of the backbone, with ``order`` axes of
        length d.
    order : int
        Number of features in the product.
    where : str
        Start of the error message.

    Raises
    ------
    InputError
        If the bases do not span the same polynomials.
    """
    theirs = theirs.to(ours)
    if theirs.shape == ours.shape and torch.allclose(theirs, ours, atol=1e-5):
        return weights
    if theirs.shape[:-1] != ours.shape[:-1]:
        raise InputError(f"{where}: is not a MACE product basis")
    source, target = _symmetric_part(theirs, order), _symmetric_part(ours, order)
    # The matrix is rank-deficient, since some columns have no symmetric part.
    transform = torch.linalg.pinv(target, rtol=1e-8) @ source  # (k ours, k theirs)
    if not torch.allclose(target @ transform, source, atol=1e-5):
        raise InputError(
            f"{where}: spans other polynomials than the usual product basis of mace-torch"
        )
    return torch.einsum("jk,ekc->ejc", transform, weights)


def _symmetric_part(basis: Tensor, order: int) -> Tensor:
    """Mean over permutations of the feature axes, as a matrix (everything else, k)."""
    leading = basis.ndim - order - 1
    first = list(range(leading))
    total = torch.zeros_like(basis)
    orders = list(permutations(range(leading, leading + order)))
    for permuted in orders:
        total = total + basis.permute(*first, *permuted, basis.ndim - 1)
    return (total / len(orders)).reshape(-1, basis.shape[-1])

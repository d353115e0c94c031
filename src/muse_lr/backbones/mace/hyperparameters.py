"""Hyperparameters of a saved MACE, read from its blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from muse_lr.backbones.mace.blocks import GATES
from muse_lr.backbones.mace.config import MaceConfig
from muse_lr.backbones.mace.imports import import_mace
from muse_lr.backbones.pickles import unsupported
from muse_lr.errors import InputError


def read_hyperparameters(model: Any, path: Path, n_heads: int) -> MaceConfig:
    """Read the configuration of a model of mace-torch.

    Values are read from the blocks where possible, since files of older versions lack attributes.

    Raises
    ------
    InputError
        If the architecture is not supported.
    """
    import_mace()
    from e3nn import o3

    interactions = list(model.interactions)
    outputs = [o3.Irreps(str(product.linear.irreps_out)) for product in model.products]
    harmonics = o3.Irreps(str(interactions[0].edge_attrs_irreps))
    channels, full = _feature_channels(outputs, harmonics, path)
    neighbors = {float(block.avg_num_neighbors) for block in interactions}
    correlations = {
        len(contraction.weights) + 1
        for product in model.products
        for contraction in product.symmetric_contractions.contractions
    }
    if len(neighbors) > 1 or len(correlations) > 1:
        raise InputError(
            f"{path}: has layers with different correlation or avg_num_neighbors, which is not "
            "supported"
        )
    edge_irreps = [_edge_irreps(block) for block in interactions]
    values = {
        "cutoff": float(model.r_max),
        "channels": channels,
        "layers": len(interactions),
        "l_max": full.lmax,
        "max_ell": harmonics.lmax,
        "correlation": correlations.pop(),
        **_radial_values(model.radial_embedding, path),
        "radial_mlp": tuple(int(width) for width in interactions[0].conv_tp_weights.hs[1:-1]),
        "interaction_first": type(interactions[0]).__name__,
        "interaction": type(interactions[-1]).__name__,
        "edge_irreps_first": edge_irreps[0],
        "edge_irreps": edge_irreps[-1] if len(interactions) > 1 else None,
        "avg_num_neighbors": neighbors.pop(),
        "agnostic_product": bool(getattr(model.products[0], "use_agnostic_product", False)),
        "last_layer_tensors": outputs[-1] == full,
        "last_readout_only": len(model.readouts) < len(interactions),
        "pair_repulsion": hasattr(model, "pair_repulsion_fn"),
    }
    if len(interactions) > 1:
        last = model.readouts[-1]
        values["readout"] = type(last).__name__
        values["readout_channels"] = last.hidden_irreps.count(o3.Irrep(0, 1)) // n_heads
        values["gate"] = _gate(last, path)
    try:
        return MaceConfig(**values)
    except ValidationError as error:
        raise unsupported(error, path) from error


def _feature_channels(outputs: list[Any], harmonics: Any, path: Path) -> tuple[int, Any]:
    """Number of channels and the irreps of the features, which must have the usual form."""
    from e3nn import o3

    channels = outputs[0].count(o3.Irrep(0, 1))
    l_max = max(irreps.lmax for irreps in outputs)
    full = o3.Irreps([(channels, (order, (-1) ** order)) for order in range(l_max + 1)])
    scalar = o3.Irreps([(channels, (0, 1))])
    usual = all(irreps == full for irreps in outputs[:-1]) and outputs[-1] in (full, scalar)
    if not usual or harmonics != o3.Irreps.spherical_harmonics(harmonics.lmax):
        raise InputError(
            f"{path}: has features {outputs}; only equal numbers of channels of 0e, 1o, 2e and 3o "
            "are supported"
        )
    return channels, full


def _radial_values(radial: Any, path: Path) -> dict[str, Any]:
    """Hyperparameters of the radial embedding."""
    bases = {"BesselBasis": "bessel", "GaussianBasis": "gaussian"}
    transforms = {"NoneType": None, "AgnesiTransform": "agnesi", "SoftTransform": "soft"}
    return {
        "num_polynomial_cutoff": int(radial.cutoff_fn.p),
        "num_radial": int(radial.out_dim),
        "radial_type": _choice(radial.bessel_fn, bases, path),
        "distance_transform": _choice(
            getattr(radial, "distance_transform", None), transforms, path
        ),
        "apply_cutoff": bool(getattr(radial, "apply_cutoff", True)),
    }


def _choice(module: object, names: dict[str, Any], path: Path) -> Any:
    name = type(module).__name__
    if name not in names:
        raise InputError(f"{path}: {name} is not supported")
    return names[name]


def _edge_irreps(interaction: Any) -> str | None:
    irreps = getattr(interaction, "edge_irreps", None)
    return None if irreps is None or irreps == interaction.node_feats_irreps else str(irreps)


def _gate(readout: Any, path: Path) -> str:
    activation = readout.non_linearity.acts[0] if len(readout.non_linearity.acts) else None
    function = None if activation is None else activation.f
    for name, known in GATES.items():
        if function is known:
            return name
    raise InputError(f"{path}: the activation {function} of the readout is not supported")

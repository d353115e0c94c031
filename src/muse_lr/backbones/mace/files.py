"""Convert a model saved by mace-torch to a configuration and tensors.

mace-torch saves pickles: loading one runs its code, so that only trusted files are opened, and
nothing of the pickle survives the conversion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from pydantic import ValidationError
from torch import Tensor, nn

from muse_lr.backbones.mace.blocks import GATES, MaceConfig
from muse_lr.backbones.mace.imports import import_mace
from muse_lr.backbones.mace.reference import reference_energies, reference_graph
from muse_lr.backbones.mace.weights import express_in_basis, read_state
from muse_lr.backbones.pickles import (
    refuse_contradictions,
    require_trust,
    unpickle,
    unsupported,
)
from muse_lr.errors import InputError, nearest
from muse_lr.structures.graph import Graph

#: Keys of the configuration that the user gives also with a file.
OWN_KEYS = frozenset({"file", "trust", "head", "embed", "kind"})
REFUSED = {
    "PolarMACE": "take its short-range part from a MACE file and add charges and a coulomb head",
    "MACELES": "take a MACE file and add latent charges and a coulomb head",
    "AtomicDipolesMACE": "it predicts dipoles, not energies",
    "AtomicDielectricMACE": "it predicts dipoles and polarizabilities, not energies",
    "EnergyDipolesMACE": "give a MACE that predicts energies only",
    "LAMMPS_MACE": "give the .model file that the LAMMPS file was made from",
}


@dataclass(frozen=True)
class MaceFile:
    """A converted file, for one head and for chosen elements.

    Attributes
    ----------
    path : Path
    config : MaceConfig
        Hyperparameters, without the file.
    elements : tuple of str
        The elements that were asked for, in that order.
    atomic_energies : dict of str to float
        E0s of the head in eV.
    state : dict of str to Tensor
        Weights in float64, by the names of :class:`~muse_lr.backbones.mace.backbone.MaceBackbone`.
    product_bases : dict of str to Tensor
        U matrices of the file, in which the weights of its product bases are expressed.
    heads : tuple of str
        All heads of the file.
    head : str
        The one converted.
    reference_graph, reference_energies : Graph, Tensor
        A small cluster and mace-torch's interaction energies of its atoms, in eV.
    """

    path: Path
    config: MaceConfig
    elements: tuple[str, ...]
    atomic_energies: dict[str, float]
    state: dict[str, Tensor]
    product_bases: dict[str, Tensor]
    heads: tuple[str, ...]
    head: str
    reference_graph: Graph
    reference_energies: Tensor

    def state_for(self, constants: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights for a backbone whose U matrices are among ``constants``.

        Files of other versions, or made with cuequivariance, span the same polynomials by
        other U matrices.
        """
        state = dict(self.state)
        for name, theirs in self.product_bases.items():
            contraction, order = name.split(".U_matrix_")
            lower = self.config.correlation - 1 - int(order)
            key = f"{contraction}.weights_max" if lower < 0 else f"{contraction}.weights.{lower}"
            ours = constants.get(name)
            if ours is None or key not in state:
                raise InputError(f"{self.path}: {name} is not a MACE product basis")
            state[key] = express_in_basis(
                state[key], theirs, ours, int(order), f"{self.path}: {name}"
            )
        return state


def read_mace_file(
    path: str | Path,
    trust: bool,
    head: str | None = None,
    elements: Sequence[str] | None = None,
) -> MaceFile:
    """Load and convert a model saved by mace-torch (``torch.save`` of a MACE or ScaleShiftMACE).

    Parameters
    ----------
    path : str or Path
    trust : bool
        Must be true, for loading runs the code in the file.
    head : str, optional
        Head of a multi-head model; default: the first.
    elements : sequence of str, optional
        Elements to keep; default: all of the file's.

    Raises
    ------
    InputError
        If the file is not trusted, not readable, or not a supported kind of model, or lacks the
        head or an element.
    """
    path = Path(path)
    model = _load_pickle(path, trust)
    _check_supported(model, path)
    heads = tuple(getattr(model, "heads", None) or ["Default"])
    if head is not None and head not in heads:
        raise InputError(
            f"{path}: has no head {head!r}{nearest(head, heads)}; it has {', '.join(heads)}"
        )
    head_index = 0 if head is None else heads.index(head)
    known = [chemical_symbols[int(z)] for z in model.atomic_numbers]
    chosen = tuple(known if elements is None else elements)
    missing = [element for element in chosen if element not in known]
    if missing:
        raise InputError(f"{path}: does not know {', '.join(missing)}; it knows {', '.join(known)}")
    selection = [known.index(element) for element in chosen]

    # In single precision the file's numbers are exact in double too.
    model = model.double()
    config = _read_config(model, path, len(heads))
    energies = torch.atleast_2d(model.atomic_energies_fn.atomic_energies)
    energies = energies[min(head_index, len(energies) - 1)]
    graph = reference_graph(len(chosen), config.cutoff)
    return MaceFile(
        path=path,
        config=config,
        elements=chosen,
        atomic_energies={known[i]: float(energies[i]) for i in selection},
        state=read_state(model, config, len(heads), head_index, selection),
        product_bases={k: v for k, v in model.named_buffers() if ".U_matrix_" in k},
        heads=heads,
        head=heads[head_index],
        reference_graph=graph,
        reference_energies=reference_energies(model, graph, head_index, selection, path),
    )


def mace_file_elements(path: str | Path, trust: bool) -> tuple[str, ...]:
    """Elements that a saved model knows; raises as :func:`read_mace_file`."""
    model = _load_pickle(Path(path), trust)
    _check_supported(model, Path(path))
    return tuple(chemical_symbols[int(z)] for z in model.atomic_numbers)


def effective_config(given: MaceConfig, read: MaceConfig, path: str) -> MaceConfig:
    """The file's hyperparameters with the user's own keys, the file itself left out.

    Raises
    ------
    InputError
        If a hyperparameter was given that contradicts the file.
    """
    refuse_contradictions(given, read, OWN_KEYS, path)
    return read.model_copy(update={"embed": given.embed})


def _load_pickle(path: Path, trust: bool) -> Any:
    require_trust(path, trust, "mace-torch")
    import_mace()
    advice = "; save it as a plain e3nn model with the installed mace-torch"
    model = unpickle(path, "mace-torch", advice)
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(f"{path}: is compiled (TorchScript); give the uncompiled .model file")
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{path}: holds a {type(model).__name__}, not a model; give the .model file that "
            "mace-torch writes at the end of training, not a checkpoint"
        )
    return model


def _check_supported(model: Any, path: Path) -> None:
    """Refuse what would be computed wrongly, in words."""
    kind = type(model).__name__
    if kind not in ("MACE", "ScaleShiftMACE"):
        hint = REFUSED.get(kind, "give a MACE or ScaleShiftMACE")
        raise InputError(f"{path}: is a {kind}, which is not supported: {hint}")
    if hasattr(model, "joint_embedding"):
        names = ", ".join(getattr(model, "embedding_specs", {}))
        raise InputError(f"{path}: has mace's own embedding of {names}, which is not supported")
    contraction = type(model.products[0].symmetric_contractions).__module__
    if not contraction.startswith("mace."):
        raise InputError(
            f"{path}: is in the format of an accelerator ({contraction.split('.')[0]}); convert it "
            "with mace_cueq_to_e3nn first"
        )


def _read_config(model: Any, path: Path, n_heads: int) -> MaceConfig:
    """Hyperparameters, as far as possible from what the blocks are, for files of all versions."""
    import_mace()
    from e3nn import o3

    interactions = list(model.interactions)
    outputs = [o3.Irreps(str(product.linear.irreps_out)) for product in model.products]
    harmonics = o3.Irreps(str(interactions[0].edge_attrs_irreps))
    channels = outputs[0].count(o3.Irrep(0, 1))
    l_max = max(irreps.lmax for irreps in outputs)
    full = o3.Irreps([(channels, (order, (-1) ** order)) for order in range(l_max + 1)])
    scalar = o3.Irreps([(channels, (0, 1))])
    usual = all(irreps == full for irreps in outputs[:-1]) and outputs[-1] in (full, scalar)
    if not usual or harmonics != o3.Irreps.spherical_harmonics(harmonics.lmax):
        raise InputError(
            f"{path}: has features {outputs}; supported are equal channels of 0e, 1o, 2e, 3o"
        )
    neighbors = {float(block.avg_num_neighbors) for block in interactions}
    correlations = {
        len(contraction.weights) + 1
        for product in model.products
        for contraction in product.symmetric_contractions.contractions
    }
    if len(neighbors) > 1 or len(correlations) > 1:
        raise InputError(f"{path}: has layers with different correlation or neighbor numbers")
    radial = model.radial_embedding
    last = model.readouts[-1]
    edge_irreps = [_edge_irreps(block) for block in interactions]
    values = {
        "cutoff": float(model.r_max),
        "channels": channels,
        "layers": len(interactions),
        "l_max": l_max,
        "max_ell": harmonics.lmax,
        "correlation": correlations.pop(),
        "num_polynomial_cutoff": int(radial.cutoff_fn.p),
        "num_radial": int(radial.out_dim),
        "radial_type": _choice(
            radial.bessel_fn, {"BesselBasis": "bessel", "GaussianBasis": "gaussian"}, path
        ),
        "distance_transform": _choice(
            getattr(radial, "distance_transform", None),
            {"NoneType": None, "AgnesiTransform": "agnesi", "SoftTransform": "soft"},
            path,
        ),
        "radial_mlp": tuple(int(width) for width in interactions[0].conv_tp_weights.hs[1:-1]),
        "apply_cutoff": bool(getattr(radial, "apply_cutoff", True)),
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
        values["readout"] = type(last).__name__
        values["readout_channels"] = last.hidden_irreps.count(o3.Irrep(0, 1)) // n_heads
        values["gate"] = _gate(last, path)
    try:
        return MaceConfig(**values)
    except ValidationError as error:
        raise unsupported(error, path) from error


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

"""Conversion of a model saved by mace-torch to a configuration and tensors.

mace-torch saves pickles. Loading a pickle runs its code, so that only trusted files are opened. The
result of the conversion contains no objects of the pickle other than tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from muse_lr.backbones.mace.config import MaceConfig
from muse_lr.backbones.mace.hyperparameters import read_hyperparameters
from muse_lr.backbones.mace.imports import import_mace
from muse_lr.backbones.mace.reference import reference_energies, reference_graph
from muse_lr.backbones.mace.weights import express_in_basis, read_state
from muse_lr.backbones.pickles import (
    refuse_contradictions,
    require_trust,
    unpickle,
)
from muse_lr.errors import InputError, nearest
from muse_lr.structures.graph import Graph

#: Keys of the configuration that are allowed with a file.
OWN_KEYS = frozenset({"file", "trust", "head", "embed", "frozen", "kind"})
#: Kinds of models that are not supported, with the advice of the error message.
REFUSED = {
    "PolarMACE": "take its short-range part from a MACE file and add charges and a coulomb head",
    "MACELES": "use a MACE file and add latent charges and a coulomb head",
    "AtomicDipolesMACE": "it predicts dipoles, not energies",
    "AtomicDielectricMACE": "it predicts dipoles and polarizabilities, not energies",
    "EnergyDipolesMACE": "use a MACE that predicts energies only",
    "LAMMPS_MACE": "use the .model file from which the LAMMPS file was made",
}


@dataclass(frozen=True)
class MaceFile:
    """A converted file, restricted to one head and to the elements of the model.

    Attributes
    ----------
    path : Path
    config : MaceConfig
        Hyperparameters, without the file.
    elements : tuple of str
        The elements of the model, in its order.
    atomic_energies : dict of str to float
        Atomic energies E0 of the head in eV.
    state : dict of str to Tensor
        Weights in float64, by the names of :class:`~muse_lr.backbones.mace.backbone.MaceBackbone`.
    product_bases : dict of str to Tensor
        U matrices of the file, to which the weights of its product bases refer.
    heads : tuple of str
        All heads of the file.
    head : str
        The converted head.
    reference_graph, reference_energies : Graph, Tensor
        A small cluster, and the interaction energies of its atoms from mace-torch in eV.
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
        """The weights for a backbone whose U matrices are in ``constants``.

        In files of other versions of mace-torch, or made with cuequivariance, other U matrices
        span the same polynomials.
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
        Must be True, since loading runs the code in the file.
    head : str, optional
        Head of a multi-head model; default: the first.
    elements : sequence of str, optional
        Elements to keep; default: all elements of the file.

    Raises
    ------
    InputError
        If the file is not trusted, cannot be read or is not a supported kind of model, or if it
        does not have the head or an element.
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

    # Weights in single precision are exactly representable in double precision.
    model = model.double()
    config = read_hyperparameters(model, path, len(heads))
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
    """Elements of a saved model. Raises the errors of :func:`read_mace_file`."""
    model = _load_pickle(Path(path), trust)
    _check_supported(model, Path(path))
    return tuple(chemical_symbols[int(z)] for z in model.atomic_numbers)


def effective_config(given: MaceConfig, read: MaceConfig, path: str) -> MaceConfig:
    """The hyperparameters of the file with the keys ``embed`` and ``frozen`` of the configuration.

    Raises
    ------
    InputError
        If a hyperparameter of the configuration contradicts the file.
    """
    refuse_contradictions(given, read, OWN_KEYS, path)
    return read.model_copy(update={"embed": given.embed, "frozen": given.frozen})


def _load_pickle(path: Path, trust: bool) -> Any:
    require_trust(path, trust, "mace-torch")
    import_mace()
    advice = "; save it as a plain e3nn model with the installed version of mace-torch"
    model = unpickle(path, "mace-torch", advice)
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(f"{path}: is compiled (TorchScript); use the uncompiled .model file")
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{path}: holds a {type(model).__name__}, not a model; use the .model file that "
            "mace-torch writes at the end of training, not a checkpoint"
        )
    return model


def _check_supported(model: Any, path: Path) -> None:
    """Raise an error for models whose energies would be wrong."""
    kind = type(model).__name__
    if kind not in ("MACE", "ScaleShiftMACE"):
        hint = REFUSED.get(kind, "use a MACE or ScaleShiftMACE")
        raise InputError(f"{path}: is a {kind}, which is not supported: {hint}")
    if hasattr(model, "joint_embedding"):
        names = ", ".join(getattr(model, "embedding_specs", {}))
        raise InputError(
            f"{path}: has an embedding of {names} by mace-torch, which is not supported"
        )
    contraction = type(model.products[0].symmetric_contractions).__module__
    if not contraction.startswith("mace."):
        raise InputError(
            f"{path}: is in the format of {contraction.split('.')[0]}, which is not supported; "
            "convert it with mace_cueq_to_e3nn"
        )

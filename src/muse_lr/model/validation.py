"""Check that a model supports the structures of a batch."""

from __future__ import annotations

from ase import Atoms
from ase.data import chemical_symbols
from torch import Tensor

from muse_lr.config.part import Part
from muse_lr.errors import InputError, described
from muse_lr.model.assembly import Parts
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.geometry import BOUNDARY_NAMES

#: Slack of the comparison of cutoffs, A.
CUTOFF_TOLERANCE = 1e-6


def check_batch(batch: AtomsBatch, known: Tensor, cutoff: float, parts: Parts) -> None:
    """Raise an error for structures that a model does not support.

    Parameters
    ----------
    batch : AtomsBatch
    known : Tensor
        (n_atomic_numbers,) bool: whether the model supports the element.
    cutoff : float
        Neighbor-list cutoff that the parts need, A.
    parts : Parts

    Raises
    ------
    InputError
        For what is not a batch, a batch on another device, a neighbor list that is too short,
        unknown elements, boundaries or fields that a part does not support, a total charge that the
        charges cannot have, or missing groups of atoms.
    """
    _check_type(batch)
    if batch.positions.device != known.device:
        raise InputError(
            f"the batch is on {batch.positions.device} and the model on {known.device}: move it "
            "with batch.to(model.device)"
        )
    if float(batch.cutoff.min()) < cutoff - CUTOFF_TOLERANCE:
        raise InputError(
            f"the neighbor list ends at {float(batch.cutoff.min()):g} A, the model needs "
            f"{cutoff:g} A: use AtomsBatch.from_ase(..., cutoff=model.cutoff)"
        )
    _check_elements(batch, known)
    named = parts.named()
    _check_boundaries(batch, named)
    _check_field(batch, parts)
    for part in named.values():
        part.check(batch)


def _check_type(batch: object) -> None:
    if isinstance(batch, AtomsBatch):
        if not isinstance(batch.positions, Tensor):
            raise InputError(f"batch.positions is {described(batch.positions)}, not a torch.Tensor")
        return
    what = "[atoms]" if isinstance(batch, Atoms) else "[atoms, ...]"
    raise InputError(
        f"a model takes an AtomsBatch, not {described(batch)}: model(muse_lr.AtomsBatch.from_ase("
        f"{what}, cutoff=model.cutoff)); for one structure in ASE, muse_lr.Calculator(model)"
    )


def _check_elements(batch: AtomsBatch, known: Tensor) -> None:
    unknown = ~known[batch.numbers]
    if bool(unknown.any()):
        atom = int(unknown.nonzero()[0])
        symbol = chemical_symbols[int(batch.numbers[atom])]
        elements = ", ".join(chemical_symbols[int(n)] for n in known.nonzero()[:, 0])
        raise InputError(
            f"structure {int(batch.batch[atom])} has the element {symbol}, which the model "
            f"does not support: it supports {elements}"
        )


def _check_boundaries(batch: AtomsBatch, named: dict[str, Part]) -> None:
    directions = batch.pbc.sum(1).cpu()
    present = {int(n) for n in directions.unique()}
    if 1 in present:
        graph = int((directions == 1).nonzero()[0])
        raise InputError(
            f"structure {graph} is periodic along one axis only, which no solver supports: use a "
            "cell with zero, two or three periodic axes"
        )
    for name, part in named.items():
        refused = [n for n in sorted(present) if BOUNDARY_NAMES[n] not in part.boundaries]
        if refused:
            graph = int((directions == refused[0]).nonzero()[0])
            raise InputError(
                f"structure {graph} has the boundary {BOUNDARY_NAMES[refused[0]]}, which "
                f"{name} does not support (it supports {', '.join(sorted(part.boundaries))})"
            )


def _check_field(batch: AtomsBatch, parts: Parts) -> None:
    present = (batch.field != 0).any(1)
    if not bool(present.any()):
        return
    graph = int(present.nonzero()[0])
    # Charges that depend on the field are not enough: without the head the energy lacks -mu.F.
    if not any(head.reads_field for head in parts.heads.values()):
        raise InputError(
            f"structure {graph} has an electric field, but no head of the "
            "model uses it: add model.heads.field: {kind: external_field} or remove "
            "atoms.info['electric_field']"
        )
    reason = _not_stationary(parts)
    if reason is not None:
        raise InputError(
            f"structure {graph} has an electric field, in which the energy of this model does not "
            f"agree with its dipole (dE/dF = -mu): {reason}; or remove "
            "atoms.info['electric_field']"
        )


def _not_stationary(parts: Parts) -> str | None:
    """Why the energy is not stationary in charges that respond to the field, and the remedy.

    The slope of the energy in the field is minus the dipole only if the charges minimize the whole
    energy of the model, or if they do not depend on the field.
    """
    charges = parts.charges
    if charges is None or not charges.reads_field:
        return None
    kind = charges.Config.model_fields["kind"].default
    if not charges.converged_response:
        return f"charges kind {kind!r} stop short of self-consistency: use kind scf"
    if not charges.minimizes_coulomb:
        return None
    summing = [name for name, head in parts.heads.items() if head.sums_coulomb]
    if len(summing) != 1:
        return (
            f"charges kind {kind!r} minimize an energy with one Coulomb sum, but the model has "
            f"{len(summing)} coulomb heads: use one, model.heads.coulomb: {{kind: coulomb}}"
        )
    for name, head in parts.heads.items():
        if head.sums_coulomb and head.altered_by:
            option = f"model.heads.{name}.{head.altered_by[0]}"
            return (
                f"{option} changes the Coulomb energy that charges kind {kind!r} minimize: remove "
                f"{option}, or use charges that do not respond to the field, such as split"
            )
        if head.needs_density and not head.sums_coulomb and not head.reads_field:
            return (
                f"head {name!r} reads the density, but charges kind {kind!r} do not minimize its "
                f"energy: set model.heads.{name}: null, or use charges that do not respond to the "
                "field, such as split"
            )
    return None

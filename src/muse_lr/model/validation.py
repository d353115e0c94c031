"""What a model refuses to describe, in words that say where and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from muse_lr.errors import InputError
from muse_lr.structures.batch import AtomsBatch

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

#: Slack of the comparison of cutoffs, A.
CUTOFF_TOLERANCE = 1e-6
#: By the number of periodic directions.
BOUNDARY_NAMES = ("FFF", "one periodic axis", "TTF", "TTT")


def check_batch(model: EnergyModel, batch: AtomsBatch) -> None:
    """Refuse structures that the model cannot describe rightly.

    Raises
    ------
    InputError
        For a neighbour list that is too short, unknown elements, boundaries or fields that a part
        does not support, a total charge that the charges cannot have, or groups that are missing.
    """
    if float(batch.cutoff.min()) < model.cutoff - CUTOFF_TOLERANCE:
        raise InputError(
            f"the neighbour list ends at {float(batch.cutoff.min()):g} A, the model needs "
            f"{model.cutoff:g} A: AtomsBatch.from_ase(..., cutoff=model.cutoff)"
        )
    _check_elements(model, batch)
    _check_boundaries(model, batch)
    for head in model.heads.values():
        head.check(batch)
    _check_field(model, batch)
    if model.multiscale is not None:
        model.multiscale.check(batch)
    if model.charges is not None:
        model.charges.check(batch)


def _check_elements(model: EnergyModel, batch: AtomsBatch) -> None:
    unknown = ~model.knows(batch.numbers)
    if bool(unknown.any()):
        from ase.data import chemical_symbols

        atom = int(unknown.nonzero()[0])
        symbol = chemical_symbols[int(batch.numbers[atom])]
        raise InputError(
            f"structure {int(batch.batch[atom])} has the element {symbol}, which the model "
            f"does not know: it knows {', '.join(model.elements)}"
        )


def _check_boundaries(model: EnergyModel, batch: AtomsBatch) -> None:
    directions = batch.pbc.sum(1).cpu()
    present = {int(n) for n in directions.unique()}
    if 1 in present:
        graph = int((directions == 1).nonzero()[0])
        raise InputError(
            f"structure {graph} is periodic along one axis only, which no solver sums: use a "
            "cell with two or three periodic axes, or none"
        )
    parts: dict[str, Any] = {f"head {name!r}": head for name, head in model.heads.items()}
    if model.multiscale is not None:
        parts["the multiscale part"] = model.multiscale
    for name, part in parts.items():
        refused = [n for n in sorted(present) if BOUNDARY_NAMES[n] not in part.boundaries]
        if refused:
            graph = int((directions == refused[0]).nonzero()[0])
            raise InputError(
                f"structure {graph} has the boundary {BOUNDARY_NAMES[refused[0]]}, which "
                f"{name} does not support (it does {', '.join(sorted(part.boundaries))})"
            )


def _check_field(model: EnergyModel, batch: AtomsBatch) -> None:
    present = (batch.field != 0).any(1)
    # Charges that respond do not count: without the head the energy would lack -mu.F.
    if bool(present.any()) and not any(head.reads_field for head in model.heads.values()):
        raise InputError(
            f"structure {int(present.nonzero()[0])} is in an electric field, which no head of "
            "the model reads: add model.heads.field: {kind: external_field} or remove "
            "atoms.info['electric_field']"
        )

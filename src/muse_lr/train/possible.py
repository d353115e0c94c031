"""Structures and labels that a model can describe, for training, evaluation and studies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from muse_lr.data.labels import OF_CHARGES
from muse_lr.data.reading import Frame
from muse_lr.errors import InputError
from muse_lr.model.born_charges import impossible_responses, undefined_polarization
from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.response import coulomb_heads
from muse_lr.structures.batch import AtomsBatch, AtomsData, atoms_to_data

if TYPE_CHECKING:
    from muse_lr.charges.base import ChargeModel

#: Number of structures that are checked at once.
CHECKED = 256


class ImpossibleLossError(InputError):
    """Labels of ``training.loss`` that the model cannot predict.

    Attributes
    ----------
    reasons : dict of str to str
        Label -> why the model cannot predict it.
    problem : str
        The reasons as one sentence.
    """

    def __init__(self, reasons: dict[str, str]) -> None:
        self.reasons = reasons
        self.problem = "; ".join(f"training.loss.{k} {reason}" for k, reason in reasons.items())
        lines = ", ".join(f"training.loss.{label}: null" for label in reasons)
        super().__init__(f"{self.problem}. To train without: {lines}")


def impossible_labels(model: EnergyModel, frames: Sequence[Frame]) -> dict[str, str]:
    """Labels that a model cannot predict for these frames, each with the reason."""
    found: dict[str, str] = {}
    if model.charges is None:
        found |= dict.fromkeys(OF_CHARGES, "needs charges, but model.charges is null")
    elif frames:
        pbc = torch.tensor(np.array([frame.atoms.pbc for frame in frames]))
        found |= impossible_responses(model.charges, pbc)
        if "polarization" not in found:
            found |= _undefined_polarization(model.charges, frames)
    if "potential" not in found and not coulomb_heads(model.heads):
        found["potential"] = "needs a coulomb head, but model.heads has none"
    return found


def _undefined_polarization(charges: ChargeModel, frames: Sequence[Frame]) -> dict[str, str]:
    """The label polarization with the reason why its errors are not defined, or nothing."""
    for frame in frames:
        if "polarization" not in frame.labels:
            continue
        batch = AtomsBatch.from_structures([atoms_to_data(frame.atoms, None)])
        reason = undefined_polarization(charges, batch)
        if reason is not None:
            return {"polarization": f"{reason} ({frame.source})"}
    return {}


def check_possible(model: EnergyModel, labels: Iterable[str], frames: Sequence[Frame]) -> None:
    """Raise :class:`ImpossibleLossError` if the model cannot predict a label of the loss."""
    impossible = impossible_labels(model, frames)
    wanted = {label: impossible[label] for label in labels if label in impossible}
    if wanted:
        raise ImpossibleLossError(wanted)


def check_structures(model: EnergyModel, frames: Sequence[Frame]) -> None:
    """Raise an error for a frame that the model cannot describe, with its source."""
    for start in range(0, len(frames), CHECKED):
        chunk = frames[start : start + CHECKED]
        structures = []
        for frame in chunk:
            try:
                structures.append(atoms_to_data(frame.atoms, None))
            except InputError as error:
                raise InputError(f"{frame.source}: {error}") from error
        try:
            _check(model, structures)
        except InputError:
            _name_refused(model, structures, chunk)


def _name_refused(
    model: EnergyModel, structures: Sequence[AtomsData], frames: Sequence[Frame]
) -> None:
    """Raise the error of the first frame that the model cannot describe, with its source."""
    for structure, frame in zip(structures, frames, strict=True):
        try:
            _check(model, [structure])
        except InputError as error:
            text = str(error).replace("structure 0", "the structure", 1)
            raise InputError(f"{frame.source}: {text}") from error


def _check(model: EnergyModel, structures: Sequence[AtomsData]) -> None:
    batch = AtomsBatch.from_structures(structures)
    batch.cutoff.fill_(model.cutoff)  # the lists, which come later, will have this cutoff
    model.check(batch)

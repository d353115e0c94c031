"""How much of the error of energies is one constant for each composition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muse_lr.reporting.metric_units import KINDS, RELATIVE_ENERGY
from muse_lr.reporting.predictions import Predictions, errors
from muse_lr.reporting.wording import number

#: Share of the MAE above which an offset is most of the error.
MOST = 0.5
REMEDY = "Forces do not depend on such an offset. Look at the E0s (`model.e0`)."


@dataclass(frozen=True)
class Offset:
    """Errors of energies with and without the constant of each composition.

    Attributes
    ----------
    frames, compositions : int
        Number of frames that share their composition with another one, and of these compositions.
    mae, relative_mae : float
        MAE of the energies of these frames, and that of their relative energies, meV/atom.
    """

    frames: int
    compositions: int
    mae: float
    relative_mae: float

    @property
    def is_most(self) -> bool:
        """Whether the offset is more than half of the MAE.

        Means of few frames take a part of any error away, even of random ones. The usual correction
        for fitted constants, as in a standard deviation, gives this part back.
        """
        correction = (self.frames / (self.frames - self.compositions)) ** 0.5
        return correction * self.relative_mae < (1 - MOST) * self.mae

    def sentence(self) -> str:
        """Say that the offset is most of the error."""
        return (
            "Most of the energy error is a constant offset of each composition: the MAE of "
            f"relative energies, each against the mean of its composition, is "
            f"{number(self.relative_mae)} instead of {number(self.mae)} meV/atom. {REMEDY}"
        )


def composition_offset(predictions: Predictions) -> Offset | None:
    """Offset of the energies of a set; None if no two frames have the same composition."""
    relative = predictions.quantities.get(RELATIVE_ENERGY)
    if relative is None:
        return None
    known = np.isin(predictions.quantities["energy"].frame, relative.frame)
    compositions = len(np.unique(predictions.composition[relative.frame], axis=0))
    return Offset(
        len(relative.frame),
        compositions,
        float(np.abs(errors(predictions, "energy")[known]).mean()),
        float(np.abs(errors(predictions, RELATIVE_ENERGY)).mean()),
    )


def relative_metrics(predictions: Predictions) -> dict[str, float]:
    """``relative_energy_mae`` and ``relative_energy_rmse``, meV/atom; empty where not defined."""
    if RELATIVE_ENERGY not in predictions.quantities:
        return {}
    found = errors(predictions, RELATIVE_ENERGY)
    values = float(np.abs(found).mean()), float(np.sqrt((found**2).mean()))
    return {f"{RELATIVE_ENERGY}_{kind}": v for kind, v in zip(KINDS, values, strict=True)}

"""How much of the error of energies is one constant for each composition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muse_lr.reporting.metric_units import KINDS, RELATIVE_ENERGY
from muse_lr.reporting.predictions import Predictions, errors
from muse_lr.reporting.wording import number

#: Share of the MAE above which an offset is most of the error.
MOST = 0.5
#: What an offset that is one constant for each element means, and any other one.
E0S = "One constant for each element explains it: look at the E0s (`model.e0`)."
NOT_LEARNED = (
    "the energies of these compositions or charge states are not learned. More such frames in "
    "training, more steps or a larger weight of the energy help."
)


@dataclass(frozen=True)
class Offset:
    """Errors of energies with and without the constant of each composition.

    Attributes
    ----------
    frames, compositions : int
        Number of frames that share their composition with another one, and of these compositions.
    mae, relative_mae : float
        MAE of the energies of these frames, and that of their relative energies, meV/atom.
    size, unexplained : float
        RMS of the mean error of each composition, and of what a fit of one constant for each
        element leaves of it, corrected for the number of constants, meV/atom. The second is NaN for
        no more compositions than constants, since any errors would be fitted then.
    valid_mae : float or None
        MAE of the energy on the validation data, if it is known, meV/atom.
    """

    frames: int
    compositions: int
    mae: float
    relative_mae: float
    size: float
    unexplained: float
    valid_mae: float | None = None

    @property
    def is_most(self) -> bool:
        """Whether the offset is more than half of the MAE.

        Means of few frames take a part of any error away, even of random ones. The usual correction
        for fitted constants, as in a standard deviation, gives this part back.
        """
        correction = (self.frames / (self.frames - self.compositions)) ** 0.5
        return correction * self.relative_mae < (1 - MOST) * self.mae

    @property
    def learned(self) -> bool:
        """Whether the validation data are known to have no such offset."""
        return self.valid_mae is not None and self.valid_mae < (1 - MOST) * self.mae

    @property
    def of_elements(self) -> bool | None:
        """Whether constants of the elements are most of the offset; None if one cannot tell."""
        return None if np.isnan(self.unexplained) else self.unexplained < (1 - MOST) * self.size

    def sentence(self) -> str:
        """Say that the offset is most of the error."""
        return (
            "Most of the energy error is a constant offset of each composition: the MAE of "
            f"relative energies, each against the mean of its composition, is "
            f"{number(self.relative_mae)} instead of {number(self.mae)} meV/atom. "
            f"{remedy([self])}"
        )


def remedy(offsets: Sequence[Offset]) -> str:
    """What to do about offsets of one test set: E0s are only named if they can be the cause."""
    start, causes = "Forces do not depend on such an offset.", {x.of_elements for x in offsets}
    if all(offset.learned for offset in offsets):
        return f"{start} The validation data have none, so that the E0s fit there: {NOT_LEARNED}"
    if causes == {True}:
        return f"{start} {E0S}"
    if None in causes:
        return f"{start} Either the E0s (`model.e0`) are inexact, or {NOT_LEARNED}"
    return f"{start} Constants of the elements (E0s) do not explain it: {NOT_LEARNED}"


def composition_offset(predictions: Predictions, valid_mae: float | None = None) -> Offset | None:
    """Offset of the energies of a set; None if no two frames have the same composition."""
    relative = predictions.quantities.get(RELATIVE_ENERGY)
    if relative is None:
        return None
    known = np.isin(predictions.quantities["energy"].frame, relative.frame)
    found = errors(predictions, "energy")[known]
    compositions, group, counts = np.unique(
        predictions.composition[relative.frame], axis=0, return_inverse=True, return_counts=True
    )
    means = np.bincount(group.reshape(-1), found) / counts
    return Offset(
        len(relative.frame),
        len(compositions),
        float(np.abs(found).mean()),
        float(np.abs(errors(predictions, RELATIVE_ENERGY)).mean()),
        *_explained(compositions / compositions.sum(1, keepdims=True), means, counts),
        valid_mae,
    )


def _explained(
    shares: NDArray[np.float64], means: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[float, float]:
    """RMS over the frames of the mean errors (n,), and of the rest of a fit to ``shares`` (n, m).

    The shares of the elements, not their numbers, belong to errors per atom.
    """
    weights = np.sqrt(counts / counts.sum())
    solution, _, rank, _ = np.linalg.lstsq(weights[:, None] * shares, weights * means, rcond=None)
    size = float(np.linalg.norm(weights * means))
    free = len(means) - int(rank)
    if free < 1:
        return size, np.nan
    rest = float(np.linalg.norm(weights * (means - shares @ solution)))
    return size, rest * float(np.sqrt(len(means) / free))


def relative_metrics(predictions: Predictions) -> dict[str, float]:
    """``relative_energy_mae`` and ``relative_energy_rmse``, meV/atom; empty where not defined."""
    if RELATIVE_ENERGY not in predictions.quantities:
        return {}
    found = errors(predictions, RELATIVE_ENERGY)
    values = float(np.abs(found).mean()), float(np.sqrt((found**2).mean()))
    return {f"{RELATIVE_ENERGY}_{kind}": v for kind, v in zip(KINDS, values, strict=True)}

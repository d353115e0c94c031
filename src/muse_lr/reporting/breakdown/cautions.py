"""What a reader must know before errors are believed, in sentences."""

from __future__ import annotations

from muse_lr.reporting.breakdown.errors import Errors, Group
from muse_lr.reporting.breakdown.mean_predictor import is_fair
from muse_lr.reporting.breakdown.offset import composition_offset
from muse_lr.reporting.predictions import Predictions
from muse_lr.reporting.wording import label_title, listed, number


def cautions(predictions: Predictions, total: Group, valid_mae: float | None = None) -> list[str]:
    """Say what is worse than the mean predictor, and whether most of the energy error is an offset.

    Parameters
    ----------
    predictions : Predictions
    total : Group
        Errors of all frames.
    valid_mae : float, optional
        MAE of the energy on the validation data, meV/atom.
    """
    worse = [
        found
        for label, found in total.errors.items()
        if found.relative_rmse > 1 and is_fair(predictions, label)
    ]
    sentences = []
    if worse:
        sentences.append(
            "Worse than the mean predictor, which knows the number of atoms of each element only "
            f"and is fitted to these references: {listed([_comparison(found) for found in worse])}."
        )
    offset = composition_offset(predictions, valid_mae)
    if offset is not None and offset.is_most:
        sentences.append(offset.sentence())
    return sentences


def _comparison(found: Errors) -> str:
    values = f"{number(found.rmse)}, mean predictor {number(found.mean_rmse)} {found.unit}"
    return f"{label_title(found.label)} (RMSE {values.rstrip()})"

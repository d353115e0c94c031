"""Errors of a model for parts of a data set: elements, subsets, sizes, charges and boundaries.

All functions take :class:`~muse_lr.reporting.predictions.Predictions` and return records without
any formatting. Errors are in the units of
:data:`~muse_lr.reporting.metric_units.METRIC_UNITS`. The groups of a breakdown by frames divide the
components of every label, and those by element divide the components of the labels of atoms. With
``count`` as weight, their MAE and squared RMSE therefore combine to those of the whole set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from muse_lr.errors import InputError, nearest
from muse_lr.reporting.breakdown.grouping import as_class, classes, groupable_keys, usual_keys
from muse_lr.reporting.breakdown.mean_predictor import mean_prediction
from muse_lr.reporting.metric_units import METRIC_UNITS
from muse_lr.reporting.predictions import Predictions, errors, in_metric_unit
from muse_lr.structures.state import CHARGE_KEYS

Array = NDArray[np.float64]
Index = NDArray[np.int64]

#: Properties of frames other than subsets, by which :func:`breakdowns` divides.
FRAME_PROPERTIES = ("number of atoms", "total charge", "boundary")


@dataclass(frozen=True)
class Errors:
    """Errors of one label over a group, in the unit of the metric.

    Attributes
    ----------
    label : str
    count, frames : int
        Number of components, and of frames that they belong to.
    mae, rmse, mean_error : float
        Mean absolute error, root mean squared error, and mean of prediction minus reference.
    mean_mae, mean_rmse : float
        MAE and RMSE of the mean predictor
        (:mod:`muse_lr.reporting.breakdown.mean_predictor`) of the whole set over this group, as a
        scale; NaN if it is not defined. ``mean_rmse`` is the RMS of the reference for forces, and
        the standard deviation per atom for energies.
    """

    label: str
    count: int
    frames: int
    mae: float
    rmse: float
    mean_error: float
    mean_mae: float
    mean_rmse: float

    @property
    def unit(self) -> str:
        """Unit of the errors."""
        return METRIC_UNITS[self.label].unit

    @property
    def relative_mae(self) -> float:
        """MAE over that of the mean predictor; NaN if it is not defined."""
        return self.mae / self.mean_mae if self.mean_mae > 0 else np.nan

    @property
    def relative_rmse(self) -> float:
        """RMSE over that of the mean predictor; NaN if it is not defined."""
        return self.rmse / self.mean_rmse if self.mean_rmse > 0 else np.nan


@dataclass(frozen=True)
class Group:
    """Errors of the frames, or of the atoms of one element, that belong together.

    Attributes
    ----------
    name : str
        Element, value of the key, range of values, ...
    frames, atoms : int
        Number of frames and of atoms, labeled or not.
    errors : dict of str to Errors
        Label -> errors, for labels with data in this group.
    """

    name: str
    frames: int
    atoms: int
    errors: dict[str, Errors] = field(default_factory=dict)


@dataclass(frozen=True)
class Breakdown:
    """Errors by one property.

    Attributes
    ----------
    by : str
        ``"element"``, ``"number of atoms"``, ``"total charge"``, ``"boundary"`` or an info key.
    groups : list of Group
        In the order of the property.
    """

    by: str
    groups: list[Group]

    @property
    def labels(self) -> list[str]:
        """Labels with errors in any group, in the usual order."""
        return [x for x in METRIC_UNITS if any(x in group.errors for group in self.groups)]


def overall(predictions: Predictions) -> Group:
    """Errors of all frames, as one group named ``"all"``."""
    groups = _by_frame(predictions, np.zeros(predictions.num_frames, np.int64), ["all"])
    return groups[0] if groups else Group("all", 0, 0)


def breakdowns(predictions: Predictions, by: Sequence[str] = ()) -> list[Breakdown]:
    """All breakdowns with more than one group: by element, subset, size, charge and boundary.

    Parameters
    ----------
    predictions : Predictions
    by : sequence of str
        Info keys of subsets. They are used even with one group. Default: the keys of
        :data:`~muse_lr.reporting.breakdown.grouping.SUBSET_KEYS` that the frames have.

    Raises
    ------
    InputError
        If no frame has a key of ``by``, or it cannot be grouped.
    """
    chosen = list(dict.fromkeys(by))
    found = [by_element(predictions)]
    found += [by_info(predictions, key) for key in chosen or usual_keys(predictions.info)]
    found += [by_size(predictions), by_boundary(predictions)]
    if not set(chosen) & set(CHARGE_KEYS):
        found.append(by_total_charge(predictions))
    return [x for x in found if len(x.groups) > 1 or (x.by in chosen and x.groups)]


def by_element(predictions: Predictions) -> Breakdown:
    """Errors of the labels of atoms (forces, charges, ...) by element, in order of Z."""
    numbers = np.array(predictions.elements, np.int64)
    groups = [
        Group(
            chemical_symbols[z],
            int((predictions.composition[:, column] > 0).sum()),
            int(predictions.composition[:, column].sum()),
        )
        for column, z in enumerate(predictions.elements)
    ]
    for label, quantity in predictions.quantities.items():
        if (quantity.atom >= 0).all():
            _fill(groups, predictions, label, np.searchsorted(numbers, quantity.element))
    return Breakdown("element", [group for group in groups if group.errors])


def by_info(predictions: Predictions, key: str) -> Breakdown:
    """Errors by the value of an info key; many numbers are collected in ranges of equal counts.

    Raises
    ------
    InputError
        If no frame has the key, or a value is neither a number nor text.
    """
    return Breakdown(key, _by_frame(predictions, *info_classes(predictions, key)))


def info_classes(predictions: Predictions, key: str) -> tuple[Index, list[str]]:
    """Group of each frame by an info key, (n_frames,), and the names of the groups.

    Raises
    ------
    InputError
        As :func:`by_info`.
    """
    if not any(key in info for info in predictions.info):
        known = groupable_keys(predictions.info)
        listed = ", ".join(known) or "none"
        raise InputError(f"no frame has the info key {key!r}{nearest(key, known)}; keys: {listed}")
    try:
        values = [as_class(info.get(key)) for info in predictions.info]
    except TypeError as error:
        raise InputError(
            f"info key {key!r} holds {error}: errors are grouped by single numbers or text"
        ) from error
    return classes(values)


def known_keys(predictions: Predictions, keys: Sequence[str]) -> list[str]:
    """Info keys of ``keys`` by which the frames can be grouped."""
    found = []
    for key in keys:
        try:
            info_classes(predictions, key)
        except InputError:
            continue
        found.append(key)
    return found


def by_size(predictions: Predictions) -> Breakdown:
    """Errors by the number of atoms of a frame."""
    values = [int(n) for n in predictions.num_atoms]
    return Breakdown("number of atoms", _by_frame(predictions, *classes(values)))


def by_total_charge(predictions: Predictions) -> Breakdown:
    """Errors by the total charge of a frame, in e."""
    values = [float(q) for q in predictions.total_charge]
    return Breakdown("total charge", _by_frame(predictions, *classes(values)))


def by_boundary(predictions: Predictions) -> Breakdown:
    """Errors by the periodic axes of a frame: FFF, TTF or TTT."""
    return Breakdown("boundary", _by_frame(predictions, *classes(predictions.boundary)))


def _by_frame(predictions: Predictions, index: Index, names: Sequence[str]) -> list[Group]:
    """Groups of frames; ``index`` (n_frames,) is the position of the group of a frame in names."""
    frames = np.bincount(index, minlength=len(names))
    atoms = np.bincount(index, predictions.num_atoms, minlength=len(names))
    groups = [Group(name, int(n), int(m)) for name, n, m in zip(names, frames, atoms, strict=True)]
    for label, quantity in predictions.quantities.items():
        _fill(groups, predictions, label, index[quantity.frame])
    return groups


def _fill(groups: Sequence[Group], predictions: Predictions, label: str, index: Index) -> None:
    """Add the errors of a label; ``index`` (n_components,) is the group of each component."""
    quantity = predictions.quantities[label]
    error = errors(predictions, label)
    mean = mean_prediction(predictions, label)
    scale = np.full_like(error, np.nan)
    if mean is not None:
        scale = in_metric_unit(predictions, label, mean - quantity.reference)
    for position, group in enumerate(groups):
        inside = index == position
        if inside.any():
            own, other = error[inside], scale[inside]
            group.errors[label] = Errors(
                label=label,
                count=len(own),
                frames=len(np.unique(quantity.frame[inside])),
                mae=float(np.abs(own).mean()),
                rmse=float(np.sqrt((own**2).mean())),
                mean_error=float(own.mean()),
                mean_mae=float(np.abs(other).mean()),
                mean_rmse=float(np.sqrt((other**2).mean())),
            )

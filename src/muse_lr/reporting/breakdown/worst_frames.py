"""The frames with the largest errors, and what distinguishes them from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from muse_lr.data.distances import shortest_distances
from muse_lr.data.labels import LABELS
from muse_lr.reporting.breakdown.grouping import MOST_GROUPS, as_class, groupable_keys
from muse_lr.reporting.breakdown.mean_predictor import mean_prediction
from muse_lr.reporting.metric_units import METRIC_UNITS
from muse_lr.reporting.predictions import Predictions, errors, in_metric_unit
from muse_lr.structures.state import STATE_KEYS

Array = NDArray[np.float64]

#: A value is rare if at most this fraction of the frames has it. A number is extreme if less than
#: the second fraction lies beyond it.
RARE, EXTREME = 0.05, 0.02
#: References are unusual from this multiple of the scale of all frames on.
UNUSUAL = 2.0
#: Range in which short distances are searched (A), and the largest fraction of the median that
#: counts as short.
SEARCHED, SHORT = 3.0, 0.9
#: Words in the names of info keys that number the frames and say nothing about them.
COUNTERS = {"id", "idx", "index", "frame", "number", "step"}
#: Largest number of facts about a frame.
MOST_FACTS = 3


@dataclass(frozen=True)
class WorstFrame:
    """One of the frames with the largest errors.

    Attributes
    ----------
    label : str
    frame : int
        Index in the file of predictions, from 0.
    formula : str
    num_atoms : int
    error : float
        In the unit of the metric: prediction minus reference for a single number such as the
        energy, else the RMSE over the components of the frame.
    atom, element : int or None, str
        For labels of atoms: the atom with the largest error, and its element.
    largest : float
        Size of the error of that atom; NaN without an atom.
    facts : tuple of str
        What is special about the frame; empty if nothing was found.
    """

    label: str
    frame: int
    formula: str
    num_atoms: int
    error: float
    atom: int | None
    element: str
    largest: float
    facts: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Unit of the errors."""
        return METRIC_UNITS[self.label].unit

    @property
    def signed(self) -> bool:
        """Whether the error is that of a single number, not an RMSE."""
        return is_single(self.label)


def worst_frames(
    predictions: Predictions,
    label: str,
    count: int = 5,
    structures: Sequence[Atoms] | None = None,
) -> list[WorstFrame]:
    """Find the frames with the largest errors of a label, the largest first.

    Parameters
    ----------
    predictions : Predictions
    label : str
        A label of ``predictions.quantities``.
    count : int
        Number of frames.
    structures : sequence of ase.Atoms, optional
        All frames. With them, unusually short distances are named.
    """
    quantity = predictions.quantities[label]
    error = errors(predictions, label)
    size = predictions.num_frames
    counts = np.bincount(quantity.frame, minlength=size)
    labeled = np.flatnonzero(counts)
    spread = np.sqrt(np.bincount(quantity.frame, error**2, minlength=size)[labeled])
    value = spread / np.sqrt(counts[labeled])
    if is_single(label):
        value = np.bincount(quantity.frame, error, minlength=size)[labeled].astype(np.float64)
    # Frames with the same error stay in the order of the file.
    chosen = labeled[np.argsort(-np.abs(value), kind="stable")[:count]]
    values = dict(zip(labeled.tolist(), value.tolist(), strict=True))
    known = _Facts(predictions, label, structures)
    found = []
    for frame in chosen.tolist():
        atom, element, largest = _worst_atom(predictions, label, error, frame)
        found.append(
            WorstFrame(
                label,
                frame,
                predictions.formula[frame],
                int(predictions.num_atoms[frame]),
                values[frame],
                atom,
                element,
                largest,
                tuple(known.of(frame)[:MOST_FACTS]),
            )
        )
    return found


def is_single(label: str) -> bool:
    """Whether a label is one number for each structure, so that its errors have a sign."""
    return not LABELS[label].per_atom and not LABELS[label].shape


def _worst_atom(
    predictions: Predictions, label: str, error: Array, frame: int
) -> tuple[int | None, str, float]:
    """Atom of a frame with the largest error, its element, and the size of the error."""
    quantity = predictions.quantities[label]
    inside = quantity.frame == frame
    atoms = quantity.atom[inside]
    if (atoms < 0).any():
        return None, "", np.nan
    sizes = np.sqrt(np.bincount(atoms, error[inside] ** 2))
    atom = int(sizes.argmax())
    number = int(quantity.element[inside][atoms == atom][0])
    return atom, chemical_symbols[number], float(sizes[atom])


class _Facts:
    """What is unusual about single frames of a set, compared with all of its frames."""

    def __init__(
        self, predictions: Predictions, label: str, structures: Sequence[Atoms] | None
    ) -> None:
        self.label, self.num_frames = label, predictions.num_frames
        self.scores = _scores(predictions, label)
        self.distances = [shortest_distances([atoms], SEARCHED) for atoms in structures or ()]
        self.usual: dict[str, Array] = {
            pair: np.array([known[pair] for known in self.distances if pair in known])
            for pair in {pair for known in self.distances for pair in known}
        }
        self.columns: dict[str, Sequence[float | str | None]] = {
            key: [as_class(info.get(key)) for info in predictions.info]
            for key in groupable_keys(predictions.info)
            if key not in STATE_KEYS and not COUNTERS & set(key.lower().split("_"))
        }
        self.columns |= {
            "total charge": predictions.total_charge.tolist(),
            "boundary": predictions.boundary,
            "composition": predictions.formula,
        }

    def of(self, frame: int) -> list[str]:
        """Facts about a frame, the most telling first."""
        return [*self._reference(frame), *self._distance(frame), *self._values(frame)]

    def _reference(self, frame: int) -> Iterator[str]:
        score = self.scores[frame]
        if abs(score) < UNUSUAL:
            return
        if self.label == "energy":
            where = "above" if score > 0 else "below"
            yield f"reference {abs(score):.1f} σ {where} the fit to the composition"
        else:
            yield f"reference {score:.1f} times the RMS of the set"

    def _distance(self, frame: int) -> Iterator[str]:
        """The shortest distance of the frame, relative to the same elements in other frames."""
        least, text = SHORT, ""
        for pair, distance in (self.distances[frame] if self.distances else {}).items():
            others = self.usual[pair]
            ratio = distance / np.median(others)
            if ratio < least and (others < distance).sum() <= EXTREME * len(others):
                least = ratio
                text = f"{pair} {distance:.2f} Å (median {np.median(others):.2f} Å)"
        if text:
            yield text

    def _values(self, frame: int) -> Iterator[str]:
        """Rare values and extreme numbers, the rarest first."""
        found = []
        for key, values in self.columns.items():
            own = values[frame]
            counts = Counter(values)
            if own is None or len(counts) == 1:
                continue
            text = f"{key} {own:g}" if isinstance(own, float) else f"{key} {own}"
            if len(counts) <= MOST_GROUPS and counts[own] <= RARE * self.num_frames:
                found.append((counts[own], f"{text} ({counts[own]} of {self.num_frames})"))
            elif len(counts) > MOST_GROUPS and isinstance(own, float):
                numbers = np.array([v for v in values if isinstance(v, float)])
                for beyond, name in ((numbers <= own, "smallest"), (numbers >= own, "largest")):
                    rank = int(beyond.sum())
                    if rank <= max(1, EXTREME * len(numbers)):
                        found.append((rank, f"{text} ({'among the ' * (rank > 1)}{name})"))
        yield from (text for _, text in sorted(found))


def _scores(predictions: Predictions, label: str) -> Array:
    """(n_frames,) reference of each frame relative to the scale of all frames; 0 if unknown.

    For energies it is the signed difference from the mean predictor.
    """
    quantity, size = predictions.quantities[label], predictions.num_frames
    mean = mean_prediction(predictions, label)
    if mean is None:
        return np.zeros(size)
    difference = in_metric_unit(predictions, label, quantity.reference - mean)
    scale = np.sqrt((difference**2).mean())
    if scale == 0:
        return np.zeros(size)
    if label == "energy":
        scores: Array = np.bincount(quantity.frame, difference, minlength=size) / scale
        return scores
    counts = np.maximum(np.bincount(quantity.frame, minlength=size), 1)
    squares = np.bincount(quantity.frame, difference**2, minlength=size)
    sizes: Array = np.sqrt(squares / counts) / scale
    return sizes

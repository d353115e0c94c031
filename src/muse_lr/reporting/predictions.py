"""Read predictions and references from ``predictions-<test>.extxyz`` as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray

from muse_lr.data.labels import LABELS
from muse_lr.data.structures import boundary
from muse_lr.errors import InputError
from muse_lr.reporting.breakdown.quantity import STORED, Quantity, read_quantity
from muse_lr.reporting.breakdown.relative_energy import relative_energies
from muse_lr.reporting.metric_units import METRIC_UNITS, RELATIVE_ENERGY
from muse_lr.reporting.predicted_charges import predicted_charges
from muse_lr.structures.state import finite_number, read_state

Array = NDArray[np.float64]

REFERENCE_INTERACTION = "REF_interaction_energy"
INTERACTION = "muse_interaction_"
PART = "muse_part_"
#: Start of the names of files of predictions.
PREFIX = "predictions-"


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model for one test set.

    Attributes
    ----------
    name : str
        Name of the test set.
    num_atoms, distance : Array
        (n_frames,) number of atoms and ``info["distance"]`` in A (NaN if missing).
    elements : tuple of int
        Atomic numbers, in ascending order.
    composition : Array
        (n_frames, n_elements) number of atoms of each element.
    formula, boundary : list of str
        Chemical formula, and periodic axes such as ``"TTF"``, of each frame.
    total_charge : Array
        (n_frames,) total charge that a frame states, or 0, in e.
    info : list of dict
        ``atoms.info`` of each frame, without the predictions.
    scan : list of str
        Scan that each frame belongs to, or an empty string.
    quantities : dict of str to Quantity
        Label -> components, for labels that have both references and predictions; with energies
        also the relative ones (:mod:`~muse_lr.reporting.breakdown.relative_energy`).
    parts, interaction : dict of str to Array
        Name -> (n_frames,) in eV, NaN if missing. ``interaction`` has "reference", "energy" (total
        of the model) and one entry per energy term.
    charges : dict of int to Array
        Atomic number -> (n_atoms,) predicted charges in e, labeled or not.
    """

    name: str
    num_atoms: Array
    distance: Array
    elements: tuple[int, ...]
    composition: Array
    formula: list[str]
    boundary: list[str]
    total_charge: Array
    info: list[dict[str, Any]]
    scan: list[str]
    quantities: dict[str, Quantity]
    parts: dict[str, Array]
    interaction: dict[str, Array]
    charges: dict[int, Array] = field(default_factory=dict)

    @property
    def num_frames(self) -> int:
        return len(self.num_atoms)


def read_predictions(
    path: Path, keys: Mapping[str, str | Sequence[str]] | None = None
) -> Predictions:
    """Read the frames of a test set and the predictions stored in them.

    Parameters
    ----------
    path : Path
        ``predictions-<test>.extxyz``.
    keys : mapping, optional
        Label -> key or keys of the reference, as in ``data.keys``; default: the default keys.

    Raises
    ------
    InputError
        If the file cannot be parsed, or a prediction and its reference differ in shape.
    """
    try:
        frames: list[Atoms] = read(path, index=":", format="extxyz")
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise InputError(f"cannot read {path}: {error}; train or evaluate again") from error
    try:
        return collect(frames, path.name.removeprefix(PREFIX).removesuffix(".extxyz"), keys)
    except InputError as error:
        raise InputError(f"{path}: {error}; train or evaluate again") from error


def collect(
    frames: Sequence[Atoms], name: str, keys: Mapping[str, str | Sequence[str]] | None = None
) -> Predictions:
    """Collect the predictions that are stored in frames, as arrays.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Structures with labels, and with predictions under keys ``muse_...``.
    name : str
        Name of the test set.
    keys : mapping, optional
        See :func:`read_predictions`.

    Raises
    ------
    InputError
        If a prediction and its reference differ in shape; the message names the frame.
    """
    keys = dict(keys or {})
    elements = tuple(sorted({int(z) for atoms in frames for z in np.unique(atoms.numbers)}))
    counts = [[float((atoms.numbers == z).sum()) for z in elements] for atoms in frames]
    composition = np.asarray(counts, dtype=np.float64).reshape(len(frames), len(elements))
    interaction = _columns(frames, INTERACTION)
    if interaction and any(REFERENCE_INTERACTION in atoms.info for atoms in frames):
        interaction = {"reference": _column(frames, REFERENCE_INTERACTION), **interaction}
    return Predictions(
        name=name,
        num_atoms=np.array([float(len(atoms)) for atoms in frames]),
        distance=_column(frames, "distance"),
        elements=elements,
        composition=composition,
        formula=[atoms.get_chemical_formula(mode="hill") for atoms in frames],
        boundary=[boundary(atoms) for atoms in frames],
        total_charge=np.array([read_state(atoms).total_charge for atoms in frames]),
        info=[
            {key: value for key, value in atoms.info.items() if not key.startswith(STORED)}
            for atoms in frames
        ],
        scan=[_scan(atoms) for atoms in frames],
        quantities=_quantities(frames, keys, composition),
        parts=_columns(frames, PART),
        interaction=interaction,
        charges=predicted_charges(frames),
    )


def _quantities(
    frames: Sequence[Atoms], keys: Mapping[str, str | Sequence[str]], composition: Array
) -> dict[str, Quantity]:
    """Components of all labels with references and predictions, in the usual order."""
    found: dict[str, Quantity | None] = {}
    for label in METRIC_UNITS:
        if label == RELATIVE_ENERGY:
            energy = found["energy"]
            found[label] = None if energy is None else relative_energies(energy, composition)
            continue
        given = keys.get(label, LABELS[label].keys)
        named = (given,) if isinstance(given, str) else tuple(given)
        found[label] = read_quantity(frames, label, named)
    return {label: quantity for label, quantity in found.items() if quantity is not None}


def prediction_files(directory: Path) -> dict[str, Path]:
    """Map each test set of a run directory to its file of predictions, sorted by name."""
    files = sorted(directory.glob(f"{PREFIX}*.extxyz"))
    return {path.name.removeprefix(PREFIX).removesuffix(".extxyz"): path for path in files}


def errors(predictions: Predictions, label: str) -> Array:
    """(n_components,) prediction minus reference of a label, in the unit of the metric."""
    quantity = predictions.quantities[label]
    return in_metric_unit(predictions, label, quantity.predicted - quantity.reference)


def in_metric_unit(predictions: Predictions, label: str, difference: Array) -> Array:
    """Convert differences (n_components,) from the unit of the data to that of the metric."""
    about = METRIC_UNITS[label]
    scaled: Array = about.scale * difference
    if about.per_atom:
        scaled = scaled / predictions.num_atoms[predictions.quantities[label].frame]
    return scaled


def frame_sums(predictions: Predictions, label: str) -> tuple[Array, Array, Array]:
    """Sum of absolute errors, sum of squared errors and number of components of each frame.

    All are (n_frames,) in the unit of the metric. Over any selection of frames,
    MAE = sum(first) / sum(third) and RMSE = sqrt(sum(second) / sum(third)).
    """
    error = errors(predictions, label)
    frames, size = predictions.quantities[label].frame, predictions.num_frames
    ones = np.ones_like(error)
    absolute, squared, count = (
        np.bincount(frames, weights, minlength=size).astype(np.float64)
        for weights in (np.abs(error), error**2, ones)
    )
    return absolute, squared, count


def baseline_energy(predictions: Predictions) -> tuple[Array, str]:
    """Baseline energy of each frame (eV) to subtract in parity plots, and its name.

    It is the isolated-atom energy of the model if stored, otherwise the least-squares fit of the
    reference energies to the composition.
    """
    if "e0" in predictions.parts:
        return predictions.parts["e0"], "E0"
    quantity, fit = predictions.quantities["energy"], np.zeros(predictions.num_frames)
    composition = predictions.composition[quantity.frame]
    solution = np.linalg.lstsq(composition, quantity.reference, rcond=None)[0]
    fit[quantity.frame] = composition @ solution
    return fit, "composition fit"


def _scan(atoms: Atoms) -> str:
    label = str(atoms.info.get("scan", ""))
    return "" if label in ("", "none", "None") else label


def _column(frames: Sequence[Atoms], key: str) -> Array:
    """(n_frames,) numbers under a key; NaN where there is no single number."""
    values = [finite_number(atoms.info.get(key)) for atoms in frames]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _columns(frames: Sequence[Atoms], prefix: str) -> dict[str, Array]:
    names: dict[str, None] = {}
    for atoms in frames:
        names.update(dict.fromkeys(k for k in atoms.info if k.startswith(prefix)))
    return {name.removeprefix(prefix): _column(frames, name) for name in names}

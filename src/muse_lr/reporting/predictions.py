"""Read predictions and references from ``predictions-<test>.extxyz`` as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray

from muse_lr.data.labels import LABELS, applies, has_key, read_label
from muse_lr.errors import InputError
from muse_lr.structures.geometry import slab_normals
from muse_lr.structures.lattice import modulo_cell
from muse_lr.structures.state import read_state

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MetricUnit:
    """Units of the errors of one label in the reports.

    Attributes
    ----------
    unit, scale : str, float
        Unit of the metrics and conversion from the unit of the data: metric = scale * error.
    data_unit : str
        Unit of the values (parity plots).
    per_atom : bool
        Whether errors are divided by the number of atoms.
    """

    unit: str
    scale: float
    data_unit: str
    per_atom: bool = False


METRIC_UNITS = {
    "energy": MetricUnit("meV/atom", 1000.0, "eV", per_atom=True),
    "forces": MetricUnit("meV/Å", 1000.0, "eV/Å"),
    "stress": MetricUnit("meV/Å³", 1000.0, "eV/Å³"),
    "dipole": MetricUnit("e\u00a0Å", 1.0, "e\u00a0Å"),
    "quadrupole": MetricUnit("e\u00a0Å²", 1.0, "e\u00a0Å²"),
    "charges": MetricUnit("e", 1.0, "e"),
    "potential": MetricUnit("V", 1.0, "V"),
    "bec": MetricUnit("e", 1.0, "e"),
    "polarization": MetricUnit("e\u00a0Å", 1.0, "e\u00a0Å"),
    "polarizability": MetricUnit("e\u00a0Å²/V", 1.0, "e\u00a0Å²/V"),
    "dielectric": MetricUnit("", 1.0, ""),
}
REFERENCE_INTERACTION = "REF_interaction_energy"
INTERACTION = "muse_interaction_"
PART = "muse_part_"


@dataclass(frozen=True)
class Quantity:
    """Components of one label over the labeled frames of a test set.

    Attributes
    ----------
    reference, predicted : Array
        (n_components,) in the units of the data.
    frame : NDArray
        (n_components,) index of the frame of each component.
    """

    reference: Array
    predicted: Array
    frame: NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model for one test set.

    Attributes
    ----------
    name : str
        Name of the test set.
    num_atoms, distance : Array
        (n_frames,) number of atoms and ``info["distance"]`` in A (NaN if missing).
    composition : Array
        (n_frames, n_elements) number of atoms of each element.
    scan : list of str
        Scan that each frame belongs to, or an empty string.
    quantities : dict of str to Quantity
        Label -> components, for labels that have both references and predictions.
    parts, interaction : dict of str to Array
        Name -> (n_frames,) in eV, NaN if missing. ``interaction`` has "reference", "energy" (total
        of the model) and one entry per energy term.
    """

    name: str
    num_atoms: Array
    distance: Array
    composition: Array
    scan: list[str]
    quantities: dict[str, Quantity]
    parts: dict[str, Array]
    interaction: dict[str, Array]

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
    keys = dict(keys or {})
    quantities = {}
    for label in METRIC_UNITS:
        given = keys.get(label, LABELS[label].keys)
        named = (given,) if isinstance(given, str) else tuple(given)
        quantity = _quantity(path, frames, label, named)
        if quantity is not None:
            quantities[label] = quantity
    elements = sorted({int(z) for atoms in frames for z in np.unique(atoms.numbers)})
    composition = [[float((atoms.numbers == z).sum()) for z in elements] for atoms in frames]
    interaction = _columns(frames, INTERACTION)
    if interaction and any(REFERENCE_INTERACTION in atoms.info for atoms in frames):
        interaction = {"reference": _column(frames, REFERENCE_INTERACTION), **interaction}
    return Predictions(
        name=path.name.removeprefix("predictions-").removesuffix(".extxyz"),
        num_atoms=np.array([float(len(atoms)) for atoms in frames]),
        distance=_column(frames, "distance"),
        composition=np.asarray(composition, dtype=np.float64).reshape(len(frames), len(elements)),
        scan=[_scan(atoms) for atoms in frames],
        quantities=quantities,
        parts=_columns(frames, PART),
        interaction=interaction,
    )


def prediction_files(directory: Path) -> dict[str, Path]:
    """Map each test set of a run directory to its file of predictions, sorted by name."""
    files = sorted(directory.glob("predictions-*.extxyz"))
    return {path.name.removeprefix("predictions-").removesuffix(".extxyz"): path for path in files}


def frame_sums(predictions: Predictions, label: str) -> tuple[Array, Array, Array]:
    """Sum of absolute errors, sum of squared errors and number of components of each frame.

    All are (n_frames,) in the unit of the metric. Over any selection of frames,
    MAE = sum(first) / sum(third) and RMSE = sqrt(sum(second) / sum(third)).
    """
    quantity, about = predictions.quantities[label], METRIC_UNITS[label]
    error = about.scale * (quantity.predicted - quantity.reference)
    if about.per_atom:
        error = error / predictions.num_atoms[quantity.frame]
    frames, size = quantity.frame, predictions.num_frames
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


def _quantity(path: Path, frames: list[Atoms], label: str, keys: Sequence[str]) -> Quantity | None:
    reference, predicted, frame = [], [], []
    for i, atoms in enumerate(frames):
        key = next((key for key in keys if has_key(atoms, key)), None)
        if key is None or not has_key(atoms, f"muse_{label}") or not applies(label, atoms):
            continue
        try:
            truth = read_label(atoms, label, key)
            guess = read_label(atoms, label, f"muse_{label}")
        except InputError as error:
            raise InputError(f"{path}: frame {i}: {error}; train or evaluate again") from error
        assert truth is not None
        assert guess is not None
        if label == "dipole":
            truth, guess = _about_center(atoms, truth, guess)
        elif label == "polarization":
            guess = truth + modulo_cell(guess - truth, atoms)
        known = np.isfinite(truth.ravel())
        reference.append(truth.ravel()[known])
        predicted.append(guess.ravel()[known])
        frame.append(np.full(int(known.sum()), i))
    if not frame or not sum(map(len, frame)):
        return None
    return Quantity(np.concatenate(reference), np.concatenate(predicted), np.concatenate(frame))


def _about_center(atoms: Atoms, truth: Array, guess: Array) -> tuple[Array, Array]:
    """Dipoles about the center of the positions; with a net charge they depend on the origin."""
    center = atoms.positions.mean(0)
    charge = read_state(atoms).total_charge
    predicted_charge = float(np.sum(atoms.arrays.get("muse_charges", charge / len(atoms))))
    truth, guess = truth - charge * center, guess - predicted_charge * center
    if not atoms.pbc.any():
        return truth, guess
    # A slab has a dipole along its normal.
    cell, pbc = torch.from_numpy(np.array(atoms.cell.array)), torch.from_numpy(atoms.pbc.copy())
    normal: Array = slab_normals(cell[None], pbc[None])[0].numpy()
    return np.array([truth @ normal]), np.array([guess @ normal])


def _scan(atoms: Atoms) -> str:
    label = str(atoms.info.get("scan", ""))
    return "" if label in ("", "none", "None") else label


def _column(frames: list[Atoms], key: str) -> Array:
    return np.array([float(atoms.info.get(key, np.nan)) for atoms in frames], dtype=np.float64)


def _columns(frames: list[Atoms], prefix: str) -> dict[str, Array]:
    names: dict[str, None] = {}
    for atoms in frames:
        names.update(dict.fromkeys(k for k in atoms.info if k.startswith(prefix)))
    return {name.removeprefix(prefix): _column(frames, name) for name in names}

"""Charged sites of a trajectory: positions, charges, and dipoles and widths where there are any."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from muse_lr.errors import InputError
from muse_lr.model.energy_model import EnergyModel
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.neighbors import complete_cell

Array = NDArray[np.float64]

#: Arrays of a frame that are looked for, in this order, if no charges are named. ``muse-lr
#: evaluate`` writes the first one.
CHARGE_KEYS = ("muse_charges", "initial_charges")
#: Time between two lines of progress, s.
REPORT_SECONDS = 5.0
#: What a caller may give as charges.
Charges = str | Mapping[str, float] | ArrayLike | EnergyModel | None


@dataclass(frozen=True)
class ChargedSites:
    """Charges of the frames of a trajectory, all of the same atoms.

    Attributes
    ----------
    numbers : ndarray
        (n,) atomic numbers.
    positions : ndarray
        (frames, n, 3) in A; wrapped into the cell or not.
    charges : ndarray
        (frames, n) in e.
    cells : ndarray
        (frames, 3, 3), rows are cell vectors, A. Open vectors that a frame lacks are completed.
    pbc : ndarray
        (3,) of bool.
    dipoles : ndarray or None
        (frames, n, 3) dipoles of the atoms beside their charges, e A.
    widths : ndarray or None
        (n,) standard deviations of Gaussian charges, A; None for points.
    """

    numbers: NDArray[np.int64]
    positions: Array
    charges: Array
    cells: Array
    pbc: NDArray[np.bool_]
    dipoles: Array | None = None
    widths: Array | None = None

    @property
    def volumes(self) -> Array:
        """(frames,) in A^3."""
        volumes: Array = np.abs(np.linalg.det(self.cells))
        return volumes

    @property
    def periodic(self) -> bool:
        """Whether all three directions are periodic."""
        return bool(self.pbc.all())


def charged_sites(
    frames: Sequence[Atoms],
    charges: Charges = None,
    report: Callable[[str], None] = lambda line: None,
) -> ChargedSites:
    """Collect the charges of a trajectory.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Frames at equal intervals of time, all with the same atoms and periodic directions.
    charges : str, mapping, array, EnergyModel or None
        Name of an array of the frames; charge of each element, e; (n,) or (frames, n) charges, e;
        or a model, whose charges, dipoles and Gaussian widths are computed. With None, the first
        array of :data:`CHARGE_KEYS` that the frames have, or the charges of their calculators.
    report : callable
        Receives lines with the time to go while a model computes charges.

    Returns
    -------
    ChargedSites

    Raises
    ------
    InputError
        If there are no frames, if their atoms or periodic directions differ, or if charges are
        missing or not finite.
    """
    first = _check_same(frames)
    positions = np.array([atoms.positions for atoms in frames], dtype=np.float64)
    cells = np.array([_cell(atoms) for atoms in frames])
    dipoles = widths = None
    if isinstance(charges, EnergyModel):
        values, dipoles, widths = _of_model(charges, frames, report)
    elif charges is None or isinstance(charges, str):
        key = _found_key(first) if charges is None else charges
        values = np.array([_stored(atoms, key, i) for i, atoms in enumerate(frames)])
    elif isinstance(charges, Mapping):
        values = _by_element(first, charges)
    else:
        values = np.asarray(charges, dtype=np.float64)
    if values.shape not in ((len(first),), (len(frames), len(first))):
        raise InputError(
            f"the charges have the shape {values.shape}: give one per atom, ({len(first)},), or "
            f"one per frame and atom, ({len(frames)}, {len(first)})"
        )
    values = np.broadcast_to(values, positions.shape[:2])
    if not (np.isfinite(values).all() and np.isfinite(positions).all()):
        raise InputError("a charge or a position of the frames is not finite")
    return ChargedSites(first.numbers, positions, values, cells, first.pbc, dipoles, widths)


def _check_same(frames: Sequence[Atoms]) -> Atoms:
    if not len(frames):
        raise InputError("there are no frames")
    first = frames[0]
    for i, atoms in enumerate(frames):
        if not np.array_equal(atoms.numbers, first.numbers):
            raise InputError(
                f"frame {i} has other atoms than frame 0: averages need frames of one system"
            )
        if not np.array_equal(atoms.pbc, first.pbc):
            raise InputError(f"frame {i} has other periodic directions than frame 0")
    return first


def _cell(atoms: Atoms) -> Array:
    if not atoms.pbc.any():
        return np.eye(3)
    given = np.array(atoms.cell.array)
    # The wave vectors of frames correspond only if their cells are not reduced one by one.
    return given if atoms.cell.rank == 3 else complete_cell(given, atoms.pbc)


def _found_key(atoms: Atoms) -> str:
    for key in CHARGE_KEYS:
        if key in atoms.arrays:
            return key
    if atoms.calc is not None and "charges" in atoms.calc.results:
        return "charges"
    raise InputError(
        f"the frames have no charges ({' or '.join(CHARGE_KEYS)}): name their array, give the "
        "charge of each element, or a model with charges"
    )


def _stored(atoms: Atoms, key: str, index: int) -> Array:
    if key in atoms.arrays:
        return np.asarray(atoms.arrays[key], dtype=np.float64)
    if atoms.calc is not None and key in atoms.calc.results:
        return np.asarray(atoms.calc.results[key], dtype=np.float64)
    raise InputError(
        f"frame {index} has no array {key!r}: its arrays are {', '.join(sorted(atoms.arrays))}"
    )


def _by_element(atoms: Atoms, charges: Mapping[str, float]) -> Array:
    missing = sorted(set(atoms.symbols) - set(charges))
    if missing:
        raise InputError(f"no charge is given for {', '.join(missing)}")
    return np.array([charges[symbol] for symbol in atoms.symbols], dtype=np.float64)


def _of_model(
    model: EnergyModel, frames: Sequence[Atoms], report: Callable[[str], None]
) -> tuple[Array, Array | None, Array | None]:
    """Charges, dipoles and widths of a model, one frame at a time."""
    if model.charges is None:
        raise InputError("the model has no charges: give one with a part model.charges")
    charges, dipoles = [], []
    widths = None
    start = last = time.perf_counter()
    for index, atoms in enumerate(frames):
        now = time.perf_counter()
        if index and now - last > REPORT_SECONDS:
            left, last = (now - start) / index * (len(frames) - index), now
            report(f"charges of frame {index} of {len(frames)}, {left:.0f} s to go")
        batch = AtomsBatch.from_ase([atoms], cutoff=model.cutoff).to(model.device)
        with torch.no_grad():
            density = model(batch).density
        multipoles = density.cartesian
        charges.append(multipoles.charges.double().cpu().numpy())
        if multipoles.dipoles is not None:
            dipoles.append(multipoles.dipoles.double().cpu().numpy())
        widths = density.width.double().cpu().numpy()
    wide = None if widths is None or not widths.any() else widths
    return np.array(charges), np.array(dipoles) if dipoles else None, wide

"""Energies of the isolated atoms (E0s) of a run: from frames of single atoms, a fit or a mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from muse_lr.data.composition import fit_composition
from muse_lr.data.isolated import (
    SAME_ENERGY,
    IsolatedAtom,
    is_isolated,
    is_single_neutral,
    isolated_energies,
    listed,
)
from muse_lr.data.labels import LABELS
from muse_lr.data.reading import Frame
from muse_lr.errors import InputError
from muse_lr.model.config import ModelConfig
from muse_lr.train.config import Config, DataConfig

#: Largest number of energies that a note lists.
LISTED_VALUES = 8


def read_isolated(data: DataConfig, read: Callable[..., list[Frame]]) -> list[Frame]:
    """Read ``data.isolated_atoms``.

    Raises
    ------
    InputError
        If a frame is not one neutral atom with an energy.
    """
    if not data.isolated_atoms:
        return []
    keys = {label: key for label, key in data.keys.items() if label == "energy"}
    others = tuple(label for label in LABELS if label != "energy")
    frames = read(data.isolated_atoms, keys, required=("energy",), partial=others)
    for frame in frames:
        if not is_single_neutral(frame.atoms):
            raise InputError(
                f"{frame.source}: data.isolated_atoms must contain one neutral atom in each frame, "
                f"not {frame.atoms.get_chemical_formula()} with its total charge"
            )
    return frames


def take_isolated(frames: Sequence[Frame], model: ModelConfig) -> tuple[list[Frame], list[Frame]]:
    """Divide frames into those to train on and the isolated atoms that only give the E0s.

    If ``model.e0`` has numbers, the isolated atoms with just these energies are left out too. A run
    of its own written configuration thus has the same training set.
    """
    kept: list[Frame] = []
    taken: list[Frame] = []
    for frame in frames:
        (taken if _gives_e0(frame, model.e0) else kept).append(frame)
    return kept, taken


def _gives_e0(frame: Frame, e0: str | Mapping[str, float] | None) -> bool:
    if "energy" not in frame.labels or not is_isolated(frame.atoms):
        return False
    if isinstance(e0, Mapping):
        known = e0.get(frame.atoms.get_chemical_symbols()[0])
        return known is not None and abs(known - float(frame.labels["energy"])) <= SAME_ENERGY
    return e0 == "isolated"


def choose_e0(
    config: Config,
    elements: Sequence[str],
    frames: Sequence[Frame],
    isolated: Sequence[Frame],
    notes: list[str],
) -> dict[str, float] | None:
    """E0s that ``model.e0`` asks for, eV; None if it is not given.

    Parameters
    ----------
    config : Config
    elements : sequence of str
        Elements of the model.
    frames : sequence of Frame
        Training frames.
    isolated : sequence of Frame
        Isolated atoms that were taken from the training data or have a file of their own.
    notes : list of str
        Notes for the report, which this function appends to.

    Raises
    ------
    InputError
        If the isolated atoms of an element differ or are missing, or if there are no energies.
    """
    e0 = config.model.e0
    if config.data.isolated_atoms and e0 != "isolated":
        raise InputError("data.isolated_atoms is only used if model.e0 is isolated: set it")
    if e0 is None or isinstance(e0, dict):
        return e0
    if e0 == "isolated":
        return _of_isolated(elements, isolated)
    if e0 == "average":
        return dict.fromkeys(elements, _mean_energy(frames))
    if e0 == "zero":
        return dict.fromkeys(elements, 0.0)
    return fit_e0(frames, elements, notes)


def fit_e0(frames: Sequence[Frame], elements: Sequence[str], notes: list[str]) -> dict[str, float]:
    """Least-squares fit of the E0s to the energies of the frames, eV."""
    labeled = [frame for frame in frames if "energy" in frame.labels]
    energies = np.array([float(frame.labels["energy"]) for frame in labeled])
    fit = fit_composition([frame.atoms for frame in labeled], energies)
    if fit is None:
        raise InputError("data.train: no frame has an energy, so no E0s can be fitted")
    if fit.rank < len(fit.e0):
        notes.append(
            f"the E0s of {', '.join(fit.e0)} are not unique (rank {fit.rank}), so that the "
            "least-norm solution is used: give model.e0 if the energies of isolated atoms matter"
        )
    missing = [element for element in elements if element not in fit.e0]
    if missing:
        notes.append(f"no training frame contains {', '.join(missing)}, so that their E0 is 0")
    return {element: fit.e0.get(element, 0.0) for element in elements}


def _of_isolated(elements: Sequence[str], isolated: Sequence[Frame]) -> dict[str, float]:
    found = isolated_energies(map(_isolated_atom, isolated))
    missing = [element for element in elements if element not in found]
    if missing:
        raise InputError(
            f"model.e0 is isolated, but there is no isolated atom of {', '.join(missing)}: add a "
            "neutral frame of one atom with its energy to data.train or data.isolated_atoms, or "
            "set model.e0 to lstsq or to numbers"
        )
    return {element: found[element] for element in elements}


def _mean_energy(frames: Sequence[Frame]) -> float:
    energies = [
        float(frame.labels["energy"]) / len(frame.atoms)
        for frame in frames
        if "energy" in frame.labels
    ]
    if not energies:
        raise InputError("data.train: no frame has an energy, so that model.e0 has no average")
    return float(np.mean(energies))


def _isolated_atom(frame: Frame) -> IsolatedAtom:
    symbol = frame.atoms.get_chemical_symbols()[0]
    return IsolatedAtom(symbol, float(frame.labels["energy"]), frame.source)


def note_isolated(frames: Sequence[Frame], isolated: Sequence[Frame], notes: list[str]) -> None:
    """Name the isolated atoms that left the training data, and those that are trained on."""
    if isolated:
        atoms = [_isolated_atom(frame) for frame in isolated]
        values = ", ".join(f"{a.symbol} {a.energy:.6g}" for a in atoms[:LISTED_VALUES])
        notes.append(
            f"E0s are the energies of isolated atoms ({values} eV), which are not trained on: "
            f"{listed(atoms)}"
        )
    unused = [
        _isolated_atom(frame)
        for frame in frames
        if "energy" in frame.labels and is_isolated(frame.atoms)
    ]
    if unused:
        notes.append(
            f"{len(unused)} frames are isolated atoms ({listed(unused)}) and are trained on or "
            "validated like all others; model.e0: isolated takes the E0s from them"
        )

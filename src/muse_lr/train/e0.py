"""Energies of the isolated atoms (E0s) of a run: from frames of single atoms, a fit or a mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from muse_lr.data.composition import fit_composition
from muse_lr.data.isolated import (
    SAME_ENERGY,
    IsolatedAtom,
    is_free_atom,
    is_isolated,
    isolated_energies,
    listed,
)
from muse_lr.data.labels import LABELS
from muse_lr.data.reading import Frame
from muse_lr.data.structures import element_problems
from muse_lr.errors import InputError
from muse_lr.structures.state import read_state
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
        if not is_free_atom(frame.atoms):
            raise InputError(
                f"{frame.source}: data.isolated_atoms must contain one neutral atom in each frame, "
                f"without an electric field, not {_described(frame)}"
            )
    return frames


def _described(frame: Frame) -> str:
    state = read_state(frame.atoms)
    text = frame.atoms.get_chemical_formula()
    if state.total_charge:
        text += f" with a total charge of {state.total_charge:g}"
    return text + " in a field" * any(state.field)


def take_isolated(frames: Sequence[Frame], config: Config) -> tuple[list[Frame], list[Frame]]:
    """Divide frames into those to train on and the isolated atoms that are left out.

    Raises
    ------
    InputError
        If isolated atoms are to give the E0s and to be trained on.
    """
    e0, stay = config.model.e0, config.data.train_on_isolated
    if e0 == "isolated" and stay:
        raise InputError(
            "data.train_on_isolated is true, but model.e0: isolated takes the isolated atoms out "
            "of the training set: give the E0s as numbers to train on them"
        )
    kept: list[Frame] = []
    taken: list[Frame] = []
    for frame in frames:
        isolated = "energy" in frame.labels and is_isolated(frame.atoms)
        if isolated and stay is None and e0 != "isolated":
            isolated = isinstance(e0, Mapping) and _has_energy(e0, _isolated_atom(frame))
        (taken if isolated and not stay else kept).append(frame)
    return kept, taken


def complete_data(config: Config) -> DataConfig:
    """Data section that gives the same training set once ``model.e0`` has numbers."""
    e0, data = config.model.e0, config.data
    if data.train_on_isolated is not None or isinstance(e0, Mapping):
        return data
    return data.model_copy(update={"train_on_isolated": e0 != "isolated"})


def _has_energy(e0: Mapping[str, float], atom: IsolatedAtom) -> bool:
    return atom.symbol in e0 and abs(e0[atom.symbol] - atom.energy) <= SAME_ENERGY


def refuse_unknown(frames: Sequence[Frame], elements: Sequence[str] | None) -> None:
    """Raise an error for a frame with an element that the model does not know."""
    for frame in frames:
        for problem in element_problems(frame.atoms, elements):
            raise InputError(f"{frame.source}: {problem.message}")


def refuse_only_isolated(
    frames: Sequence[Frame], isolated: Sequence[Frame], where: str, fewest: int = 1
) -> None:
    """Raise an error if too few frames are left because others are isolated atoms."""
    if len(frames) < fewest and isolated:
        many = len(frames) + len(isolated)
        raise InputError(
            f"{where}: {len(isolated)} of {many} frames are isolated atoms "
            f"({listed([_isolated_atom(frame) for frame in isolated])}), which give E0s and are "
            f"not trained on, so that {len(frames)} are left: add other structures"
        )


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
    if config.data.isolated_atoms:
        _check_file(e0, isolated)
    if e0 is None or isinstance(e0, dict):
        return e0
    if e0 == "isolated":
        return _of_isolated(elements, isolated)
    if e0 == "average":
        return dict.fromkeys(elements, _mean_energy(frames))
    if e0 == "zero":
        return dict.fromkeys(elements, 0.0)
    return fit_e0(frames, elements, notes)


def _check_file(e0: str | Mapping[str, float] | None, isolated: Sequence[Frame]) -> None:
    """Refuse ``data.isolated_atoms`` unless its energies are used or equal to the numbers given.

    A written configuration has these numbers.
    """
    if e0 == "isolated":
        return
    if not isinstance(e0, Mapping):
        raise InputError("data.isolated_atoms is only used if model.e0 is isolated: set it")
    for atom in map(_isolated_atom, isolated):
        if atom.symbol in e0 and not _has_energy(e0, atom):
            raise InputError(
                f"data.isolated_atoms: {atom.source} has {atom.energy:.10g} eV for {atom.symbol}, "
                f"but model.e0 has {e0[atom.symbol]:.10g} eV: set model.e0 to isolated, or remove "
                "data.isolated_atoms"
            )


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
            "least-norm solution is used: give `model.e0` if the energies of isolated atoms matter"
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


def note_isolated(
    e0: str | Mapping[str, float] | None,
    frames: Sequence[Frame],
    isolated: Sequence[Frame],
    tests: Mapping[str, Sequence[Frame]],
    notes: list[str],
) -> None:
    """Name the isolated atoms that left the training data, and those that are trained on.

    Parameters
    ----------
    e0 : str or mapping or None
        ``model.e0``.
    frames : sequence of Frame
        Training and validation frames.
    isolated : sequence of Frame
        Isolated atoms that are not trained on.
    tests : mapping of str to sequence of Frame
        Test sets, whose isolated atoms are never left out.
    notes : list of str
        Notes for the report, which this function appends to.
    """
    if isolated:
        atoms = [_isolated_atom(frame) for frame in isolated]
        energies = {atom.symbol: atom.energy for atom in reversed(atoms)}
        values = ", ".join(f"{s} {energies[s]:.6g}" for s in sorted(energies)[:LISTED_VALUES])
        what = f"isolated atoms ({values} eV) are not trained on"
        if e0 == "isolated" or (isinstance(e0, Mapping) and all(_has_energy(e0, a) for a in atoms)):
            what = f"E0s are the energies of isolated atoms ({values} eV), which are not trained on"
        notes.append(f"{what}: {listed(atoms)}")
    unused = _isolated_atoms(frames)
    if unused:
        notes.append(
            f"{_frames_are(unused)} ({listed(unused)}), trained on or validated like all "
            "others; model.e0: isolated takes the E0s from them"
        )
    for name, found in tests.items():
        tested = _isolated_atoms(found)
        if tested:
            notes.append(
                f"test set {name}: {_frames_are(tested)} ({listed(tested)}), which count in its "
                "metrics like all others"
            )


def _frames_are(found: Sequence[IsolatedAtom]) -> str:
    return (
        "1 frame is an isolated atom"
        if len(found) == 1
        else f"{len(found)} frames are isolated atoms"
    )


def _isolated_atoms(frames: Sequence[Frame]) -> list[IsolatedAtom]:
    """Isolated atoms among frames, each source once."""
    found = {
        frame.source: _isolated_atom(frame)
        for frame in frames
        if "energy" in frame.labels and is_isolated(frame.atoms)
    }
    return list(found.values())

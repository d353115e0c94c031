"""Repulsive walls: energies that are high because two atoms are close together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from muse_lr.structures.neighbors import complete_cell, neighbor_list

#: Atoms are on a repulsive wall if they push each other apart by this multiple of the usual push,
#: which is at least the second number, eV/A.
PUSH, LEAST_PUSH = 3.0, 0.3
#: Largest energy of a wall relative to the push, in A per atom; that of Exp(-r / 0.3 A) is 0.3 A.
WALL_WIDTH = 2.0
#: Atoms are on a wall too if their distance is below SHORT times the shortest one of all but a FEW
#: of the other frames, relative to the covalent radii.
SHORT, FEW = 0.9, 0.1
#: They may be on a wall too if they are within LONGEST (A) and closer than their elements in all
#: frames that agree with the fit. This is likely if another outlier is closer still, or if CHANCE
#: exceeds the probability that one of the pairs of elements of a random frame is the closest.
LONGEST, CHANCE = 6.0, 0.05
#: Distances within this are equal, as bonds of rigid molecules, A.
SAME_DISTANCE = 1e-3
#: Number of frames from which the usual contacts and the shortest distances are taken.
SAMPLED, SAMPLED_DISTANCES = 64, 256

#: Atomic numbers of a pair of elements.
Pair = tuple[int, int]
#: Distance and atoms of the closest pair of each two elements, and whether they may repel.
Closest = dict[Pair, tuple[float, int, int, bool]]
Forces = Mapping[int, NDArray[np.float64] | None]


@dataclass(frozen=True)
class Wall:
    """Two atoms whose repulsion may explain an energy above the fit.

    Attributes
    ----------
    text : str
    likely : bool
        False if the atoms may be the closest ones of the file by chance.
    """

    text: str
    likely: bool


def find_walls(
    structures: Mapping[int, Atoms], forces: Forces, excesses: Mapping[int, float]
) -> dict[int, Wall]:
    """Describe the two atoms whose repulsion may explain that an energy is above the fit.

    Parameters
    ----------
    structures : mapping of int to ase.Atoms
        Frames whose energies agree with the fit, and those of ``excesses``.
    forces : mapping of int to ndarray or None
        (n_atoms, 3) in eV/A of each frame.
    excesses : mapping of int to float
        Energies above the fit of the outliers, eV/atom.

    Returns
    -------
    dict of int to Wall
        Of the frames that may be on a wall.
    """
    if not excesses:
        return {}
    others = [frame for frame in structures if frame not in excesses]
    ratio, push = _usual_contact(structures, forces, _sample(others, SAMPLED))
    usual: dict[Pair, list[float]] = {}
    for frame in _sample(others, SAMPLED_DISTANCES):
        for pair, (distance, *_) in _closest(structures[frame]).items():
            usual.setdefault(pair, []).append(distance)
    closest = {frame: _closest(structures[frame], forces[frame]) for frame in excesses}
    found = {}
    for frame, excess in excesses.items():
        text = _strong_push(structures[frame], forces[frame], excess, push)
        text = text or _short_contact(structures[frame], ratio)
        wall = _among_the_shortest(frame, closest, usual) if text is None else Wall(text, True)
        if wall is not None:
            found[frame] = wall
    return found


def _sample(frames: Sequence[int], count: int) -> Sequence[int]:
    return frames[:: max(1, len(frames) // count)]


def _strong_push(
    atoms: Atoms, forces: NDArray[np.float64] | None, excess: float, usual: float
) -> str | None:
    first, second, vectors, _ = _contacts(atoms)
    if forces is None or not len(first):
        return None
    push = _pushes(forces, first, second, vectors)
    k = int(push.argmax())
    if push[k] < PUSH * usual or excess > WALL_WIDTH * push[k]:
        return None
    return (
        f"atoms {first[k]} and {second[k]}, {np.linalg.norm(vectors[k]):.2f} A apart, push each "
        f"other away with {push[k]:.3g} eV/A"
    )


def _short_contact(atoms: Atoms, usual: float) -> str | None:
    first, second, vectors, ratios = _contacts(atoms)
    if not len(ratios) or ratios.min() >= SHORT * usual:
        return None
    k = int(ratios.argmin())
    length = np.linalg.norm(vectors[k])
    return f"atoms {first[k]} and {second[k]} are only {length:.2f} A apart"


def _among_the_shortest(
    frame: int, closest: Mapping[int, Closest], usual: Mapping[Pair, Sequence[float]]
) -> Wall | None:
    found = None
    for pair, (distance, i, j, repel) in closest[frame].items():
        others = usual.get(pair, ())
        if not repel or not others or distance > min(others) - SAME_DISTANCE:
            continue
        shorter = any(known[pair][0] < distance for known in closest.values() if pair in known)
        chance = len(closest[frame]) / len(others)
        likely = shorter or chance <= CHANCE
        if found is None or likely:
            one, two = (chemical_symbols[z] for z in pair)
            text = (
                f"atoms {i} and {j}, {distance:.2f} A apart, are among the closest {one}-{two} "
                "pairs of the file"
            )
            found = Wall(text, likely)
            if likely:
                break
    return found


def _usual_contact(
    structures: Mapping[int, Atoms], forces: Forces, frames: Sequence[int]
) -> tuple[float, float]:
    """Shortest relative distance of most frames, and the median of their strongest push, eV/A."""
    ratios, pushes = [], []
    for frame in frames:
        first, second, vectors, found = _contacts(structures[frame])
        force = forces[frame]
        if not len(found):
            continue
        ratios.append(found.min())
        if force is not None:
            pushes.append(_pushes(force, first, second, vectors).max())
    shortest = float(np.quantile(ratios, FEW)) if ratios else 0.0
    return shortest, max(float(np.median(pushes)) if pushes else 0.0, LEAST_PUSH)


def _closest(atoms: Atoms, forces: NDArray[np.float64] | None = None) -> Closest:
    """Distance and atoms of the closest pair of each two elements, within :data:`LONGEST`.

    Elements that are farther apart have the distance LONGEST.
    """
    first, second, vectors = _pairs(atoms, LONGEST)
    lengths = np.linalg.norm(vectors, axis=1)
    numbers = np.sort(atoms.numbers[np.stack([first, second], 1)], axis=1)
    repel = np.ones(len(first), bool)
    if forces is not None:
        repel = _pushes(forces, first, second, vectors) > 0
    elements, counts = np.unique(atoms.numbers, return_counts=True)
    found: Closest = {}
    for a, one in enumerate(elements):
        for b, two in enumerate(elements[a:], a):
            if a == b and counts[a] == 1 and not atoms.pbc.any():
                continue
            chosen = np.flatnonzero((numbers == (one, two)).all(1))
            pair = int(one), int(two)
            if len(chosen):
                k = chosen[lengths[chosen].argmin()]
                found[pair] = float(lengths[k]), int(first[k]), int(second[k]), bool(repel[k])
            else:
                found[pair] = LONGEST, 0, 0, False
    return found


def _pushes(
    forces: NDArray[np.float64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    vectors: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n_pairs,) mean force that drives the atoms of each pair apart, eV/A."""
    lengths = np.linalg.norm(vectors, axis=1)
    pushes: NDArray[np.float64] = np.sum((forces[second] - forces[first]) * vectors, axis=1)
    return pushes / (2 * lengths)


def _contacts(
    atoms: Atoms,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Pairs (first, second), vectors to the second, and distances relative to covalent radii."""
    radii = covalent_radii[atoms.numbers]
    first, second, vectors = _pairs(atoms, 3.0 * float(radii.max()))
    ratios = np.linalg.norm(vectors, axis=1) / (radii[first] + radii[second])
    return first, second, vectors, ratios


def _pairs(
    atoms: Atoms, cutoff: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs (first, second) within a cutoff and the vectors to the second."""
    cell = complete_cell(atoms.cell.array, atoms.pbc)
    edges, shifts = neighbor_list(atoms.positions, cell, atoms.pbc, cutoff)
    second, first = edges
    return first, second, atoms.positions[second] - atoms.positions[first] + shifts @ cell

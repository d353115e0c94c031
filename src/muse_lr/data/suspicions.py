"""Warnings about unusual frames, and the search for duplicate frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.data.structures import close_pair, one_periodic_axis
from muse_lr.structures.neighbors import complete_cell
from muse_lr.structures.state import is_whole, read_state, state_doubts

#: Largest net force of a frame without a warning, eV/A.
NET_FORCE = 1e-2
#: Atoms closer than this give a warning, A; the shortest bonds are 0.74 A.
CLOSE = 0.5
#: Largest deviation of the sum of the charges from the total charge, e.
CHARGE_SUM = 0.01
#: Largest difference of two energies of the same structure, eV.
SAME_ENERGY = 1e-3
#: Largest component of the sum of the Born charges minus the total charge, e.
BEC_SUM = 0.1
#: Born charges count as transposed if transposing reduces the residual to this fraction.
TRANSPOSED_SHARE = 0.1


def find_suspicions(
    atoms: Atoms, labels: Mapping[str, NDArray[np.float64]]
) -> Iterator[tuple[str, str, float]]:
    """Yield (kind, message, size) of each warning about a valid frame."""
    if one_periodic_axis(atoms):
        yield (
            "one axis",
            "periodic along one axis only, which models do not support: use FFF, TTF or TTT",
            0,
        )
    cell = complete_cell(atoms.cell.array, atoms.pbc)
    close = close_pair(atoms.positions, cell, atoms.pbc, CLOSE)
    if close is not None:
        yield "close", f"atoms {close[0]} and {close[1]} are only {close[2]:.2f} A apart", -close[2]
    if "forces" in labels:
        net = float(np.linalg.norm(labels["forces"].sum(0)))
        if net > NET_FORCE:
            share = 1000 * net / len(atoms)
            text = (
                f"the forces do not sum to zero: {net:.2g} eV/A remain, {share:.2g} meV/A per atom"
            )
            yield "net force", text, net
    if "stress" in labels and not np.allclose(labels["stress"], labels["stress"].T, atol=1e-4):
        yield "stress", "the stress is not symmetric", 0
    if {"bec", "dipole"} <= set(labels) and not atoms.pbc.any():
        found, other = rotation_residuals(atoms, labels["bec"], labels["dipole"])
        if other < TRANSPOSED_SHARE * found:
            text = (
                "the Born charges agree with a rotation of the dipole only when transposed: they "
                "have the displacement first, so add .T to their key"
            )
            yield "transposed bec", text, found
    yield from _state_suspicions(atoms, labels)


def rotation_residuals(
    atoms: Atoms, bec: NDArray[np.float64], dipole: NDArray[np.float64]
) -> tuple[float, float]:
    r"""Residuals (e A) of the rotational sum rule, for Born charges as given and transposed.

    The dipole rotates with the molecule, so that
    :math:`\sum_i Z_{i,ab} \epsilon_{bcd} r_{id} = \epsilon_{acd} \mu_d`.
    """
    center = atoms.positions.mean(0)
    positions = atoms.positions - center
    dipole = dipole - read_state(atoms).total_charge * center
    epsilon = np.cross(np.eye(3)[:, None], np.eye(3)[None])  # (3, 3, 3) Levi-Civita
    expected = np.einsum("acd,d->ac", epsilon, dipole)
    turned = (np.einsum(f"n{order},bcd,nd->ac", bec, epsilon, positions) for order in ("ab", "ba"))
    first, second = (float(np.linalg.norm(found - expected)) for found in turned)
    return first, second


def _state_suspicions(
    atoms: Atoms, labels: Mapping[str, NDArray[np.float64]]
) -> Iterator[tuple[str, str, float]]:
    state = read_state(atoms)
    charge = state.total_charge
    if not is_whole(charge):
        yield "total charge", f"the total charge is {charge:g}, which is not an integer", 0
    for text in state_doubts(atoms, state):
        yield "state", text, 0
    if "charges" in labels:
        total = float(labels["charges"].sum())
        if abs(total - charge) > CHARGE_SUM:
            text = f"the charges sum to {total:.3f} e, but the total charge is {charge:g}"
            yield "charge sum", text, abs(total - charge)
    if "bec" in labels:
        excess = labels["bec"].sum(0) - charge * np.eye(3)
        size = float(np.abs(excess).max())
        if size > BEC_SUM:
            text = f"the Born charges do not sum to the total charge: {size:.2g} e remain"
            yield "bec sum", text, size


def find_duplicates(
    structures: Sequence[Atoms], energies: NDArray[np.float64], frames: Sequence[int]
) -> Iterator[tuple[Literal["error", "warning"], int, str]]:
    """Yield (severity, position, message) of structures identical to an earlier one.

    The order of the atoms must be the same. Different energies are an error, since no model can
    fit both.
    """
    seen: dict[bytes, int] = {}
    for position, atoms in enumerate(structures):
        first = seen.setdefault(_fingerprint(atoms), position)
        if first == position:
            continue
        difference = abs(energies[position] - energies[first])
        if difference > SAME_ENERGY:
            text = f"the same structure as frame {frames[first]}, but with another energy"
            yield "error", position, f"{text} ({difference:.3g} eV apart)"
        else:
            yield "warning", position, f"the same structure as frame {frames[first]}"


def _fingerprint(atoms: Atoms) -> bytes:
    """Bytes that are equal for structures with the same atoms, cell and state to 1e-6 A."""
    given = read_state(atoms)
    state = (given.total_charge, given.spin, given.field)
    geometry = np.round(np.concatenate([atoms.positions, atoms.cell.array]), 6) + 0.0
    return b"".join(
        [geometry.tobytes(), atoms.numbers.tobytes(), atoms.pbc.tobytes(), repr(state).encode()]
    )

"""What is unusual about a frame but does not forbid its use, and frames that occur twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.data.structures import close_pair, is_finite_number, one_periodic_axis
from muse_lr.structures.neighbors import complete_cell

#: Largest net force of a frame that passes without a word, eV/A.
NET_FORCE = 1e-2
#: Atoms nearer than this are suspicious, A; the shortest bonds are 0.74 A.
CLOSE = 0.5
#: Largest deviation of the sum of the charges from the total charge, e.
CHARGE_SUM = 0.01
#: Energies of one structure that differ by more contradict each other, eV.
SAME_ENERGY = 1e-3
#: Largest component that the sum of the Born charges may have beside the total charge, e.
BEC_SUM = 0.1
#: Born charges are suspected where their transposed leaves so small a share of the residual.
TRANSPOSED_SHARE = 0.1


def find_suspicions(
    atoms: Atoms, labels: Mapping[str, NDArray[np.float64]]
) -> Iterator[tuple[str, str, float]]:
    """(kind, message, size) of each unusual thing about a frame that is otherwise in order."""
    if one_periodic_axis(atoms):
        yield (
            "one axis",
            "periodic along one axis only, which models refuse: use FFF, TTF or TTT",
            0,
        )
    cell = complete_cell(atoms.cell.array, atoms.pbc)
    close = close_pair(atoms.positions, cell, atoms.pbc, CLOSE)
    if close is not None:
        yield "close", f"atoms {close[0]} and {close[1]} are only {close[2]:.2f} A apart", -close[2]
    if "forces" in labels:
        net = float(np.linalg.norm(labels["forces"].sum(0)))
        if net > NET_FORCE:
            yield "net force", f"the forces do not sum to zero: {net:.2g} eV/A remain", net
    if "stress" in labels and not np.allclose(labels["stress"], labels["stress"].T, atol=1e-4):
        yield "stress", "the stress is not symmetric", 0
    if {"bec", "dipole"} <= set(labels) and not atoms.pbc.any():
        found, other = rotation_residuals(atoms, labels["bec"], labels["dipole"])
        if other < TRANSPOSED_SHARE * found:
            text = (
                "the Born charges turn the dipole only when they are transposed: they have the "
                "displacement first, so add .T to their key"
            )
            yield "transposed bec", text, found
    yield from _state_suspicions(atoms, labels)


def rotation_residuals(
    atoms: Atoms, bec: NDArray[np.float64], dipole: NDArray[np.float64]
) -> tuple[float, float]:
    r"""How far Born charges, as they are and transposed, are from turning the dipole, e A.

    A rotation of a molecule turns its dipole,
    :math:`\sum_i Z_{i,ab} \epsilon_{bcd} r_{id} = \epsilon_{acd} \mu_d`.
    """
    center = atoms.positions.mean(0)
    positions = atoms.positions - center
    dipole = dipole - float(atoms.info.get("total_charge", 0)) * center
    epsilon = np.cross(np.eye(3)[:, None], np.eye(3)[None])  # (3, 3, 3) Levi-Civita
    expected = np.einsum("acd,d->ac", epsilon, dipole)
    turned = (np.einsum(f"n{order},bcd,nd->ac", bec, epsilon, positions) for order in ("ab", "ba"))
    first, second = (float(np.linalg.norm(found - expected)) for found in turned)
    return first, second


def _state_suspicions(
    atoms: Atoms, labels: Mapping[str, NDArray[np.float64]]
) -> Iterator[tuple[str, str, float]]:
    charge = atoms.info.get("total_charge", 0)
    if not is_finite_number(charge):
        return
    if float(charge) != round(float(charge)):
        yield "total charge", f"the total charge is {float(charge):g}, no integer", 0
    if "charges" in labels:
        total = float(labels["charges"].sum())
        if abs(total - float(charge)) > CHARGE_SUM:
            text = f"the charges sum to {total:.3f} e, the total charge is {float(charge):g}"
            yield "charge sum", text, abs(total - float(charge))
    if "bec" in labels:
        excess = labels["bec"].sum(0) - float(charge) * np.eye(3)
        size = float(np.abs(excess).max())
        if size > BEC_SUM:
            text = f"the Born charges do not sum to the total charge: {size:.2g} e remain"
            yield "bec sum", text, size
    spin = atoms.info.get("spin")
    if is_finite_number(spin):
        electrons = int(atoms.numbers.sum()) - round(float(charge))
        if float(spin) < 1 or (float(spin) - 1 - electrons) % 2:
            text = f"multiplicity {float(spin):g} does not go with {electrons} electrons"
            yield "spin", f"{text}: spin is 2S + 1", 0


def find_duplicates(
    structures: Sequence[Atoms], energies: NDArray[np.float64], frames: Sequence[int]
) -> Iterator[tuple[Literal["error", "warning"], int, str]]:
    """(severity, position, message) of structures that occurred before in the same order.

    An error if the energies contradict each other, since no model can fit both.
    """
    seen: dict[bytes, int] = {}
    for position, atoms in enumerate(structures):
        first = seen.setdefault(_fingerprint(atoms), position)
        if first == position:
            continue
        difference = abs(energies[position] - energies[first])
        if difference > SAME_ENERGY:
            text = f"the same structure as frame {frames[first]} with another energy"
            yield "error", position, f"{text} ({difference:.3g} eV apart)"
        else:
            yield "warning", position, f"the same structure as frame {frames[first]}"


def _fingerprint(atoms: Atoms) -> bytes:
    """Equal for structures that agree to 1e-6 A in order, cell, boundary and state."""
    state = (repr(atoms.info.get("total_charge")), repr(atoms.info.get("spin")))
    geometry = np.round(np.concatenate([atoms.positions, atoms.cell.array]), 6) + 0.0
    return b"".join(
        [geometry.tobytes(), atoms.numbers.tobytes(), atoms.pbc.tobytes(), repr(state).encode()]
    )

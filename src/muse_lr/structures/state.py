"""What a structure states about itself: total charge, spin, electric field and groups of atoms.

=====================  ============================================  ==============================
quantity               keys                                          default
=====================  ============================================  ==============================
total charge, e        ``info["total_charge"]``, ``info["charge"]``  0
spin 2S + 1            ``info["spin"]``, ``info["multiplicity"]``,   lowest one for the number of
                       ``info["spin_multiplicity"]``                 electrons
electric field, V/A    ``info["electric_field"]``                    0
groups of atoms        ``arrays["coarse_index"]``                    no groups
=====================  ============================================  ==============================

Files, batches, the calculator and phonons all read these quantities here, so that a structure means
the same everywhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muse_lr.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

#: Keys of the total charge and of the spin, in order of preference for messages.
CHARGE_KEYS = ("total_charge", "charge")
SPIN_KEYS = ("spin", "multiplicity", "spin_multiplicity")
FIELD_KEY = "electric_field"
STATE_KEYS = (*CHARGE_KEYS, *SPIN_KEYS, FIELD_KEY)
#: Name of the per-atom array of groups, and the value for atoms without a group.
COARSE_INDEX, NO_GROUP = "coarse_index", -1
#: Largest number of a group, which float64 still represents exactly.
LARGEST_GROUP = 2**52
#: Largest difference of two numbers that state the same, and of a whole number from an integer.
SAME = 1e-6
#: Largest difference of the sum of ASE's initial charges from the total charge, e.
INITIAL_CHARGES = 0.01


@dataclass(frozen=True)
class State:
    """Inputs of a model besides the geometry, as plain values that can be compared.

    Attributes
    ----------
    total_charge : float
        In e; 0 if it is not stated. A charge that is whole within ``SAME`` is rounded.
    charge_stated : bool
    spin : float
        Multiplicity 2S + 1. If it is not stated, the lowest one for the number of electrons; 1 if
        the total charge is not whole, because the number of electrons then has no parity.
    spin_stated : bool
    field : tuple of float
        Uniform external electric field, V/A.
    groups : tuple of int or None
        Group of each atom; None if the structure has no array ``coarse_index``.
    """

    total_charge: float
    charge_stated: bool
    spin: float
    spin_stated: bool
    field: tuple[float, float, float]
    groups: tuple[int, ...] | None


def read_state(atoms: Atoms) -> State:
    """Read everything that a structure states about itself.

    Raises
    ------
    InputError
        If a value is not a finite number, if two keys contradict each other, if the spin is below
        1 or not whole, or if a group is not a valid integer.
    """
    charge = _stated(atoms.info, CHARGE_KEYS)
    spin = _stated(atoms.info, SPIN_KEYS)
    total = 0.0 if charge is None else charge
    total = float(round(total)) if is_whole(total) else total
    if spin is not None and (spin < 1 - SAME or not is_whole(spin)):
        key = next(key for key in SPIN_KEYS if atoms.info.get(key) is not None)
        raise InputError(
            f"info[{key!r}] is {spin:g}: it is the multiplicity 2S + 1, a whole number from 1 on "
            "(1 for a singlet)"
        )
    return State(
        total_charge=total,
        charge_stated=charge is not None,
        spin=_lowest_spin(atoms, total) if spin is None else float(round(spin)),
        spin_stated=spin is not None,
        field=_field(atoms.info.get(FIELD_KEY)),
        groups=_groups(atoms),
    )


def state_doubts(atoms: Atoms, state: State) -> Iterator[str]:
    """Yield what a structure states that is possible but probably not meant."""
    if state.spin_stated:
        text = impossible_spin(state.spin, int(atoms.numbers.sum()), state.total_charge)
        if text is not None:
            yield text
    initial = atoms.arrays.get("initial_charges")
    if initial is not None:
        total = float(np.sum(initial))
        if not abs(total - state.total_charge) <= INITIAL_CHARGES:
            what = "stated" if state.charge_stated else "not stated"
            # Without the sum, which can differ in each frame: Python shows each text once.
            yield (
                "the initial charges of ASE, which are not used, do not sum to the total charge of "
                f"{state.total_charge:g} e ({what}): set info['total_charge'], or remove them"
            )


def impossible_spin(spin: float, protons: int, total_charge: float) -> str | None:
    """Why a multiplicity does not fit the number of electrons; None if it does."""
    electrons = protons - round(total_charge)
    if not is_whole(total_charge) or electrons % 2 != round(spin) % 2:
        return None
    parity = "even" if electrons % 2 == 0 else "odd"
    return (
        f"a spin (2S + 1) of {spin:g} is impossible for an {parity} number of "
        f"electrons (total charge {total_charge:g} e): check spin and total_charge"
    )


def warn_of_doubts(atoms: Atoms, state: State) -> None:
    """Warn of :func:`state_doubts`. Python shows each text once, whatever the structure."""
    for text in state_doubts(atoms, state):
        warnings.warn(text, UserWarning, stacklevel=1)


def combined_info(atoms: Atoms, total_charge: float, unpaired: float) -> dict[str, Any]:
    """``info`` of a structure made from ``atoms``, with another total charge and spin.

    Parameters
    ----------
    atoms : ase.Atoms
    total_charge : float
        In e; left out if it is 0 and ``atoms`` does not state a total charge.
    unpaired : float
        Number of unpaired electrons 2S; left out if it is 0 and ``atoms`` does not state a spin.
    """
    state = read_state(atoms)
    info = {key: v for key, v in atoms.info.items() if key not in (*CHARGE_KEYS, *SPIN_KEYS)}
    if state.charge_stated or total_charge != 0:
        info[CHARGE_KEYS[0]] = total_charge
    if state.spin_stated or unpaired != 0:
        info[SPIN_KEYS[0]] = unpaired + 1
    return info


def repeated_info(atoms: Atoms, copies: int) -> dict[str, Any]:
    """``info`` of a supercell of ``copies`` cells: total charge and unpaired electrons add up."""
    state = read_state(atoms)
    return combined_info(atoms, state.total_charge * copies, (state.spin - 1) * copies)


def is_whole(number: float) -> bool:
    """Whether a number is an integer within :data:`SAME`."""
    return abs(number - round(number)) <= SAME


def finite_number(value: Any) -> float | None:
    """Return a value of ``info`` as a float; None if it is not one finite real number."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        return None
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    if array.size != 1 or array.dtype.kind not in "iuf":
        return None
    number = float(array.reshape(()))
    return number if np.isfinite(number) else None


def _stated(info: Mapping[str, Any], keys: tuple[str, ...]) -> float | None:
    """The number under any of the keys; None if there is none."""
    found: dict[str, float] = {}
    for key in keys:
        value = info.get(key)
        if value is None:
            continue
        number = finite_number(value)
        if number is None:
            text = "".join(c if c.isprintable() else "?" for c in repr(value))[:40]
            raise InputError(f"info[{key!r}] is {text}: a finite number is needed")
        found[key] = number
    if not found:
        return None
    (first, number), *others = found.items()
    for key, other in others:
        if abs(other - number) > SAME:
            raise InputError(
                f"info[{first!r}] is {number:g} but info[{key!r}] is {other:g}: remove one"
            )
    return number


def _lowest_spin(atoms: Atoms, charge: float) -> float:
    if not is_whole(charge):
        return 1.0
    return 1.0 + (int(atoms.numbers.sum()) - round(charge)) % 2


def _field(stated: Any) -> tuple[float, float, float]:
    if stated is None:
        return (0.0, 0.0, 0.0)
    try:
        field = np.array(stated)
    except (TypeError, ValueError):
        field = np.zeros(0)
    if field.shape != (3,) or field.dtype.kind not in "iuf" or not np.isfinite(field).all():
        raise InputError(
            f"electric_field is {str(stated)[:60]!r}: three finite numbers in V/Å are needed"
        )
    x, y, z = (float(component) for component in field)
    return x, y, z


def _groups(atoms: Atoms) -> tuple[int, ...] | None:
    stated: NDArray[Any] | None = atoms.arrays.get(COARSE_INDEX)
    if stated is None:
        return None
    if stated.ndim != 1 or stated.dtype.kind not in "iuf":
        raise InputError(f"{COARSE_INDEX} must contain one whole number for each atom")
    wrong = np.flatnonzero(
        ~((stated >= NO_GROUP) & (stated <= LARGEST_GROUP) & (stated == np.round(stated)))
    )
    if len(wrong):
        raise InputError(
            f"{COARSE_INDEX} of atom {wrong[0]} is {stated[wrong[0]]}: it must be an integer "
            f"from 0 on, or {NO_GROUP} for an atom without a group"
        )
    return tuple(stated.astype(np.int64).tolist())

"""Labels (reference values) of a structure: names, shapes, units and default keys.

==============  ============  =======================================================
label           shape         unit and convention
==============  ============  =======================================================
energy          ()            eV, of the whole structure
forces          (n, 3)        eV/A
stress          (3, 3)        eV/A^3, ASE's sign: tension positive
dipole          (3,)          e A, about the coordinate origin
quadrupole      (3, 3)        e A^2, Theta_ab = sum q (3 r_a r_b - r^2 delta_ab) / 2 about
                              the coordinate origin
charges         (n,)          e
potential       (n,)          V, of all other atoms at each atom, averaged over its Gaussian
bec             (n, 3, 3)     e, Born effective charges dP_a/dr_b, row a, column b
polarization    (3,)          e A, dipole of the cell of a neutral periodic structure: the
                              polarization times the volume, from negative to positive
                              charge; known up to e times a lattice vector
polarizability  (3, 3)        e A^2/V, dP_a/dF_b of the whole structure at fixed atoms and, in
                              crystals, in the macroscopic field; A^3 / 14.3996
dielectric      (3, 3)        1, electronic dielectric tensor of a crystal
==============  ============  =======================================================

A stress is given as 3 x 3, 9 or 6 numbers (Voigt, ASE's order xx, yy, zz, yz, xz, xy), or as a
virial in eV under a key that contains "virial": stress = -virial / volume. Born effective charges
can be given as 9 numbers per atom and other tensors as 9 numbers, row by row. Born effective
charges that are stored with the displacement first, dP_b/dr_a, are read with ".T" appended to the
key: ``REF_bec.T``. There are several conventions and units for quadrupoles, polarizations and
polarizabilities, so that generic keys are not read as one. The traceless quadrupoles of Psi4 (used
in SPICE) are 2/3 of those defined here.

A key is searched in ``atoms.arrays``, then in ``atoms.info``, then in the results of the
calculator. ASE's reader of extended XYZ stores energy, forces, stress, dipole and charges there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.data.formats import printable
from muse_lr.errors import InputError, nearest
from muse_lr.structures.neighbors import has_volume
from muse_lr.structures.state import read_state


@dataclass(frozen=True)
class Label:
    """Definition of one label.

    Attributes
    ----------
    per_atom : bool
        True: one row per atom; False: one value per structure.
    shape : tuple of int
        Shape of one row.
    keys : tuple of str
        Default keys, in order of priority.
    unit : str
    """

    per_atom: bool
    shape: tuple[int, ...]
    keys: tuple[str, ...]
    unit: str


LABELS: dict[str, Label] = {
    "energy": Label(
        False,
        (),
        ("REF_energy", "energy", "dft_energy", "DFT_energy", "total_energy", "TotEnergy"),
        "eV",
    ),
    "forces": Label(
        True, (3,), ("REF_forces", "forces", "force", "dft_forces", "DFT_forces"), "eV/A"
    ),
    "stress": Label(
        False,
        (3, 3),
        ("REF_stress", "stress", "REF_virial", "REF_virials", "virial", "virials"),
        "eV/A^3",
    ),
    "dipole": Label(False, (3,), ("REF_dipole", "dipole"), "e A"),
    "quadrupole": Label(False, (3, 3), ("REF_buckingham_quadrupole",), "e A^2"),
    "charges": Label(True, (), ("REF_charges", "charges"), "e"),
    "potential": Label(True, (), ("REF_potential",), "V"),
    "bec": Label(True, (3, 3), ("REF_bec", "bec"), "e"),
    "polarization": Label(False, (3,), ("REF_polarization",), "e A"),
    "polarizability": Label(False, (3, 3), ("REF_polarizability",), "e A^2/V"),
    "dielectric": Label(
        False, (3, 3), ("REF_dielectric", "REF_dielectric_tensor", "dielectric_tensor"), ""
    ),
}

#: Labels that only a model with charges can predict.
OF_CHARGES = tuple(label for label in LABELS if label not in ("energy", "forces", "stress"))
#: Suffix of the key of Born effective charges stored with the displacement first.
TRANSPOSED = ".T"
#: Largest trace and asymmetry of a quadrupole, relative to its largest component.
TRACE_TOLERANCE = 1e-3
VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def check_label_names(names: Sequence[str], what: str) -> None:
    """Raise :class:`InputError` for unknown labels; ``what`` names their source."""
    for name in names:
        if name not in LABELS:
            known = ", ".join(LABELS)
            raise InputError(
                f"{what}: {name!r} is not a label{nearest(name, LABELS)}; known: {known}"
            )


def key_of(atoms: Atoms, keys: Sequence[str]) -> str | None:
    """First of several keys under which a structure has a value, or None."""
    return next((key for key in keys if has_key(atoms, key)), None)


def has_key(atoms: Atoms, key: str) -> bool:
    """Whether a structure has a value under this key."""
    key = key.removesuffix(TRANSPOSED)
    results = atoms.calc.results if atoms.calc is not None else {}
    return key in atoms.arrays or key in atoms.info or results.get(key) is not None


def available_keys(atoms: Atoms) -> list[str]:
    """Sorted keys of a structure that may hold a label."""
    results = atoms.calc.results if atoms.calc is not None else {}
    found = {key for key, value in results.items() if value is not None}
    found |= {str(key) for key in atoms.info}
    found |= set(atoms.arrays) - {"numbers", "positions"}
    return sorted(found)


def applies(label: str, atoms: Atoms) -> bool:
    """Whether a label is defined for a structure.

    A stress needs periodic directions and a volume. The quadrupole of a periodic system and the
    dipole of a crystal depend on the choice of periodic images and are not defined. The dipole of a
    slab is defined along its normal, and only this component is used. The polarization is that of a
    neutral periodic system, since that of a charged one depends on the origin. The dielectric
    tensor is that of a crystal.
    """
    periodic = bool(atoms.pbc.any())
    if label == "stress":
        return has_volume(atoms.cell.array, atoms.pbc)
    if label == "dipole":
        return not atoms.pbc.all()
    if label == "polarization":
        return periodic and _is_neutral(atoms)
    if label == "dielectric":
        return bool(atoms.pbc.all())
    return not (periodic and label == "quadrupole")


def _is_neutral(atoms: Atoms) -> bool:
    try:
        return read_state(atoms).total_charge == 0
    except InputError:  # reported with the structure, not with a label
        return True


def read_label(atoms: Atoms, label: str, key: str) -> NDArray[np.float64] | None:
    """Read a label in the shape of the package; None if the structure does not have the key.

    Parameters
    ----------
    atoms : ase.Atoms
    label : str
        A key of :data:`LABELS`.
    key : str
        Key of the label in the structure.

    Raises
    ------
    InputError
        If the value is not numeric or has another shape. NaN is accepted.
    """
    if not has_key(atoms, key):
        return None
    stored = key.removesuffix(TRANSPOSED)
    if stored != key and label != "bec":
        raise InputError(f"key {key!r} of {label}: only Born charges can be transposed with .T")
    if stored in atoms.arrays:
        raw = atoms.arrays[stored]
    elif stored in atoms.info:
        raw = atoms.info[stored]
    else:
        raw = atoms.calc.results[stored]
    values = _shaped(_numbers(raw, label, stored), atoms, label, stored)
    return values if stored == key else np.swapaxes(values, 1, 2)


def conflicting(atoms: Atoms, key: str) -> bool:
    """Whether the calculator's value under ``key`` differs from that in arrays or info.

    The value in arrays or info is used.
    """
    key = key.removesuffix(TRANSPOSED)
    results = atoms.calc.results if atoms.calc is not None else {}
    own = atoms.arrays.get(key, atoms.info.get(key))
    if own is None or results.get(key) is None:
        return False
    first, second = np.asarray(own), np.asarray(results[key])
    if first.dtype.kind not in "iuf" or first.shape != second.shape:
        return True
    return not np.allclose(first, second, rtol=1e-6, atol=1e-8, equal_nan=True)


def bad_value(values: NDArray[np.float64], label: str) -> tuple[str, int | None] | None:
    """Describe the first value that is not finite, with its atom; None if all are finite."""
    finite = np.isfinite(values)
    if finite.all():
        return None
    if not LABELS[label].per_atom:
        return f"the {label} is {_kind(values[~finite])}", None
    atom = int(np.flatnonzero(~finite.reshape(len(values), -1).all(1))[0])
    return f"the {label} of atom {atom} are {_kind(values[~finite])}", atom


def _kind(values: NDArray[np.float64]) -> str:
    return "NaN" if np.isnan(values).any() else "infinite"


def _numbers(raw: Any, label: str, key: str) -> NDArray[np.float64]:
    try:
        values = np.asarray(raw)
    except ValueError:  # rows of different lengths
        values = np.asarray(None)
    if values.dtype.kind not in "iuf":
        text = printable(repr(raw))[:40]
        raise InputError(f"{label} under {key!r} is {text}: numbers are needed")
    return values.astype(np.float64)


def _shaped(values: NDArray[np.float64], atoms: Atoms, label: str, key: str) -> NDArray[np.float64]:
    spec = LABELS[label]
    shape = (len(atoms), *spec.shape) if spec.per_atom else spec.shape
    if label == "stress":
        if values.shape == (6,):
            values = values[VOIGT]
        elif values.shape == (9,):
            values = values.reshape(3, 3)
        if values.shape == shape and "virial" in key.lower():
            values = -values / _volume(atoms, key)
    elif not spec.per_atom and spec.shape == (3, 3):
        if values.shape == (9,):
            values = values.reshape(3, 3)
        if label == "quadrupole":
            _check_traceless(values, key)
    elif values.shape in _flat_shapes(spec, len(atoms)):
        values = values.reshape(shape)
    if values.shape != shape:
        raise InputError(f"{label} under {key!r} has shape {values.shape}, not {shape}")
    return values


def _flat_shapes(spec: Label, num_atoms: int) -> list[tuple[int, ...]]:
    """Shapes in which files store a label besides its own: rows as numbers, or all in one row."""
    size = int(np.prod(spec.shape, dtype=np.int64))
    if spec.per_atom:
        return [(num_atoms, size), (num_atoms * size,), (num_atoms, *spec.shape)]
    return [(1, *spec.shape), (*spec.shape, 1), (size,)]


def _check_traceless(values: NDArray[np.float64], key: str) -> None:
    if values.shape != (3, 3) or not np.isfinite(values).all():
        return
    scale = TRACE_TOLERANCE * max(1.0, float(np.abs(values).max()))
    if abs(np.trace(values)) > scale or np.abs(values - values.T).max() > scale:
        raise InputError(
            f"quadrupole under {key!r} is not symmetric and traceless: use "
            "sum q (3 r r - r^2) / 2, not second moments"
        )


def _volume(atoms: Atoms, key: str) -> float:
    volume = abs(np.linalg.det(atoms.cell.array))
    if volume == 0:
        raise InputError(
            f"a virial under {key!r} needs a cell with a volume: give a stress instead"
        )
    return float(volume)

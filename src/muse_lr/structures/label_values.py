"""Labels of the structures of a batch: names, shapes and values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from muse_lr.errors import InputError, nearest

#: Labels with one row per atom. The other labels have one row per structure.
ATOM_LABELS = ("forces", "charges", "potential", "bec")
LABEL_SHAPES: dict[str, tuple[int, ...]] = {
    "energy": (),
    "forces": (3,),
    "stress": (3, 3),
    "dipole": (3,),
    "quadrupole": (3, 3),
    "charges": (),
    "potential": (),
    "bec": (3, 3),
    "polarization": (3,),
    "polarizability": (3, 3),
    "dielectric": (3, 3),
}


def label_values(value: ArrayLike | Tensor, name: str, num_atoms: int) -> NDArray[np.float64]:
    """Values of a label with one row per atom, or with one row."""
    if name not in LABEL_SHAPES:
        known = ", ".join(LABEL_SHAPES)
        raise InputError(f"{name!r} is not a label{nearest(name, LABEL_SHAPES)}; known: {known}")
    if value is None:
        raise InputError(f"label {name} is None: leave it out")
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    array, shape = real_numbers(value, f"label {name}"), LABEL_SHAPES[name]
    per_atom = name in ATOM_LABELS
    rows = num_atoms if per_atom else 1
    size = int(np.prod(shape, dtype=np.int64))
    accepted = [(rows, *shape), (rows, size)]
    if not per_atom:
        accepted += [shape, (size,)]
    if array.shape not in accepted:
        needed = (rows, *shape) if per_atom else shape
        raise InputError(f"label {name} has shape {array.shape}, not {needed}")
    return array.reshape(rows, *shape)


def real_numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Copy real numbers of any dtype, byte order and memory layout to contiguous float64."""
    array = np.asarray(values)
    if array.dtype.kind not in "iufO" or np.ma.is_masked(values):
        what = "masked values" if np.ma.is_masked(values) else f"the type {array.dtype}"
        raise InputError(f"{name} have {what}: real numbers are needed")
    try:
        return np.array(array, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} have the type object: real numbers are needed") from error

"""Structures with reference Hessians: extended XYZ, and the matrices in an archive beside it.

A file ``NAME.xyz`` (or ``.extxyz``, plain or compressed) has the structures, and
``NAME_hessians.npz`` in the same directory has the matrices. A frame names its matrix by
``info["hess_id"]``: the key in the archive is ``H`` and this text, as it is written here, or this
text alone. A frame without ``hess_id`` has no Hessian.

=========  ==============  ========================================================================
Hessian    (3 n, 3 n)      d2E / dr_i dr_j in eV/A^2, not weighted by masses. Row and column 3 i + a
                           belong to atom i of the frame and to the Cartesian axis a (x, y, z). In
                           periodic structures it is the matrix at Gamma: all images of an atom
                           move together.
=========  ==============  ========================================================================

Matrices are kept as they are given: the asymmetry of finite differences is their noise.
"""

from __future__ import annotations

import io
import lzma
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from ase.io.extxyz import read_xyz
from numpy.typing import ArrayLike, NDArray

from muse_lr.data.formats import COMPRESSED, place, printable, read_indexed
from muse_lr.data.structures import find_problems
from muse_lr.errors import InputError
from muse_lr.utils.files import atomic_write

Array = NDArray[np.float64]
#: Key of ``atoms.info`` with the name of the Hessian of a frame.
HESSIAN_ID = "hess_id"
#: Begin of the keys of the archive, which numpy could take for its own arguments otherwise.
PREFIX = "H"
#: End of the name of the archive, after the name of the file without its suffixes.
ARCHIVE = "_hessians.npz"
SUFFIXES = (".xyz", ".extxyz")


@dataclass(frozen=True)
class HessianFrame:
    """A structure with its reference Hessian.

    Attributes
    ----------
    atoms : ase.Atoms
        The structure, with all of ``info`` and ``arrays``.
    hessian : ndarray
        (3 n_atoms, 3 n_atoms) as in the file, eV/A^2.
    source : str
        ``"file.xyz, frame 12"``: the frame is counted from 0 in the whole file.
    """

    atoms: Atoms
    hessian: Array
    source: str


def archive_of(path: str | Path) -> Path:
    """Path of the archive of the Hessians of an extended XYZ file.

    Raises
    ------
    InputError
        If the file has another suffix.
    """
    path = Path(path)
    bare = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    if bare.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{printable(path)}: structures with Hessians are read from extended XYZ: name the "
            "file .xyz, .extxyz, .xyz.xz, .xyz.gz or .xyz.bz2"
        )
    return bare.with_name(bare.stem + ARCHIVE)


def read_hessians(path: str | Path) -> list[HessianFrame]:
    """Read the frames of a file that have a Hessian.

    Parameters
    ----------
    path : str or Path
        Extended XYZ; a selection of frames may follow (:mod:`muse_lr.data.selection`).

    Raises
    ------
    InputError
        If a file is missing or damaged, if no frame has a Hessian, or if a matrix is missing, has
        another shape or is not finite.
    """
    file, structures = read_indexed(path)
    archive = archive_of(file)
    named = [(index, atoms) for index, atoms in structures if HESSIAN_ID in atoms.info]
    if not named:
        raise InputError(
            f"{printable(path)}: no frame has a Hessian: give the frames info[{HESSIAN_ID!r}], the "
            f"name of a matrix in {printable(archive.name)}"
        )
    frames = []
    try:
        with np.load(archive, allow_pickle=False) as matrices:
            for index, atoms in named:
                source = place(file, index)
                frames.append(HessianFrame(atoms, _matrix(matrices, atoms, source), source))
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(
            f"{printable(archive)}: no such file; it must hold the Hessians of {printable(file)}"
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{printable(archive)}: not a readable .npz archive of numbers") from error
    return frames


def write_hessians(
    path: str | Path, frames: Sequence[Atoms], hessians: Sequence[ArrayLike]
) -> None:
    """Write structures and their Hessians, the archive first, each file atomically.

    The same input gives the same bytes.

    Parameters
    ----------
    path : str or Path
        ``NAME.xyz``, ``NAME.extxyz``, or either with ``.xz``.
    frames : sequence of ase.Atoms
        Their ``info`` and ``arrays`` are written, results of a calculator are not: put labels
        under ``info["REF_energy"]`` and ``arrays["REF_forces"]``. ``info["hess_id"]`` is kept where
        all frames have one, else the frames are named ``frame_0``, ``frame_1``, ...
    hessians : sequence of array_like
        (3 n_atoms, 3 n_atoms) each, eV/A^2; float32 and float64 are kept as they are.

    Raises
    ------
    InputError
        If there is not one Hessian for each frame, if one has another shape or is not finite, or
        if names repeat or do not survive being written.
    """
    path = Path(path)
    archive = archive_of(path)
    if path.suffix.lower() in COMPRESSED and path.suffix.lower() != ".xz":
        raise InputError(f"{printable(path)}: it can be written as .xyz or .xyz.xz")
    if not frames or len(frames) != len(hessians):
        raise InputError(
            f"{len(frames)} frames and {len(hessians)} Hessians: give one Hessian for each frame, "
            "and at least one"
        )
    stated = all(HESSIAN_ID in atoms.info for atoms in frames)
    copies: list[Atoms] = []
    matrices: dict[str, Any] = {}
    for index, (atoms, hessian) in enumerate(zip(frames, hessians, strict=True)):
        name = str(atoms.info[HESSIAN_ID]) if stated else f"frame_{index}"
        key = f"{PREFIX}{name}"
        if key in matrices:
            raise InputError(f"frame {index}: the {HESSIAN_ID} {name!r} is used twice")
        matrices[key] = _checked(np.asarray(hessian), atoms, f"frame {index}")
        copy = atoms.copy()
        copy.info[HESSIAN_ID] = name
        copies.append(copy)
    text = _text(copies)
    with atomic_write(archive, "wb") as handle:
        np.savez_compressed(handle, **matrices)
    content = text.encode()
    with atomic_write(path, "wb") as handle:
        handle.write(lzma.compress(content) if path.suffix.lower() == ".xz" else content)


def _matrix(matrices: Any, atoms: Atoms, source: str) -> Array:
    """The Hessian that a frame names, in float64."""
    name = str(atoms.info[HESSIAN_ID])
    key = next((key for key in (f"{PREFIX}{name}", name) if key in matrices), None)
    if key is None:
        raise InputError(f"{source}: the archive of Hessians has none of the name {name!r}")
    for problem in find_problems(atoms):
        raise InputError(f"{source}: {problem.message}")
    return _checked(matrices[key], atoms, source).astype(np.float64)


def _checked(matrix: NDArray[Any], atoms: Atoms, source: str) -> NDArray[Any]:
    """The matrix if it is a Hessian of the structure, else an :class:`InputError`."""
    shape = (3 * len(atoms),) * 2
    if matrix.shape != shape or matrix.dtype.kind not in "iuf":
        raise InputError(
            f"{source}: the Hessian has the shape {matrix.shape} of {matrix.dtype}, not {shape} of "
            f"numbers, for {len(atoms)} atoms"
        )
    if not np.isfinite(matrix).all():
        raise InputError(f"{source}: the Hessian has values that are not finite")
    return matrix


def _text(frames: Sequence[Atoms]) -> str:
    """Extended XYZ of the frames, whose names survive reading."""
    buffer = io.StringIO()
    write(buffer, list(frames), format="extxyz")
    text = buffer.getvalue()
    for atoms, back in zip(frames, read_xyz(io.StringIO(text), slice(None)), strict=True):
        name, found = atoms.info[HESSIAN_ID], str(back.info[HESSIAN_ID])
        if name != found:
            raise InputError(
                f"the {HESSIAN_ID} {name!r} would be read as {found!r}: begin it with a letter"
            )
    return text

"""Read structures from extended XYZ, ASE databases and all other formats of ASE.

Extended XYZ files are split into frames here, and each frame is parsed by ASE. ASE's own reader
stops silently at a blank line, does not report which frame is malformed, and seeks in compressed
files, which decompresses them repeatedly.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ase.db
import ase.io
from ase import Atoms
from ase.io import ParseError
from ase.io.extxyz import read_xyz
from ase.io.formats import UnknownFileTypeError

from muse_lr.data.selection import Source, parse_source, select_frames
from muse_lr.errors import InputError, nearest_file

COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".bz2": bz2.decompress,
}

#: Databases of ASE: suffix -> type.
DATABASES = {".db": "db", ".json": "json"}
#: Exceptions that parsers raise on malformed input; ASE has no common base class.
MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    ParseError,
    RuntimeError,
    StopIteration,
    SyntaxError,
    TypeError,
    UnknownFileTypeError,
    ValueError,
    json.JSONDecodeError,
    lzma.LZMAError,
    pickle.UnpicklingError,
    sqlite3.Error,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Unreadable:
    """A part of a file that could not be read as a structure.

    Attributes
    ----------
    message : str
        Description of the problem.
    frame : int or None
        Index of the frame, from 0; None if the problem concerns the whole file.
    """

    message: str
    frame: int | None = None


def printable(text: object) -> str:
    """Put ``text`` on one line and escape control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def place(path: str | Path, frame: int | None) -> str:
    """Describe a frame as ``"file.xyz, frame 12"``; frames are counted from 0, as in ASE."""
    return printable(path) if frame is None else f"{printable(path)}, frame {frame}"


def read_atoms(path: str | Path) -> list[Atoms]:
    """Read the structures of a file; see :func:`read_indexed`."""
    return [atoms for _, atoms in read_indexed(path)[1]]


def read_indexed(path: str | Path) -> tuple[str, list[tuple[int, Atoms]]]:
    """Read the structures of a file with their indices in it.

    Parameters
    ----------
    path : str or Path
        Extended XYZ (plain, .gz, .xz, .bz2), an ASE database (.db, .json; its key-value pairs and
        data are copied to ``atoms.info``) or any other format of ``ase.io.read``. A selection of
        the frames may follow (:mod:`muse_lr.data.selection`): ``"data.xyz@:40"``.

    Returns
    -------
    file : str
        Name of the file without the selection.
    structures : list of (int, ase.Atoms)
        The selected structures and their indices in the file.

    Raises
    ------
    InputError
        If the file is missing, unreadable, empty, truncated or malformed, or if it does not have
        what the selection names.
    """
    source = parse_source(path)
    structures = []
    for item in scan_file(source.file):
        if isinstance(item, Unreadable):
            where = path if item.frame is None else source.file
            raise InputError(f"{place(where, item.frame)}: {item.message}")
        structures.append(item)
    return source.file, choose(source, structures)


def choose(source: Source, structures: list[Atoms]) -> list[tuple[int, Atoms]]:
    """Selected structures of a file with their indices, from all its structures."""
    if not source.selections:
        return list(enumerate(structures))
    try:
        chosen = select_frames(source, [atoms.info for atoms in structures])
    except InputError as error:
        raise InputError(f"{printable(source.file)}: {error}") from error
    return [(index, structures[index]) for index in chosen]


def scan_file(path: str | Path) -> Iterator[Atoms | Unreadable]:
    """Yield the structures of a file in order, and :class:`Unreadable` for unreadable parts."""
    path = Path(path)
    problem = _not_a_file(path)
    if problem is not None:
        yield Unreadable(problem)
        return
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSED else ""
    if suffixes and suffixes[-1] in (".xyz", ".extxyz"):
        yield from _scan_extxyz(path, compression)
    elif suffixes and suffixes[-1] in DATABASES and not compression:
        yield from _read_all(path, partial(_read_database, kind=DATABASES[suffixes[-1]]))
    else:
        yield from _read_all(path, _read_other)


def _not_a_file(path: Path) -> str | None:
    """Return why a path cannot be read, or None."""
    try:
        if path.is_dir():
            return "this is a directory: give a file"
        if path.exists() and not path.is_file():
            return "this is not a regular file"
        with open(path, "rb") as handle:
            return None if handle.read(1) else "the file is empty"
    except OSError as error:
        near = printable(nearest_file(path)) if isinstance(error, FileNotFoundError) else ""
        return f"cannot read this file: {error.strerror}{near}"
    except ValueError:  # a null character in the name
        return "this is not a file name"


def _scan_extxyz(path: Path, compression: str) -> Iterator[Atoms | Unreadable]:
    try:
        content = path.read_bytes()
        if compression:
            content = COMPRESSED[compression](content)
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        yield Unreadable("this is not a text file, so it cannot be extended XYZ")
    except EOFError:
        yield Unreadable(f"the {compression} file is truncated: it ends early")
    except (lzma.LZMAError, zlib.error, ValueError, OSError) as error:
        if "ended before the end-of-stream" in str(error):
            yield Unreadable(f"the {compression} file is truncated: it ends early")
        else:
            yield Unreadable(f"not a valid {compression} file ({_first_line(error)})")
    else:
        yield from _split_frames(text)


def _split_frames(text: str) -> Iterator[Atoms | Unreadable]:
    """Split an extended XYZ file into frames and parse each."""
    lines = text.split("\n")
    cut_line = len(lines) - 1 if lines[-1].strip() else None  # no newline at the end of the file
    last = max((i for i, line in enumerate(lines) if line.strip()), default=-1)
    if last < 0:
        yield Unreadable("the file is empty")
    start = frame = 0
    while start <= last:
        size = _frame_size(lines[start])
        if size is None:
            what = repr(lines[start][:40]) if lines[start].strip() else "a blank line"
            message = f"line {start + 1} is {what}, but the number of atoms of a frame is expected"
            yield Unreadable(message, frame)
            return
        if size == 0:
            yield Unreadable("the frame has no atoms", frame)
            return
        end = start + 2 + size
        if end > last + 1:
            found = max(last - start - 1, 0)
            yield Unreadable(f"truncated: the file ends after {found} of {size} atoms", frame)
            return
        while end <= last and lines[end].lstrip().startswith("VEC"):
            end += 1
        if cut_line is not None and end == cut_line + 1 and _is_cut(lines[start + 2 : end]):
            yield Unreadable("truncated: the last line of the file is incomplete", frame)
            return
        yield _parse_frame("\n".join(lines[start:end]) + "\n", frame)
        start, frame = end, frame + 1


def _frame_size(line: str) -> int | None:
    try:
        size = int(line)
    except ValueError:
        return None
    return size if size >= 0 else None


def _is_cut(rows: list[str]) -> bool:
    """Whether the last row has fewer columns, or fewer decimals than all other rows have."""
    *complete, final = [row.split() for row in rows]
    if not complete:
        return False
    if len(final) < len(complete[0]):
        return True
    decimals = {len(row[-1].partition(".")[2]) for row in complete if row}
    # Up to three decimals may be written by hand, with different lengths.
    return min(decimals) == max(decimals) > 3 and len(final[-1].partition(".")[2]) < min(decimals)


def _parse_frame(text: str, frame: int) -> Atoms | Unreadable:
    try:
        return next(read_xyz(io.StringIO(text), 0))
    except MALFORMED as error:
        # ASE looks symbols up in a table.
        known = f"{_first_line(error)} is not an element" if isinstance(error, KeyError) else ""
        return Unreadable(f"malformed: {known or _first_line(error)}", frame)


def _read_all(path: Path, read: Callable[[str], list[Atoms]]) -> Iterator[Atoms | Unreadable]:
    try:
        structures = read(os.path.abspath(path))
    except MALFORMED as error:
        yield Unreadable(
            f"malformed, truncated, or not a format that ASE reads: {_first_line(error)}"
        )
        return
    structures = [atoms for atoms in structures if atoms is not None]
    if not structures:
        yield Unreadable("the file contains no structures")
    for frame, atoms in enumerate(structures):
        yield atoms if len(atoms) else Unreadable("the frame has no atoms", frame)


def _read_database(path: str, kind: str) -> list[Atoms]:
    structures = []
    with ase.db.connect(path, type=kind) as database:
        for row in database.select():
            atoms = row.toatoms(add_additional_information=True)
            extra = atoms.info
            atoms.info = {**extra.get("data", {}), **extra.get("key_value_pairs", {})}
            structures.append(atoms)
    return structures


def _read_other(path: str) -> list[Atoms]:
    structures = ase.io.read(path, index=":", do_not_split_by_at_sign=True)
    return list(structures) if isinstance(structures, list) else [structures]


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return printable(text[0][:160]) if text else type(error).__name__

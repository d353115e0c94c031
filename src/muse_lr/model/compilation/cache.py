"""Compiled programs on disk, in a directory of limited size that all processes share.

A program is a directory with ``program.pt2``, which is executable code, and ``about.json``, which
says what it was made from and for. It is found by a key of all of this, written under another name
and renamed when it is complete, so that processes never see a part of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from muse_lr import __version__
from muse_lr.errors import InputError
from muse_lr.utils.files import write_json

PROGRAM, ABOUT = "program.pt2", "about.json"
#: Size up to which programs are kept, MB, unless MUSE_LR_CACHE_MB says otherwise.
LIMIT_MB = 2000
#: Unfinished directories of processes that ended are removed after this time, s.
ABANDONED = 24 * 3600
#: What a program must share with the process that uses it, and what this is in a message.
OF_PROCESS = {
    "torch": "torch",
    "muse_lr": "muse_lr",
    "sources": "the files of muse_lr",
    "device": "the device",
    "processor": "the processor",
    "threads": "this number of threads:",
}


def directory() -> Path:
    """Directory of the programs: MUSE_LR_CACHE, or muse_lr in the cache directory of the user."""
    own = os.environ.get("MUSE_LR_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "muse_lr"


def limit_mb() -> float:
    """Size up to which programs are kept, MB.

    Raises
    ------
    InputError
        If MUSE_LR_CACHE_MB is not a positive number.
    """
    given = os.environ.get("MUSE_LR_CACHE_MB", str(LIMIT_MB))
    try:
        value = float(given)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise InputError(f"MUSE_LR_CACHE_MB is {given!r}: it must be a positive number of MB")
    return value


@cache
def sources() -> str:
    """Digest of the source files of the package, by which programs of other equations differ."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _processor(device: torch.device) -> str:
    """What the code is compiled for."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} {torch.cuda.get_device_capability(device)}"
    name, flags = platform.processor(), ""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            if key.strip() == "flags":
                flags = hashlib.sha256(value.encode()).hexdigest()[:8]
                break
    return " ".join(part for part in (platform.machine(), name, flags) if part)


def of_process(device: torch.device) -> dict[str, str]:
    """The values of :data:`OF_PROCESS` here."""
    return {
        "torch": torch.__version__,
        "muse_lr": __version__,
        "sources": sources(),
        "device": device.type,
        "processor": _processor(device),
        # Sums over edges are atomic for several threads, which is slower.
        "threads": str(torch.get_num_threads()),
    }


@dataclass(frozen=True)
class Entry:
    """A program on disk.

    Attributes
    ----------
    path : Path
        Its directory.
    about : dict
        What it was made from and for.
    megabytes : float
    used : float
        Time of its last use, s since 1970.
    """

    path: Path
    about: dict[str, Any]
    megabytes: float
    used: float


def read_entry(path: Path) -> Entry | None:
    """The program in a directory; None if there is none."""
    try:
        about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
        used = (path / ABOUT).stat().st_mtime
        size = sum(file.stat().st_size for file in path.iterdir())
    except (OSError, ValueError):
        return None
    return Entry(path, about, size / 1e6, used)


def entries() -> list[Entry]:
    """All programs, the last used ones first."""
    found = [read_entry(path) for path in _directories(hidden=False)]
    return sorted((e for e in found if e is not None), key=lambda entry: -entry.used)


def _directories(hidden: bool) -> list[Path]:
    try:
        paths = list(directory().iterdir())
    except OSError:
        return []
    return [p for p in paths if p.is_dir() and p.name.startswith(".") == hidden]


def find_or_make(
    about: Mapping[str, Any], make: Callable[[Path], Mapping[str, Any]]
) -> tuple[Entry, bool]:
    """Find a program, or make it.

    Parameters
    ----------
    about : mapping
        All that the program depends on.
    make : callable
        Writes a program to the given file, and returns more for ``about.json``.

    Returns
    -------
    Entry
    bool
        Whether the program was made now.
    """
    text = json.dumps(about, sort_keys=True)
    path = directory() / hashlib.sha256(text.encode()).hexdigest()[:32]
    found = read_entry(path)
    if found is not None:
        with suppress(OSError):
            os.utime(path / ABOUT)
        return found, False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise InputError(
            f"cannot write to the cache {path.parent}: {error.strerror or error}; set "
            "MUSE_LR_CACHE to another directory"
        ) from error
    try:
        more = make(temporary / PROGRAM)
        write_json(temporary / ABOUT, {**about, **more})
        with suppress(OSError):  # another process was faster, and its program is as good
            os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    made = read_entry(path)
    if made is None:
        raise InputError(f"the program in {path} was removed while it was written: try again")
    evict(keep=path)
    return made, True


def evict(keep: Path) -> None:
    """Remove the programs that were not used for longest, until all fit into the limit."""
    for path in _directories(hidden=True):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
    room = limit_mb()
    for entry in sorted(entries(), key=lambda entry: entry.path != keep):
        room -= entry.megabytes
        if room < 0 and entry.path != keep:
            _remove(entry.path)


def _remove(path: Path) -> None:
    """Remove a program. It loses its name first, so that no process finds a part of it."""
    with suppress(OSError):
        hidden = Path(tempfile.mkdtemp(dir=path.parent, prefix=".removed."))
        os.rename(path, hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def clear() -> int:
    """Remove all programs; return their number."""
    found = entries()
    for entry in found:
        _remove(entry.path)
    for path in _directories(hidden=True):
        shutil.rmtree(path, ignore_errors=True)
    return len(found)

"""Files of a run that grow: the log and the trajectories.

Each line and each frame is written by one call and flushed. A position in the file is remembered by
the checkpoint. When a run is resumed, everything after this position is cut off.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ase import Atoms
from ase.io import Trajectory
from ase.io.extxyz import write_extxyz

from muse_lr.errors import InputError
from muse_lr.simulate.settings import TrajectoryKind

LOG = "log.csv"


class GrowingFile:
    """A file to which whole records are appended.

    Parameters
    ----------
    path : Path
    size : int
        Number of bytes that are kept of an existing file.

    Raises
    ------
    InputError
        If the file cannot be written, or if it is shorter than ``size``.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        try:
            self._handle: IO[bytes] = open(path, "r+b" if size else "wb")  # noqa: SIM115
            if os.fstat(self._handle.fileno()).st_size < size:
                raise InputError(
                    f"{path} is shorter than at the last checkpoint: start again in another "
                    "directory"
                )
            self._handle.truncate(size)
            self._handle.seek(size)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        self.size = size

    def append(self, record: bytes) -> None:
        """Append a record."""
        try:
            self._handle.write(record)
            self._handle.flush()
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from error
        self.size += len(record)

    def sync(self) -> None:
        """Wait until the file is on disk."""
        os.fsync(self._handle.fileno())

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


class Log:
    """``log.csv``: one line for each copy at each logged step.

    Parameters
    ----------
    directory : Path
    size : int
        Bytes that are kept, as in :class:`GrowingFile`.
    """

    def __init__(self, directory: Path, size: int = 0) -> None:
        self._file = GrowingFile(directory / LOG, size)
        self.sync, self.close = self._file.sync, self._file.close

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.size

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append lines with the same columns; the first call also writes the names."""
        text = "" if self.size else ",".join(rows[0]) + "\n"
        for row in rows:
            values = (f"{v:.14g}" if isinstance(v, float) else str(v) for v in row.values())
            text += ",".join(values) + "\n"
        self._file.append(text.encode())


class ExtxyzTrajectory:
    """A trajectory in the extended XYZ format."""

    def __init__(self, path: Path, position: int = 0) -> None:
        self._file = GrowingFile(path, position)
        self.sync, self.close = self._file.sync, self._file.close

    @property
    def position(self) -> int:
        """Where the next frame begins: number of bytes."""
        return self._file.size

    def write(self, atoms: Atoms) -> None:
        """Append a frame."""
        text = io.StringIO()
        write_extxyz(text, [atoms])
        self._file.append(text.getvalue().encode())


class AseTrajectory:
    """A trajectory in ASE's binary format."""

    def __init__(self, path: Path, position: int = 0) -> None:
        self.path, self.position = path, position
        if position:
            _keep_frames(path, position)
        try:
            self._file = Trajectory(path, "a" if position else "w")
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        self.close = self._file.close

    def write(self, atoms: Atoms) -> None:
        """Append a frame."""
        self._file.write(atoms)
        self.position += 1

    def sync(self) -> None:
        """Wait until the file is on disk."""
        with open(self.path, "rb") as handle:
            os.fsync(handle.fileno())


def _keep_frames(path: Path, count: int) -> None:
    """Write the first frames of a trajectory anew."""
    temporary = path.with_name(f".{path.name}")
    try:
        with Trajectory(path) as old, Trajectory(temporary, "w") as new:
            if len(old) < count:
                raise InputError(
                    f"{path} has fewer frames than at the last checkpoint: start again in another "
                    "directory"
                )
            for index in range(count):
                new.write(old[index])
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def trajectory_name(copy: int, kind: TrajectoryKind) -> str:
    """Name of the trajectory of a copy."""
    return f"copy-{copy}.{kind}"


class Trajectories:
    """The trajectories of all copies; nothing for the kind ``none``.

    Parameters
    ----------
    directory : Path
    kind : {"extxyz", "traj", "none"}
    positions : sequence of int
        Position in the file of each copy from which on it is written; 0 for a new file.
    """

    def __init__(self, directory: Path, kind: TrajectoryKind, positions: Sequence[int]) -> None:
        self._files: list[ExtxyzTrajectory | AseTrajectory] = []
        for copy, position in enumerate(positions):
            path = directory / trajectory_name(copy, kind)
            if kind == "extxyz":
                self._files.append(ExtxyzTrajectory(path, position))
            elif kind == "traj":
                self._files.append(AseTrajectory(path, position))

    @property
    def positions(self) -> list[int]:
        """Positions of all files."""
        return [file.position for file in self._files]

    def write(self, copy: int, atoms: Atoms) -> None:
        """Append a frame to the trajectory of a copy."""
        if self._files:
            self._files[copy].write(atoms)

    def sync(self) -> None:
        """Wait until all files are on disk."""
        for file in self._files:
            file.sync()

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()

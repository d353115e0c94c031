"""metrics.csv and TensorBoard events: one row for each epoch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from muse_lr.errors import InputError
from muse_lr.utils.files import atomic_write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def silent(text: str) -> None:
    """Report nothing."""


class Record:
    """Writes the rows of a run as they come.

    Parameters
    ----------
    directory : Path
        Of the run.
    tensorboard : bool
        Whether to write TensorBoard's event files too.
    """

    def __init__(self, directory: Path, tensorboard: bool) -> None:
        self.path = directory / "metrics.csv"
        self.events: SummaryWriter | None = None
        self.tensorboard = tensorboard

    def open(self, history: Sequence[dict[str, float]]) -> None:
        """Begin with the rows that a resumed run has already; later ones were never finished."""
        if history:
            with atomic_write(self.path) as handle:
                _write_rows(handle, history, header=True)
        else:
            self.path.unlink(missing_ok=True)
        if self.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            step = len(history) + 1
            self.events = SummaryWriter(str(self.path.parent / "tensorboard"), purge_step=step)

    def add(self, row: dict[str, float]) -> None:
        """Append a row and flush it."""
        try:
            first = not self.path.exists()
            with self.path.open("a", encoding="utf-8", newline="") as handle:
                _write_rows(handle, [row], header=first)
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; the checkpoint is whole, continue "
                "with --resume"
            ) from error
        if self.events is not None:
            for name, value in row.items():
                if name != "epoch":
                    self.events.add_scalar(name, value, int(row["epoch"]))
            self.events.flush()

    def close(self) -> None:
        """End the event files."""
        if self.events is not None:
            self.events.close()


def _write_rows(handle: IO[str], rows: Sequence[dict[str, float]], header: bool) -> None:
    writer = csv.writer(handle, lineterminator="\n")
    if header:
        writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)

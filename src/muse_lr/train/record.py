"""Write metrics.csv and TensorBoard events, one row per epoch."""

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
    """Discard a line of progress."""


class Record:
    """Writer of the metrics of a run.

    Parameters
    ----------
    directory : Path
        Run directory.
    tensorboard : bool
        Whether to write TensorBoard event files as well.
    """

    def __init__(self, directory: Path, tensorboard: bool) -> None:
        self.path = directory / "metrics.csv"
        self.events: SummaryWriter | None = None
        self.tensorboard = tensorboard

    def open(self, history: Sequence[dict[str, float]]) -> None:
        """Start with the rows of a resumed run and drop rows that are later than its checkpoint."""
        if history:
            with atomic_write(self.path) as handle:
                _write_rows(handle, history, header=True)
        else:
            self.path.unlink(missing_ok=True)
        if self.tensorboard:
            step = len(history) + 1
            self.events = _summary_writer()(str(self.path.parent / "tensorboard"), purge_step=step)

    def add(self, row: dict[str, float]) -> None:
        """Append a row."""
        try:
            first = not self.path.exists()
            with self.path.open("a", encoding="utf-8", newline="") as handle:
                _write_rows(handle, [row], header=first)
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; the checkpoint is complete, continue "
                "with --resume"
            ) from error
        if self.events is not None:
            for name, value in row.items():
                if name != "epoch":
                    self.events.add_scalar(name, value, int(row["epoch"]))
            self.events.flush()

    def close(self) -> None:
        """Close the event files."""
        if self.events is not None:
            self.events.close()


def _summary_writer() -> type[SummaryWriter]:
    """TensorBoard's writer, or an error that says how to install it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "tensorboard":
            raise
        raise InputError(
            "training.tensorboard needs tensorboard, which is not installed: "
            "pip install 'muse_lr[tensorboard]'"
        ) from error
    return SummaryWriter


def _write_rows(handle: IO[str], rows: Sequence[dict[str, float]], header: bool) -> None:
    writer = csv.writer(handle, lineterminator="\n")
    if header:
        writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)

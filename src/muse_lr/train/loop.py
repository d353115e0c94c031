"""The training loop, for one process or for several processes of ``torchrun``."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from muse_lr.config.yaml import dump_yaml, load_yaml
from muse_lr.data.dataset import sizes_of
from muse_lr.errors import InputError
from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.serialization import save_model
from muse_lr.reporting.metric_units import errors_text
from muse_lr.reporting.run_report import write_run_report
from muse_lr.train.average import WeightAverage
from muse_lr.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from muse_lr.train.config import Config
from muse_lr.train.evaluate import measure
from muse_lr.train.finish import finish, read_finished
from muse_lr.train.optimizer import build_optimizer, set_rate
from muse_lr.train.ranks import Ranks
from muse_lr.train.record import Record, silent
from muse_lr.train.schedule import Schedule
from muse_lr.train.setup import Data, Setup, prepare
from muse_lr.train.step import add_gradients
from muse_lr.train.work import Batches, fingerprints, initial_weights, warmup_notes


def train(config: Config, resume: bool = False, report: Callable[[str], None] = silent) -> Path:
    """Train a model and return the run directory.

    Parameters
    ----------
    config : Config
        From :func:`muse_lr.train.config.load_config`.
    resume : bool
        Continue the run in the directory after its last complete epoch. The result is the same as
        that of an uninterrupted run. A finished run is not changed.
    report : callable
        Called with each line of progress.

    Raises
    ------
    InputError
        If the input is invalid, or the directory already contains a run.
    """
    ranks = Ranks()
    assert config.training.directory is not None  # set when the file was resolved
    directory = Path(config.training.directory)
    if not ranks.first:
        report = silent
    try:
        if resume and read_finished(directory):
            report(f"{directory} is already finished")
            if not (directory / "report.html").is_file():
                write_run_report(directory)
            return directory
        setup = prepare(config, report)
        _claim(directory, resume, setup)
        ranks.wait()  # no rank writes before all ranks have checked the directory
        run = Run(setup, directory, ranks, report)
        for note in setup.notes:
            report(f"note: {note}")
        if resume and run.checkpoint.exists():
            run.restore()
        run.fit()
        run.finish()
    finally:
        ranks.close()
    return directory


def _claim(directory: Path, resume: bool, setup: Setup) -> None:
    """Raise an error if the directory contains anything but the run to be continued."""
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    if not resume:
        raise InputError(
            f"{directory} exists: continue it with --resume, remove it, or choose another "
            "training.directory"
        )
    if (directory / "checkpoint.pt").exists():
        return
    written = directory / "config.yaml"
    if not written.is_file() or load_yaml(written) != setup.config.model_dump(mode="json"):
        raise InputError(
            f"{directory} is not empty and holds no run of this configuration: choose another "
            "training.directory"
        )


class Run:
    """One training run: model, optimizer, schedule, averaged weights and records.

    Parameters
    ----------
    setup : Setup
    directory : Path
    ranks : Ranks
    report : callable
    """

    def __init__(
        self, setup: Setup, directory: Path, ranks: Ranks, report: Callable[[str], None]
    ) -> None:
        self.setup, self.directory, self.ranks, self.report = setup, directory, ranks, report
        self.config = setup.config.training
        self.labels = tuple(self.config.loss)
        self.checkpoint = directory / "checkpoint.pt"
        self.model = setup.model.to(ranks.device(self.config.device))
        self.optimizer = build_optimizer(self.model, self.config)
        self.average = WeightAverage(self.model, self.config.ema)
        self.batches = Batches(sizes_of(setup.train.frames), self.config)
        steps = self.batches.total_steps
        setup.notes += warmup_notes(self.config, steps)
        self.schedule = Schedule(self.config.schedule, self.config.learning_rate, steps)
        self.progress = Progress(initial_weights=initial_weights(self.model))
        self.reached: set[str] = set()
        self.rate = 0.0
        self.record = Record(directory, self.config.tensorboard and ranks.first)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Digests of the data and of the E0s."""
        setup = self.setup
        tests = {name: dataset.frames for name, dataset in setup.test.items()}
        data = Data(setup.train.frames, setup.valid.frames, tests)
        return fingerprints(data, setup.config.model.e0)

    def restore(self) -> None:
        """Restore the state from the checkpoint."""
        data = load_checkpoint(self.checkpoint, self._config_dump(), self.fingerprints)
        self.progress = data["progress"]
        self.model.load_state_dict(data["model"])
        self.optimizer.load_state_dict(data["optimizer"])
        self.average.load(data["average"])
        self.schedule.state = data["schedule"]
        self.report(f"resumed after epoch {self.progress.epoch}")

    def fit(self) -> None:
        """Train the remaining epochs."""
        if self.ranks.first:
            dump_yaml(self._config_dump(), self.directory / "config.yaml")
            self.record.open(self.progress.history)
        start, spent = time.monotonic(), self.progress.seconds
        first = self.progress.epoch
        while self.progress.epoch < self.config.epochs and not self._stopped_early():
            epoch = self.progress.epoch + 1
            train_loss = self._train_epoch(epoch)
            with self.average.applied():
                self.model.eval()
                metrics = measure(
                    self.model, self.setup.valid, self.labels, self.config, self.ranks
                )
            valid_loss = metrics.loss()
            if not valid_loss < float("inf"):
                raise InputError(
                    f"the validation loss of epoch {epoch} is not finite: lower "
                    "training.learning_rate or training.gradient_clip"
                )
            self.progress.epoch = epoch
            self.progress.seconds = spent + time.monotonic() - start
            self._remember(train_loss, valid_loss, metrics.results("valid_"))
            self._report_epoch(start, epoch - first)
        self.record.close()

    def _stopped_early(self) -> bool:
        patience = self.config.early_stopping
        return patience is not None and (self.progress.epoch - self.progress.best_epoch >= patience)

    def _train_epoch(self, epoch: int) -> float:
        self.model.train()
        total = 0.0
        batches = self.batches.of(epoch)
        rates = self.schedule.rate(self.progress.step + np.arange(len(batches)))
        for indices, rate in zip(batches, rates.tolist(), strict=True):
            self.rate = rate
            set_rate(self.optimizer, rate)
            total += self.step(indices)
            self.progress.step += 1
            self.average.update(self.progress.step)
        stops = self.batches.stops[epoch - 1]
        self.progress.work.add_epoch(self.batches.order(epoch), stops, rates)
        if epoch == 1:
            check_reached(self.model, self.reached, self.ranks)
        return total / len(batches)

    def step(self, indices: list[int]) -> float:
        """Change the weights by one step on these structures and return the loss."""
        self.optimizer.zero_grad()
        loss = add_gradients(self.model, self.setup.train, indices, self.config, self.ranks)
        if self.progress.epoch == 0:
            named = self.model.named_parameters()
            self.reached |= {name for name, p in named if p.grad is not None}
        self.ranks.sum_gradients(self.model.parameters())
        value = float(self.ranks.sum(loss))
        if not value < float("inf"):
            sources = ", ".join(self.setup.train.frames[i].source for i in indices[:8])
            raise InputError(
                f"the loss is not finite in step {self.progress.step + 1}, with {sources}: lower "
                "training.learning_rate or training.gradient_clip, or check the data"
            )
        if self.config.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        return value

    def _remember(self, train_loss: float, valid_loss: float, metrics: dict[str, float]) -> None:
        progress = self.progress
        self.schedule.end_epoch(valid_loss)
        if valid_loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = valid_loss, progress.epoch
            progress.best_state = {k: v.clone() for k, v in self.average.values.items()}
        row = {
            "epoch": progress.epoch,
            "seconds": round(progress.seconds, 3),
            "learning_rate": self.rate,
            "train_loss": train_loss,
            "valid_loss": valid_loss,
            **metrics,
        }
        progress.history.append(row)
        if self.ranks.first:
            save_checkpoint(
                self.checkpoint,
                progress,
                self.model.state_dict(),
                self.optimizer.state_dict(),
                self.average.values,
                self.schedule.state,
                self._config_dump(),
                self.fingerprints,
            )
            self.record.add(row)

    def _report_epoch(self, start: float, done: int) -> None:
        row, total = self.progress.history[-1], self.config.epochs
        left = (time.monotonic() - start) / done * (total - self.progress.epoch)
        errors = errors_text(row, ("mae",), "valid_")
        self.report(
            f"epoch {self.progress.epoch}/{total}  loss {row['train_loss']:.4g}  valid: {errors}  "
            f"best {self.progress.best_epoch}  {_duration(left)} to go"
        )

    def finish(self) -> None:
        """Load the best averaged weights, save the model, evaluate it and write the report."""
        own = self.model.state_dict()
        best = {k: v.to(self.model.device) for k, v in self.progress.best_state.items()}
        self.model.load_state_dict({**own, **best})
        self.model.eval()
        if self.ranks.first:
            save_model(self.model, self.directory / "model.pt")
            extra = {"fingerprints": self.fingerprints, "processes": self.ranks.size}
            finish(self.model, self.setup, self.progress, self.directory, extra, self.report)
        self.ranks.wait()

    def _config_dump(self) -> dict[str, object]:
        return self.setup.config.model_dump(mode="json")


def check_reached(model: EnergyModel, reached: set[str], ranks: Ranks) -> None:
    """Check that every trainable parameter received a gradient during the first epoch.

    Raises
    ------
    InputError
        If some did not; the message names them.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    flags = torch.tensor([float(name in reached) for name in names], device=model.device)
    found = ranks.sum(flags).tolist()
    lost = [name for name, flag in zip(names, found, strict=True) if not flag]
    if lost:
        raise InputError(
            f"the loss does not depend on {len(lost)} parameters ({', '.join(lost[:5])}"
            f"{', ...' if len(lost) > 5 else ''}): they would stay untrained; add a loss term or "
            "a head that uses them, or remove the part of the model"
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"

"""Run a simulation in a directory: steps, failures, checkpoints and progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from ase import Atoms

from muse_lr.errors import InputError
from muse_lr.model.digest import model_digest, structure_digest
from muse_lr.reporting.wording import duration
from muse_lr.simulate import checkpoint
from muse_lr.simulate.failures import Failure
from muse_lr.simulate.recorder import Recorder
from muse_lr.simulate.selected import start_lines
from muse_lr.simulate.settings import Settings
from muse_lr.simulate.start import Simulation, prepare
from muse_lr.utils.files import write_json

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

SETTINGS = "settings.json"
#: Written with the report, at the end.
SUMMARY = "summary.json"
#: Seconds between two messages on the progress.
REPORT_SECONDS = 10.0


@dataclass(frozen=True)
class Finished:
    """A finished simulation.

    Attributes
    ----------
    simulation : Simulation
    recorder : Recorder
        Its files are closed.
    seconds : float
        Time of all steps, including those before a restart.
    """

    simulation: Simulation
    recorder: Recorder
    seconds: float

    @property
    def failures(self) -> list[Failure]:
        """Failures in the order in which they were found."""
        return self.recorder.failures


def simulate(
    model: EnergyModel,
    structures: Sequence[Atoms],
    settings: Settings,
    directory: Path,
    resume: bool = False,
    sources: Sequence[str] | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Finished:
    """Run all copies of the structures as one batch.

    Parameters
    ----------
    model : EnergyModel
    structures : sequence of ase.Atoms
        Each is copied ``settings.copies`` times for each of ``settings.temperatures``.
    settings : Settings
    directory : Path
        It must not exist unless ``resume`` is True.
    resume : bool
        Whether to continue from the checkpoint in the directory. The results are bit by bit those
        of a run that was not interrupted, on the same device and number of threads.
    sources : sequence of str, optional
        Description of each structure for messages.
    report : callable
        Receives lines on the progress.

    Raises
    ------
    InputError
        If the model does not support a structure, if the directory exists, or if there is nothing
        to resume or it belongs to another run. Nothing is written in these cases.
    """
    directory = Path(directory)
    found = checkpoint_of(directory, resume)
    names = sources or [f"structure {index}" for index in range(len(structures))]
    simulation = prepare(model, structures, names, settings)
    digests = {
        "model": model_digest(model),
        "structure": structure_digest(structures),
    }
    for line in start_lines(structures, names):
        report(line)
    if found is None:
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / SETTINGS, settings.model_dump(mode="json"))
        recorder, before = Recorder(simulation, directory), 0.0
        recorder.log(simulation)
        recorder.save(simulation, range(len(simulation.copies)))
        simulation.check.check(simulation.state, simulation.potential)
    else:
        saved = checkpoint.restore(found, simulation, digests)
        recorder, before = Recorder(simulation, directory, saved), saved["seconds"]
        report(_resumed(simulation, directory))
    try:
        seconds = _run(simulation, recorder, directory, digests, before, report)
    finally:
        recorder.close()
    return Finished(simulation, recorder, seconds)


def _resumed(simulation: Simulation, directory: Path) -> str:
    """Where a simulation continues, or that nothing is left to do."""
    step, steps = simulation.step, simulation.settings.steps
    if not len(simulation.state.copy):
        return f"{directory} is finished, all copies have failed: nothing to do"
    if step >= steps:
        return f"{directory} is finished, all {steps} steps are made: nothing to do"
    return f"continued at step {step} of {steps}"


def checkpoint_of(directory: Path, resume: bool) -> Path | None:
    """The checkpoint to continue from; None for a new run.

    Raises
    ------
    InputError
        If a new run would overwrite files.
    """
    path = directory / checkpoint.CHECKPOINT
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is not a directory: choose another --out")
    if not resume:
        if (directory / SUMMARY).exists():
            raise InputError(f"{directory} exists and is finished: choose another --out")
        if directory.is_dir() and any(directory.iterdir()):
            raise InputError(f"{directory} exists: use --resume to continue, or another --out")
        return None
    if path.exists():
        return path
    if directory.is_dir() and any(directory.iterdir()) and not (directory / SETTINGS).exists():
        raise InputError(f"{directory} is not the directory of a simulation: choose another --out")
    return None


def _run(
    simulation: Simulation,
    recorder: Recorder,
    directory: Path,
    digests: dict[str, str],
    before: float,
    report: Callable[[str], None],
) -> float:
    """Make the remaining steps; return the time of all steps, s."""
    settings, start = simulation.settings, time.monotonic()
    progress = Progress(simulation, report)
    while simulation.step < settings.steps and len(simulation.state.copy):
        number = simulation.step + 1
        logged = number % settings.log_every == 0 or number == settings.steps
        stress = logged and recorder.any_volume
        simulation.integrator.step(simulation.state, simulation.potential, number, stress)
        simulation.step = number
        reasons = simulation.potential.broken
        if reasons or number % settings.failure.every == 0 or number == settings.steps:
            reasons = simulation.check.check(simulation.state, simulation.potential)
        if logged:
            recorder.log(simulation)
        if number % settings.save_every == 0 or number == settings.steps:
            rows = range(len(simulation.state.copy))
            recorder.save(simulation, [row for row in rows if row not in reasons])
        if reasons:
            _drop(simulation, recorder, reasons, report)
        due = number % settings.checkpoint_every == 0 or number == settings.steps
        if due or not len(simulation.state.copy):
            more = recorder.state() | {"seconds": before + time.monotonic() - start}
            path = directory / checkpoint.CHECKPOINT
            checkpoint.save(path, simulation, digests, more)
        progress.tick()
    return before + time.monotonic() - start


def _drop(
    simulation: Simulation,
    recorder: Recorder,
    reasons: dict[int, str],
    report: Callable[[str], None],
) -> None:
    """Record the failed copies and go on with the others."""
    for failure in recorder.fail(simulation, reasons):
        report(f"copy {failure.copy} failed at {failure.time_ps:.4g} ps: {failure.reason}")
    state = simulation.state
    keep = torch.ones(len(state.copy), dtype=torch.bool, device=state.copy.device)
    keep[list(reasons)] = False
    simulation.state = state.select(keep)
    if bool(keep.any()):
        simulation.potential = simulation.potential.select(keep)


class Progress:
    """Reports step, temperature and time to go at intervals.

    Parameters
    ----------
    simulation : Simulation
    report : callable
        Receives the lines.
    """

    def __init__(self, simulation: Simulation, report: Callable[[str], None]) -> None:
        self.simulation, self.report = simulation, report
        self.start = self.last = time.monotonic()
        self.first_step = simulation.step

    def tick(self) -> None:
        """Report if the last report is long enough ago."""
        now = time.monotonic()
        if now - self.last < REPORT_SECONDS:
            return
        self.last = now
        simulation = self.simulation
        step, steps = simulation.step, simulation.settings.steps
        left = (now - self.start) / (step - self.first_step) * (steps - step)
        running = len(simulation.state.copy)
        if not running:
            return
        self.report(
            f"step {step} of {steps}, {step * simulation.settings.time_step / 1000:.3g} ps: "
            f"{running} of {len(simulation.copies)} copies run, {self._temperatures()}, "
            f"{duration(left)} to go"
        )

    def _temperatures(self) -> str:
        """Present temperature of the copies of each target."""
        simulation = self.simulation
        present: dict[float, list[float]] = {}
        for copy, temperature in zip(
            simulation.state.copy.tolist(), simulation.state.temperature().tolist(), strict=True
        ):
            present.setdefault(simulation.temperatures[copy], []).append(temperature)
        means = [f"{sum(values) / len(values):.0f}" for values in present.values()]
        targets = [f"{target:g}" for target in present]
        return f"temperature {', '.join(means)} K (target {', '.join(targets)} K)"

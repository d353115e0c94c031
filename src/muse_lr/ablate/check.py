"""Check the planned runs of a study as training would, without training and neighbor lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from muse_lr.ablate.report.tables import SHOWN_DIGITS
from muse_lr.ablate.study import Run, Study
from muse_lr.config.schema import validate
from muse_lr.data.dataset import fingerprint, sizes_of
from muse_lr.data.reading import Frame, read_frames
from muse_lr.errors import InputError
from muse_lr.reporting.html import Cell, Table
from muse_lr.reporting.wording import number
from muse_lr.train.config import Config
from muse_lr.train.possible import ImpossibleLossError
from muse_lr.train.setup import Data, Draft, draft, read_data
from muse_lr.train.work import (
    Work,
    fingerprints,
    initial_weights,
    planned_work,
    warmup_notes,
)
from muse_lr.utils.devices import find_device


@dataclass(frozen=True)
class CheckedRun:
    """A run that training would accept.

    Attributes
    ----------
    run : Run
        The run, without the losses that the study dropped.
    parameters : int
        Number of parameters of the model.
    frames : int
        Number of training structures.
    work : Work
        Steps, batches and learning rates.
    fingerprints : dict of str to str
        Digests of data and E0s.
    initial_weights : dict of str to str
        Digest of the initial weights of each part; only for the first seed.
    notes : tuple of str
        Notes of the check, which training would print too.
    """

    run: Run
    parameters: int
    frames: int
    work: Work
    fingerprints: dict[str, str] = field(default_factory=dict)
    initial_weights: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def check_runs(
    runs: Sequence[Run],
    study: Study,
    path: Path,
    report: Callable[[str], None] = lambda text: None,
) -> tuple[list[CheckedRun], list[str]]:
    """Check runs as training would: data, labels, elements, boundaries, parts and losses.

    Each data file is read once, and the model of each variant is built once.

    Parameters
    ----------
    runs : sequence of Run
    study : Study
    path : Path
        Study file, for messages.
    report : callable, optional
        Called with one line per variant.

    Returns
    -------
    checked : list of CheckedRun
        The runs of all variants that can be trained.
    problems : list of str
        One line for each variant that cannot, or for several with the same problem.
    """
    read = once(read_frames)
    work = _Planner()
    checked: list[CheckedRun] = []
    found: dict[str, list[str]] = {}
    for variant in dict.fromkeys(run.variant for run in runs):
        report(f"checking {variant}")
        try:
            checked += _check_variant([r for r in runs if r.variant == variant], study, read, work)
        except InputError as error:
            text = _mending(variant, error) if isinstance(error, ImpossibleLossError) else error
            found.setdefault(str(text), []).append(repr(variant))
    problems = [
        f"{path}: variant{'s' * (len(variants) > 1)} {', '.join(variants)}: {text}"
        for text, variants in found.items()
    ]
    return checked, problems


def once(read: Callable[..., list[Frame]]) -> Callable[..., list[Frame]]:
    """Reader that reads the same files once for all variants, whatever labels they require."""
    known: dict[Any, list[Frame]] = {}

    def reader(
        paths: Sequence[str | Path],
        keys: Mapping[str, str | Sequence[str]] | None = None,
        required: Sequence[str] = (),
        partial: Sequence[str] = (),
        elements: Sequence[str] | None = None,
    ) -> list[Frame]:
        names = tuple(sorted((keys or {}).items()))
        key = (tuple(map(str, paths)), names, tuple(partial), tuple(elements or ()))
        if key not in known:
            known[key] = read(paths, keys, partial=partial, elements=elements)
        frames = known[key]
        if any(not any(label in frame.labels for frame in frames) for label in required):
            return read(paths, keys, required, partial, elements)  # names the keys that are there
        return frames

    return reader


def _check_variant(
    runs: Sequence[Run], study: Study, read: Callable[..., list[Frame]], planner: _Planner
) -> list[CheckedRun]:
    first, config = runs[0], _config(runs[0])
    try:
        find_device(config.training.device)
    except InputError as error:
        raise InputError(f"training.device: {error}") from error
    data = read_data(config, read)
    dropped: dict[str, str] = {}
    try:
        found = draft(config, data, count_neighbors=False)
    except ImpossibleLossError as error:
        if not study.drop_impossible_losses:
            raise
        dropped = error.reasons
        found = draft(_config(_without(first, dropped)), data, count_neighbors=False)
    checked = []
    for run in runs:
        kept = _without(run, dropped)
        if run is not first:
            data = read_data(_config(kept), read)
        checked.append(_checked(kept, data, found, planner))
    return checked


def _checked(run: Run, data: Data, found: Draft, planner: _Planner) -> CheckedRun:
    parameters = sum(p.numel() for p in found.model.parameters())
    prints = fingerprints(data, found.model.config.e0, planner.digest)
    weights: dict[str, str] = {}
    if run.seed == found.config.training.seed:
        weights = initial_weights(found.model)
    else:
        prints.pop("E0s")  # fitted to the training data of the first seed
    config = _config(run)
    work = planner(data, config)
    notes = (*found.notes, *warmup_notes(config.training, work.steps))
    return CheckedRun(run, parameters, len(data.train), work, prints, weights, notes)


def plan_table(checked: Sequence[CheckedRun], finished: Sequence[Run]) -> Table:
    """Table of the planned runs, one row each."""
    rows = []
    for item in checked:
        work = item.work
        rows.append(
            [
                Cell(item.run.name),
                Cell("finished" if item.run in finished else "to run"),
                Cell(f"{item.parameters:,}"),
                Cell(str(work.epochs)),
                Cell(str(work.steps)),
                Cell(str(work.structures)),
                Cell(number(work.largest_rate)),
                Cell(work.batches[:SHOWN_DIGITS]),
            ]
        )
    columns = ["run", "state", "parameters", "epochs", "steps", "structures seen"]
    return Table([*columns, "largest rate", "batches"], rows)


def plan_notes(checked: Sequence[CheckedRun]) -> list[str]:
    """Each note of the check once, with the variants that it concerns unless these are all."""
    variants: dict[str, dict[str, None]] = {}
    for item in checked:
        for note in item.notes:
            variants.setdefault(note, {})[item.run.variant] = None
    total = len({item.run.variant for item in checked})
    return [
        f"note: {note}" if len(names) == total else f"note on {', '.join(names)}: {note}"
        for note, names in variants.items()
    ]


class _Planner:
    """Plans the work of runs; what is equal, as for most variants, is planned once."""

    def __init__(self) -> None:
        self.known: dict[str, Work] = {}
        self.digests: dict[tuple[int, ...], tuple[str, Sequence[Frame]]] = {}

    def digest(self, frames: Sequence[Frame]) -> str:
        """Digest of frames, computed once for the same objects."""
        key = tuple(map(id, frames))  # of living objects, since the frames are kept beside it
        if key not in self.digests:
            self.digests[key] = fingerprint(frames), frames
        return self.digests[key][0]

    def __call__(self, data: Data, config: Config) -> Work:
        training, sizes = config.training, sizes_of(data.train)
        schedule = (training.schedule, training.learning_rate, training.epochs)
        key = repr((training.batch, schedule, training.seed, sizes.tobytes()))
        if key not in self.known:
            self.known[key] = planned_work(sizes, training)
        return self.known[key]


def _config(run: Run) -> Config:
    return validate(Config, run.config, run.name)


def _without(run: Run, dropped: Mapping[str, str]) -> Run:
    """Run whose loss lacks some labels, with a note on each."""
    if not dropped:
        return run
    training = run.config["training"]
    loss = {label: weight for label, weight in training["loss"].items() if label not in dropped}
    if not loss:
        raise InputError("no loss is left after drop_impossible_losses: leave the variant out")
    notes = tuple(
        f"{run.variant}: training.loss.{label} was dropped, since it {reason}"
        for label, reason in dropped.items()
    )
    return replace(run, config={**run.config, "training": {**training, "loss": loss}}, notes=notes)


def _mending(variant: str, error: ImpossibleLossError) -> str:
    """Say what a variant cannot predict, and the line of the study that mends it."""
    lines = ", ".join(f"training.loss.{label}: null" for label in error.reasons)
    return (
        f"{error.problem}. Write variants: {variant}: {{{lines}}} beside the other overrides, or "
        "drop_impossible_losses: true"
    )

"""The best variant by the validation data, its model, and what to do with it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muse_lr.ablate.aggregate import Record, Results
from muse_lr.ablate.report.findings import late_falls
from muse_lr.ablate.report.outcome import (
    Outcome,
    main_metrics,
    outcomes,
    validation_errors,
)
from muse_lr.ablate.report.sentences import phrase
from muse_lr.ablate.statistics import Difference, mean_interval, paired_seeds
from muse_lr.data.selection import parse_source
from muse_lr.reporting.wording import code, duration, listed

#: File of the structure in the command, if the configuration names no data.
ANY_FILE = "FILE"
#: Epochs of a longer study, relative to those of a study whose losses still fell.
LONGER = 3


@dataclass(frozen=True, eq=False)
class Winner:
    """The variant with the lowest main error on the validation data.

    The test sets do not choose it, so that its errors on them are those on new data.

    Attributes
    ----------
    outcome : Outcome
        Validation errors of all variants, compared with the winner.
    record : Record
        Its run with the lowest error.
    second : str
        The next variant.
    """

    outcome: Outcome
    record: Record
    second: str

    @property
    def variant(self) -> str:
        """Name of the variant."""
        return self.record.run.variant

    @property
    def model(self) -> str:
        """Path of the model of its best run."""
        return shown(self.record.run.directory / "model.pt")

    def sentence(self) -> str:
        """Name the winner with its error, and how the next variant compares."""
        outcome = self.outcome
        text = (
            f"Best on the validation data: {code(self.variant)}, {outcome.error} "
            f"{outcome.value(self.variant)}"
        )
        change = outcome.changes.get(self.second)
        if change is not None:
            text += f"; there the {outcome.noun} of the next best, {code(self.second)}, is "
            text += phrase(change, outcome.metric)
        return f"{text}."


def find_winner(results: Results) -> Winner | None:
    """Best variant by the mean over the seeds that all variants have; None for one variant alone.

    Without a common seed, each variant counts with its own ones.
    """
    for metric in main_metrics(results):
        errors = validation_errors(results, metric)
        if len(errors) < 2:
            continue
        common = set.intersection(*(set(seeds) for seeds in errors.values()))
        mean = {
            variant: float(
                np.mean([v for seed, v in seeds.items() if seed in common or not common])
            )
            for variant, seeds in errors.items()
        }
        best, second = sorted(mean, key=mean.__getitem__)[:2]
        seed = min(errors[best], key=errors[best].__getitem__)
        record = next(r for r in results.of(best) if r.run.seed == seed)
        values = {v: mean_interval(list(seeds.values())) for v, seeds in errors.items()}
        changes = {second: change} if (change := _paired(errors[second], errors[best])) else {}
        return Winner(Outcome("", metric, best, values, changes), record, second)
    return None


def disagreement(results: Results, winner: Winner) -> list[str]:
    """A sentence on test sets on which another variant has the lowest error; none without."""
    others = {
        outcome.test: best
        for outcome in outcomes(results, (winner.outcome.metric,))
        if outcome.test
        and outcome.metric == winner.outcome.metric
        and (best := min(outcome.values, key=lambda v: outcome.values[v].value)) != winner.variant
    }
    if not others:
        return []
    named = listed([f"{code(best)} on {code(test)}" for test, best in others.items()])
    return [
        f"The lowest {winner.outcome.noun} on test data is that of {named}. Test sets do not "
        "choose: take validation data that are like your use if they are not (`data.valid`)."
    ]


def next_commands(results: Results, winner: Winner) -> dict[str, str]:
    """What to do next: a purpose and its command, such as dynamics of the winner."""
    commands = {"dynamics of this model": next_command(winner)}
    if longer := longer_command(results, winner):
        commands[f"the study with {LONGER} times the epochs{_longer_time(results)}"] = longer
    return commands


def longer_command(results: Results, winner: Winner) -> str:
    """Command of the same study with more epochs; empty if they promise nothing."""
    config, directory = winner.record.run.config, winner.record.run.directory
    epochs = (config.get("training") or {}).get("epochs")
    if not results.command or not epochs or not late_falls(results):
        return ""
    epochs = LONGER * int(epochs)
    out = directory.parent.parent
    out = out.with_name(f"{out.name}_{epochs}_epochs")
    return f"{results.command} --set training.epochs={epochs} --out {shlex.quote(shown(out))}"


def next_command(winner: Winner) -> str:
    """Command that runs dynamics of the winner, from a structure of its training data."""
    file = shlex.quote(_structure(winner.record))
    return f"muse-lr md {shlex.quote(winner.model)} {file} --ps 5"


def shown(path: Path) -> str:
    """A path as it is typed: relative to the working directory if it lies below it."""
    whole = path.absolute()
    return str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole)


def _paired(ours: dict[int, float], theirs: dict[int, float]) -> Difference | None:
    common = [seed for seed in ours if seed in theirs]
    if not common:
        return None
    return paired_seeds([ours[seed] for seed in common], [theirs[seed] for seed in common])


def _longer_time(results: Results) -> str:
    """Training time of a longer study, from that of this one; empty where it is not known."""
    known = [r.summary.get("seconds") for r in results.records if r.finished]
    seconds = LONGER * sum(value for value in known if value is not None)
    return f", {duration(seconds)} of training divided by the jobs" if seconds else ""


def _structure(record: Record) -> str:
    """A file of the data of a run: the training data, since models may extrapolate to others."""
    data = record.run.config.get("data") or {}
    sources = [data.get("train") or [], *(data.get("test") or {}).values()]
    files = [file for x in sources for file in ([x] if isinstance(x, str) else x)]
    # A selection would start one copy from each of its frames.
    return shown(Path(parse_source(files[0]).file)) if files else ANY_FILE

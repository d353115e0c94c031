"""Propose a study for a file: measure what its variants cost here, and plan for a given time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from muse_lr.ablate.proposal.measure import Candidate, Measured, measure
from muse_lr.ablate.proposal.planning import (
    PLANNED,
    SEEDS,
    SIZES,
    Plan,
    Size,
    Task,
    average_decay,
    learning_rate,
    make_plan,
    needed_seconds,
    seconds_of_seeds,
    smaller_studies,
    usable_sizes,
    warmup_steps,
)
from muse_lr.ablate.proposal.variants import base_multiscale, overrides, reference_of
from muse_lr.ablate.study import StudyError
from muse_lr.config.overrides import apply_override
from muse_lr.config.yaml import parse_yaml
from muse_lr.data.dataset import group_stops
from muse_lr.data.scaffold.choices import Choices
from muse_lr.data.scaffold.configuration import write_configuration
from muse_lr.data.scaffold.survey import Survey
from muse_lr.errors import InputError
from muse_lr.reporting.wording import duration, listed
from muse_lr.train.config import Config, resolve
from muse_lr.train.costs import Costs
from muse_lr.utils.machine import available_cores, available_memory_mb

#: Target number of atoms in a batch. A short study needs more steps rather than larger ones.
BATCH_ATOMS = 120
#: Time of the measurement: this fraction of the time of the study, between two limits, s.
MEASURED_SHARE, MEASURED_SECONDS = 0.08, (15.0, 45.0)
#: Largest number of choices of fewer variants that a message lists.
LISTED = 3
#: Factor of the times that a message proposes: measurements of one machine differ.
MARGIN = 1.2
#: Fraction of the available memory that the runs may take.
MEMORY_SHARE = 0.8


@dataclass(frozen=True)
class Proposal:
    """A planned study.

    Attributes
    ----------
    survey : Survey
        The data, with the frames that are held out and the test sets that are reduced.
    choices : Choices
    variants : dict of str to dict
        Name -> overrides.
    plan : Plan
    task : Task
    costs : dict of str to Costs
        Of each variant, at the size of the plan.
    seconds : float
        Time of planning and study together.
    all_seeds_minutes : int
        Time that is enough for the most seeds, min.
    """

    survey: Survey
    choices: Choices
    variants: dict[str, dict[str, Any]]
    plan: Plan
    task: Task
    costs: Mapping[str, Costs]
    seconds: float
    all_seeds_minutes: int

    @property
    def cutoff(self) -> float:
        """Cutoff of the backbone, A."""
        return self.survey.shells.choose(self.choices.cutoff).value


def propose(
    found: Survey,
    names: Sequence[str],
    seconds: float,
    report: Callable[[str], None],
    begun: float | None = None,
) -> Proposal:
    """Plan a study of these variants.

    Parameters
    ----------
    found : Survey
        The data, with a test set.
    names : sequence of str
        Variants.
    seconds : float
        Time of planning and study.
    report : callable
        Called with each line of progress.
    begun : float, optional
        ``time.monotonic()`` at the start of the planning; default: now.

    Raises
    ------
    StudyError
        If variants cannot be trained.
    InputError
        If the time is not enough for the smallest plan. The message says what is.
    """
    begun = time.monotonic() if begun is None else begun
    multiscale = base_multiscale(names)
    base = Choices(multiscale=multiscale, batch_atoms=BATCH_ATOMS, epochs=1)
    variants = {name: overrides(name, multiscale) for name in names}
    jobs = min(available_cores(), len(names) * SEEDS[0])
    task = _task(found, base, names, seconds, jobs)
    config = resolved(found, base)
    sizes = {size.name: _keys(size, found.shells.choose(size.cutoff).value) for size in SIZES}
    candidates = [
        Candidate(
            name, size.name, _plain(_changed(config, {**sizes[size.name], **changes})), size.steps
        )
        for size in SIZES
        for name, changes in variants.items()
    ]
    # A size is worth a measurement if its steps may fit the time of a run of one seed.
    run_seconds = PLANNED * seconds * jobs / len(names)
    report(f"measuring {len(names)} variants in {jobs} process{'es' * (jobs > 1)}")
    measured = measure(candidates, jobs, _limit(seconds), run_seconds, report)
    costs = _usable(measured, names)
    spent = time.monotonic() - begun
    task = replace(task, jobs=_jobs_of(jobs, costs), seconds=seconds - spent)
    plan = make_plan(task, costs)
    if not plan.enough:
        raise InputError(_too_short(task, plan, costs, seconds))
    choices = _planned(base, plan, task)
    survey = _reduced(found, plan.tests)
    least = _minutes(seconds_of_seeds(task, costs), seconds, spent)
    return Proposal(survey, choices, variants, plan, task, costs[plan.size.name], seconds, least)


def _minutes(needed: float, seconds: float, spent: float) -> int:
    """Minutes to give for this time of the study; more time has a longer measurement."""
    total = needed + spent
    return math.ceil((total + max(0.0, _limit(total) - _limit(seconds))) / 60)


def _limit(seconds: float) -> float:
    """Time of the measurement for a study of this time."""
    low, high = MEASURED_SECONDS
    return min(high, max(low, MEASURED_SHARE * seconds))


def _too_short(
    task: Task, plan: Plan, costs: Mapping[str, Mapping[str, Costs]], seconds: float
) -> str:
    """Message for a time that is too short: which time, or which fewer variants are enough."""
    spent = seconds - task.seconds

    def minutes(needed: float) -> int:
        # With a margin, since the next measurement may be slower.
        return _minutes(MARGIN * needed, seconds, MARGIN * spent)

    smaller = [
        (names, minutes(needed))
        for names, needed in smaller_studies(task, costs, reference_of(task.variants))
    ]
    fitting = [choice for choice in smaller if 60 * choice[1] <= seconds]
    most = [choice for choice in fitting if len(choice[0]) == len(fitting[0][0])]

    def without(names: Sequence[str]) -> str:
        return f"without {listed([name for name in task.variants if name not in names])}"

    again = "All these times include the planning, which is done again"
    text = (
        f"--minutes {seconds / 60:g} is not enough on this machine, where planning took "
        f"{duration(spent)}: the smallest useful study of these {len(task.variants)} variants (one "
        f"seed, {plan.steps} steps) needs --minutes {minutes(needed_seconds(plan))}, and three "
        f"seeds need --minutes {minutes(seconds_of_seeds(task, costs))}"
    )
    if most:
        choices = " or ".join(
            f"--variants {','.join(names)} ({least} min, {without(names)})"
            for names, least in most[:LISTED]
        )
        return f"{text}; fewer variants fit: {choices}. {again}"
    if smaller:
        names, least = min(smaller, key=lambda choice: choice[1])
        fastest = f"--variants {','.join(names)} ({without(names)})"
        return f"{text}; the fastest of them, {fastest}, need --minutes {least}. {again}"
    return f"{text}. {again}"


def resolved(found: Survey, choices: Choices) -> Config:
    """The configuration that is written with these choices."""
    raw = parse_yaml(write_configuration(found, ".", choices), "the configuration")
    return resolve(raw, "the configuration", Path(), "study")


def _changed(config: Config, changes: Mapping[str, Any]) -> Config:
    data = _plain(config)
    for key, value in changes.items():
        data = apply_override(data, key, value)
    return resolve(data, "the configuration", Path(), "study")


def _keys(size: Size, cutoff: float) -> dict[str, Any]:
    sizes = {"channels": size.channels, "layers": size.layers, "cutoff": cutoff}
    return {f"model.backbone.{key}": value for key, value in sizes.items()}


def _plain(config: Config) -> dict[str, Any]:
    return dict(config.model_dump(mode="json"))


def _planned(base: Choices, plan: Plan, task: Task) -> Choices:
    """The sizes of a plan."""
    return replace(
        base,
        channels=plan.size.channels,
        layers=plan.size.layers,
        cutoff=plan.size.cutoff,
        epochs=plan.epochs,
        max_frames=None if plan.frames == task.frames else plan.frames,
        learning_rate=learning_rate(plan.steps),
        warmup_steps=warmup_steps(plan.steps),
        ema=average_decay(plan.steps),
        for_time=True,
    )


def _task(found: Survey, base: Choices, names: Sequence[str], seconds: float, jobs: int) -> Task:
    limits = base.limits(found)
    sizes = np.array([len(atoms) for atoms in found.structures], np.int64)
    order = np.random.default_rng(0).permutation(len(sizes))
    batches = len(group_stops(sizes[order], limits.graphs, limits.atoms))
    return Task(
        seconds=seconds,
        jobs=jobs,
        variants=tuple(names),
        frames=len(sizes),
        valid_share=found.valid_share,
        graphs=len(sizes) / batches,
        tests={name: len(frames) for name, frames in found.test_structures.items()},
    )


def _usable(measured: Measured, names: Sequence[str]) -> dict[str, dict[str, Costs]]:
    if measured.problems:
        problems = [f"variant {name!r}: {text}" for name, text in measured.problems.items()]
        raise StudyError(problems)
    return usable_sizes(measured.costs, names)


def _jobs_of(jobs: int, costs: Mapping[str, Mapping[str, Costs]]) -> int:
    """Number of parallel runs whose memory fits."""
    memory = available_memory_mb()
    if memory is None:
        return jobs
    largest = max(cost.peak_memory_mb for known in costs.values() for cost in known.values())
    return max(1, min(jobs, int(MEMORY_SHARE * memory / largest)))


def _reduced(found: Survey, tests: Mapping[str, int]) -> Survey:
    """The data with test sets of these numbers of frames."""
    files = dict(found.tests)
    for name, count in tests.items():
        if count < len(found.test_structures[name]):
            files[name] = f"{files[name]}@random={count}"
    return replace(found, tests=files)

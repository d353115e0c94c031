"""Propose a study for a file: measure what its variants cost here, and plan for a given time."""

from __future__ import annotations

import math
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
    usable_sizes,
    warmup_steps,
)
from muse_lr.ablate.proposal.variants import base_multiscale, overrides
from muse_lr.ablate.study import StudyError
from muse_lr.config.overrides import apply_override
from muse_lr.config.yaml import parse_yaml
from muse_lr.data.dataset import group_stops
from muse_lr.data.formats import printable
from muse_lr.data.isolated import is_isolated
from muse_lr.data.scaffold.choices import Choices
from muse_lr.data.scaffold.configuration import write_configuration
from muse_lr.data.scaffold.survey import Survey
from muse_lr.data.selection import random_subset
from muse_lr.errors import InputError
from muse_lr.train.config import Config, resolve
from muse_lr.train.costs import Costs
from muse_lr.utils.machine import available_cores, available_memory_mb

#: Target number of atoms in a batch. A short study needs more steps rather than larger ones.
BATCH_ATOMS = 120
#: Time of the measurement: this fraction of the time of the study, between two limits, s.
MEASURED_SHARE, MEASURED_SECONDS = 0.08, (15.0, 45.0)
#: Fraction of the frames that are held out without a test set, and the most and fewest of them.
HELD_OUT, MOST_HELD_OUT, FEWEST_HELD_OUT = 0.1, 200, 2
#: Fewest frames from which a test set is held out.
FEWEST_FRAMES = 10
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
    """

    survey: Survey
    choices: Choices
    variants: dict[str, dict[str, Any]]
    plan: Plan
    task: Task
    costs: Mapping[str, Costs]


def hold_out(found: Survey) -> Survey:
    """Hold out a test set at random, if there is none.

    Raises
    ------
    InputError
        If there are too few frames, or if each element of a test frame cannot stay in training.
    """
    if found.tests:
        return found
    total = len(found.structures)
    if total < FEWEST_FRAMES:
        raise InputError(
            f"{printable(found.train)}: {total} frames are too few to hold out a test set: give "
            "one with --test"
        )
    count = min(MOST_HELD_OUT, max(FEWEST_HELD_OUT, round(HELD_OUT * total)))
    for seed in range(20):
        chosen = set(random_subset(total, count, seed, ""))
        tested = [found.structures[i] for i in sorted(chosen)]
        rest = [found.structures[i] for i in range(total) if i not in chosen]
        known = {symbol for atoms in rest for symbol in set(atoms.get_chemical_symbols())}
        missing = {symbol for atoms in tested for symbol in atoms.get_chemical_symbols()} - known
        if not missing and not any(map(is_isolated, tested)):
            break
    else:
        raise InputError(
            f"{printable(found.train)}: no random test set leaves all elements for training: give "
            "one with --test"
        )
    text = f",seed={seed}" if seed else ""
    return replace(
        found,
        train=f"{found.train}@random=-{count}{text}",
        structures=rest,
        tests={"held_out": f"{found.train}@random={count}{text}"},
        test_structures={"held_out": tested},
    )


def propose(
    found: Survey, names: Sequence[str], seconds: float, report: Callable[[str], None]
) -> Proposal:
    """Plan a study of these variants.

    Parameters
    ----------
    found : Survey
        The data, with a test set.
    names : sequence of str
        Variants.
    seconds : float
        Time of the study.
    report : callable
        Called with each line of progress.

    Raises
    ------
    StudyError
        If variants cannot be trained.
    InputError
        If the time is not enough for the smallest plan. The message says what is.
    """
    multiscale = base_multiscale(names)
    base = Choices(multiscale=multiscale, batch_atoms=BATCH_ATOMS, epochs=1)
    variants = {name: overrides(name, multiscale) for name in names}
    jobs = min(available_cores(), len(names) * SEEDS[0])
    task = _task(found, base, names, seconds, jobs)
    config = resolved(found, base)
    candidates = [
        Candidate(name, size.name, _plain(_changed(config, {**_keys(size), **changes})), size.steps)
        for size in SIZES
        for name, changes in variants.items()
    ]
    # A size is worth a measurement if its steps may fit the time of a run of one seed.
    run_seconds = PLANNED * seconds * jobs / len(names)
    report(f"measuring {len(names)} variants in {jobs} process{'es' * (jobs > 1)}")
    low, high = MEASURED_SECONDS
    limit = min(high, max(low, MEASURED_SHARE * seconds))
    measured = measure(candidates, jobs, limit, run_seconds, report)
    costs = _usable(measured, names)
    task = replace(task, jobs=_jobs_of(jobs, costs))
    plan = make_plan(task, costs)
    if not plan.enough:
        minutes = math.ceil(needed_seconds(plan) / 60)
        raise InputError(
            f"{seconds / 60:g} minutes are not enough on this machine: the smallest useful study "
            f"of these variants (one seed, {plan.steps} steps) needs --minutes {minutes}, or give "
            "fewer --variants"
        )
    choices = _planned(base, plan, task)
    survey = _reduced(found, plan.tests)
    return Proposal(survey, choices, variants, plan, task, costs[plan.size.name])


def resolved(found: Survey, choices: Choices) -> Config:
    """The configuration that is written with these choices."""
    raw = parse_yaml(write_configuration(found, ".", choices), "the configuration")
    return resolve(raw, "the configuration", Path(), "study")


def _changed(config: Config, changes: Mapping[str, Any]) -> Config:
    data = _plain(config)
    for key, value in changes.items():
        data = apply_override(data, key, value)
    return resolve(data, "the configuration", Path(), "study")


def _keys(size: Size) -> dict[str, Any]:
    sizes = {"channels": size.channels, "layers": size.layers, "cutoff": size.cutoff}
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

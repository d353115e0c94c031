"""Plan a study for a time: seeds, size of the backbone, epochs and number of frames.

The plan follows from measured costs (:class:`~muse_lr.train.costs.Costs`) and arithmetic. All
variants take the same steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from muse_lr.ablate.estimate import total_seconds
from muse_lr.data.scaffold.shells import USUAL
from muse_lr.train.costs import Amount, Costs

#: Fraction of the time that is planned. The rest is for what the machine does beside.
PLANNED = 0.85
#: Numbers of seeds, from the best. Intervals need three.
SEEDS = (3, 2, 1)
#: Fewest epochs and fewest steps of a useful run, and most steps.
FEWEST_EPOCHS, FEWEST_STEPS, MOST_STEPS = 5, 200, 20_000
#: Fraction of the time of a run for its tests; larger test sets are reduced.
TEST_SHARE = 0.2
#: Fewest structures of a test set that is reduced, and of a training set.
FEWEST_TESTED, FEWEST_TRAINED = 20, 20
#: Time of the report of a study, relative to that of the report of a run.
REPORT = 2.0
#: Learning rates of few and of many steps, and these numbers of steps.
RATES, RATE_STEPS = (1e-2, 2e-3), (500, 5000)


@dataclass(frozen=True)
class Size:
    """Size of the backbone.

    Attributes
    ----------
    name : str
    channels, layers : int
    cutoff : float
        Usual cutoff, A, near which the data give one.
    steps : int
        Fewest steps for which it is chosen. A larger backbone needs more to be better.
    """

    name: str
    channels: int
    layers: int
    cutoff: float
    steps: int


SIZES = (
    Size("small", 16, 2, USUAL[0], FEWEST_STEPS),
    Size("medium", 32, 2, USUAL[1], 1000),
    Size("large", 64, 3, USUAL[1], 4000),
)


@dataclass(frozen=True)
class Task:
    """What is planned.

    Attributes
    ----------
    seconds : float
        Time for the whole study, without its planning.
    jobs : int
        Number of parallel runs.
    variants : tuple of str
    frames : int
        Number of training and validation structures of the data.
    valid_share : float
        Fraction of them for validation.
    graphs : int
        Mean number of structures in a batch.
    tests : dict of str to int
        Name of each test set -> number of its structures.
    """

    seconds: float
    jobs: int
    variants: tuple[str, ...]
    frames: int
    valid_share: float
    graphs: float
    tests: Mapping[str, int]

    def training(self, frames: int) -> tuple[int, int]:
        """Numbers of training and validation structures among ``frames``."""
        valid = max(1, round(self.valid_share * frames))
        return frames - valid, valid


@dataclass(frozen=True)
class Plan:
    """A plan of a study.

    Attributes
    ----------
    size : Size
    seeds : int
    epochs, steps : int
    frames : int
        Number of training and validation structures.
    tests : dict of str to int
        Number of structures of each test set that are used.
    seconds : float
        Expected time of the study.
    enough : bool
        Whether it fits the time.
    """

    size: Size
    seeds: int
    epochs: int
    steps: int
    frames: int
    tests: Mapping[str, int]
    seconds: float
    enough: bool = True


def make_plan(task: Task, costs: Mapping[str, Mapping[str, Costs]]) -> Plan:
    """Choose the plan with the most seeds, then the largest backbone, then the most steps.

    Parameters
    ----------
    task : Task
    costs : mapping
        Name of each measured size -> costs of each variant.

    Returns
    -------
    Plan
        If the time is not enough for one seed of the smallest backbone with :data:`FEWEST_STEPS`,
        this plan, with ``enough`` False.
    """
    sizes = [size for size in SIZES if size.name in costs]
    for seeds in SEEDS:
        for size in reversed(sizes):
            steps = _most_steps(task, seeds, costs[size.name])
            if steps >= size.steps:
                return _plan(task, size, seeds, costs[size.name], steps)
    return replace(_plan(task, sizes[0], 1, costs[sizes[0].name], FEWEST_STEPS), enough=False)


def needed_seconds(plan: Plan) -> float:
    """Time to give to a study so that a plan fits."""
    return plan.seconds / PLANNED


def seconds_of_seeds(
    task: Task, costs: Mapping[str, Mapping[str, Costs]], seeds: int = SEEDS[0]
) -> float:
    """Time to give to a study for this number of seeds, with the smallest backbone."""
    size = next(size for size in SIZES if size.name in costs)
    return needed_seconds(_plan(task, size, seeds, costs[size.name], size.steps))


def smaller_studies(
    task: Task, costs: Mapping[str, Mapping[str, Costs]], reference: str
) -> list[tuple[tuple[str, ...], float]]:
    """Fewer variants, and the time (s) to give to the smallest plan of each choice.

    Returns
    -------
    list of (tuple of str, float)
        The choices of at least two variants with the reference: those of the most variants first,
        and the fastest first among them.
    """
    size = next(size for size in SIZES if size.name in costs)
    others = [name for name in task.variants if name != reference]
    found = []
    for count in range(len(others) - 1, 0, -1):
        choices = []
        for chosen in combinations(others, count):
            names = tuple(n for n in task.variants if n == reference or n in chosen)
            fewer = replace(task, variants=names)
            plan = _plan(fewer, size, 1, costs[size.name], FEWEST_STEPS)
            choices.append((names, needed_seconds(plan)))
        found += sorted(choices, key=lambda choice: choice[1])
    return found


def divide_steps(task: Task, steps: int) -> tuple[int, int]:
    """Number of epochs and of frames for about this many steps.

    All frames are used, unless this gives fewer than :data:`FEWEST_EPOCHS`.
    """
    trained, _ = task.training(task.frames)
    per_epoch = math.ceil(trained / task.graphs)
    epochs = steps // per_epoch
    if epochs >= FEWEST_EPOCHS:
        return epochs, task.frames
    trained = max(FEWEST_TRAINED, round(task.graphs * (steps // FEWEST_EPOCHS)))
    frames = min(task.frames, round(trained / (1 - task.valid_share)))
    per_epoch = math.ceil(task.training(frames)[0] / task.graphs)
    return max(1, steps // per_epoch), frames


def amount_of(task: Task, steps: int, tests: Mapping[str, int]) -> Amount:
    """What a run of about this many steps does."""
    epochs, frames = divide_steps(task, steps)
    trained, valid = task.training(frames)
    actual = epochs * math.ceil(trained / task.graphs)
    return Amount(epochs, actual, trained, valid, sum(tests.values()))


def learning_rate(steps: int) -> float:
    """Largest learning rate for a number of steps, a power law between two known rates."""
    (high, low), (few, many) = RATES, RATE_STEPS
    exponent = math.log(high / low) / math.log(many / few)
    rate = high * (few / steps) ** exponent
    return float(f"{min(high, max(low, rate)):.1e}")


def average_decay(steps: int) -> float | None:
    """Decay of the moving average of the weights for few steps; None: the default."""
    return None if steps >= 1000 else round(min(0.99, max(0.95, 1 - 10 / steps)), 3)


def warmup_steps(steps: int) -> int | None:
    """Steps of the warm-up of a short run; None: the default."""
    return None if steps >= 500 else max(1, steps // 10)


def study_seconds(task: Task, seeds: int, costs: Mapping[str, Costs], amount: Amount) -> float:
    """Expected time of a study: its checks, all runs, and the report."""
    of_runs = [costs[name].seconds(amount) for name in task.variants for _ in range(seeds)]
    any_run = costs[task.variants[0]]
    checks = any_run.start + any_run.read + sum(costs[name].draft for name in task.variants)
    report = REPORT * max(costs[name].finish for name in task.variants)
    return checks + total_seconds(of_runs, task.jobs) + report


def _tested(task: Task, seeds: int, costs: Mapping[str, Costs]) -> dict[str, int]:
    """Number of structures of each test set, all of them where the time allows."""
    runs = math.ceil(len(task.variants) * seeds / task.jobs)
    seconds = TEST_SHARE * PLANNED * task.seconds / runs
    slowest = max(costs[name].test for name in task.variants)
    total = sum(task.tests.values())
    share = min(1.0, seconds / (slowest * total)) if total else 1.0
    return {n: min(size, max(FEWEST_TESTED, int(share * size))) for n, size in task.tests.items()}


def _most_steps(task: Task, seeds: int, costs: Mapping[str, Costs]) -> int:
    """Largest number of steps that fits the time; 0 if not even one does."""
    tests = _tested(task, seeds, costs)

    def fits(steps: int) -> bool:
        amount = amount_of(task, steps, tests)
        return study_seconds(task, seeds, costs, amount) <= PLANNED * task.seconds

    low, high = 0, MOST_STEPS + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _plan(task: Task, size: Size, seeds: int, costs: Mapping[str, Costs], steps: int) -> Plan:
    tests = _tested(task, seeds, costs)
    amount = amount_of(task, steps, tests)
    _, frames = divide_steps(task, steps)
    seconds = study_seconds(task, seeds, costs, amount)
    return Plan(size, seeds, amount.epochs, amount.steps, frames, tests, seconds)


def usable_sizes(
    found: Mapping[tuple[str, str], Costs], variants: Sequence[str]
) -> dict[str, dict[str, Costs]]:
    """Costs of all variants, of each size for which all were measured."""
    complete = {}
    for size in SIZES:
        known = {name: found[name, size.name] for name in variants if (name, size.name) in found}
        if len(known) == len(variants):
            complete[size.name] = known
    return complete

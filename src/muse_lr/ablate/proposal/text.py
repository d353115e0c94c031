"""Write a proposed study: its two files, and what is planned."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muse_lr.ablate.proposal.propose import Proposal
from muse_lr.ablate.proposal.variants import VARIANTS, base_multiscale, overrides, reference_of
from muse_lr.data.formats import printable
from muse_lr.data.scaffold.configuration import write_configuration
from muse_lr.data.scaffold.text import comment, quote
from muse_lr.reporting.wording import duration

#: What a number of seeds means for the report.
SEED_TEXTS = {
    3: "each variant is trained with each seed: the spread gives the intervals",
    2: "three or more give narrower intervals: more --minutes",
    1: "one seed has no interval: the report cannot tell a difference from chance",
}


def configuration_text(proposal: Proposal, directory: Path) -> str:
    """The base configuration, with the plan in the comment at its top."""
    notes = ["Plan: " + "; ".join(summary(proposal)) + "."]
    return write_configuration(proposal.survey, directory, proposal.choices, notes, "study")


def study_text(proposal: Proposal, command: str, subsets: Sequence[str] = ()) -> str:
    """The study file, with the menu of variants.

    Parameters
    ----------
    proposal : Proposal
    command : str
        Command that trains the study.
    subsets : sequence of str
        Info keys by which the report divides the errors.
    """
    plan, names = proposal.plan, list(proposal.variants)
    name = printable(proposal.survey.report.path.name)
    seeds = f"seeds: [{', '.join(map(str, range(plan.seeds)))}]"
    reference = f"reference: {reference_of(names)}"
    multiscale = base_multiscale(names)
    others = [other for other in VARIANTS if other not in names]
    planned = f"planned: {{minutes: {plan.seconds / 60:.1f}, jobs: {proposal.task.jobs}}}"
    return (
        "\n".join(
            [
                f"# Written by muse-lr study for {name}. Run it with",
                f"#   {command}",
                *(line for text in summary(proposal) for line in comment(text)),
                "base: config.yaml            # all that the variants have in common",
                f"title: {quote(f'Long-range parts for {name}')}",
                f"{reference:<28} # all others are compared with it",
                f"{seeds:<28} # {SEED_TEXTS[plan.seeds]}",
                f"{planned:<28} # expected time, which ablate compares with the time taken",
                _subsets_line(subsets),
                "variants:                    # name -> keys that differ from config.yaml",
                *(_line(variant, changes) for variant, changes in proposal.variants.items()),
                "  # More variants, which take as many steps, but not the same time:",
                *(_line(other, overrides(other, multiscale), "# ") for other in others),
            ]
        )
        + "\n"
    )


def next_command(directory: Path, jobs: int) -> str:
    """Command that trains the study of a directory."""
    study, out = directory / "study.yaml", directory / "runs"
    return f"muse-lr ablate {shlex.quote(str(study))} --out {shlex.quote(str(out))} --jobs {jobs}"


def summary(proposal: Proposal) -> list[str]:
    """Lines that say what is planned."""
    plan, task, costs = proposal.plan, proposal.task, proposal.costs
    size = plan.size
    trained, valid = task.training(plan.frames)
    runs = len(proposal.variants) * plan.seeds
    tests = ", ".join(
        f"{name} {count}" + (f" of {task.tests[name]}" if count < task.tests[name] else "")
        for name, count in plan.tests.items()
    )
    slow, fast = (f(costs, key=lambda name: costs[name].step) for f in (max, min))
    times = (
        f"{1000 * costs[fast].step:.0f} ms ({fast}) to {1000 * costs[slow].step:.0f} ms ({slow})"
    )
    parameters = [cost.parameters for cost in costs.values()]
    memory = max(cost.peak_memory_mb for cost in costs.values())
    held_out = proposal.survey.held_out
    total = task.frames + (sum(task.tests.values()) if held_out else 0)
    unused = task.frames - trained - valid
    frames = f"{total} frames: {trained} for training, {valid} for validation"
    frames += f", {unused} not used" * (unused > 0)
    spent = proposal.seconds - task.seconds
    fewer = {1: "1 seed: no intervals", 2: "2 seeds: wide intervals"}.get(plan.seeds)
    return [
        f"{runs} runs: {len(proposal.variants)} variants x {plan.seeds} "
        f"seed{'s' * (plan.seeds > 1)}, {task.jobs} at a time",
        f"backbone: painn, {size.channels} channels, {size.layers} layers, cutoff "
        f"{proposal.cutoff:g} A; {min(parameters):,} to {max(parameters):,} parameters",
        f"{frames}; test frames: {tests}" + f" ({held_out})" * bool(held_out),
        f"each run: {plan.epochs} epochs, about {plan.steps} steps of {times}",
        f"expected time on this machine: {duration(plan.seconds)}, after {duration(spent)} of "
        f"planning; given: {duration(proposal.seconds)}; memory of a run: {memory / 1000:.1f} GB",
        *([f"{fewer}; 3 seeds need --minutes {proposal.all_seeds_minutes}"] if fewer else []),
    ]


def _subsets_line(keys: Sequence[str]) -> str:
    text = f"subsets: [{', '.join(map(quote, keys))}]" if keys else "# subsets: [KEY]"
    return f"{text:<28} # info keys by whose values the report divides the errors"


def _line(name: str, changes: dict[str, Any], prefix: str = "") -> str:
    return f"  {prefix}{name}: {_inline(changes)}   # {VARIANTS[name].text}"


def _inline(value: Any) -> str:
    """YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_inline(item)}" for key, item in value.items()) + "}"
    return "null" if value is None else str(value)

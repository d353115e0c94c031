"""Statistics of long range of a trajectory, for ``muse-lr audit --trajectory``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Any

import numpy as np
from ase import Atoms

from muse_lr.analysis.charge_statistics import (
    Statistic,
    Verdict,
    judge_statistics,
    long_range_statistics,
)
from muse_lr.analysis.charge_statistics.results import MOMENTS, skipped
from muse_lr.data.formats import read_indexed
from muse_lr.errors import InputError
from muse_lr.testing.measurement import NotApplicable
from muse_lr.testing.potentials import ModelPotential, Potential

#: Name of what is skipped if there are no charges at all.
ALL = "statistics of long range"
#: Options that describe the trajectory.
OPTIONS = ("temperature", "optical", "dielectric", "pair")


@dataclass(frozen=True)
class Trajectory:
    """Frames of ``--trajectory`` and what the other options state about them.

    Attributes
    ----------
    frames : sequence of ase.Atoms
    temperature : float
        K.
    optical : float or None
        Dielectric constant at fixed atoms.
    dielectric : float or None
        Known dielectric constant.
    pair : (int, int) or None
        Indices of two ions.
    """

    frames: Sequence[Atoms]
    temperature: float
    optical: float | None = None
    dielectric: float | None = None
    pair: tuple[int, int] | None = None


def read_trajectory(args: argparse.Namespace) -> Trajectory | None:
    """What ``--trajectory`` and its options state; None without the option.

    Raises
    ------
    InputError
        If there is no temperature, if an option is impossible or has no trajectory, or if the file
        cannot be read.
    """
    if args.trajectory is None:
        given = [f"--{name}" for name in OPTIONS if getattr(args, name) is not None]
        if given:
            raise InputError(f"audit: {given[0]} describes a trajectory: add --trajectory FILE")
        return None
    if args.temperature is None or not 0 < args.temperature < inf:
        raise InputError("audit: --trajectory needs the --temperature of its dynamics, in K")
    for name, value in (("--optical", args.optical), ("--dielectric", args.dielectric)):
        if value is not None and not 1 <= value < inf:
            raise InputError(
                f"audit: {name} {value:g} is no dielectric constant: give a number from 1 on; a "
                "conducting liquid needs none"
            )
    if args.dielectric is not None and args.dielectric < (args.optical or 1.0):
        raise InputError(
            f"audit: --dielectric {args.dielectric:g} is below --optical {args.optical:g}: the "
            "first one contains the response at fixed atoms, which the second one is"
        )
    frames = [atoms for _, atoms in read_indexed(args.trajectory)[1]]
    pair = None if args.pair is None else _pair(args.pair, frames)
    return Trajectory(frames, args.temperature, args.optical, args.dielectric, pair)


def _pair(text: str, frames: Sequence[Atoms]) -> tuple[int, int]:
    """Indices of two atoms of all frames, which have forces."""
    count = min(map(len, frames), default=0)
    words = [word.strip() for word in text.split(",")]
    indices = [int(word) for word in words if word.isdecimal() and int(word) < count]
    if len(words) != 2 or len(set(indices)) != 2:
        raise InputError(
            f"audit: --pair {text!r} is not two atoms of the trajectory: give two indices from 0 "
            f"to {count - 1}, such as --pair 0,1"
        )
    for index, atoms in enumerate(frames):
        if atoms.calc is None or "forces" not in atoms.calc.results:
            raise InputError(
                f"audit: --pair needs forces, and frame {index} of the trajectory has none: write "
                "them, or leave out --pair"
            )
    return indices[0], indices[1]


def statistics_of(potential: Potential, trajectory: Trajectory | None) -> list[Verdict]:
    """Verdicts of the statistics that apply to the frames, with the charges of the potential.

    Raises
    ------
    InputError
        If the frames cannot be used at all.
    """
    if trajectory is None:
        return []
    if "charges" not in potential.provides:
        return judge_statistics([skipped(ALL, "", "the potential has no charges")])
    frames = trajectory.frames
    charges: Any = potential
    if isinstance(potential, ModelPotential):
        charges = potential.model
    else:
        try:
            charges = np.stack(
                [potential.evaluate([atoms], ("charges",)).get("charges") for atoms in frames]
            )
        except (NotApplicable, NotImplementedError) as error:
            return judge_statistics([skipped(ALL, "", str(error))])
    found = long_range_statistics(
        frames,
        charges,
        trajectory.temperature,
        dielectric=trajectory.dielectric,
        optical=trajectory.optical or 1.0,
        pair=trajectory.pair,
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if trajectory.optical is None and _responds(potential):
        found = [_without_reference(each) for each in found]
    return judge_statistics(found)


def verdict_record(verdict: Verdict) -> dict[str, object]:
    """A verdict in the JSON file; numbers that are not finite become null."""
    found = verdict.statistic

    def number(value: float | None) -> float | None:
        return value if value is not None and isfinite(value) else None

    return {
        "name": found.name,
        "status": verdict.status,
        "value": number(found.value),
        "tolerance": number(verdict.tolerance),
        "unit": found.unit,
        "why": verdict.why,
        "error": number(found.error),
        "reference": number(found.reference),
    }


def _responds(potential: Potential) -> bool:
    """Whether the charges follow a field at fixed atoms, which the second moment contains."""
    if not isinstance(potential, ModelPotential):
        return False
    charges = potential.model.charges
    return charges is not None and charges.reads_field


def _without_reference(found: Statistic) -> Statistic:
    """The second moment is not judged if the response at fixed atoms is unknown."""
    if found.name != MOMENTS[1][0] or found.skipped:
        return found
    caution = "charges respond to a field at fixed atoms: give --optical to judge the second moment"
    return replace(found, reference=None, cautions=(*found.cautions, caution))

"""Statistics of long range of a trajectory, for ``muse-lr audit --trajectory``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
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


def read_trajectory(args: argparse.Namespace) -> list[Atoms]:
    """Frames of ``--trajectory``; none without the option.

    Raises
    ------
    InputError
        If there is no temperature, or the file cannot be read.
    """
    if args.trajectory is None:
        if args.temperature is not None or args.optical is not None:
            raise InputError("audit: --temperature and --optical belong to --trajectory FILE")
        return []
    if args.temperature is None or not args.temperature > 0:
        raise InputError("audit: --trajectory needs the --temperature of its dynamics, in K")
    return [atoms for _, atoms in read_indexed(args.trajectory)[1]]


def statistics_of(
    potential: Potential, frames: Sequence[Atoms], args: argparse.Namespace
) -> list[Verdict]:
    """Verdicts of the statistics that apply to the frames, with the charges of the potential.

    Raises
    ------
    InputError
        If the frames cannot be used at all.
    """
    if not frames:
        return []
    if "charges" not in potential.provides:
        return judge_statistics([skipped(ALL, "", "the potential has no charges")])
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
        args.temperature,
        optical=1.0 if args.optical is None else args.optical,
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if args.optical is None and _responds(potential):
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

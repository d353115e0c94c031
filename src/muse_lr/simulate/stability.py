"""Stability: times to failure of Langevin dynamics at several temperatures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from muse_lr.config.schema import Strict, validate
from muse_lr.simulate.results import group, simulation_results
from muse_lr.simulate.run import simulate
from muse_lr.simulate.selected import read_starts
from muse_lr.simulate.settings import FailureCriteria, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from muse_lr.model.energy_model import EnergyModel

#: Temperatures in units of the lowest one.
RATIOS = (1.0, 4 / 3, 5 / 3, 2.0)


class StabilityConfig(Strict):
    """Dynamics of the model of every run of a study."""

    file: str = Field(
        ...,
        description="File of the structure. Its first frame is used, or those that a selection "
        "names: `water.xyz@3`.",
    )
    temperatures: tuple[float, ...] = Field(
        (300.0, 400.0, 500.0, 600.0), min_length=1, description="Temperatures in one batch, K."
    )
    copies: int = Field(1, ge=1, description="Copies of each structure at each temperature.")
    ps: float = Field(5.0, gt=0, description="Length of the dynamics, ps.")
    time_step: float = Field(0.5, gt=0, le=20, description="Time step, fs.")
    friction: float = Field(10.0, gt=0, description="Friction of the Langevin thermostat, 1/ps.")
    dtype: Literal["float32", "float64"] = Field("float32", description="Precision of the model.")
    failure: FailureCriteria = Field(
        default_factory=FailureCriteria, description="When a copy has failed."
    )


def ladder(temperature: float) -> tuple[float, ...]:
    """Four temperatures from ``temperature`` to twice this, K."""
    return tuple(round(ratio * temperature, 6) for ratio in RATIOS)


def measure_stability(
    model: EnergyModel,
    config: StabilityConfig,
    seed: int,
    directory: Path,
    report: Callable[[str], None],
) -> dict[str, float]:
    """Run the dynamics in a directory, or continue them there.

    Returns
    -------
    dict
        ``time_to_failure_ps``, the mean time that a copy ran; the same for each temperature as
        ``time_to_failure_300K_ps``; ``failed_share``. A copy that did not fail counts with the
        whole length of the run.
    """
    import torch

    from muse_lr.simulate.report import write_results

    steps = max(round(1000 * config.ps / config.time_step), 1)
    settings = validate(
        Settings,
        {
            "temperatures": config.temperatures,
            "copies": config.copies,
            "time_step": config.time_step,
            "steps": steps,
            "friction": config.friction,
            "seed": seed,
            "failure": config.failure.model_dump(),
        },
        "stability",
    )
    structures, sources, _ = read_starts(config.file)
    model = model.to(getattr(torch, config.dtype))
    finished = simulate(model, structures, settings, directory, True, sources, report)
    for line in write_results(finished, directory, "model.pt", Path(config.file).name):
        report(line)
    results = simulation_results(finished, directory)
    times = [result.time_ps for result in results]
    metrics = {
        "time_to_failure_ps": sum(times) / len(times),
        "failed_share": len(finished.failures) / len(results),
    }
    for found in group(results):
        name = f"time_to_failure_{found.target:g}K_ps"
        metrics[name] = found.survival.restricted_mean
    return metrics

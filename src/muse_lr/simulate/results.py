"""Statistics of a run from its log."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muse_lr.analysis.averages import Estimate, mean, slope
from muse_lr.analysis.survival import Survival
from muse_lr.errors import InputError
from muse_lr.simulate.failures import Failure
from muse_lr.simulate.files import LOG
from muse_lr.simulate.settings import Settings

if TYPE_CHECKING:
    from muse_lr.simulate.run import Finished

Array = NDArray[np.float64]
Columns = dict[str, Array]


@dataclass(frozen=True)
class CopyResult:
    """Statistics of one copy.

    Attributes
    ----------
    copy, atoms : int
    target : float
        Target temperature, K.
    time_ps : float
        Time that the copy ran, ps.
    failure : Failure or None
    log : dict of str to ndarray
        Columns of the log.
    temperature, pressure, volume : Estimate
        Averages without the discarded start, in K, bar and A^3; NaN where it is not defined.
    drift : Estimate
        Slope of the conserved energy, meV/atom/ps.
    """

    copy: int
    atoms: int
    target: float
    time_ps: float
    failure: Failure | None
    log: Columns
    temperature: Estimate
    pressure: Estimate
    volume: Estimate
    drift: Estimate


@dataclass(frozen=True)
class Group:
    """The copies of one target temperature."""

    target: float
    copies: list[CopyResult]

    @property
    def survival(self) -> Survival:
        """Times to failure."""
        return Survival(
            tuple(copy.time_ps for copy in self.copies),
            tuple(copy.failure is not None for copy in self.copies),
        )


def read_log(directory: Path) -> dict[int, Columns]:
    """Columns of the log by copy; empty fields are NaN.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    path = directory / LOG
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            names, *rows = csv.reader(handle)
        values = np.array([[float(v or "nan") for v in row] for row in rows], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    copies = values[:, names.index("copy")]
    return {
        int(copy): dict(zip(names, values[copies == copy].T, strict=True))
        for copy in np.unique(copies)
    }


def copy_results(
    directory: Path,
    settings: Settings,
    atoms: Sequence[int],
    failures: Sequence[Failure],
) -> list[CopyResult]:
    """Statistics of all copies; ``atoms`` are their numbers of atoms."""
    failed = {failure.copy: failure for failure in failures}
    found = []
    for copy, log in read_log(directory).items():
        failure = failed.get(copy)
        kept = log["step"] >= settings.first_counted
        if failure is not None:  # the last moments before a failure are no equilibrium
            kept &= log["step"] < failure.step
        energy = 1000 * log["conserved_eV"] / atoms[copy]
        counted = {name: values[kept & np.isfinite(values)] for name, values in log.items()}
        found.append(
            CopyResult(
                copy=copy,
                atoms=atoms[copy],
                target=float(log["target_K"][0]),
                time_ps=settings.picoseconds if failure is None else failure.time_ps,
                failure=failure,
                log=log,
                temperature=mean(counted["temperature_K"]),
                pressure=mean(counted["pressure_bar"]),
                volume=mean(counted["volume_A3"]),
                drift=slope(log["time_ps"][kept], energy[kept]),
            )
        )
    return found


def simulation_results(finished: Finished, directory: Path) -> list[CopyResult]:
    """Statistics of all copies of a finished simulation in a directory."""
    simulation = finished.simulation
    atoms = [len(copy) for copy in simulation.copies]
    return copy_results(directory, simulation.settings, atoms, finished.failures)


def group(results: Sequence[CopyResult]) -> list[Group]:
    """Copies by target temperature, ascending."""
    targets = sorted({result.target for result in results})
    return [Group(t, [r for r in results if r.target == t]) for t in targets]


def summary(
    results: Sequence[CopyResult],
    settings: Settings,
    costs: dict[str, float],
    sentence: str,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Content of ``summary.json``; undefined values are None.

    Parameters
    ----------
    results : sequence of CopyResult
    settings : Settings
    costs : dict of str to float
    sentence : str
        The result in words.
    warnings : sequence of str
    """
    copies = [
        {
            "copy": result.copy,
            "atoms": result.atoms,
            "target_K": result.target,
            "time_ps": result.time_ps,
            "failure": None if result.failure is None else result.failure.reason,
            **_plain("temperature_K", result.temperature),
            **_plain("pressure_bar", result.pressure),
            **_plain("volume_A3", result.volume),
            **_plain("drift_meV_per_atom_ps", result.drift),
        }
        for result in results
    ]
    temperatures = [
        {
            "target_K": found.target,
            "copies": len(found.copies),
            "failures": found.survival.failures,
            "time_to_failure_ps": found.survival.restricted_mean,
            "mean_time_to_failure_ps": _finite(found.survival.mean_time),
        }
        for found in group(results)
    ]
    return {
        "status": "finished",
        "result": sentence,
        "warnings": list(warnings),
        "picoseconds": settings.picoseconds,
        **costs,
        "temperatures": temperatures,
        "copies": copies,
    }


def _plain(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: _finite(estimate.value), f"{name}_error": _finite(estimate.error)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

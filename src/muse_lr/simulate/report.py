"""Results of a simulation: tables, ``summary.json`` and ``report.html``."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from muse_lr import __version__
from muse_lr.analysis.rdf import RadialDistribution
from muse_lr.reporting.html import (
    Block,
    Cell,
    Details,
    Image,
    Lead,
    Report,
    Section,
    Table,
    text_table,
    write_html,
)
from muse_lr.reporting.style import save
from muse_lr.reporting.wording import duration, number, with_error
from muse_lr.simulate.plots import (
    energies,
    energy_parts,
    failure_times,
    radial_distributions,
    time_series,
)
from muse_lr.simulate.results import (
    CopyResult,
    group,
    simulation_results,
    summary,
)
from muse_lr.simulate.run import SUMMARY, Finished
from muse_lr.simulate.selected import describe_start
from muse_lr.simulate.sentences import (
    first_sentence,
    steepest_fall,
    temperature_warnings,
    unsampled_warnings,
)
from muse_lr.simulate.settings import Settings
from muse_lr.utils.files import atomic_write, write_json

REPORT = "report.html"
#: Largest number of failed copies whose energies are told on the terminal.
LISTED_FALLS = 4
#: Meaning of the ensembles in the report.
ENSEMBLES = {
    "nve": "constant energy (velocity Verlet)",
    "langevin": "constant temperature (Langevin, BAOAB)",
    "npt": "constant temperature and pressure (Langevin, stochastic cell rescaling)",
}


def write_results(finished: Finished, directory: Path, model: str, file: str) -> list[str]:
    """Write ``rdf.csv``, ``summary.json`` and ``report.html``; return lines for the terminal.

    Parameters
    ----------
    finished : Finished
    directory : Path
    model, file : str
        Names of the model and of the file of the structures, for the report.
    """
    simulation = finished.simulation
    settings = simulation.settings
    atoms = [len(copy) for copy in simulation.copies]
    results = simulation_results(finished, directory)
    histograms = finished.recorder.histograms
    distributions = {t: found for t, h in histograms.items() if (found := h.results())}
    if distributions:
        _write_rdf(distributions, directory / "rdf.csv")
    costs = _costs(finished, results)
    sentence = first_sentence(results, settings)
    warnings = temperature_warnings(results, settings) + unsampled_warnings(results, settings)
    content = summary(results, settings, costs, sentence, warnings)
    write_json(directory / SUMMARY, content)
    report = Report(
        lead=Lead([sentence], _notes(settings), warnings=warnings),
        title=f"Molecular dynamics: {model} on {file}",
        subtitle=f"{ENSEMBLES[settings.ensemble]}, {len(results)} copies of up to {max(atoms)} "
        f"atoms, {settings.time_step:g} fs; start: {_starts(finished)}; muse_lr {__version__}",
        sections=[
            Section("Copies", [copy_table(results, settings)]),
            *_failure_sections(results, directory),
            Section("Energies", _energy_blocks(results, directory)),
            Section("Temperature, pressure, volume", _state_blocks(results, settings, directory)),
            *_distribution_sections(distributions, directory),
            Section("Cost and settings", _cost_blocks(costs, settings)),
        ],
    )
    path = write_html(report, directory / REPORT)
    lines = [text_table(copy_table(results, settings))]
    falls = {result.copy: text for result in results if (text := steepest_fall(result))}
    lines += [f"copy {c} before it failed: {falls[c]}" for c in list(falls)[:LISTED_FALLS]]
    lines += [*(f"warning: {warning}" for warning in warnings), sentence]
    lines.append(f"{number(costs['us_per_atom_step'])} µs/atom/step; report: {path}")
    return lines


def _starts(finished: Finished) -> str:
    """Description of the first structure, and the number of the others that differ from it."""
    first, *others = dict.fromkeys(map(describe_start, finished.simulation.copies))
    return first + (f" and {len(others)} others" if others else "")


def copy_table(results: Sequence[CopyResult], settings: Settings) -> Table:
    """One row per copy: time, failure, averages and drift."""
    columns = ["copy", "target (K)", "ran (ps)", "temperature (K)", "drift (meV/atom/ps)"]
    pressure = any(math.isfinite(result.pressure.value) for result in results)
    columns += ["pressure (bar)"] if pressure else []
    columns += ["volume (Å³)"] if settings.ensemble == "npt" else []
    rows = []
    for result in results:
        failed = result.failure is not None
        cells = [
            Cell(str(result.copy)),
            Cell(f"{result.target:g}"),
            Cell(f"{number(result.time_ps)}{' failed' if failed else ''}"),
            Cell(with_error(result.temperature)),
            Cell(with_error(result.drift)),
        ]
        if pressure:
            cells.append(Cell(with_error(result.pressure)))
        if settings.ensemble == "npt":
            cells.append(Cell(with_error(result.volume)))
        rows.append(cells)
    return Table(columns, rows)


def _notes(settings: Settings) -> list[str]:
    """How the numbers of the report are defined."""
    kind = "total" if settings.ensemble == "nve" else "conserved"
    notes = [
        f"Averages leave out the first {100 * settings.discard:g} % of the run. The number after "
        "± is the standard error, from the means of ten blocks. The drift is the slope of the "
        f"{kind} energy."
    ]
    if settings.ensemble != "nve":
        notes.append("The conserved energy is the total energy minus what the baths have added.")
    return notes


def _failure_sections(results: Sequence[CopyResult], directory: Path) -> list[Section]:
    failed = [result for result in results if result.failure is not None]
    groups = group(results)
    if not failed and len(groups) == 1:
        return []
    blocks: list[Block] = []
    rows = [
        [
            Cell(f"{found.target:g}"),
            Cell(f"{found.survival.failures} of {len(found.copies)}"),
            Cell(number(found.survival.restricted_mean)),
            Cell(number(found.survival.mean_time)),
        ]
        for found in groups
    ]
    columns = ["temperature (K)", "failed", "mean time run (ps)", "mean time to failure (ps)"]
    caption = (
        "Mean time to failure: total time of all copies divided by the number of failures, which "
        "assumes a constant rate."
    )
    blocks.append(Table(columns, rows, caption))
    caption = "Time that each copy ran, by temperature."
    blocks.append(_image(directory, "failures", failure_times(groups), caption))
    rows = [
        [
            Cell(str(r.copy)),
            Cell(number(r.time_ps)),
            Cell(r.failure.reason),
            Cell(steepest_fall(r).replace("`", "") or "–"),
        ]
        for r in failed
        if r.failure is not None
    ]
    if rows:
        columns = ["copy", "time (ps)", "reason", "term of the energy before"]
        blocks.append(Table(columns, rows))
    return [Section("Time to failure", blocks)]


def _energy_blocks(results: Sequence[CopyResult], directory: Path) -> list[Block]:
    caption = "Change of the energies since the start."
    parts = "Change of the named energies of the model, which sum to the potential energy."
    return [
        _image(directory, "energies", energies(results), caption),
        _image(directory, "energy-parts", energy_parts(results), parts),
    ]


def _state_blocks(
    results: Sequence[CopyResult], settings: Settings, directory: Path
) -> list[Block]:
    columns = {"temperature_K": "temperature (K)"}
    logs = [result.log for result in results]
    if any(np.isfinite(log["pressure_bar"]).any() for log in logs):
        columns["pressure_bar"] = "pressure (bar)"
    if settings.ensemble == "npt":
        columns["volume_A3"] = "volume (Å³)"
    caption = "Instantaneous values, one curve per copy."
    return [_image(directory, "state", time_series(results, columns), caption)]


def _distribution_sections(
    distributions: Mapping[float, Sequence[RadialDistribution]], directory: Path
) -> list[Section]:
    if not distributions:
        return []
    caption = (
        "Distribution of the distances of each pair of elements, by target temperature. Beyond "
        "half the cell, the distances include those of periodic images."
    )
    figure = radial_distributions(distributions)
    return [Section("Radial distributions", [_image(directory, "rdf", figure, caption)])]


def _cost_blocks(costs: Mapping[str, float], settings: Settings) -> list[Block]:
    rows = [
        ("time", duration(costs["seconds"])),
        ("time per step (ms)", number(costs["ms_per_step"])),
        ("time per atom and step (µs)", number(costs["us_per_atom_step"])),
        ("neighbor lists built", f"{costs['neighbor_lists']:,.0f}"),
    ]
    table = Table(["", "value"], [[Cell(name), Cell(value)] for name, value in rows])
    return [table, Details("settings", json.dumps(settings.model_dump(mode="json"), indent=2))]


def _costs(finished: Finished, results: Sequence[CopyResult]) -> dict[str, float]:
    simulation = finished.simulation
    time_step = simulation.settings.time_step / 1000
    atom_steps = sum(result.atoms * result.time_ps / time_step for result in results)
    return {
        "seconds": finished.seconds,
        "ms_per_step": 1e3 * finished.seconds / max(simulation.step, 1),
        "us_per_atom_step": 1e6 * finished.seconds / max(atom_steps, 1),
        "neighbor_lists": float(simulation.potential.builds),
    }


def _write_rdf(found: Mapping[float, Sequence[RadialDistribution]], path: Path) -> None:
    with atomic_write(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("target_K", "pair", "r_A", "g", "neighbors_per_A", "coordination"))
        for temperature, curves in found.items():
            for curve in curves:
                for i, r in enumerate(curve.r):
                    g = "" if curve.g is None else f"{curve.g[i]:.6g}"
                    values = (f"{curve.density[i]:.6g}", f"{curve.coordination[i]:.6g}")
                    writer.writerow((f"{temperature:g}", curve.pair, f"{r:.4f}", g, *values))


def _image(directory: Path, name: str, figure: Figure, caption: str) -> Image:
    return Image(save(figure, directory / "plots" / f"{name}.png"), caption)

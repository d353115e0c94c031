"""Put the results of a study into a page of the documentation, between two markers.

    python docs/tables.py runs/quickstart README.md quickstart-table

replaces what stands between ``<!-- quickstart-table -->`` and ``<!-- /quickstart-table -->`` by the
errors of every variant (mean over seeds and half of Student's 95 % interval) with what it costs
beside them: parameters, the share of the first test's atoms that carry a coarse node, seconds of
training, microseconds an atom of energies and forces of one batch of eight structures (the median
over the runs of wall-clock times on whatever machine they ran), and the peak memory of the
training's process. The numbers of the larger studies are kept in
``benchmarks/results/studies`` and can stand in place of their runs. ``--repeats folds`` says that
the runs of a variant are not seeds.
``--test hessian`` (or ``profile``, ``stability``) makes a table of metrics of the models instead,
without costs: ``--metrics positive/error_beyond held_out/cosine_beyond``.
With ``--image NAME`` the study's plot of interaction energies is copied too.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import median

from muse_lr.ablate.statistics import mean_interval
from muse_lr.reporting.wording import number
from muse_lr.utils.files import atomic_write

METRICS = {
    "energy_mae": "energy MAE (meV/atom)",
    "energy_rmse": "energy RMSE (meV/atom)",
    "forces_mae": "forces MAE (meV/Å)",
    "forces_rmse": "forces RMSE (meV/Å)",
    "charges_mae": "charges MAE (e)",
}
#: Metrics of models; others are shown by their name.
MODEL_METRICS = {
    "norm_beyond": "zero model (eV/Å²)",
    "error_beyond": "error beyond (eV/Å²)",
    "cosine_beyond": "cosine beyond",
    "error_within": "error within (eV/Å²)",
    "frequencies_mae": "frequencies MAE (1/cm)",
    "mae": "MAE (meV)",
}
#: Columns of runs.csv.
COSTS = {
    "training (s)": "seconds",
    "E+F (µs/atom)": "inference_us_per_atom",
    "memory (MB)": "peak_memory_mb",
}


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def cell(values: list[float]) -> str:
    """Mean and half width of the interval; a dash where a variant has no such thing."""
    if not values:
        return "–"
    mean = mean_interval(values)
    if mean.half_width is None:
        return number(mean.value)
    return f"{number(mean.value)} ± {number(mean.half_width, 2)}"


def title(metric: str) -> str:
    """Heading of a metric of a model: ``"held_out: cosine beyond"``."""
    part, _, name = metric.rpartition("/")
    text = MODEL_METRICS.get(name, name.replace("_", " "))
    return f"{part}: {text}" if part else text


def table(study: Path, metrics: list[str], repeats: str = "seeds", only: str | None = None) -> str:
    """The Markdown table of a study's directory; ``repeats`` heads the number of runs.

    ``only`` names a metric of the models, of which ``metrics`` are then the values.
    """
    errors: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    tests: dict[str, None] = {}
    for row in read_rows(study / "results.csv"):
        errors[row["variant"], row["test"], row["metric"]].append(float(row["value"]))
        tests[row["test"]] = None
    runs: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in read_rows(study / "runs.csv"):
        if row["status"] == "finished":
            runs[row["variant"]].append(row)
    known = {(test, metric) for _, test, metric in errors}
    shown = [only] if only else list(tests)
    columns = [(test, metric) for test in shown for metric in metrics if (test, metric) in known]
    head = [
        title(metric) if only else f"{test}: {METRICS.get(metric, metric)}"
        for test, metric in columns
    ]
    absent = [m for m in metrics if m not in {metric for _, metric in columns}]
    if absent:
        there = sorted({metric for test, metric in known if test in shown})
        raise SystemExit(f"no {', '.join(absent)} in results.csv; there are {', '.join(there)}")
    share = f"node_share_{next(iter(tests))}_level1"
    costs = {"parameters": "parameters", "nodes (%)": share, **COSTS}
    costs = {
        title: column
        for title, column in costs.items()
        if not only and any(row.get(column) for found in runs.values() for row in found)
    }
    lines = [
        "| " + " | ".join(["variant", repeats, *head, *costs]) + " |",
        "|:--|" + "--:|" * (1 + len(columns) + len(costs)),
    ]
    for variant, found in runs.items():
        cells = [variant, str(len(found))]
        cells += [cell(errors[variant, test, metric]) for test, metric in columns]
        cells += [cost(title, [row[column] for row in found]) for title, column in costs.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cost(title: str, values: list[str]) -> str:
    """The median over the runs of a column of runs.csv; a dash where it is empty."""
    numbers = [float(value) for value in values if value]
    if not numbers:
        return "–"
    middle = median(numbers)
    return f"{100 * middle:.1f}" if title == "nodes (%)" else f"{middle:,.0f}"


def insert(page: Path, marker: str, text: str) -> None:
    """Replace what stands between the markers."""
    content = page.read_text(encoding="utf-8")
    start, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    before, rest = content.split(start)
    _, after = rest.split(end)
    with atomic_write(page) as handle:
        handle.write(f"{before}{start}\n{text}\n{end}{after}")


def main() -> None:
    """Insert a table, copy a picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="output directory of muse-lr ablate")
    parser.add_argument("page", type=Path)
    parser.add_argument("marker")
    parser.add_argument("--metrics", nargs="+", default=["energy_mae"])
    parser.add_argument("--test", help="metric of the models whose values --metrics are")
    parser.add_argument("--repeats", default="seeds", help="what the runs of a variant are")
    parser.add_argument("--image", help="name under docs/images of the interaction plot")
    args = parser.parse_args()
    text = table(args.study, args.metrics, args.repeats, args.test)
    insert(args.page, args.marker, text)
    if args.image:
        target = Path(__file__).resolve().parent / "images" / args.image
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(args.study / "plots" / "interaction.png", target)


if __name__ == "__main__":
    main()

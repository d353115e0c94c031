"""Tables of a comparison of Hessians, made from :mod:`muse_lr.analysis.hessian.summary`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from muse_lr.analysis.hessian.summary import region
from muse_lr.reporting.html import Cell, Table
from muse_lr.reporting.wording import number

Summary = Mapping[str, Any]
#: Measures of each model by distance.
MODEL_MEASURES = ("error", "cosine")

MEASURES = (
    "Errors and norms are RMS Frobenius norms of 3 × 3 blocks, eV/Å². The error of the zero model, "
    "whose blocks vanish, is the norm of the reference. The cosine is that of the blocks of the "
    "model with those of the reference."
)
REACH = (
    "A Hessian of a message-passing backbone reaches as far as 2 × layers × cutoff. Blocks inside "
    "this distance show what can be learned from local surroundings. Only blocks beyond it show "
    "range."
)


def overview_table(summary: Summary) -> Table:
    """One row for each set and model: blocks inside and beyond the reach, frequencies."""
    columns = ["model", "set", "reach (Å)"]
    for place in ("inside", "beyond"):
        columns += [f"{place}: zero model", f"{place}: error", f"{place}: cosine"]
    columns += ["frequencies: zero model", "frequencies: MAE", "overlap"]
    rows = []
    for name in set_names(summary):
        for model in summary["models"]:
            found = model["sets"][name]
            cells = [Cell(model["name"]), Cell(name), Cell(number(model["reach"]))]
            for place in ("within_reach", "beyond_reach"):
                blocks = found["blocks"][place]
                cells += [Cell(number(blocks[key])) for key in ("norm", "error", "cosine")]
            modes = found["frequencies"]
            cells += [Cell(number(modes.get(key))) for key in ("zero_mae", "mae", "overlap")]
            rows.append(cells)
    caption = f"{MEASURES} Frequencies: 1/cm. Overlap: mean squared overlap of the eigenvectors."
    table = Table(columns, rows, caption, texts=("set",))
    return table if len(set_names(summary)) > 1 else without_column(table, "set")


def distance_table(summary: Summary, name: str) -> Table:
    """Blocks of one set by distance; error and cosine of each model."""
    models = summary["models"]
    reaches = sorted({model["reach"] for model in models} - {0.0})
    scaled = [f"distance / {reach:g} Å" for reach in reaches]
    columns = ["distance (Å)", *scaled, "pairs", "noise", "zero model"]
    columns += [f"{model['name']}: {measure}" for model in models for measure in MODEL_MEASURES]
    rows = []
    for lines in zip(*(model["sets"][name]["by_distance"] for model in models), strict=True):
        first = lines[0]
        low, high = first["from"], first["to"]
        cells = [Cell(f"{low:g} to {high:g}")]
        cells += [Cell(in_reaches(low, high, reach)) for reach in reaches]
        cells += [Cell(f"{first['pairs']:,}"), Cell(number(first["noise"]))]
        cells.append(Cell(number(first["norm"])))
        cells += [Cell(number(line[measure])) for line in lines for measure in MODEL_MEASURES]
        rows.append(cells)
    return Table(columns, rows, MEASURES, texts=scaled)


def in_reaches(low: float, high: float, reach: float) -> str:
    """A range of distance in units of the reach, and on which side of it it is."""
    bounds = f"{number(low / reach, 2)} to {number(high / reach, 2)}"
    return f"{bounds}, {region(low, high, reach)}"


def element_table(summary: Summary, name: str, beyond: bool) -> Table:
    """Blocks of one set by pair of elements, of all pairs or of those beyond the reach."""
    models = summary["models"]
    key = "by_elements_beyond_reach" if beyond else "by_elements"
    columns = ["elements"]
    for model in models:
        columns += [f"{model['name']}: {title}" for title in ("pairs", "zero model", "error")]
        columns.append(f"{model['name']}: cosine")
    found = [{line["elements"]: line for line in m["sets"][name][key]} for m in models]
    rows = []
    for elements in sorted({pair for lines in found for pair in lines}):
        cells = [Cell(elements)]
        for lines in found:
            line = lines.get(elements, {})
            pairs = f"{line['pairs']:,}" if line else "–"
            cells += [Cell(pairs), *(Cell(number(line.get(k))) for k in ("norm", "error"))]
            cells.append(Cell(number(line.get("cosine"))))
        rows.append(cells)
    which = "beyond the reach of the backbone of each model" if beyond else "at all distances"
    return Table(columns, rows, f"Pairs of different atoms {which}.")


def frame_table(summary: Summary) -> Table:
    """Noise of the reference and errors of the frequencies, frame by frame."""
    models = summary["models"]
    columns = ["frame", "atoms", "asymmetry", "sum rule"]
    for model in models:
        columns += [f"{model['name']}: MAE (1/cm)", f"{model['name']}: overlap"]
    rows = []
    for lines in zip(*(model["frames"] for model in models), strict=True):
        first = lines[0]
        cells = [Cell(first["source"]), Cell(str(first["atoms"]))]
        cells += [Cell(number(first[f"reference_{key}"])) for key in ("asymmetry", "sum_rule")]
        for line in lines:
            cells += [Cell(number(line["frequencies"].get(key))) for key in ("mae", "overlap")]
        rows.append(cells)
    caption = (
        "Asymmetry: largest difference of the reference and its transpose. Sum rule: largest force "
        "that a translation makes with the reference. Both are noise of the reference, eV/Å²."
    )
    return Table(columns, rows, caption)


def reach_table(summary: Summary) -> Table:
    """Reach of the parts of each model."""
    rows = [
        [Cell(model["name"]), Cell(part), Cell(text)]
        for model in summary["models"]
        for part, text in model["parts"].items()
    ]
    return Table(["model", "part", "reach"], rows, REACH, texts=("part", "reach"))


def set_names(summary: Summary) -> list[str]:
    """Names of the sets of frames; ``all`` first."""
    return list(summary["models"][0]["sets"])


def without_column(table: Table, name: str) -> Table:
    """The table without one of its columns."""
    index = list(table.columns).index(name)
    rows = [[*row[:index], *row[index + 1 :]] for row in table.rows]
    columns = [column for column in table.columns if column != name]
    return Table(columns, rows, table.caption, [text for text in table.texts if text != name])

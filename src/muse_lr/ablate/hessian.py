"""The metric ``hessian`` of studies: its check, its measurement and its part of the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from muse_lr.ablate.stability import measured_cell
from muse_lr.analysis.hessian.references import References, check_elements, read_references
from muse_lr.analysis.hessian.settings import HessianConfig
from muse_lr.data.selection import expand_source
from muse_lr.reporting.html import Cell, Image, Paragraph, Table

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel
    from muse_lr.reporting.hessian.plots import CurvePanel
    from muse_lr.reporting.html import Block

Values = Mapping[str, Sequence[Mapping[str, float]]]
#: Columns of the table: name of a value, heading.
COLUMNS = {
    "norm_within": "within: zero model",
    "error_within": "within: error",
    "cosine_within": "within: cosine",
    "norm_beyond": "beyond: zero model",
    "error_beyond": "beyond: error",
    "cosine_beyond": "beyond: cosine",
    "frequencies_mae": "frequencies: MAE (1/cm)",
    "frequencies_overlap": "overlap",
}
RANGE = re.compile(r"norm_([\d.e+]+)_([\d.e+]+)A")


def check_hessian(
    section: HessianConfig, base: Path, elements: Sequence[str] | None
) -> HessianConfig:
    """Make the paths absolute, and check that the files have Hessians of these elements.

    Raises
    ------
    InputError
        If a file cannot be read, or if it has other elements.
    """
    sources = {name: expand_source(text, base) for name, text in section.references.items()}
    for name, source in sources.items():
        references = _read(source, section.max_frames)
        if elements is not None:
            check_elements(references, elements, f"hessian.references.{name}")
    return section.model_copy(update={"references": sources})


@lru_cache(maxsize=16)
def _read(source: str, max_frames: int | None) -> References:
    """Frames of one file; every run of a study asks for them."""
    return read_references({source: source}, max_frames)


def measure_hessian(
    model: EnergyModel,
    config: HessianConfig,
    seed: int,
    directory: Path,
    report: Callable[[str], None],
) -> dict[str, float]:
    """Compare the Hessians of a model with the references, and write a page in the directory.

    Hessians that were computed before an interruption are read from the directory.

    Returns
    -------
    dict
        See :func:`muse_lr.analysis.hessian.summary.flat_values`.
    """
    from muse_lr.analysis.hessian.blocks import distance_edges
    from muse_lr.analysis.hessian.comparison import compare
    from muse_lr.analysis.hessian.summary import flat_values
    from muse_lr.reporting.hessian.page import write_comparison
    from muse_lr.reporting.run_report import run_title

    references = read_references(config.references, config.max_frames)
    name = run_title(directory.parent)
    stored = directory / "hessians"
    found = compare(model, references.frames, name, stored, config.memory, report)
    beyond = found.reach if config.beyond is None else config.beyond
    about = {"run": name, "references": ", ".join(config.references)}
    edges = distance_edges(found.pairs, config.bins, [found.reach])
    write_comparison([found], references, edges, directory, about)
    # Without the reach, which differs between variants.
    edges = distance_edges(found.pairs, config.bins)
    return flat_values(found, references.groups, edges, beyond)


def hessian_blocks(values: Values, out: Path) -> list[Block]:
    """Blocks within and beyond a distance, frequencies, and curves by distance."""
    from muse_lr.reporting.hessian.plots import block_curves
    from muse_lr.reporting.hessian.tables import MEASURES, REACH
    from muse_lr.reporting.style import save

    sets = _sets(values)
    columns = ["variant", "set", "seeds", "reach (Å)", "divided at (Å)", *COLUMNS.values()]
    rows = []
    for prefix, name in sets.items():
        for variant, seeds in values.items():
            cells = [Cell(variant), Cell(name), Cell(str(len(seeds)))]
            cells += [measured_cell(seeds, key) for key in ("reach_A", "beyond_A")]
            cells += [measured_cell(seeds, prefix + key) for key in COLUMNS]
            rows.append(cells)
    panels = {name: _panel(values, prefix) for prefix, name in sets.items()}
    image = save(block_curves(panels), out / "plots" / "hessian.png")
    caption = f"{MEASURES} Means over seeds ± half width of the Student 95 % interval."
    return [
        Table(columns, rows, caption, texts=("set",)),
        Image(image, "Error and cosine of the blocks by distance, mean over seeds."),
        Paragraph(f"{REACH} Each run has its own page in the folder hessian."),
    ]


def _sets(values: Values) -> dict[str, str]:
    """Prefix of the values of each set -> its name; all frames together if there is one set."""
    names = next(iter(values.values()))[0]
    found = dict.fromkeys(name.partition("/")[0] for name in names if "/" in name)
    return {f"{name}/": name for name in found} or {"": "all"}


def _panel(values: Values, prefix: str) -> CurvePanel:
    """Curves of one set, means over seeds."""
    from muse_lr.reporting.hessian.plots import Curve, CurvePanel

    first = next(iter(values.values()))
    bounds = sorted(
        (float(match[1]), float(match[2]))
        for name in first[0]
        if name.startswith(prefix) and (match := RANGE.fullmatch(name.removeprefix(prefix)))
    )
    centers = [(low + high) / 2 for low, high in bounds]

    def column(seeds: Sequence[Mapping[str, float]], measure: str) -> list[float]:
        keys = [f"{prefix}{measure}_{low:g}_{high:g}A" for low, high in bounds]
        return [float(np.mean([seed.get(key, np.nan) for seed in seeds])) for key in keys]

    return CurvePanel(
        centers,
        column(first, "norm"),
        column(first, "noise"),
        {
            variant: Curve(centers, column(seeds, "error"), column(seeds, "cosine"))
            for variant, seeds in values.items()
        },
        {variant: seeds[0]["reach_A"] for variant, seeds in values.items()},
    )

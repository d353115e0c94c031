"""The metric ``stability`` of studies: its check and its part of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from muse_lr.ablate.statistics import mean_interval
from muse_lr.data.selection import expand_source
from muse_lr.errors import InputError
from muse_lr.reporting.html import Cell, Image, Paragraph, Table
from muse_lr.reporting.wording import number, percent
from muse_lr.simulate.selected import read_starts
from muse_lr.simulate.stability import StabilityConfig

if TYPE_CHECKING:
    from muse_lr.reporting.html import Block

Values = Mapping[str, Sequence[Mapping[str, float]]]


def check_stability(
    section: StabilityConfig, base: Path, elements: Sequence[str] | None
) -> StabilityConfig:
    """Make the path absolute, and check that the file has structures of these elements.

    Raises
    ------
    InputError
        If the file cannot be read, or if it has other elements.
    """
    source = expand_source(section.file, base)
    for where, symbols in _contents(source):
        unknown = sorted(symbols - set(elements)) if elements is not None else []
        if unknown:
            raise InputError(
                f"stability: {where} has the element {unknown[0]}, which the model does not have"
            )
    return section.model_copy(update={"file": source})


@lru_cache(maxsize=16)
def _contents(source: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """Description and elements of each structure; every run of a study asks for them."""
    structures, sources, _ = read_starts(source)
    return tuple(
        (where, frozenset(atoms.symbols)) for where, atoms in zip(sources, structures, strict=True)
    )


def stability_blocks(values: Values, out: Path) -> list[Block]:
    """Times to failure of all variants, by temperature."""
    from muse_lr.reporting.style import save
    from muse_lr.simulate.plots import times_by_temperature

    names = [name for name in next(iter(values.values()))[0] if name.endswith("K_ps")]
    kelvin = {name: float(name.split("_")[-2].removesuffix("K")) for name in names}
    rows = []
    for variant, seeds in values.items():
        cells = [Cell(variant), Cell(str(len(seeds)))]
        cells += [interval_cell([seed[name] for seed in seeds]) for name in names]
        cells.append(Cell(percent(float(np.mean([seed["failed_share"] for seed in seeds])))))
        rows.append(cells)
    columns = ["variant", "seeds", *(f"{kelvin[name]:g} K (ps)" for name in names), "failed (%)"]
    caption = (
        "Mean time that a copy ran until it failed, mean over seeds ± half width of the Student "
        "95 % interval. Copies that did not fail count with the whole length of the dynamics."
    )
    targets = [kelvin[name] for name in names]
    curves = {
        variant: (targets, [float(np.mean([seed[name] for seed in seeds])) for name in names])
        for variant, seeds in values.items()
    }
    image = save(times_by_temperature(curves), out / "plots" / "stability.png")
    text = (
        "Each run has its reports of the dynamics in the folder stability. A failure is defined by "
        "the section failure of the study file."
    )
    return [
        Table(columns, rows, caption),
        Image(image, "Mean time to failure by temperature; higher is better."),
        Paragraph(text),
    ]


def interval_cell(values: Sequence[float]) -> Cell:
    """Mean over seeds with the half width of the Student 95 % interval."""
    mean = mean_interval(list(values))
    half = "" if mean.half_width is None else f" ± {number(mean.half_width, 2)}"
    return Cell(f"{number(mean.value)}{half}")


def measured_cell(seeds: Sequence[Mapping[str, float]], key: str) -> Cell:
    """The same for one value of each seed, or a dash if no seed has it."""
    found = [seed[key] for seed in seeds if key in seed]
    return interval_cell(found) if found else Cell("–")

"""The metric ``profile`` of studies: its check, its measurement and its part of the report."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from muse_lr.ablate.stability import measured_cell
from muse_lr.analysis.profile.energies import TOTAL, profile
from muse_lr.analysis.profile.paths import coordinate_label, read_paths
from muse_lr.analysis.profile.settings import ProfileConfig
from muse_lr.analysis.profile.summary import REFERENCE, flat_values
from muse_lr.data.selection import expand_source
from muse_lr.reporting.html import Cell, Image, Paragraph, Table

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel
    from muse_lr.reporting.html import Block
    from muse_lr.reporting.plots import Curve
    from muse_lr.reporting.profile.plots import ProfilePanel

Values = Mapping[str, Sequence[Mapping[str, float]]]
#: Columns of the table: end of the name of a value, heading.
COLUMNS = {
    "mae": "MAE (meV)",
    "largest": "largest error (meV)",
    "well": "well: error (meV)",
    "well_position": "well: shift",
    "barrier": "barrier: error (meV)",
    "barrier_position": "barrier: shift",
}
#: Path -> curve (the reference or a variant) -> one curve for each run.
Curves = dict[str, dict[str, list["Curve"]]]


def check_profile(
    section: ProfileConfig, base: Path, elements: Sequence[str] | None
) -> ProfileConfig:
    """Make the paths of the files absolute, and check that they are paths of these elements.

    Raises
    ------
    InputError
        If a file cannot be read, or if it has other elements.
    """
    files = {name: expand_source(text, base) for name, text in section.files.items()}
    section = section.model_copy(update={"files": files})
    _check(section.model_dump_json(), None if elements is None else tuple(elements))
    return section


@lru_cache(maxsize=16)
def _check(section: str, elements: tuple[str, ...] | None) -> None:
    """Read the paths of a section; every run of a study asks for them."""
    config = ProfileConfig.model_validate_json(section)
    read_paths(config.files, config, elements)


def measure_profile(
    model: EnergyModel,
    config: ProfileConfig,
    seed: int,
    directory: Path,
    report: Callable[[str], None],
) -> dict[str, float]:
    """Evaluate a model along the paths, and write files and a page in the directory.

    Returns
    -------
    dict
        See :func:`muse_lr.analysis.profile.summary.flat_values`.
    """
    from muse_lr.reporting.profile.page import sentences, write_profiles
    from muse_lr.reporting.run_report import run_title

    paths = read_paths(config.files, config, model.elements)
    name = run_title(directory.parent)
    found = profile(model, paths, config)
    content = write_profiles({name: found}, directory, {"run": name, **config.files})
    for text in sentences(content):
        report(text)
    return flat_values(found)


def profile_blocks(values: Values, out: Path) -> list[Block]:
    """Errors of all variants on each path, and their curves beside the reference."""
    from muse_lr.reporting.profile.plots import profile_curves
    from muse_lr.reporting.profile.tables import MEASURES
    from muse_lr.reporting.style import save

    names = next(iter(values.values()))[0]
    paths = [key.removesuffix("/mae") for key in names if key.endswith("/mae")]
    rows = []
    for path in ["", *paths] if len(paths) > 1 else paths:
        for variant, seeds in values.items():
            cells = [Cell(path or "all paths"), Cell(variant), Cell(str(len(seeds)))]
            cells += [measured_cell(seeds, f"{path}/{key}" if path else key) for key in COLUMNS]
            rows.append(cells)
    caption = (
        f"{MEASURES} Errors of wells and barriers are differences to the reference. Means over "
        "seeds ± half width of the Student 95 % interval."
    )
    blocks: list[Block] = []
    if rows:
        columns = ["path", "variant", "seeds", *COLUMNS.values()]
        blocks.append(Table(columns, rows, caption, texts=("variant",)))
    panels = _panels(values, out)
    if panels:
        image = save(profile_curves(panels, "energy (eV)"), out / "plots" / "profile.png")
        text = "Relative energies along each path; mean over seeds, with their range as a band."
        blocks.append(Image(image, text))
    return [*blocks, Paragraph("Each run has its own page in the folder profile, with all terms.")]


def _panels(values: Values, out: Path) -> list[ProfilePanel]:
    """One panel for each path, from the files of the runs."""
    from muse_lr.reporting.figures import mean_curve
    from muse_lr.reporting.profile.plots import ProfilePanel

    curves: Curves = {}
    labels: dict[str, str] = {}
    for variant in values:
        for file in sorted((out / variant).glob("seed-*/profile/profile.csv")):
            _read_totals(file, variant, curves, labels)
    return [
        ProfilePanel(
            path,
            labels[path],
            found[REFERENCE][0] if REFERENCE in found else None,
            {name: mean_curve(runs) for name, runs in found.items() if name != REFERENCE},
        )
        for path, found in curves.items()
    ]


def _read_totals(file: Path, variant: str, curves: Curves, labels: dict[str, str]) -> None:
    """Add the total energies of one run, and the reference, to the curves."""
    import numpy as np

    from muse_lr.reporting.plots import Curve

    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with file.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            if row["term"] == TOTAL:
                labels[row["path"]] = coordinate_label(row["coordinate"])
                name = REFERENCE if row["curve"] == REFERENCE else variant
                point = (float(row["value"]), float(row["energy_eV"]))
                points.setdefault((row["path"], name), []).append(point)
    for (path, name), found in points.items():
        x, y = np.array(found).T
        curves.setdefault(path, {}).setdefault(name, []).append(Curve(x, y))

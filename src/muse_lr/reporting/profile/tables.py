"""Tables of energy profiles, made from :mod:`muse_lr.analysis.profile.summary`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from muse_lr.analysis.profile.summary import MEV, REFERENCE
from muse_lr.reporting.html import Cell, Table
from muse_lr.reporting.wording import number

Summary = Mapping[str, Any]
MISSING = "–"

MEASURES = (
    "Errors of relative energies of the whole structure; the frame of the zero is left out. A well "
    "is the deepest minimum between the ends of the path, a barrier the highest maximum, both at "
    "the vertex of a parabola; those of less than 1 meV are not counted."
)


def error_table(found: Summary) -> Table:
    """One row for each path and model: errors, and the wells and barriers beside the reference."""
    columns = ["path", "curve", "MAE (meV)", "RMSE (meV)", "largest error (meV)", "error at"]
    columns += ["well (meV)", "well at", "barrier (meV)", "barrier at"]
    rows = []
    for path in found["paths"]:
        name = path["name"]
        reference = found["models"][0]["paths"][name]
        if reference["labels"]:
            rows.append(
                [
                    *(Cell(name), Cell(REFERENCE)),
                    *[Cell(MISSING)] * 4,
                    *extreme_cells(reference, REFERENCE),
                ]
            )
        for model in found["models"]:
            of_path = model["paths"][name]
            measures = ("mae_meV", "rmse_meV", "largest_error_meV", "largest_error_at")
            cells = [Cell(number(of_path.get(measure))) for measure in measures]
            rows.append([Cell(name), Cell(model["name"]), *cells, *extreme_cells(of_path, "model")])
    return Table(columns, rows, MEASURES, texts=("curve",))


def extreme_cells(of_path: Summary, curve: str) -> list[Cell]:
    """Energy and position of the well and of the barrier."""
    cells = []
    for kind in ("well", "barrier"):
        found = of_path[kind][curve]
        if found is None:
            cells += [Cell(MISSING), Cell(MISSING)]
        else:
            cells += [Cell(number(MEV * found["energy_eV"])), Cell(number(found["at"]))]
    return cells


def path_table(found: Summary) -> Table:
    """Size, coordinate and zero of each path."""
    rows = [
        [
            Cell(path["name"]),
            Cell(path["coordinate"]),
            Cell(str(path["frames"])),
            Cell(str(path["atoms"])),
            Cell(MISSING if path["zero"] is None else f"{path['zero']:g}"),
        ]
        for path in found["paths"]
    ]
    columns = ["path", "coordinate", "frames", "atoms", "zero at"]
    return Table(columns, rows, texts=("coordinate",))

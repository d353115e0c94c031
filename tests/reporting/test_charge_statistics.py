"""Table, notes and figure of the statistics of a trajectory."""

from __future__ import annotations

import numpy as np

from muse_lr.analysis.charge_statistics import Profile, Statistic
from muse_lr.reporting.charge_statistics import (
    statistics_figure,
    statistics_notes,
    statistics_table,
)
from muse_lr.reporting.html import text_table
from muse_lr.reporting.style import save


def found():
    x = np.linspace(0.3, 1.0, 5)
    curve = Profile(x, x**2, "k (1/Å)", "screening", 0.1 * x, np.ones(5))
    return [
        Statistic("dielectric constant", 91.0, 4.0, "", "Its meaning.", 97.0, 3.0, cautions=("b",)),
        Statistic("second moment", 0.98, 0.01, "", "Its meaning.", 1.0, profile=curve),
        Statistic("step", 0.5, float("nan"), "V", "Its meaning."),
        Statistic("inside", float("nan"), float("nan"), "V", "", skipped="no slab"),
    ]


def test_the_table_has_what_applies():
    table = statistics_table(found())
    cells = [[cell.text for cell in row] for row in table.rows]
    assert cells == [
        ["dielectric constant", "91.0 ± 4.0", "97.0 ± 3.0", "", "−1.2"],
        ["second moment", "0.980 ± 0.010", "1.00", "", "−2.0"],
        ["step", "0.500", "–", "V", "–"],
    ]
    assert "dielectric" in text_table(table)


def test_the_notes_have_reasons_and_cautions():
    lines = statistics_notes(found()).lines
    assert "inside: does not apply: no slab" in lines
    assert "dielectric constant: b" in lines
    assert len(lines) == 5


def test_the_figure_has_the_curve_its_band_and_the_reference(tmp_path):
    figure = statistics_figure(found())
    assert figure is not None
    (axes,) = figure.axes[:1]
    assert [line.get_gid() for line in axes.lines] == ["trajectory", "reference"]
    assert len(axes.collections) == 1
    save(figure, tmp_path / "x.png")
    assert statistics_figure(found()[:1]) is None

"""Figures and tables of energy profiles."""

from __future__ import annotations

import numpy as np
import pytest

from muse_lr.reporting.plots import Curve
from muse_lr.reporting.profile.page import UNLABELED, sentences
from muse_lr.reporting.profile.plots import ProfilePanel, profile_curves
from muse_lr.reporting.profile.tables import error_table, path_table

NOTHING = {"model": None, "reference": None}
WELL = {"energy_eV": -0.25, "at": 3.2}


def content(labels: int = 4) -> dict:
    """A summary of two models on two paths."""

    def of_path(mae: float) -> dict:
        found = {"labels": labels, "well": {"model": None, "reference": WELL}, "barrier": NOTHING}
        if labels:
            found |= {"mae_meV": mae, "rmse_meV": mae, "largest_error_meV": -9.0}
            found |= {"largest_error_at": 2.5}
        return found

    return {
        "paths": [
            {"name": name, "coordinate": "height", "frames": 5, "atoms": 3, "zero": None}
            for name in ("one", "two")
        ],
        "models": [
            {
                "name": name,
                "mae_meV": scale if labels else None,
                "paths": {"one": of_path(scale), "two": of_path(2 * scale)},
            }
            for name, scale in (("a", 10.0), ("b", 20.0))
        ],
    }


def test_the_table_has_the_reference_and_each_model():
    table = error_table(content())
    assert [row[1].text for row in table.rows] == ["reference", "a", "b"] * 2
    reference, first, _ = (dict(zip(table.columns, row, strict=True)) for row in table.rows[:3])
    assert reference["well (meV)"].text == "−250"
    assert reference["well at"].text == "3.20"
    assert (first["MAE (meV)"].text, first["largest error (meV)"].text) == ("10.0", "−9.00")
    assert first["well (meV)"].text == first["barrier (meV)"].text == "–"
    assert [row[4].text for row in path_table(content()).rows] == ["–", "–"]


def test_the_result_names_the_worst_path():
    assert list(sentences(content())) == [
        "a: the MAE of the relative energies is 10.0 meV, and 20.0 meV on the worst path, two.",
        "b: the MAE of the relative energies is 20.0 meV, and 40.0 meV on the worst path, two.",
    ]


def test_without_labels_there_is_no_row_of_the_reference():
    assert [row[1].text for row in error_table(content(0)).rows] == ["a", "b"] * 2
    assert list(sentences(content(0))) == [UNLABELED]


def test_the_axis_follows_the_reference_and_a_seed_band_is_drawn():
    x = np.arange(4.0)
    reference = Curve(x, np.array([0.0, -0.4, -0.2, 0.0]))
    wild = Curve(x, np.array([0.0, 50.0, -50.0, 0.0]))
    band = Curve(x, reference.y, reference.y - 0.1, reference.y + 0.1)
    figure = profile_curves([ProfilePanel("p", "x", reference, {"a": wild, "b": band})], "energy")
    (ax,) = figure.axes
    assert ax.get_ylim() == pytest.approx((-0.4 - 0.66 * 0.4, 0.66 * 0.4))
    assert len(ax.collections) == 1
    assert {line.get_gid() for line in ax.lines if line.get_gid()} == {"reference", "a", "b"}


def test_colors_belong_to_names_across_panels():
    x = np.arange(3.0)
    panels = [
        ProfilePanel("one", "x", None, {"a": Curve(x, x), "b": Curve(x, x)}),
        ProfilePanel("two", "x", None, {"b": Curve(x, x)}),
    ]
    figure = profile_curves(panels, "energy (eV)")
    colors = [
        {line.get_gid(): line.get_color() for line in ax.lines if line.get_gid()}
        for ax in figure.axes
    ]
    assert colors[0]["b"] == colors[1]["b"] != colors[0]["a"]
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["one", "two"]

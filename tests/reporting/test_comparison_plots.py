"""Figures that compare variants: what is drawn, for ordinary and for awkward data."""

from __future__ import annotations

import numpy as np
import pytest

from muse_lr.reporting.comparison_plots import Change, charge_distributions, relative_changes
from muse_lr.reporting.style import color, save

NOTHING = float("nan")


def _legend(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def _ticks(ax):
    ax.figure.canvas.draw()
    return [text.get_text() for text in ax.get_xticklabels() if text.get_text()]


def test_changes_have_a_row_for_each_variant_and_a_mark_for_each_error():
    forces = {"a": Change(0.86, 0.81, 0.91), "b": Change(0.98, 0.94, 1.03)}
    energy = {"a": Change(1.2, 1.1, 1.4), "b": Change(1.0, 1.0, 1.0)}
    figure = relative_changes({"near": {"forces MAE": forces, "energy MAE": energy}})
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert _legend(figure) == ["forces MAE", "energy MAE"]
    line, *marks = ax.lines
    assert line.get_xdata()[0] == 1.0  # the reference
    np.testing.assert_allclose(marks[0].get_xdata(), [0.86, 0.98])
    np.testing.assert_allclose(marks[1].get_xdata(), [1.2, 1.0])
    spans = [path.vertices[:, 0] for path in ax.collections[0].get_paths()]
    np.testing.assert_allclose(spans, [[0.81, 0.91], [0.94, 1.03]])
    rows = marks[0].get_ydata()
    assert rows[0] < rows[1]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first variant is on top
    assert ax.get_xscale() == "linear"
    assert {"−20", "0", "+20", "+40"} & set(_ticks(ax)) >= {"0"}


def test_large_changes_have_a_logarithmic_axis_in_percent(tmp_path):
    changes = {"good": Change(0.02, 0.01, 0.03), "bad": Change(5.0, 4.0, 6.0)}
    figure = relative_changes({"far": {"forces MAE": changes}})
    (ax,) = figure.axes
    assert ax.get_xscale() == "log"
    labels = _ticks(ax)
    assert "0" in labels
    assert {"−98", "+400", "−90", "+100"} & set(labels)
    low, high = ax.get_xlim()
    assert low < 0.01
    assert high > 6.0
    save(figure, tmp_path / "x.png")


@pytest.mark.parametrize(
    "changes",
    [
        {"a": Change(0.9, NOTHING, NOTHING)},
        {"a": Change(1.0, 1.0, 1.0)},
        {"a": Change(0.0, 0.0, 0.0)},
        {"$\\frac{": Change(0.9, 0.8, 1.0)},
        {"n" * 200: Change(0.9, 0.8, 1.0)},
    ],
)
def test_awkward_changes_are_drawn(changes, tmp_path):
    figure = relative_changes({"a": {"forces MAE": changes}, "b": {"energy MAE": changes}})
    save(figure, tmp_path / "x.png")
    assert len(figure.axes) == 2
    assert max(len(text.get_text()) for text in figure.axes[0].get_yticklabels()) <= 32


def test_charges_have_a_panel_for_each_element_and_a_line_for_each_model():
    rng = np.random.default_rng(0)
    charges = {
        "a": {1: 0.4 + 0.01 * rng.normal(size=200), 8: -0.8 + 0.02 * rng.normal(size=100)},
        "b": {1: 0.3 + 0.01 * rng.normal(size=200)},
    }
    reference = {8: np.full(100, -0.82)}
    figure = charge_distributions(charges, reference, ["x", "a", "b"])
    hydrogen, oxygen = figure.axes
    assert (hydrogen.get_title("left"), oxygen.get_title("left")) == ("H", "O")
    assert sorted(_legend(figure)) == ["a", "b", "reference"]
    lines = {line.get_gid(): line for line in hydrogen.lines}
    assert set(lines) == {"a", "b"}
    assert lines["a"].get_color() == color(1)  # its color in the other figures
    for name, center in (("a", 0.4), ("b", 0.3)):
        x, share = lines[name].get_xdata()[::2], lines[name].get_ydata()[::2]
        assert share.sum() == pytest.approx(100.0)
        assert np.average(x, weights=share) == pytest.approx(center, abs=0.01)
    assert [line.get_gid() for line in oxygen.lines] == ["reference", "a"]


def test_equal_charges_and_many_elements_are_drawn(tmp_path):
    charges = {"fixed": {z: np.full(z, 1.0) for z in range(1, 31)}}
    figure = charge_distributions(charges)
    drawn = [ax.get_title("left") for ax in figure.axes if ax.get_title("left")]
    assert len(drawn) == 12  # those with the most atoms
    assert drawn[-1] == "Zn"
    save(figure, tmp_path / "x.png")

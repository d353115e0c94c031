"""Figures: what is drawn, for ordinary and for awkward data."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from muse_lr.errors import InputError
from muse_lr.reporting.plots import (
    MANY_POINTS,
    Curve,
    InteractionPanel,
    ParityPanel,
    binned_median,
    error_against_distance,
    interaction_curves,
    learning_curves,
    parity,
)
from muse_lr.reporting.style import save


def _texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def _legend(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_parity_prints_mae_and_rmse_in_the_error_unit():
    reference, error = np.arange(4.0), np.array([0.1, -0.1, 0.1, -0.3])
    panel = ParityPanel("energy", reference, reference + error, "eV", "meV", 1e3)
    (text,) = _texts(parity([panel]))
    assert "MAE 150 meV" in text
    assert "RMSE 173 meV" in text


def test_parity_of_many_points_is_binned():
    x = np.random.default_rng(0).normal(size=MANY_POINTS + 1)
    figure = parity([ParityPanel("many", x, x, "eV"), ParityPanel("few", x[:5], x[:5], "eV")])
    many, few = (type(ax.collections[0]).__name__ for ax in figure.axes)
    assert (many, few) == ("PolyCollection", "PathCollection")


def test_parity_of_one_constant_value_has_a_frame(tmp_path):
    figure = parity([ParityPanel("constant", np.ones(3), np.ones(3), "eV")])
    low, high = figure.axes[0].get_xlim()
    assert low < 1.0 < high
    save(figure, tmp_path / "x.png")


def test_parity_says_how_many_predictions_are_not_finite(tmp_path):
    x = np.arange(4.0)
    some = ParityPanel("some", x, np.array([0.0, 1.0, np.nan, np.inf]), "eV")
    none = ParityPanel("none", x, np.full(4, np.nan), "eV")
    figure = parity([some, none])
    save(figure, tmp_path / "x.png")
    first, second = _texts(figure)
    assert "n = 2, 2 not finite" in first
    assert second == "no finite prediction"


def test_the_corner_text_avoids_the_points():
    x = np.linspace(0.0, 1.0, 20)
    above = parity([ParityPanel("", x, np.full(20, 1.0), "eV")]).axes[0].texts[0]
    assert above.get_verticalalignment() == "bottom"
    below = parity([ParityPanel("", x, np.full(20, 0.0), "eV")]).axes[0].texts[0]
    assert below.get_verticalalignment() == "top"


def test_learning_curves_draw_every_seed_and_name_each_run_once():
    curves = {"epoch": np.arange(1.0, 6.0), "valid_loss": np.geomspace(1, 0.1, 5)}
    figure = learning_curves({"a": [curves, curves], "_b": [curves]})
    assert figure.axes[0].get_title("left") == "Loss, validation"
    assert len(figure.axes[0].lines) == 3
    assert [name.strip() for name in _legend(figure)] == ["a", "_b"]


def test_a_single_run_shows_training_beside_validation():
    epochs = np.arange(1.0, 6.0)
    curves = {"epoch": epochs, "train_loss": 1 / epochs, "valid_loss": 2 / epochs}
    assert _legend(learning_curves({"run": [curves]})) == ["training", "validation"]


def test_learning_curves_without_a_finite_value_still_draw(tmp_path):
    curves = {"epoch": np.arange(3.0), "valid_loss": np.full(3, np.nan)}
    save(learning_curves({"a": [curves], "b": [curves]}), tmp_path / "x.png")


def test_binned_medians_leave_out_sparse_bins():
    distance = np.array([0.1, 0.2, 0.3, 1.5, 2.1, 2.2, 2.3])
    error = np.array([1.0, 2.0, 9.0, 5.0, 3.0, 3.0, 3.0])
    center, median = binned_median(distance, error, np.array([0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(center, [0.2, 2.2])
    np.testing.assert_allclose(median, [2.0, 3.0])


def test_error_against_distance_has_a_panel_a_test_and_a_line_a_series():
    distance, error = np.linspace(3, 9, 40), np.geomspace(1, 100, 40)
    figure = error_against_distance({"near": {"a": (distance, error), "b": (distance, 2 * error)}})
    (ax,) = figure.axes
    assert ax.get_yscale() == "log"
    assert len(ax.lines) == 2
    assert "meV" in ax.get_ylabel()
    assert "Å" in ax.get_xlabel()


def test_the_interaction_frame_follows_the_reference_not_a_curve_that_fails():
    x = np.linspace(3.0, 10.0, 8)
    reference, wild = Curve(x, -14.4 / x), Curve(x, np.full(8, 1e4))
    (ax,) = interaction_curves([InteractionPanel("scan", reference, {"wild": wild})]).axes
    low, high = ax.get_ylim()
    assert low < -4.8
    assert high < 10.0


def test_dollars_in_names_are_not_mathematics(tmp_path):
    x = np.linspace(3.0, 10.0, 8)
    panel = InteractionPanel("a $\\frac{ b", None, {"$x^{": Curve(x, x)})
    save(interaction_curves([panel]), tmp_path / "x.png")


def test_the_callers_style_is_left_alone(tmp_path):
    before = dict(mpl.rcParams)
    save(parity([ParityPanel("", np.arange(3.0), np.arange(3.0), "eV")]), tmp_path / "x.png")
    assert dict(mpl.rcParams) == before


def test_saving_into_a_file_as_directory_is_one_clear_error(tmp_path):
    (tmp_path / "plots").write_text("")
    figure = parity([ParityPanel("", np.arange(3.0), np.arange(3.0), "eV")])
    with pytest.raises(InputError, match="plots"):
        save(figure, tmp_path / "plots" / "x.png")

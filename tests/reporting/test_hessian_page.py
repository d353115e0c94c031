"""The page of a comparison of Hessians: what it says, and that it stands alone."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from ase import Atoms

from muse_lr.analysis.hessian.blocks import distance_edges, joined, pair_blocks
from muse_lr.analysis.hessian.comparison import Comparison, FrameComparison
from muse_lr.analysis.hessian.modes import compare_modes
from muse_lr.analysis.hessian.references import References
from muse_lr.data.hessians import HessianFrame
from muse_lr.reporting.hessian.page import cautions, noise_sentence, sentences, write_comparison
from muse_lr.reporting.hessian.plots import Curve, CurvePanel, block_curves
from muse_lr.reporting.hessian.tables import distance_table, overview_table
from muse_lr.reporting.html import text_table

#: Three atoms, the ends 6 A apart.
CHAIN = Atoms("HCO", [[0, 0, 0], [3, 0, 0], [6, 0, 0]])


def reference(far: float = 0.5, noise: float = 0.0) -> np.ndarray:
    """A Hessian whose ends are coupled by ``far``, with noise there."""
    found = np.zeros((9, 9))
    found[0, 3] = found[3, 0] = found[3, 6] = found[6, 3] = 5.0
    found[0, 6] = found[6, 0] = far
    found[0, 6] += noise
    return found + 20 * np.eye(9)


def comparison(matrix: np.ndarray, of: np.ndarray, name="muse", reach=4.0) -> Comparison:
    pairs = joined([pair_blocks(CHAIN, matrix, of)])
    asymmetry = float(np.abs(of - of.T).max())
    frame = FrameComparison(
        "<script>.xyz, frame 0", 3, compare_modes(CHAIN, matrix, of), 0, 0, asymmetry, 0.1
    )
    return Comparison(name, reach, {"backbone": "2 x 1 layers x 2 Å"}, pairs, [frame])


def written(tmp_path, *comparisons, of):
    references = References(
        [HessianFrame(CHAIN, of, "<script>.xyz, frame 0")], {"all": [0], "positive": [0]}
    )
    edges = distance_edges(comparisons[0].pairs, [0, 2, 10], [c.reach for c in comparisons])
    return write_comparison(comparisons, references, edges, tmp_path, {"model": "<script>.pt"})


def test_the_files(tmp_path):
    of = reference()
    found = written(tmp_path, comparison(of, of), comparison(0 * of, of, "<b>zero"), of=of)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("hessian.json", "hessian.csv", "report.html", "plots")
    }
    content = json.loads((tmp_path / "hessian.json").read_text())
    assert content["models"] == json.loads(json.dumps(found["models"]))
    assert content["about"] == {"model": "<script>.pt"}
    with (tmp_path / "hessian.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    far = [row for row in rows if row["model"] == "muse" and row["region"] == "beyond"]
    assert {(row["from_A"], row["to_A"]) for row in far if row["from_A"]} == {("4.0", "10")}
    assert {float(row["norm"]) for row in far} == {0.5}
    assert {row["from_reach"] for row in far if row["from_A"]} == {"1.0"}
    page = (tmp_path / "report.html").read_text()
    assert "<script>.xyz" not in page
    assert "<b>zero" not in page
    assert page.count("data:image/png") == 2
    assert not re.search(r"(?:src|href)=\"http", page)


def test_a_single_atom_has_a_page_too(tmp_path):
    atom, zero = Atoms("H"), np.zeros((3, 3))
    pairs = joined([pair_blocks(atom, zero, zero)])
    frame = FrameComparison("x", 1, compare_modes(atom, zero, zero), 0, 0, 0, 0)
    references = References([HessianFrame(atom, zero, "x")], {"all": [0]})
    edges = distance_edges(pairs, [0, 2])
    found = write_comparison(
        [Comparison("muse", 4.0, {}, pairs, [frame])], references, edges, tmp_path, {}
    )
    assert "The structures have no vibrations" in (tmp_path / "report.html").read_text()
    assert "nothing is said on range" in next(sentences(found))


def test_what_is_said(tmp_path):
    of = reference()
    found = written(tmp_path, comparison(of, of), of=of)
    (text,) = sentences(found)
    assert "inside the reach of its backbone (4 Å), the error of the blocks is 0 of" in text
    assert "beyond 4 Å, the error of the blocks is 0 of" in text
    assert "cosine of 1.00" in text
    assert list(cautions(found)) == []
    assert "their noise is not known" in noise_sentence(found)


@pytest.mark.parametrize(
    ("matrix", "of", "reach", "caution"),
    [
        (reference(far=-0.5), reference(), 4.0, "larger than that of the zero model"),
        (reference(), reference(noise=2.0), 4.0, "hardly anything to compare with"),
        (reference(), reference(), 9.0, ""),
    ],
)
def test_cautions(tmp_path, matrix, of, reach, caution):
    found = written(tmp_path, comparison(matrix, of, reach=reach), of=of)
    assert [caution in text for text in cautions(found)] == [True] * bool(caution)
    if reach == 9.0:
        assert "no pair of atoms is farther apart" in next(sentences(found))
    if not np.array_equal(of, of.T):
        assert "up to 2.00 eV/Å²" in noise_sentence(found)


def test_tables_have_the_zero_model_and_the_distance_in_units_of_each_reach(tmp_path):
    of = reference()
    one, other = comparison(of, of), comparison(0.5 * of, of, "short", reach=5.0)
    found = written(tmp_path, one, other, of=of)
    text = text_table(distance_table(found, "all"))
    assert "distance / 4 Å" in text
    assert "distance / 5 Å" in text
    assert re.search(r"5 to 10 +1\.2 to 2\.5, beyond +1\.0 to 2\.0, beyond", text)
    assert re.search(r"zero model +muse: error +muse: cosine +short: error +short: cosine", text)
    table = overview_table(found)
    assert [row[1].text for row in table.rows] == ["all", "all", "positive", "positive"]
    assert table.rows[1][table.columns.index("beyond: error")].text == "0.250"
    assert table.rows[1][table.columns.index("beyond: zero model")].text == "0.500"


def test_curves_mark_the_reach_and_show_the_reference():
    curve = Curve([1, 5], [0.1, 0.2], [1.0, 0.5], [1.0, 0.3])
    panel = CurvePanel([1, 5], [1.0, 0.4], [0.0, 0.01], {"muse": curve}, {"muse": 4.0})
    figure = block_curves({"positive": panel})
    norm, error, cosine = figure.axes
    assert [line.get_gid() for line in norm.lines][:3] == [
        "reference (error of the zero model)",
        "noise of the reference",
        "muse",
    ]
    np.testing.assert_array_equal(norm.lines[0].get_ydata(), panel.norm)
    np.testing.assert_array_equal(error.lines[2].get_ydata(), curve.error)
    np.testing.assert_array_equal(cosine.lines[0].get_ydata(), curve.cosine)
    for ax in figure.axes:
        assert any(list(line.get_xdata()) == [4.0, 4.0] for line in ax.lines)
        assert [text.get_text() for text in ax.texts] == ["inside: learnability", "beyond: range"]


def test_a_reach_beyond_all_distances_is_not_drawn():
    panel = CurvePanel([1, 5], [1.0, 0.4], [], {"muse": Curve([1, 5], [1, 1], [1, 1])}, {"muse": 9})
    figure = block_curves({"positive": panel})
    assert len(figure.axes) == 2  # without norms of the model
    for ax in figure.axes:
        assert not ax.texts
        assert ax.get_xlim()[1] < 9

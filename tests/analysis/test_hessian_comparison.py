"""Comparison of a model with references: exact where it is its own reference; it continues."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import molecule

import muse_lr
from helpers import fixed_charge_model, painn_section, random_model
from muse_lr.analysis.hessian import backbone_reach, comparison, reach_lines
from muse_lr.analysis.hessian.blocks import BINS, distance_edges
from muse_lr.analysis.hessian.comparison import compare
from muse_lr.analysis.hessian.references import check_elements, read_references
from muse_lr.analysis.hessian.settings import HessianConfig
from muse_lr.analysis.hessian.summary import COLUMNS, flat_values, region, summary, table_rows
from muse_lr.config.schema import validate
from muse_lr.data.hessians import HessianFrame, write_hessians
from muse_lr.errors import InputError
from muse_lr.model.hessian import hessian

COULOMB = {"charges": {"kind": "conserved"}, "heads": {"coulomb": {"kind": "coulomb"}}}
#: Groups of the two frames.
GROUPS = {"all": [0, 1], "methane": [1]}


def model_of(seed: int = 1, **sections) -> muse_lr.EnergyModel:
    """One layer of 1.2 A, whose Hessian reaches 2.4 A; with charges, it is long-ranged."""
    sections = {"charges": None, "heads": {}, **sections}
    return random_model(painn_section(["H", "C"], 1.2, **sections), weights=seed, scale=0.3)


def frames_of(model: muse_lr.EnergyModel) -> list[HessianFrame]:
    """Ethane and methane with the Hessians of a model."""
    structures = [molecule("C2H6"), molecule("CH4")]
    return [
        HessianFrame(atoms, hessian(model, atoms), f"x.xyz, frame {i}")
        for i, atoms in enumerate(structures)
    ]


def test_a_model_is_exact_beside_itself():
    model = model_of(**COULOMB)
    lines: list[str] = []
    found = compare(model.float(), frames_of(model.double()), "own", report=lines.append)
    assert found.reach == pytest.approx(2.4)
    assert found.pairs.beyond(2.4).count > 0
    for sums in (found.pairs.within(2.4), found.pairs.beyond(2.4)):
        assert sums.relative_error < 1e-5
        assert sums.cosine == pytest.approx(1)
    for frame in found.frames:
        assert frame.modes.mean_overlap == pytest.approx(1, abs=1e-6)
        assert frame.asymmetry < 1e-10
        assert frame.sum_rule < 1e-10
    assert lines[0].startswith("own: Hessian 1 of 2, 8 atoms, ")


def test_a_backbone_alone_is_the_zero_model_beyond_its_reach():
    found = compare(model_of(), frames_of(model_of(**COULOMB)))
    beyond = found.pairs.beyond(found.reach)
    assert beyond.model_norm == 0
    assert beyond.error == beyond.norm > 0
    assert found.pairs.within(found.reach).model_norm > 0


def test_reaches():
    model = model_of(multiscale={"kind": "muse", "radius": 4.0, "cutoff": 8.0}, **COULOMB)
    assert backbone_reach(model) == pytest.approx(2.4)
    lines = reach_lines(model)
    assert lines["backbone"] == "2 x 1 layers x 1.2 Å = 2.4 Å between two atoms"
    assert list(lines) == ["backbone", "multiscale", "head coulomb"]
    assert lines["head coulomb"] == "long-ranged"
    salt = fixed_charge_model({"Na": 1.0}, repulsion={"kind": "zbl"})
    assert backbone_reach(salt) == 0
    assert reach_lines(salt)["head repulsion"].startswith("range ")
    assert region(0, 2.4, 2.4) == "inside"
    assert region(2.4, 4, 2.4) == "beyond"
    assert region(2, 4, 2.4) == "across"


@pytest.fixture
def counted(monkeypatch):
    """Number of atoms of each Hessian that is computed."""
    computed = []

    def count(model, atoms, **options):
        computed.append(len(atoms))
        return hessian(model, atoms, **options)

    monkeypatch.setattr(comparison, "hessian", count)
    return computed


def test_an_interrupted_comparison_continues(tmp_path, counted, monkeypatch):
    model, frames = model_of(), frames_of(model_of(2))

    def interrupted(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(model, frames, directory=tmp_path, report=interrupted)
    assert counted == [8]
    again = compare(model, frames, directory=tmp_path)
    assert counted == [8, 5]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0000.npz", "0001.npz"]
    fresh = compare(model, frames)
    np.testing.assert_array_equal(again.pairs.difference, fresh.pairs.difference)


def test_only_a_hessian_of_the_same_model_and_structure_is_used_again(tmp_path, counted):
    frames = frames_of(model_of(2))
    compare(model_of(), frames, directory=tmp_path)
    counted.clear()
    compare(model_of(3), frames, directory=tmp_path)
    assert counted == [8, 5]
    moved = frames[0].atoms.copy()
    moved.positions[0, 0] += 0.01
    compare(model_of(3), [HessianFrame(moved, frames[0].hessian, "x"), frames[1]], "m", tmp_path)
    assert counted == [8, 5, 8]
    (tmp_path / "0001.npz").write_bytes(b"damaged")
    compare(model_of(3), frames[:2], directory=tmp_path)
    assert counted[3:] == [8, 5]


def test_what_a_model_does_not_support_names_model_and_frame():
    frame = HessianFrame(molecule("H2O"), np.zeros((9, 9)), "water.xyz, frame 0")
    with pytest.raises(InputError, match=r"^short: water\.xyz, frame 0: .*element O"):
        compare(model_of(), [frame], "short")


def files(tmp_path) -> dict[str, str]:
    """A file of five frames and one of two, with an info key in the first."""
    sources = {}
    for name, count in (("long", 5), ("short", 2)):
        frames = [molecule("CH4") for _ in range(count)]
        for index, atoms in enumerate(frames):
            atoms.info["number"] = index
            if name == "long":
                atoms.info["family"] = "even" if index % 2 == 0 else "odd"
        write_hessians(tmp_path / f"{name}.xyz", frames, [np.eye(15)] * count)
        sources[name] = str(tmp_path / f"{name}.xyz")
    return sources


def test_references_and_their_groups(tmp_path):
    sources = files(tmp_path)
    found = read_references(sources, by=["family"])
    assert found.groups == {
        "all": list(range(7)),
        "long": [0, 1, 2, 3, 4],
        "short": [5, 6],
        "family=even": [0, 2, 4],
        "family=not given": [5, 6],
        "family=odd": [1, 3],
    }
    few = read_references(sources, max_frames=3)
    assert [frame.atoms.info["number"] for frame in few.frames] == [0, 2, 4, 0, 1]
    assert list(read_references({"long": sources["long"]}).groups) == ["all"]
    with pytest.raises(InputError, match=r"no frame has this info key \(did you mean 'family'"):
        read_references(sources, by=["familly"])
    with pytest.raises(InputError, match="'all' is the name of all frames"):
        read_references({"all": sources["long"], "short": sources["short"]})
    check_elements(found, ["C", "H"], "a.pt")
    with pytest.raises(InputError, match=r"^a\.pt: .*long\.xyz, frame 0: .*H"):
        check_elements(found, ["C"], "a.pt")


def test_results_as_plain_data():
    frames = frames_of(model_of(**COULOMB))
    found = compare(model_of(), frames, "short")
    edges = distance_edges(found.pairs, BINS, [found.reach])
    content = summary([found], GROUPS, edges)
    json.dumps(content, allow_nan=False)
    (model,) = content["models"]
    for name, members in GROUPS.items():
        part = model["sets"][name]
        assert part["frames"] == len(members)
        pairs = sum(len(frames[i].atoms) * (len(frames[i].atoms) - 1) // 2 for i in members)
        for key in ("by_distance", "by_elements"):
            assert sum(line["pairs"] for line in part[key]) == pairs
        assert {line["region"] for line in part["by_distance"]} <= {"inside", "beyond"}
    assert model["sets"]["all"]["blocks"]["beyond_reach"]["cosine"] is None
    assert len(model["frames"][0]["model_frequencies"]) == 3 * 8 - 6
    rows = table_rows([found], GROUPS, edges)
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert {row[0] for row in rows} == {"short"}
    assert len({tuple(row[:8]) for row in rows}) == len(rows)


def test_numbers_of_a_study():
    found = compare(model_of(), frames_of(model_of(**COULOMB)))
    edges = distance_edges(found.pairs, [0, 2, 4])
    values = flat_values(found, GROUPS, edges, beyond=3.0)
    assert values["reach_A"] == pytest.approx(2.4)
    assert values["beyond_A"] == 3.0
    assert values["error_beyond"] == pytest.approx(found.pairs.beyond(3.0).error)
    assert values["error_beyond"] == values["norm_beyond"]
    assert values["cosine_within"] == pytest.approx(found.pairs.within(3.0).cosine)
    assert values["norm_2_4A"] > 0
    assert "cosine_beyond" not in values  # the model has no blocks there
    assert values["methane/frequencies_modes"] == 9
    assert values["frequencies_modes"] == 9 + 18
    assert all(np.isfinite(list(values.values())))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "references"),
        ({"references": {}}, "references"),
        ({"references": {"a/b": "x.xyz"}}, "reference 'a/b'"),
        ({"bins": [0]}, "bins"),
        ({"bins": [0, 4, 4]}, "bins must ascend"),
        ({"bins": [-1, 4]}, "bins must ascend"),
        ({"memory": 0}, "memory"),
        ({"max_frames": 0}, "max_frames"),
        ({"beyond": -1}, "beyond"),
        ({"cutoff": 3}, "unknown key"),
    ],
)
def test_wrong_settings_are_refused(section, message):
    if message not in ("references", "reference 'a/b'"):
        section = {"references": {"a": "x.xyz"}, **section}
    with pytest.raises(InputError, match=message):
        validate(HessianConfig, section, "hessian")

"""Energy profiles: paths of files, zeros, wells and barriers, energies against formulas."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from helpers import fixed_charge_model, painn_section, random_model
from muse_lr.analysis.profile.energies import TOTAL, profile
from muse_lr.analysis.profile.extremes import barrier, well
from muse_lr.analysis.profile.paths import read_paths
from muse_lr.analysis.profile.settings import ProfileOptions
from muse_lr.analysis.profile.summary import errors, flat_values, path_summary, summary, table_rows
from muse_lr.config.schema import validate
from muse_lr.errors import InputError
from muse_lr.units import COULOMB_CONSTANT

DISTANCES = (2.0, 4.0, 8.0, 16.0)


def options(**given) -> ProfileOptions:
    return validate(ProfileOptions, given, "options")


def pair(distance: float, **info) -> Atoms:
    atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, distance]])
    atoms.info.update(distance=distance, **info)
    return atoms


def save(path: Path, frames: list[Atoms]) -> str:
    text = io.StringIO()
    write(text, frames, format="extxyz")
    path.write_text(text.getvalue())
    return str(path)


def paths_of(tmp_path: Path, frames: list[Atoms], **given):
    return read_paths({"file": save(tmp_path / "frames.xyz", frames)}, options(**given))


@pytest.fixture
def ions():
    return fixed_charge_model({"Na": 1.0, "Cl": -1.0}, coulomb={"kind": "coulomb"})


def test_a_well_is_at_the_vertex_of_the_parabola():
    x = np.array([0.0, 1.0, 1.5, 2.5, 3.0])  # not evenly spaced
    found = well(x, 2.0 * (x - 1.7) ** 2 - 0.3)
    assert found is not None
    assert (found.energy, found.position) == pytest.approx((-0.3, 1.7))
    top = barrier(x, -2.0 * (x - 1.7) ** 2 + 0.3)
    assert top is not None
    assert (top.energy, top.position) == pytest.approx((0.3, 1.7))


def test_ends_and_shallow_minima_are_no_wells():
    x = np.linspace(0, 5, 6)
    assert well(x, x) is None
    assert barrier(x, x) is None
    assert well(x, np.array([1, 0.9, 0.0, 0.9, np.nan, 1])) is not None  # a gap between labels
    assert well(x, np.array([0.0, 0.0, -5e-4, 0.0, 0.0, 0.0])) is None
    assert well(x[:2], x[:2]) is None
    flat = well(x, np.array([1.0, 0.0, 0.0, 1.0, 1.0, 1.0]))
    assert flat is not None
    assert flat.energy == 0.0


def test_a_barrier_behind_the_wall_and_the_well_is_found():
    """The wall at the first end is higher, but it is no barrier."""
    y = np.array([5.0, 0.0, -1.0, 0.0, 0.2, 0.1, 0.0])
    top = barrier(np.arange(7.0), y)
    assert top is not None
    assert top.position == pytest.approx(4.0, abs=0.5)


def test_the_only_number_that_varies_is_the_coordinate(tmp_path):
    frames = [pair(d, height=d, charge=0, REF_x=1 / d, flag=d > 3, name="x") for d in DISTANCES]
    (path,) = paths_of(tmp_path, frames[::-1])
    assert path.coordinate == "distance"  # height has the same numbers
    assert path.label == "distance (Å)"
    assert path.values.tolist() == list(DISTANCES)
    assert [atoms.info["distance"] for atoms in path.frames] == list(DISTANCES)
    assert path.sources[0].endswith("frames.xyz, frame 3")
    assert not path.labeled


def test_a_choice_of_coordinates_is_needed(tmp_path):
    frames = [pair(d, angle=-d) for d in DISTANCES]
    with pytest.raises(
        InputError, match="distance, angle; choose one, as in --coordinate distance"
    ):
        paths_of(tmp_path, frames)
    (path,) = paths_of(tmp_path, frames, keys={"energy": "angle"})  # a label is no coordinate
    assert path.coordinate == "distance"
    (path,) = paths_of(tmp_path, frames, coordinate="angle")
    assert path.values.tolist() == [-16.0, -8.0, -4.0, -2.0]
    assert path.label == "angle (°)"
    with pytest.raises(InputError, match="no number under the coordinate 'distanc'"):
        paths_of(tmp_path, frames, coordinate="distanc")


def test_frames_without_a_coordinate_are_counted(tmp_path):
    frames = [Atoms("H2", [[0, 0, 0], [0, 0, d]]) for d in (0.7, 0.8, 0.6)]
    (path,) = paths_of(tmp_path, frames)
    assert (path.coordinate, path.label) == ("frame", "frame")
    assert path.values.tolist() == [0, 1, 2]


def test_the_length_of_a_path_has_no_rotations_and_takes_the_nearest_image(tmp_path):
    turned = [molecule("H2O") for _ in range(3)]
    turned[1].rotate(50, (1, 2, 3))
    turned[1].translate([5, 0, 0])
    turned[2].positions[1, 1] += 0.1
    (path,) = paths_of(tmp_path, turned, coordinate="path")
    assert path.values[1] == pytest.approx(0.0, abs=1e-6)
    assert 0.05 < path.values[2] < 0.1
    crystal = [bulk("Cu", cubic=True) for _ in range(2)]
    crystal[1].positions[0, 0] += 0.3 + crystal[1].cell[0, 0]
    (path,) = paths_of(tmp_path, crystal, coordinate="path")
    assert path.values.tolist() == pytest.approx([0.0, 0.3])
    assert path.label == "length of the path (Å)"


def test_scans_divide_a_file(tmp_path):
    frames = [pair(d, scan=name, kind="a") for name in ("one", "two") for d in DISTANCES]
    assert [path.name for path in paths_of(tmp_path, frames)] == ["one", "two"]
    (path,) = paths_of(tmp_path, frames, by=["kind"])
    assert (path.name, len(path.frames)) == ("a", 8)
    names = [path.name for path in paths_of(tmp_path, frames, by=["kind", "scan"])]
    assert names == ["a, one", "a, two"]
    (whole,) = paths_of(tmp_path, frames, by=[])
    assert whole.name == "file"
    with pytest.raises(InputError, match=r"no info key 'scam' to divide by .did you mean 'scan'"):
        paths_of(tmp_path, frames, by=["scam"])
    file = save(tmp_path / "frames.xyz", frames)
    two = read_paths({"x": f"{file}@scan=one", "y": f"{file}@scan=two"}, options())
    assert [path.name for path in two] == ["x: one", "y: two"]


def test_what_is_no_path_is_refused(tmp_path):
    with pytest.raises(InputError, match="has one frame"):
        paths_of(tmp_path, [pair(2.0)])
    with pytest.raises(InputError, match="other atoms than"):
        paths_of(tmp_path, [pair(2.0), Atoms("Na", info={"distance": 3.0})])
    with pytest.raises(InputError, match="fragments are not known"):
        paths_of(tmp_path, [pair(2.0), pair(3.0)], fragments=True)


@pytest.mark.parametrize(
    ("zero", "distance"),
    [("first", 2.0), ("last", 16.0), (None, 16.0), ("min", 2.0), (8.0, 8.0), ("4", 4.0)],
)
def test_a_zero_is_subtracted_from_the_model_and_the_reference(ions, tmp_path, zero, distance):
    frames = [pair(d, REF_energy=100.0 - 5.0 / d) for d in DISTANCES]
    given = options(zero=zero)
    paths = read_paths({"file": save(tmp_path / "frames.xyz", frames)}, given)
    (found,) = profile(ions, paths, given)
    x = np.array(DISTANCES)
    expected = COULOMB_CONSTANT * (1 / distance - 1 / x)
    assert found.energies[TOTAL] == pytest.approx(expected, abs=1e-9)
    assert found.reference == pytest.approx(5.0 * (1 / distance - 1 / x), abs=1e-6)
    left_out = np.isnan(errors(found))
    assert x[left_out].tolist() == [distance]


def test_zeros_that_are_not_there_are_refused(tmp_path):
    frames = [pair(d, REF_energy=1.0) for d in DISTANCES]
    with pytest.raises(InputError, match=r"has the distance 5; the nearest one has 4, of 2 to 16"):
        paths_of(tmp_path, frames, zero=5.0)
    del frames[-1].info["REF_energy"]
    with pytest.raises(InputError, match="no reference energy, but others"):
        paths_of(tmp_path, frames)
    assert paths_of(tmp_path, frames, zero="first")[0].labeled
    with pytest.raises(InputError, match="zero: 'end': give first, last, min, none"):
        options(zero="end")
    with pytest.raises(InputError, match="zero: 'nan': give"):
        options(zero="nan")


def test_fragments_are_subtracted(tmp_path, ions):
    """The interaction energy of two ions, absolute; that of ions alone vanishes."""
    charges = np.array([1.0, -1.0])
    frames = [
        pair(d, size_first=1, fragment_total_charges=charges, REF_interaction_energy=-14.0 / d)
        for d in DISTANCES
    ]
    paths = paths_of(tmp_path, frames, fragments=True)
    (found,) = profile(ions, paths, options(fragments=True), graphs=3)
    assert found.zero is None
    expected = -COULOMB_CONSTANT / np.array(DISTANCES)
    assert found.energies[TOTAL] == pytest.approx(expected, abs=1e-9)
    assert found.reference == pytest.approx(-14.0 / np.array(DISTANCES))
    assert errors(found) == pytest.approx(expected + 14.0 / np.array(DISTANCES), abs=1e-6)


def test_terms_sum_to_the_total_and_the_model_stays_as_it_is(tmp_path):
    section = painn_section(["Na", "Cl"], 3.5, charges={"kind": "conserved"})
    model = random_model(section).float().train()
    paths = paths_of(tmp_path, [pair(d) for d in (2.0, 2.5, 3.0, 9.0)])
    (one,), (many,) = (profile(model, paths, options(), graphs) for graphs in (1, 16))
    assert model.dtype == torch.float32
    assert model.training
    assert one.energies[TOTAL] == pytest.approx(many.energies[TOTAL], abs=1e-10)
    terms = [values for name, values in many.energies.items() if name != TOTAL]
    assert np.sum(terms, axis=0) == pytest.approx(many.energies[TOTAL], abs=1e-9)
    assert set(many.varying) == {"backbone", "coulomb"}  # e0 is constant


def test_errors_wells_and_rows(tmp_path):
    """A model of ions has no well, a reference with repulsion has one."""
    x = np.arange(1.0, 6.01, 0.1)
    reference = COULOMB_CONSTANT * (-1 / x + 0.4 / x**5)
    frames = [pair(float(d), REF_energy=float(e)) for d, e in zip(x, reference, strict=True)]
    model = fixed_charge_model({"Na": 1.0, "Cl": -1.0}, coulomb={"kind": "coulomb"})
    found = profile(model, paths_of(tmp_path, frames), options())
    values = path_summary(found[0])
    assert values["labels"] == len(x) - 1
    assert values["largest_error_at"] == 1.0
    repulsion = 1000 * COULOMB_CONSTANT * 0.4 / x**5
    assert values["largest_error_meV"] == pytest.approx(repulsion[-1] - repulsion[0], abs=0.01)
    expected = np.abs(repulsion - repulsion[-1])[:-1].mean()
    assert values["mae_meV"] == pytest.approx(expected, abs=0.01)
    assert values["well"]["model"] is None
    assert values["well"]["reference"]["at"] == pytest.approx(2**0.25, abs=0.02)
    flat = flat_values(found)
    assert set(flat) == {"mae", "file/mae", "file/largest"}  # the model has no well to compare
    content = summary({"ions": found})
    assert content["models"][0]["mae_meV"] == flat["mae"]
    assert content["paths"][0]["zero"] == pytest.approx(6.0)
    rows = table_rows({"ions": found})
    curves = {(row[4], row[5]) for row in rows}
    assert curves >= {("reference", "energy"), ("ions", "energy"), ("ions", "coulomb")}
    assert len([row for row in rows if row[4] == "reference"]) == len(x)


def test_flat_values_of_wells(tmp_path, ions):
    """The reference is the model plus 0.1 eV at the middle: a well of both, with its shift."""
    x = np.array([2.0, 3.0, 4.0, 5.0, 6.0])
    frames = [pair(float(d)) for d in x]
    paths = paths_of(tmp_path, frames, zero="none")
    (found,) = profile(ions, paths, options(zero="none"))
    curve = 0.5 * (x - 4.1) ** 2
    found.energies[TOTAL][:] = curve
    found.reference[:] = 0.5 * (x - 4.0) ** 2 + 0.1
    flat = flat_values([found])
    assert flat["file/well"] == pytest.approx(-100.0)
    assert flat["file/well_position"] == pytest.approx(0.1)
    assert "file/barrier" not in flat


def test_a_path_without_labels_has_no_errors(tmp_path, ions):
    paths = paths_of(tmp_path, [pair(d) for d in DISTANCES], zero="min")
    found = profile(ions, paths, options(zero="min"))
    assert found[0].zero == 0
    assert flat_values(found) == {}
    assert "mae_meV" not in path_summary(found[0])
    assert summary({"a": found})["models"][0]["mae_meV"] is None

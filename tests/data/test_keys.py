"""Keys of different meaning are refused, equivalent ones are read, undefined labels are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from muse_lr.data.check import check_file
from muse_lr.data.check_text import format_report
from muse_lr.data.reading import label_notes, read_frames
from muse_lr.data.scaffold import make_configuration
from muse_lr.errors import InputError


def water(k: int) -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.02, seed=k)
    return atoms


def values(label: str, size: float) -> Any:
    rng = np.random.default_rng(round(1000 * size))
    shapes = {"energy": (), "forces": (3, 3), "dipole": (3,), "charges": (3,)}
    return size + rng.normal(size=shapes[label])


def put(atoms: Atoms, key: str, value: Any) -> None:
    per_atom = key.endswith(("forces", "charges"))
    (atoms.arrays if per_atom else atoms.info)[key] = value


def two_levels(label: str, lacking: int = 2, same: bool = False) -> list[Atoms]:
    """All frames have a label under its plain key, and all but the last ones under REF_ too."""
    frames = []
    for k in range(6):
        atoms = water(k)
        results = {"energy": -4.0 + k, label: values(label, k)}
        if label != "energy":
            atoms.info["REF_energy"] = results.pop("energy")
        atoms.calc = SinglePointCalculator(atoms, **results)
        if k < 6 - lacking:
            put(atoms, f"REF_{label}", values(label, k if same else k + 10))
        frames.append(atoms)
    return frames


def write(tmp_path: Path, frames: list[Atoms]) -> Path:
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    return tmp_path / "a.xyz"


@pytest.mark.parametrize("label", ["energy", "forces", "dipole", "charges"])
@pytest.mark.parametrize("partial", [False, True])
def test_another_level_of_theory_is_no_replacement(tmp_path, label, partial):
    path = write(tmp_path, two_levels(label))
    kept = [label] if partial else []
    with pytest.raises(InputError) as caught:
        read_frames([path], partial=kept)
    message = str(caught.value)
    for part in ("frame 4", f"'REF_{label}'", f"'{label}'", "frame 0", f"data.keys.{label}"):
        assert part in message
    report = check_file(path)
    assert [(f.kind, f.frame) for f in report.errors] == [
        (f"ambiguous {label}", 4),
        (f"ambiguous {label}", 5),
    ]
    if label == "energy":
        with pytest.raises(InputError, match="only under 'energy'"):
            make_configuration(path)


def test_the_keys_that_are_given_are_the_ones_that_are_used(tmp_path):
    path = write(tmp_path, two_levels("energy"))
    both = read_frames([path], {"energy": ["REF_energy", "energy"]})
    assert [f.keys["energy"] for f in both] == ["REF_energy"] * 4 + ["energy"] * 2
    one = read_frames([path], {"energy": "energy"})
    assert {f.keys["energy"] for f in one} == {"energy"}
    with pytest.raises(InputError, match="mixed labels"):
        read_frames([path], {"energy": "REF_energy"})
    few = read_frames([path], {"energy": "REF_energy"}, partial=["energy"])
    assert sum("energy" in f.labels for f in few) == 4
    assert check_file(path, {"energy": "energy"}).errors == []


def test_joined_sets_and_repeated_values_are_read(tmp_path):
    """No frame has two different values: there is no sign of two levels of theory."""
    same = read_frames([write(tmp_path, two_levels("energy", same=True))])
    assert len(same) == 6
    joined = [water(k) for k in range(4)]
    for k, atoms in enumerate(joined):
        atoms.info["REF_energy" if k < 2 else "dft_energy"] = -1.0 * k
    path = write(tmp_path, joined)
    frames = read_frames([path])
    assert [float(f.labels["energy"]) for f in frames] == [0, -1, -2, -3]
    (note,) = label_notes(frames)
    assert "REF_energy (2 frames), dft_energy (2 frames)" in note
    report = check_file(path)
    assert report.errors == []
    assert [f.message for f in report.findings if f.kind == "keys of energy"] == [note]


@pytest.mark.parametrize("label", ["forces", "stress"])
def test_energies_and_derivatives_of_two_calculations(tmp_path, label):
    """Every frame has only the calculator's forces, whose energy is not the reference."""
    frames = [bulk("NaCl", "rocksalt", a=5.6 + 0.1 * k) for k in range(3)]
    results = {"forces": np.zeros((2, 3)), "stress": np.zeros(6)}
    for k, atoms in enumerate(frames):
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0 * k, **{label: results[label]})
        atoms.info["REF_energy"] = -1.0 * k
    assert len(read_frames([write(tmp_path, frames)])) == 3
    frames[1].info["REF_energy"] = -7.0
    path = write(tmp_path, frames)
    with pytest.raises(InputError, match=rf"frame 1.*'{label}'.*another calculation.*REF_energy"):
        read_frames([path])
    assert [(f.kind, f.frame) for f in check_file(path).errors] == [(f"ambiguous {label}", 1)]
    assert len(read_frames([path], {label: label})) == 3


STRESS = np.array([[0.01, 0.002, 0], [0.002, -0.01, 0.001], [0, 0.001, 0.03]])
VOLUME = 5.6**3 / 4


@pytest.mark.parametrize(
    ("keys", "factor", "message"),
    [
        (("REF_stress", "REF_virial"), 1.0, None),
        (("stress", "virials"), 1.0, None),
        (("REF_stress", "REF_virial"), 1.004, None),  # few digits
        (("REF_stress", "REF_virial"), -1.0, "opposite sign"),
        (("stress", "REF_virials"), -1.0, "opposite sign"),
        (("stress", "REF_virials"), 0.0, "the stress is zero"),
        (("REF_stress", "virial"), VOLUME, "not divided by the volume"),
        (("REF_stress", "virial"), 1 / VOLUME, "already divided"),
        (("REF_stress", "virial"), 0.5, "0.5 times"),
    ],
)
def test_a_stress_and_a_virial_that_contradict_each_other(tmp_path, keys, factor, message):
    frames = []
    for k in range(3):
        atoms = bulk("NaCl", "rocksalt", a=5.6)
        atoms.rattle(0.01, seed=k)
        atoms.info["REF_energy"] = -1.0
        atoms.info[keys[1]] = -VOLUME * STRESS
        atoms.info[keys[0]] = STRESS * (factor if k == 1 else 1.0)
        frames.append(atoms)
    path = write(tmp_path, frames)
    report = check_file(path)
    if message is None:
        assert len(read_frames([path])) == 3
        assert report.errors == []
        return
    with pytest.raises(InputError, match=rf"frame 1.*'{keys[0]}'.*'{keys[1]}'.*{message}"):
        read_frames([path])
    assert [(f.kind, f.frame) for f in report.errors] == [("contradictory stress", 1)]
    for given in (keys[1], keys):
        read = read_frames([path], {"stress": given})[1].labels["stress"]
        expected = STRESS if given == keys[1] else factor * STRESS
        np.testing.assert_allclose(read, expected, atol=1e-7)


def crystal(charge: int = 0) -> Atoms:
    return (
        bulk("NaCl", "rocksalt", a=5.6, cubic=True)[:7] if charge else bulk("NaCl", "rocksalt", 5.6)
    )


@pytest.mark.parametrize(
    ("label", "atoms", "charge", "reason"),
    [
        ("dipole", crystal(), 0, "depends on the choice of its periodic images"),
        ("polarization", crystal(1), 1, "charged structure depends on the origin"),
        ("polarization", molecule("H2O"), 0, "has a dipole instead"),
        ("dielectric", molecule("H2O"), 0, "that of a crystal"),
        ("stress", molecule("H2O"), 0, "with a volume"),
        ("quadrupole", crystal(), 0, "choice of its images"),
    ],
)
def test_labels_that_are_not_defined_are_named_with_the_reason(
    tmp_path, label, atoms, charge, reason
):
    key = "REF_buckingham_quadrupole" if label == "quadrupole" else f"REF_{label}"
    size = 3 if label in ("dipole", "polarization") else 9
    frames = []
    for k in range(3):
        frame = atoms.copy()
        frame.rattle(0.01, seed=k)
        frame.info.update({"REF_energy": -1.0, key: np.zeros(size), "total_charge": charge})
        frames.append(frame)
    path = write(tmp_path, frames)
    for partial in ([], [label]):
        with pytest.raises(InputError, match=reason) as caught:
            read_frames([path], required=[label], partial=partial)
        assert "not defined" in str(caught.value)
        assert "keys tried" not in str(caught.value)
    note = f"3 frames have a {label} under '{key}' that cannot be used: "
    (found,) = label_notes(read_frames([path]))
    assert found.startswith(note)
    assert reason in found
    assert note in format_report(check_file(path))


def test_partial_coverage_of_a_label(tmp_path):
    frames = [water(0), crystal(), water(1)]
    for atoms in frames:
        atoms.info.update(REF_energy=-1.0, REF_dipole=np.ones(3))
    read = read_frames([write(tmp_path, frames)], required=["dipole"])
    assert ["dipole" in f.labels for f in read] == [True, False, True]
    (note,) = label_notes(read)
    assert note.startswith("1 frame has a dipole under 'REF_dipole'")

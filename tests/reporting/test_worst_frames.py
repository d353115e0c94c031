"""The frames with the largest errors are found, and what is special about them is said."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from muse_lr.reporting.breakdown.worst_frames import worst_frames
from muse_lr.reporting.predictions import collect


def waters():
    """40 water molecules with small errors; frame 7 is bad in every respect."""
    rng = np.random.default_rng(0)
    frames = []
    for i in range(40):
        atoms = molecule("H2O")
        atoms.positions += 0.01 * rng.normal(size=(3, 3))
        atoms.info |= {
            "subset": "bulk",
            "temperature": 300.0 + i,
            "total_charge": 0,
            "src_index": i % 39,
        }
        atoms.info["REF_energy"] = -2000.0 + 0.01 * rng.normal()
        atoms.info["muse_energy"] = atoms.info["REF_energy"] + 0.001 * rng.normal()
        atoms.arrays["REF_forces"] = rng.normal(size=(3, 3))
        atoms.arrays["muse_forces"] = atoms.arrays["REF_forces"] + 0.01 * rng.normal(size=(3, 3))
        frames.append(atoms)
    bad = frames[7]
    bad.info |= {"subset": "surface", "total_charge": 1, "temperature": 2000.0, "src_index": 99}
    bad.positions[1] = bad.positions[0] + 0.6 * (bad.positions[1] - bad.positions[0])
    bad.info["REF_energy"] = -1999.0
    bad.info["muse_energy"] = -1999.6
    bad.arrays["REF_forces"] *= 9
    bad.arrays["muse_forces"] = bad.arrays["REF_forces"] + np.array(
        [[0, 0, 0], [3, 0, 4], [0, 0, 1]]
    )
    return frames


def test_the_worst_frame_its_error_and_its_worst_atom():
    frames = waters()
    predictions = collect(frames, "x")
    first, *others = worst_frames(predictions, "energy", 3)
    assert (first.frame, first.formula, first.num_atoms, first.unit) == (7, "H2O", 3, "meV/atom")
    assert first.error == pytest.approx(-200.0)
    assert first.atom is None
    assert len(others) == 2
    errors = [a.info["muse_energy"] - a.info["REF_energy"] for a in frames]
    order = sorted(range(len(frames)), key=lambda i: -abs(errors[i]))
    assert [worst.frame for worst in (first, *others)] == order[:3]
    assert others[0].error == pytest.approx(1000 / 3 * errors[order[1]])
    first = worst_frames(predictions, "forces", 1)[0]
    assert (first.frame, first.atom, first.element) == (7, 1, "H")
    assert first.largest == pytest.approx(5000.0)
    assert first.error == pytest.approx(1000 * np.sqrt(26 / 9))


def test_what_is_special_about_a_frame():
    frames = waters()
    predictions = collect(frames, "x")
    energy = worst_frames(predictions, "energy", 2, frames)
    facts = " | ".join(energy[0].facts)
    assert "σ above the fit to the composition" in facts
    assert "H-O 0.5" in facts
    assert "median 0.9" in facts
    assert energy[1].facts == ()
    forces = worst_frames(predictions, "forces", 1)[0].facts
    assert "times the RMS of the set" in forces[0]
    assert not any("median" in fact for fact in forces)
    for atoms in frames:
        del atoms.arrays["REF_forces"]
        atoms.info["REF_energy"] = -2000.0  # a reference without any spread says nothing
    facts = " | ".join(worst_frames(collect(frames, "x"), "energy", 1)[0].facts)
    assert "subset surface (1 of 40)" in facts
    assert "total charge 1 (1 of 40)" in facts
    assert "temperature 2000 (largest)" in facts
    assert "src_index" not in facts  # it numbers the frames


def test_frames_without_the_label_and_equal_errors():
    frames = waters()[8:14]
    for atoms in frames:
        atoms.info["muse_energy"] = atoms.info["REF_energy"] + 0.03
    del frames[0].info["REF_energy"]
    found = worst_frames(collect(frames, "x"), "energy", 10)
    assert sorted(worst.frame for worst in found) == [1, 2, 3, 4, 5]
    assert [worst.error for worst in found] == pytest.approx([10.0] * 5)

"""Files whose consecutive frames are alike are recognized, and others are not."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from helpers import run_cli
from muse_lr.data.trajectory import find_trajectory, trajectory_note


def vibrations(
    count: int, correlation: float, start: Atoms | None = None, seed: int = 0
) -> list[Atoms]:
    """Vibrations of 0.1 A about one structure, with this correlation from frame to frame."""
    start = bulk("NaCl", "rocksalt", a=5.64, cubic=True) if start is None else start
    rng = np.random.default_rng(seed)
    moves = rng.normal(size=start.positions.shape)
    frames = []
    for _ in range(count):
        noise = rng.normal(size=moves.shape)
        moves = correlation * moves + np.sqrt(1 - correlation**2) * noise
        atoms = start.copy()
        atoms.positions += 0.1 * moves
        frames.append(atoms)
    return frames


def test_a_trajectory_is_told_from_independent_frames():
    found = find_trajectory(vibrations(60, 0.98))
    assert found is not None
    assert found.one_system
    assert found.step < 0.4 * found.apart
    assert find_trajectory(vibrations(60, 0.0)) is None
    rng = np.random.default_rng(0)
    frames = vibrations(60, 0.98)
    assert find_trajectory([frames[i] for i in rng.permutation(60)]) is None


def test_wrapping_drift_and_strain_of_the_cell_do_not_count():
    frames = vibrations(60, 0.98)
    for k, atoms in enumerate(frames):
        atoms.positions += 0.7 * k
        atoms.set_cell(atoms.cell * (1 + 0.02 * (k % 2)), scale_atoms=True)
        atoms.wrap()
    assert find_trajectory(frames) is not None
    assert find_trajectory(frames).step < 0.1


def test_several_short_trajectories_in_one_file():
    frames = [atoms for k in range(12) for atoms in vibrations(5, 0.98, seed=k)]
    assert find_trajectory(frames) is not None
    water = molecule("H2O")
    both = vibrations(30, 0.98) + vibrations(30, 0.98, water)
    found = find_trajectory(both)
    assert found is not None
    assert not found.one_system


def test_a_scan_is_one_and_different_molecules_are_not():
    scan = [Atoms("NaCl", [[0, 0, 0], [0, 0, r]]) for r in np.linspace(2, 6, 30)]
    assert find_trajectory(scan) is not None
    mixed = [molecule(("H2O", "NH3")[k % 2]) for k in range(40)]
    assert find_trajectory(mixed) is None
    assert find_trajectory(scan[:8]) is None, "too few to tell"
    assert find_trajectory([Atoms("Na")] * 40) is None
    assert find_trajectory([scan[0]] * 40) is None, "copies are another finding"


def test_systems_of_equal_atoms_that_are_far_apart():
    """Displacements of more than 1 A are no small steps, however large the others are."""
    rng = np.random.default_rng(0)
    start, frames = rng.uniform(0, 60, (30, 3)), []
    for _ in range(60):
        start = start + rng.normal(size=start.shape)
        frames.append(Atoms("Ar30", start))
    assert find_trajectory(frames) is None
    small = [Atoms("Ar30", atoms.positions / 10) for atoms in frames]
    assert find_trajectory(small) is not None


def test_with_a_test_set_nothing_is_proposed(tmp_path, capsys):
    file = tmp_path / "a.xyz"
    ase.io.write(file, [Atoms("NaCl", [[0, 0, 0], [0, 0, r]]) for r in np.linspace(2, 6, 30)])
    run_cli("data", "check", str(file))
    assert "test set of its own" in capsys.readouterr().out
    run_cli("data", "check", str(file), "--test", str(file))
    assert "test set of its own" not in capsys.readouterr().out


@pytest.mark.parametrize("one", [True, False])
def test_the_note_proposes_a_block_of_one_system(one):
    frames = vibrations(60, 0.98)
    if not one:
        frames += vibrations(60, 0.98, molecule("H2O"))
    found = find_trajectory(frames)
    text = trajectory_note(found, "a.xyz", len(frames))
    assert "test set of its own" in text
    assert ("a.xyz@:54 for training and a.xyz@54: for the test" in text) == one

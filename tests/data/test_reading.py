"""Reading: every format gives the same frames, and everything bad is refused in one line."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from muse_lr.data.labels import LABELS, read_label
from muse_lr.data.reading import Frame, read_atoms, read_frames
from muse_lr.data.structures import close_pair
from muse_lr.errors import InputError
from muse_lr.structures.neighbors import complete_cell

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


def water(shift: float = 0.0, labeled: bool = True) -> Atoms:
    """One water molecule with REF_ labels."""
    atoms = Atoms("OHH", [[shift, 0, 0], [shift + 0.96, 0, 0], [shift - 0.24, 0.93, 0]])
    if labeled:
        atoms.info.update(REF_energy=-14.2 + shift, total_charge=0, REF_dipole=[0.1, 0.2, 0.3])
        atoms.arrays["REF_forces"] = np.arange(9.0).reshape(3, 3) - 4
    return atoms


def write(path: Path, frames: list[Atoms]) -> Path:
    """Extended XYZ, compressed as the suffix says."""
    ase.io.write(path, frames, format="extxyz")
    return path


def refusal(path: Path, **options: object) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        read_frames([path], **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.mark.parametrize("suffix", COMPRESS)
def test_extended_xyz_compressed_or_not(tmp_path: Path, suffix: str) -> None:
    plain = write(tmp_path / "a.xyz", [water(0.0), water(1.0)])
    path = tmp_path / f"b.xyz{suffix}"
    path.write_bytes(COMPRESS[suffix](plain.read_bytes()))
    frames = read_frames([path])
    assert [frame.labels["energy"].item() for frame in frames] == [-14.2, -13.2]
    assert frames[1].source == f"{path}, frame 1"
    np.testing.assert_allclose(frames[0].labels["forces"][2], [2, 3, 4])
    np.testing.assert_allclose(frames[0].labels["dipole"], [0.1, 0.2, 0.3])
    assert all(values.dtype == np.float64 for values in frames[0].labels.values())


def test_ase_database_and_trajectory(tmp_path: Path) -> None:
    with ase.db.connect(tmp_path / "a.db") as database:
        atoms = water(labeled=False)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((3, 3)))
        values = {"REF_forces": np.ones((3, 3))}
        database.write(atoms, REF_energy=-2.0, total_charge=1, data=values)
    (frame,) = read_frames([tmp_path / "a.db"])
    assert frame.labels["energy"] == -2.0
    assert (frame.labels["forces"] == 1).all()
    assert frame.atoms.info["total_charge"] == 1
    ase.io.write(tmp_path / "a.traj", [atoms, atoms])
    frames = read_frames([tmp_path / "a.traj"])
    assert [f.labels["energy"].item() for f in frames] == [-1.0, -1.0]


def test_standard_keys_that_ase_moves_into_a_calculator(tmp_path: Path) -> None:
    atoms = Atoms("NaCl", [[0, 0, 0], [2.8, 0, 0]], cell=[6, 6, 6], pbc=True)
    stress = np.array([1.0, 2, 3, 4, 5, 6]) / 100
    results = {"energy": -3.0, "forces": np.ones((2, 3)), "stress": stress, "charges": [0.9, -0.9]}
    atoms.calc = SinglePointCalculator(atoms, **results)
    (frame,) = read_frames([write(tmp_path / "a.extxyz", [atoms])])
    assert frame.labels["energy"] == -3.0
    expected = np.array([[1, 6, 5], [6, 2, 4], [5, 4, 3]]) / 100
    np.testing.assert_allclose(frame.labels["stress"], expected)
    np.testing.assert_allclose(frame.labels["charges"], [0.9, -0.9])


def test_reference_keys_win_over_standard_ones_and_named_keys_over_both(tmp_path: Path) -> None:
    atoms = water()
    atoms.info["other"] = 7.0
    atoms.calc = SinglePointCalculator(atoms, energy=-99.0)
    path = write(tmp_path / "a.xyz", [atoms])
    assert read_frames([path])[0].labels["energy"] == -14.2
    assert read_frames([path], {"energy": "energy"})[0].labels["energy"] == -99
    assert read_frames([path], {"energy": "other"})[0].labels["energy"] == 7


def test_stress_from_nine_numbers_voigt_and_virial() -> None:
    atoms = Atoms("Ar", cell=np.diag([2, 3, -4]), pbc=True)
    full = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    atoms.info.update(nine=full.ravel(), six=[1, 2, 3, 4, 5, 6], my_virial=-24 * full)
    for key in ("nine", "six", "my_virial"):
        np.testing.assert_allclose(read_label(atoms, "stress", key), full, err_msg=key)


def test_open_systems_have_no_stress(tmp_path: Path) -> None:
    molecule, crystal = water(), water()
    molecule.info["REF_stress"] = np.zeros(9)
    crystal.info["REF_stress"] = np.ones(9)
    crystal.set_cell([5, 5, 5])
    crystal.pbc = True
    frames = read_frames([write(tmp_path / "a.xyz", [molecule, crystal])], required=["stress"])
    assert ["stress" in frame.labels for frame in frames] == [False, True]


def test_born_charges_row_by_row() -> None:
    atoms = water()
    atoms.arrays["REF_bec"] = np.arange(27.0).reshape(3, 9)
    values = read_label(atoms, "bec", "REF_bec")
    assert values is not None
    assert values.shape == (3, 3, 3)
    np.testing.assert_array_equal(values[1], [[9, 10, 11], [12, 13, 14], [15, 16, 17]])


def test_a_single_atom_keeps_its_shapes(tmp_path: Path) -> None:
    atom = Atoms("Na", [[0, 0, 0]])
    atom.info["REF_energy"] = -5
    atom.arrays["REF_forces"] = np.zeros((1, 3))
    atom.arrays["REF_charges"] = np.ones(1)
    (frame,) = read_frames([write(tmp_path / "a.xyz", [atom])])
    assert frame.labels["energy"].shape == ()
    assert frame.labels["forces"].shape == (1, 3)
    assert frame.labels["charges"].shape == (1,)


def test_a_wrong_key_names_the_similar_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xyz", [water()])
    message = refusal(path, keys={"energy": "REF_enrgy"})
    assert "frame 0" in message
    assert "did you mean 'REF_energy'?" in message
    with pytest.raises(InputError, match="did you mean 'energy'"):
        read_frames([path], {"enrgy": "REF_energy"})


def test_required_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xyz", [water(labeled=False)])
    assert read_frames([path])[0].labels == {}
    assert "data.keys.energy" in refusal(path, required=["energy"])
    assert "data.keys.energy" in refusal(path, required=["energy"], partial=["energy"])


@pytest.mark.parametrize("keys", [{}, {"forces": "REF_forces"}])
def test_mixed_labels(tmp_path: Path, keys: dict[str, str]) -> None:
    second = water()
    del second.arrays["REF_forces"]
    path = write(tmp_path / "a.xyz", [water(), second])
    message = refusal(path, keys=keys)
    assert "frame 1" in message
    assert "mixed labels" in message
    assert "data.partial" in message
    frames = read_frames([path], keys, partial=["forces"])
    assert ["forces" in frame.labels for frame in frames] == [True, False]


def test_mixed_labels_across_files(tmp_path: Path) -> None:
    first = write(tmp_path / "a.xyz", [water()])
    second = write(tmp_path / "b.xyz", [water(labeled=False)])
    with pytest.raises(InputError, match=r"b\.xyz, frame 0: mixed labels"):
        read_frames([first, second])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["positions", "REF_forces", "REF_energy"])
def test_values_that_are_not_finite(tmp_path: Path, where: str, value: float) -> None:
    bad = water()
    if where == "REF_energy":
        bad.info[where] = value
    else:
        bad.arrays[where][1, 2] = value
    message = refusal(write(tmp_path / "a.xyz", [water(), bad]))
    assert "frame 1" in message
    assert where == "REF_energy" or "atom 1" in message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('REF_energy=abc Properties="species:S:1:pos:R:3"', "numbers are needed"),
        ("REF_energy", "numbers are needed"),
        ('REF_energy="1 2"', "shape"),
        ('REF_dipole="1 2"', "shape"),
        ("total_charge=nan", "total_charge"),
        ("total_charge=high", "total_charge"),
        ("total_charge", "total_charge"),
        ("spin=inf", "spin"),
        ("charge=high", "charge"),
        ("multiplicity=0", "multiplicity 2S + 1"),
        ("spin=1.5", "whole number"),
        ("spin=1 multiplicity=3", "remove one"),
        ("charge=1 total_charge=0", "remove one"),
        ('pbc="T T T"', "no vector"),
        ('pbc="T T T" Lattice="1 0 0 2 0 0 0 0 1"', "singular"),
        ('pbc="T T T" Lattice="nan 0 0 0 1 0 0 0 1"', "not finite"),
        ('pbc="T F F" Lattice="0 0 0 0 1 0 0 0 1"', "no vector"),
        ("Properties=species:S:1:pos:R:2", "malformed"),
    ],
)
def test_bad_comment_lines(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(f"1\n{line}\nH 0 0 0\n")
    assert expected in refusal(path)


def test_left_handed_cells_and_one_periodic_axis_are_read(tmp_path: Path) -> None:
    left = Atoms("Ar", cell=[[0, 5, 0], [5, 0, 0], [0, 0, 5]], pbc=True)
    wire = Atoms("Ar", cell=[[0, 0, 0], [5, 0, 0], [0, 0, 0]], pbc=[False, True, False])
    assert len(read_frames([write(tmp_path / "a.xyz", [left, wire])])) == 2


def test_unknown_element(tmp_path: Path) -> None:
    message = refusal(write(tmp_path / "a.xyz", [water()]), elements=["H", "C"])
    assert "atom 0 is O" in message
    read_frames([tmp_path / "a.xyz"], elements=["H", "O"])


@pytest.mark.parametrize("symbol", ["Xx", "X"])
def test_no_element_at_all(tmp_path: Path, symbol: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(f"1\n\n{symbol} 0 0 0\n")
    assert "frame 0" in refusal(path)


def test_two_atoms_at_one_place(tmp_path: Path) -> None:
    bad = Atoms("H2", [[0.0, 0, 0], [0, 0, 5e-4]])
    assert "atoms 0 and 1 are at one place" in refusal(write(tmp_path / "a.xyz", [bad]))
    image = Atoms("H2", [[0.1, 0, 0], [5.1, 3, 3]], cell=[[5, 3, 3], [0, 9, 0], [0, 0, 9]])
    read_frames([write(tmp_path / "b.xyz", [image])])
    image.pbc = (True, False, False)
    assert "one place" in refusal(write(tmp_path / "c.xyz", [image]))


def test_close_pairs_agree_with_a_search_over_all_images() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        pbc = rng.random(3) < 0.5
        cell = complete_cell(rng.normal(size=(3, 3)) * 4 + np.diag([6, -6, 6]), pbc)
        positions = rng.random((6, 3)) * 2 @ cell
        shift = rng.integers(-3, 4, 3) * pbc
        offset = rng.normal(size=3) * 3e-4
        positions[4] = positions[2] + shift @ cell + offset
        found = close_pair(positions, cell, pbc, 1e-3)
        distance = float(np.linalg.norm(offset))
        if distance < 1e-3:
            assert found is not None
            assert found[:2] == (2, 4)
            assert found[2] == pytest.approx(distance, abs=1e-9)
        else:
            assert found is None


@pytest.mark.parametrize("lines", [1, 2, 3, 4])
def test_truncated_between_lines(tmp_path: Path, lines: int) -> None:
    path = write(tmp_path / "a.xyz", [water(), water(1.0)])
    content = path.read_text().splitlines(keepends=True)
    path.write_text("".join(content[: 5 + lines]))
    message = refusal(path)
    assert "truncated" in message
    assert "frame 1" in message


@pytest.mark.parametrize("characters", [2, 5, 20])
def test_truncated_within_the_last_line(tmp_path: Path, characters: int) -> None:
    path = write(tmp_path / "a.xyz", [water(), water(1.0)])
    content = path.read_text()
    path.write_text(content[:-1])
    assert len(read_frames([path])) == 2  # only the newline is missing
    path.write_text(content[:-characters])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
def test_compressed_files_that_are_cut_or_are_none(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.xyz{suffix}"
    content = COMPRESS[suffix](write(tmp_path / "a.xyz", [water()] * 50).read_bytes())
    path.write_bytes(content[: len(content) * 2 // 3])
    assert "truncated" in refusal(path)
    path.write_bytes(b"3\nplain text\n")
    assert "not a valid" in refusal(path)
    path.write_bytes(COMPRESS[suffix](b""))
    assert "empty" in refusal(path)


def test_frames_after_a_blank_line_are_not_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xyz", [water()])
    path.write_text(path.read_text() + "\n" + path.read_text())
    assert "blank line" in refusal(path)
    path.write_text("1\n\nH 0 0 0\n\n\n")
    assert len(read_atoms(path)) == 1


def test_malformed_and_missing_files(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.xyz")
    assert "directory" in refusal(tmp_path)
    for name in ("a.xyz", "a.db", "a.traj", "a.cif"):
        path = tmp_path / name
        path.write_bytes(b"")
        assert "empty" in refusal(path)
        path.write_bytes(b"\x00\x01\xff garbage \x80" * 20)
        refusal(path)
    path = tmp_path / "b.xyz"
    path.write_text("three\n\nH 0 0 0\n")
    assert "number of atoms" in refusal(path)
    path.write_text("0\n\n")
    assert "no atoms" in refusal(path)
    path.write_text("1\n\nH 0 zero 0\n")
    assert "malformed" in refusal(path)


@pytest.mark.parametrize("name", ["a.traj", "a.db"])
def test_truncated_binary_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    ase.io.write(path, [water()] * 20)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refusal(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_no_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xyz", [water()])
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_file_names_are_only_names(tmp_path: Path) -> None:
    """ASE takes "@" for an index and "-" for the terminal; a newline would break the message."""
    path = write(tmp_path / "a@0.xyz", [water(), water(1.0)])
    assert len(read_atoms(path)) == 2
    traj = tmp_path / "<script>@1.traj"
    ase.io.write(traj, [water(), water(1.0)], format="traj")
    assert len(read_atoms(traj)) == 2
    with pytest.raises(InputError) as caught:
        read_atoms(tmp_path / "a\nb\x1b[31m.xyz")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_frames_are_immutable_and_every_label_is_documented() -> None:
    frame = Frame(water(), {}, "a.xyz, frame 0")
    with pytest.raises(AttributeError):
        frame.source = "b"  # type: ignore[misc]
    import muse_lr.data.labels

    assert muse_lr.data.labels.__doc__ is not None
    for name in LABELS:
        assert f"\n{name} " in muse_lr.data.labels.__doc__

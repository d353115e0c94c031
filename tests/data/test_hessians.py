"""Files of structures with reference Hessians."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from muse_lr.data.hessians import archive_of, read_hessians, write_hessians
from muse_lr.errors import InputError

DATA = Path(os.environ.get("MUSE_LR_DATA", "/nonexistent")) / "hessians_molecules"


def pair(n: int = 2) -> tuple[list[Atoms], list[np.ndarray]]:
    frames = [molecule("H2O"), molecule("CH4"), molecule("NH3")][:n]
    for atoms in frames:
        atoms.info["REF_energy"] = -1.5
        atoms.arrays["REF_forces"] = np.full((len(atoms), 3), 0.25)
    rng = np.random.default_rng(0)
    return frames, [rng.normal(size=(3 * len(a), 3 * len(a))) for a in frames]


@pytest.mark.parametrize("name", ["a.xyz", "a.extxyz", "a.b.xyz.xz"])
def test_what_is_written_is_read(tmp_path, name):
    frames, hessians = pair()
    write_hessians(tmp_path / name, frames, hessians)
    assert archive_of(tmp_path / name).is_file()
    found = read_hessians(tmp_path / name)
    for index, (frame, atoms, hessian) in enumerate(zip(found, frames, hessians, strict=True)):
        np.testing.assert_array_equal(frame.hessian, hessian)  # the asymmetry is kept
        np.testing.assert_allclose(frame.atoms.positions, atoms.positions, atol=1e-7)
        assert frame.atoms.info["REF_energy"] == -1.5
        np.testing.assert_array_equal(frame.atoms.arrays["REF_forces"], 0.25)
        assert frame.source.endswith(f"{name}, frame {index}")
    assert "hess_id" not in frames[0].info  # the caller's frames are not changed
    (one,) = read_hessians(f"{tmp_path / name}@1")
    np.testing.assert_array_equal(one.hessian, hessians[1])


def test_the_same_input_gives_the_same_bytes(tmp_path):
    frames, hessians = pair()
    contents = []
    for _ in range(2):
        write_hessians(tmp_path / "a.xyz.xz", frames, hessians)
        contents.append([path.read_bytes() for path in sorted(tmp_path.iterdir())])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2


def test_single_precision_is_kept_and_read_as_float64(tmp_path):
    frames, hessians = pair(1)
    write_hessians(tmp_path / "a.xyz", frames, [hessians[0].astype(np.float32)])
    with np.load(tmp_path / "a_hessians.npz") as matrices:
        assert matrices["Hframe_0"].dtype == np.float32
    assert read_hessians(tmp_path / "a.xyz")[0].hessian.dtype == np.float64


def test_names_are_kept_with_or_without_the_letter(tmp_path):
    frames, hessians = pair()
    for name, atoms in zip(("7", "chain"), frames, strict=True):
        atoms.info["hess_id"] = name
    write_hessians(tmp_path / "a.xyz", frames, hessians)
    np.savez(tmp_path / "a_hessians.npz", H7=hessians[0], chain=hessians[1])
    for frame, hessian in zip(read_hessians(tmp_path / "a.xyz"), hessians, strict=True):
        np.testing.assert_array_equal(frame.hessian, hessian)


def test_names_that_differ_by_the_letter_or_are_those_of_arguments(tmp_path):
    frames, hessians = pair(3)
    for name, atoms in zip(("x", "Hx", "file"), frames, strict=True):
        atoms.info["hess_id"] = name
    write_hessians(tmp_path / "a.xyz", frames, hessians)
    for frame, hessian in zip(read_hessians(tmp_path / "a.xyz"), hessians, strict=True):
        np.testing.assert_array_equal(frame.hessian, hessian)


def test_frames_without_a_hessian_are_left_out(tmp_path):
    frames, hessians = pair(3)
    write_hessians(tmp_path / "a.xyz", frames, hessians)
    text = (tmp_path / "a.xyz").read_text().replace(" hess_id=frame_1", "")
    (tmp_path / "a.xyz").write_text(text)
    assert [frame.source[-7:] for frame in read_hessians(tmp_path / "a.xyz")] == [
        "frame 0",
        "frame 2",
    ]


def _broken(path: Path, what: str) -> None:
    frames, hessians = pair(1)
    archive = archive_of(path)
    write_hessians(path, frames, hessians)
    if what == "missing":
        archive.unlink()
    elif what == "damaged":
        archive.write_bytes(archive.read_bytes()[:100])
    elif what == "unnamed":
        path.write_text(path.read_text().replace(" hess_id=frame_0", ""))
    elif what == "other":
        np.savez(archive, frame_1=hessians[0])
    elif what == "shape":
        np.savez(archive, frame_0=hessians[0][:6])
    elif what == "nan":
        np.savez(archive, frame_0=np.full((9, 9), np.nan))
    elif what == "pickled":
        np.savez(archive, frame_0=np.array([object()]))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "no such file"),
        ("damaged", "not a readable .npz"),
        ("unnamed", "no frame has a Hessian"),
        ("other", "none of the name 'frame_0'"),
        ("shape", r"\(9, 9\)"),
        ("nan", "not finite"),
        ("pickled", "not a readable .npz"),
    ],
)
def test_what_cannot_be_read_is_an_error(tmp_path, what, message):
    _broken(tmp_path / "a.xyz", what)
    with pytest.raises(InputError, match=message) as caught:
        read_hessians(tmp_path / "a.xyz")
    assert "a.xyz" in str(caught.value) or "a_hessians.npz" in str(caught.value)


def test_what_cannot_be_written_is_an_error(tmp_path):
    frames, hessians = pair()
    for path in ("a.traj", "a.xyz.gz"):
        with pytest.raises(InputError, match=r"\.xyz"):
            write_hessians(tmp_path / path, frames, hessians)
    with pytest.raises(InputError, match="one Hessian for each frame"):
        write_hessians(tmp_path / "a.xyz", frames, hessians[:1])
    with pytest.raises(InputError, match="shape"):
        write_hessians(tmp_path / "a.xyz", frames, hessians[::-1])
    for names, message in ((("x", "x"), "used twice"), (("x", "1e3"), "begin it with a letter")):
        for name, atoms in zip(names, frames, strict=True):
            atoms.info["hess_id"] = name
        with pytest.raises(InputError, match=message):
            write_hessians(tmp_path / "a.xyz", frames, hessians)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not DATA.is_dir(), reason="MUSE_LR_DATA has no hessians_molecules")
@pytest.mark.parametrize(
    ("name", "count"), [("deepmd_example.xyz.xz", 20), ("horm_sample100.xyz.xz", 100)]
)
def test_published_hessians_are_read(name, count):
    frames = read_hessians(DATA / name)
    assert len(frames) == count
    for frame in frames:
        assert 10 < np.abs(frame.hessian).max() < 200  # eV/A^2 of covalent bonds

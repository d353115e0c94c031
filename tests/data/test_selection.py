"""Selections of frames: what each keeps, in which order, and what is refused with what it names."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from muse_lr.cli.main import main
from muse_lr.data.check import check_file
from muse_lr.data.reading import read_atoms, read_frames
from muse_lr.data.scaffold import make_configuration
from muse_lr.data.selection import expand_source, parse_source
from muse_lr.errors import InputError

COUNT = 10


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Ten frames; info["i"] is the index, "subset" alternates, "part" is there on half of them."""
    frames = []
    for i in range(COUNT):
        atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.96 + 0.01 * i]])
        atoms.info.update(i=i, subset=("rutile", "anatase")[i % 2], REF_energy=-1.0 - i)
        atoms.info.update(odd=bool(i % 2), width=i / 4, vector=[1.0, 2.0, 3.0])
        if i < 5:
            atoms.info["part"] = "a b"
        atoms.arrays["REF_forces"] = np.zeros((2, 3))
        frames.append(atoms)
    ase.io.write(tmp_path / "data.xyz", frames, format="extxyz")
    return tmp_path / "data.xyz"


def indices(path: Path, selection: str) -> list[int]:
    return [int(atoms.info["i"]) for atoms in read_atoms(f"{path}{selection}")]


@pytest.mark.parametrize("text", [":4", "::5", "-3:", "2:8:3", "::-1", ":", "3:400"])
def test_slices_are_those_of_python(file: Path, text: str) -> None:
    expected = eval(f"list(range({COUNT}))[{text}]")
    assert indices(file, f"@{text}") == expected
    assert [a.info["i"] for a in ase.io.read(file, text, "extxyz")] == expected


def test_single_frames_and_values(file: Path) -> None:
    assert indices(file, "@3") == [3]
    assert indices(file, "@-1") == [9]
    assert indices(file, "@subset=rutile") == [0, 2, 4, 6, 8]
    assert indices(file, "@subset=anatase,rutile") == list(range(COUNT))
    assert indices(file, "@i=7,3") == [3, 7]  # in the order of the file
    assert indices(file, "@odd=T") == indices(file, "@odd=true") == [1, 3, 5, 7, 9]
    assert indices(file, "@width=1,1.250") == [4, 5]
    assert indices(file, "@part=a b") == [0, 1, 2, 3, 4]  # frames without the key are left out


def test_selections_apply_from_left_to_right(file: Path) -> None:
    assert indices(file, "@subset=anatase@:2") == [1, 3]
    assert indices(file, "@:2@subset=anatase") == [1]
    assert indices(file, "@2:@::4@-1") == [6]


def test_random_subsets_repeat_grow_and_depend_on_the_seed(file: Path) -> None:
    drawn = indices(file, "@random=5")
    assert len(set(drawn)) == 5
    assert drawn == sorted(drawn) == indices(file, "@random=5,seed=0")
    assert set(drawn) < set(indices(file, "@random=8"))
    others = [indices(file, f"@random=5,seed={seed}") for seed in range(1, 6)]
    assert any(other != drawn for other in others)
    assert sorted([*drawn, *indices(file, "@random=-5")]) == list(range(10))
    assert indices(file, "@random=-5,seed=3") == sorted(set(range(10)) - set(others[2]))
    assert set(indices(file, "@subset=rutile@random=3")) < {0, 2, 4, 6, 8}


def test_sources_of_frames_are_those_of_the_whole_file(file: Path) -> None:
    frames = read_frames([f"{file}@subset=anatase@-2:", f"{file}@0"])
    assert [frame.source for frame in frames] == [
        f"{file}, frame 7",
        f"{file}, frame 9",
        f"{file}, frame 0",
    ]
    assert [float(frame.labels["energy"]) for frame in frames] == [-8, -10, -1]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("@10", "the file has 10 frames, 0 to 9"),
        ("@-11", "the file has 10 frames, 0 to 9"),
        ("@20:30", "the file has 10 frames, and none of them is in the slice"),
        ("@subset=rutile@5", "@subset=rutile leaves 5 frames, 0 to 4"),
        ("@random=11", "the file has 10 frames, fewer than 11"),
        ("@random=0", "selects no frames"),
        ("@random=-10", "the file has 10 frames, and none of them is left"),
        ("@subset=rutil", r"did you mean 'rutile'\?.*'rutile' \(5\), 'anatase' \(5\)"),
        ("@subset=rutile,brookite", "no frame has the value 'brookite'"),
        ("@subst=rutile", r"no frame has the key 'subst' \(did you mean 'subset'\?\); keys: 'i'"),
        ("@vector=1", "'vector' has values that are not text or single numbers"),
        ("@i=10", "no frame has the value '10'"),
        ("@", "not a selection: write :40"),
        ("@forty", "@forty is not a selection: write :40"),
        ("@::0", "not a selection"),
        ("@random=many", "not a selection"),
        ("@subset=", "not a selection"),
        ("@:2@x", "@x is not a selection"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(
    file: Path, selection: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_atoms(f"{file}{selection}")
    assert str(caught.value).startswith(str(file))
    assert main(["data", "check", f"{file}{selection}"]) == 2
    assert capsys.readouterr().err == f"muse-lr: {caught.value}\n"


def test_continuous_values_are_summarized(tmp_path: Path) -> None:
    frames = [Atoms("H", info={"distance": 2 + i / 8}) for i in range(20)]
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    with pytest.raises(InputError, match=r"there are 20 values, 2 to 4\.375"):
        read_atoms(tmp_path / "a.xyz@distance=9")


def test_names_that_contain_the_sign(file: Path) -> None:
    folder = file.parent / "user@host"
    folder.mkdir()
    named = folder / "run@subset=rutile.xyz"
    named.write_bytes(file.read_bytes())
    assert len(read_atoms(named)) == COUNT
    assert indices(named, "@:2") == [0, 1]
    assert parse_source(f"{named}@:2").selections == (":2",)
    with pytest.raises(InputError, match=r"gone@home\.xyz: cannot read this file"):
        read_atoms(file.parent / "gone@home.xyz")
    with pytest.raises(InputError, match=r"gone\.xyz@:3: cannot read this file"):
        read_atoms(file.parent / "gone.xyz@:3")


def test_paths_are_expanded_and_selections_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMEWHERE", str(file.parent))
    expected = f"{file.resolve()}@subset=rutile@:3"
    assert expand_source("${SOMEWHERE}/data.xyz@subset=rutile@:3", Path("/")) == expected
    assert expand_source("data.xyz@subset=rutile@:3", file.parent) == expected
    assert expand_source(expected, Path("/elsewhere")) == expected


def test_the_check_counts_and_names_frames_of_the_file(file: Path) -> None:
    frames = ase.io.read(file, ":")
    frames[7].positions[1] = frames[7].positions[0]
    ase.io.write(file, frames, format="extxyz")
    assert check_file(f"{file}@:5").n_frames == 5
    assert not check_file(f"{file}@:5").errors
    assert [finding.frame for finding in check_file(f"{file}@subset=anatase").errors] == [7]


def test_a_file_that_is_not_whole_is_refused_whatever_is_selected(file: Path) -> None:
    file.write_text(file.read_text()[:-30])
    with pytest.raises(InputError, match="truncated"):
        read_atoms(f"{file}@:2")
    report = check_file(f"{file}@:2")
    assert [finding.kind for finding in report.errors] == ["unreadable"]
    assert report.n_frames == 0


def test_init_writes_the_selection_in_quotes(file: Path) -> None:
    text = make_configuration(f"{file}@subset=rutile@:4", {"rest": f"{file}@subset=anatase"})
    assert f'train: ["{file}@subset=rutile@:4"]' in text
    assert f'rest: ["{file}@subset=anatase"]' in text
    with pytest.raises(InputError, match=r"data.xyz: @8: @:4 leaves 4 frames"):
        make_configuration(file, {"bad": f"{file}@:4@8"})

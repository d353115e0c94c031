"""The check finds each thing that is wrong, and nothing in good data."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones

from helpers import run_command
from muse_lr.cli import data as command
from muse_lr.data.check import check_file
from muse_lr.data.check_text import format_report
from muse_lr.data.composition import fit_composition
from muse_lr.data.findings import CheckReport
from muse_lr.data.units_check import energy_force_slope
from muse_lr.errors import InputError

E0 = {"H": -13.6, "O": -2040.0, "C": -1030.0}


def good_frames(count: int = 24) -> list[Atoms]:
    """Distorted molecules of three compositions with consistent labels."""
    rng = np.random.default_rng(0)
    frames = []
    for k in range(count):
        atoms = molecule(("H2O", "CH4", "CH3OH")[k % 3])
        atoms.rattle(0.02, seed=k)
        forces = rng.normal(size=(len(atoms), 3))
        atoms.arrays["REF_forces"] = forces - forces.mean(0)
        energy = sum(E0[s] for s in atoms.symbols) + 0.01 * len(atoms) * rng.normal()
        atoms.info.update(REF_energy=energy, total_charge=0)
        frames.append(atoms)
    return frames


def check(tmp_path: Path, frames: list[Atoms]) -> CheckReport:
    """Check frames after a round trip through a file."""
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    return check_file(tmp_path / "a.xyz")


def test_good_data_has_no_findings_and_right_statistics(tmp_path: Path) -> None:
    frames = good_frames()
    report = check(tmp_path, frames)
    assert report.findings == []
    assert report.n_frames == 24
    assert report.sizes == (3, 6)
    assert report.elements == {"H": 80, "C": 16, "O": 16}
    assert report.boundaries == {"FFF": 24}
    assert report.total_charges == {"0": 24}
    assert report.labels == {"energy": {"REF_energy": 24}, "forces": {"REF_forces": 24}}
    assert report.fit is not None
    assert report.fit.rank == 3
    assert report.fit.e0["O"] == pytest.approx(E0["O"], abs=0.3)
    stacked = np.concatenate([a.arrays["REF_forces"] for a in frames])
    assert report.force_rms == pytest.approx(np.sqrt(np.mean(stacked**2)), rel=1e-5)
    assert "Nothing wrong" in format_report(report)


def _nan_position(a: Atoms) -> None:
    a.positions[1, 0] = np.nan


def _nan_force(a: Atoms) -> None:
    a.arrays["REF_forces"][2, 1] = np.nan


def _no_forces(a: Atoms) -> None:
    del a.arrays["REF_forces"]


def _overlap(a: Atoms) -> None:
    a.positions[2] = a.positions[0]


def _no_cell(a: Atoms) -> None:
    a.pbc = True


def _text_energy(a: Atoms) -> None:
    a.info["REF_energy"] = "converged"


ERRORS: dict[str, Callable[[Atoms], None]] = {
    "positions": _nan_position,
    "forces value": _nan_force,
    "mixed forces": _no_forces,
    "overlap": _overlap,
    "cell": _no_cell,
    "energy value": _text_energy,
}


@pytest.mark.parametrize("kind", ERRORS)
def test_each_error_is_found_where_it_is(tmp_path: Path, kind: str) -> None:
    frames = good_frames()
    ERRORS[kind](frames[6])
    ERRORS[kind](frames[9])
    report = check(tmp_path, frames)
    assert {(f.kind, f.frame) for f in report.errors} == {(kind, 6), (kind, 9)}
    assert "frame 6" in format_report(report)


def test_all_errors_are_collected(tmp_path: Path) -> None:
    frames = good_frames()
    for k, spoil in enumerate(ERRORS.values()):
        spoil(frames[3 * k])
    report = check(tmp_path, frames)
    assert {f.kind for f in report.errors} == set(ERRORS)


def _net_force(a: Atoms) -> None:
    a.arrays["REF_forces"][:, 0] += 0.1


def _outlier(a: Atoms) -> None:
    a.info["REF_energy"] -= 30.0


def _close(a: Atoms) -> None:
    a.positions[1] = a.positions[0] + [0.2, 0.2, 0]


def _one_axis(a: Atoms) -> None:
    a.set_cell([9, 9, 9])
    a.pbc = (False, False, True)


def _spin(a: Atoms) -> None:
    a.info["spin"] = 2


def _charge_sum(a: Atoms) -> None:
    a.info["total_charge"] = 1


WARNINGS: dict[str, Callable[[Atoms], None]] = {
    "net force": _net_force,
    "energy outlier": _outlier,
    "close": _close,
    "one axis": _one_axis,
    "state": _spin,
    "charge sum": _charge_sum,
}


@pytest.mark.parametrize("kind", WARNINGS)
def test_each_warning_is_found_where_it_is(tmp_path: Path, kind: str) -> None:
    frames = good_frames()
    for atoms in frames:
        atoms.arrays["REF_charges"] = np.zeros(len(atoms))
    WARNINGS[kind](frames[6])
    report = check(tmp_path, frames)
    assert report.errors == []
    assert [(f.kind, f.frame) for f in report.warnings] == [(kind, 6)]


def test_one_composition_does_not_tell_its_e0s_apart(tmp_path: Path) -> None:
    report = check(tmp_path, [a for a in good_frames() if len(a) == 3])
    assert report.warnings == []
    (note,) = report.findings
    assert "all frames have the composition H2O, which cannot tell the E0s of H and O" in (
        note.message
    )


def test_several_compositions_that_do_not_tell_all_e0s_apart(tmp_path: Path) -> None:
    frames = good_frames()
    for atoms in frames:
        symbols = {"C": "Na", "O": "Cl"}  # NaCl with H in varying numbers
        atoms.symbols = [symbols.get(symbol, symbol) for symbol in atoms.symbols]
    pairs = [atoms for atoms in frames if len(atoms) == 6]
    ethers = [atoms.copy() for atoms in pairs]
    for atoms in ethers:
        del atoms[-1]
        atoms.info["REF_energy"] -= E0["H"]
    report = check(tmp_path, pairs + ethers)
    (warning,) = [f for f in report.warnings if f.kind == "rank"]
    assert "the E0s of Na and Cl cannot be told apart" in warning.message
    assert "2 independent compositions of 3 elements" in warning.message


def test_elements_whose_numbers_depend_on_each_other() -> None:
    """Ions in water: H and O are always two to one, Na and Cl vary."""
    frames = [Atoms(f"{ion}H{2 * n}O{n}") for ion in ("Na", "Cl", "") for n in (1, 2, 5)]
    fit = fit_composition(frames, np.zeros(len(frames)))
    assert fit.rank == 3
    assert fit.undetermined == ("H", "O")
    assert fit_composition([*frames, Atoms("H2")], np.zeros(10)).undetermined == ()


def test_outliers_do_not_spoil_the_fit() -> None:
    frames = good_frames(60)
    energies = np.array([a.info["REF_energy"] for a in frames])
    energies[::12] += 500.0
    fit = fit_composition(frames, energies)
    assert fit is not None
    assert fit.e0["H"] == pytest.approx(E0["H"], abs=0.1)
    assert set(np.flatnonzero(fit.scores > 50)) == set(range(0, 60, 12))


def test_missing_energy_and_forces(tmp_path: Path) -> None:
    frames = good_frames()
    for atoms in frames:
        atoms.info["odd_name"] = atoms.info.pop("REF_energy")
        _no_forces(atoms)
    report = check(tmp_path, frames)
    assert [f.kind for f in report.errors] == ["missing energy"]
    assert "odd_name" in report.errors[0].message
    assert [f.kind for f in report.warnings] == ["missing forces"]
    assert report.warnings[0].message == "there are no forces"
    named = check_file(tmp_path / "a.xyz", {"energy": "odd_name"})
    assert named.errors == []
    wrong = check_file(tmp_path / "a.xyz", {"energy": "odd_nam"})
    assert "did you mean 'odd_name'" in wrong.errors[0].message
    with pytest.raises(InputError, match="energie"):
        check_file(tmp_path / "a.xyz", {"energie": "odd_name"})


@pytest.mark.parametrize("name", ["F_dft", "vasp_force", "f", "Force.xtb"])
def test_arrays_that_look_like_forces_are_named(tmp_path: Path, name: str) -> None:
    frames = good_frames()
    for atoms in frames:
        atoms.set_array(name, atoms.arrays["REF_forces"])
        atoms.set_array("shift", atoms.positions)
        _no_forces(atoms)
    (warning,) = check(tmp_path, frames).warnings
    assert warning.message == (f"there are no forces; is it `{name}`? give --keys forces={name}")
    assert check_file(tmp_path / "a.xyz", {"forces": name}).warnings == []


def test_a_wrong_symbol_is_no_element(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.xyz", good_frames()[0])
    text = (tmp_path / "a.xyz").read_text()
    symbol = good_frames()[0].get_chemical_symbols()[0]
    (tmp_path / "a.xyz").write_text(text.replace(f"\n{symbol} ", "\nNax ", 1))
    (error,) = check_file(tmp_path / "a.xyz").errors
    assert error.message == "malformed: 'Nax' is not an element"


def test_what_can_be_read_of_a_truncated_file_is_checked(tmp_path: Path) -> None:
    frames = good_frames()
    _overlap(frames[2])
    check(tmp_path, frames)
    text = (tmp_path / "a.xyz").read_text()
    (tmp_path / "b.xyz").write_text(text[: len(text) * 3 // 4 + 300])
    report = check_file(tmp_path / "b.xyz")
    assert {f.kind for f in report.errors} == {"unreadable", "overlap"}
    assert any("truncated" in f.message for f in report.errors)
    assert 12 < report.n_frames < 24


def test_frames_after_an_unreadable_one_keep_their_index(tmp_path: Path) -> None:
    frames = good_frames()
    _overlap(frames[9])
    check(tmp_path, frames)
    lines = (tmp_path / "a.xyz").read_text().split("\n")
    lines[2] = lines[2].replace("0.", "zero", 1)
    (tmp_path / "a.xyz").write_text("\n".join(lines))
    found = {(f.kind, f.frame) for f in check_file(tmp_path / "a.xyz").errors}
    assert found == {("unreadable", 0), ("overlap", 9)}


def test_duplicates_warn_and_contradictions_are_errors(tmp_path: Path) -> None:
    frames = good_frames()
    frames.append(frames[3].copy())
    report = check(tmp_path, frames)
    assert [(f.severity, f.frame) for f in report.findings] == [("warning", 24)]
    frames[-1].info["REF_energy"] += 0.1
    report = check(tmp_path, frames)
    assert [(f.severity, f.kind, f.frame) for f in report.findings] == [("error", "duplicate", 24)]
    frames[-1].info["total_charge"] = 1  # another state is another structure
    assert check(tmp_path, frames).errors == []


def crystal_frames() -> list[Atoms]:
    """Neighboring distortions of one crystal with energies and forces that belong together."""
    frames = []
    for seed in range(12):
        atoms = bulk("Ar", "fcc", 5.2, cubic=True) * (2, 1, 1)
        atoms.rattle(0.03, seed=seed)
        # Wrapping must not matter: some atoms sit on the border of the cell.
        atoms.wrap()
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.5, rc=9.0, smooth=True)
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    return frames


def test_energies_and_forces_that_belong_together() -> None:
    frames = crystal_frames()
    energies = np.array([a.info["REF_energy"] for a in frames])
    slope = energy_force_slope(frames, energies, [a.arrays["REF_forces"] for a in frames])
    assert slope == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("energy", "force", "hint"),
    [
        (1 / 27.2114, 1.0, "energies in Hartree"),
        (1 / 27.2114, 0.529177 / 27.2114, "atomic units"),
        (1.0, -1.0, "gradients"),
        (1 / 8, 1.0, "per atom"),
        (23.06, 1.0, "kcal/mol"),
        (5.0, 1.0, "belong together"),
    ],
)
def test_wrong_units(tmp_path: Path, energy: float, force: float, hint: str) -> None:
    frames = crystal_frames()
    for atoms in frames:
        atoms.info["REF_energy"] *= energy
        atoms.arrays["REF_forces"] *= force
    report = check(tmp_path, frames)
    assert report.errors == []
    assert any(f.kind == "units" and hint in f.message for f in report.warnings)


def test_hostile_names_cannot_reach_the_terminal(tmp_path: Path) -> None:
    frames = good_frames(6)
    path = tmp_path / "<script>\x1b[31m.xyz"
    for atoms in frames:
        atoms.info["bad\x1b[31mkey"] = 1
    ase.io.write(path, frames, format="extxyz")
    text = str(check_file(path))
    assert "<script>" in text
    assert "\x1b" not in text


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(tmp_path, good_frames())
    good = str(tmp_path / "a.xyz")
    assert run_command(command, "check", good) == 0
    assert "REF_forces, on all frames" in capsys.readouterr().out
    assert run_command(command, "check", good, "--keys", "energy=REF_enrgy") == 2
    assert "did you mean 'REF_energy'" in capsys.readouterr().out
    assert run_command(command, "check", good, str(tmp_path / "none.xyz")) == 2
    assert "No such file" in capsys.readouterr().out
    with pytest.raises(InputError, match="NAME=VALUE"):
        run_command(command, "check", good, "--keys", "energy")


def test_ten_thousand_frames_take_seconds(tmp_path: Path) -> None:
    """Beyond ASE's parser: a tenth of the size here, generously bounded for slow machines."""
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(300):
        atoms = Atoms("H50", rng.random((50, 3)) * 30, cell=[30, 30, 30], pbc=True)
        atoms.info["REF_energy"] = -50.0 + rng.normal()
        atoms.arrays["REF_forces"] = rng.normal(size=(50, 3))
        frames.append(atoms)
    ase.io.write(tmp_path / "a.xyz", frames)
    start = time.process_time()
    ase.io.read(tmp_path / "a.xyz", ":")
    parsing = time.process_time() - start
    start = time.process_time()
    check_file(tmp_path / "a.xyz")
    assert time.process_time() - start < 3 * parsing + 1.0

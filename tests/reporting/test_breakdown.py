"""Errors of parts of a set: against plain loops, and as parts of the whole."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from muse_lr.errors import InputError
from muse_lr.reporting.breakdown.errors import (
    breakdowns,
    by_boundary,
    by_element,
    by_info,
    by_size,
    by_total_charge,
    overall,
)
from muse_lr.reporting.breakdown.grouping import MOST_GROUPS, NOT_GIVEN, classes, usual_keys
from muse_lr.reporting.breakdown.tables import breakdown_table, scale_table, write_errors
from muse_lr.reporting.html import text_table
from muse_lr.reporting.predictions import collect

SYMBOLS = ("H", "O", "Na", "Cl")


def made(seed: int, count: int = 12) -> list[Atoms]:
    """Random structures with labels and predictions, some of them without a label or a key."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(count):
        size = int(rng.integers(1, 6))
        atoms = Atoms(rng.choice(SYMBOLS, size), rng.normal(size=(size, 3)), cell=[9, 9, 9])
        atoms.pbc = [(False,) * 3, (True, True, False), (True,) * 3][i % 3]
        atoms.info["total_charge"] = int(rng.integers(-1, 2))
        if rng.random() < 0.8:
            atoms.info["subset"] = str(rng.choice(["a", "b", "c"]))
            atoms.info["n_pairs"] = int(rng.integers(1, 4))
        if i == 0 or rng.random() < 0.8:
            atoms.info["REF_energy"] = float(-1e4 * size + rng.normal())
            atoms.info["muse_energy"] = atoms.info["REF_energy"] + rng.normal()
        for label, shape in (("forces", (size, 3)), ("charges", (size,)), ("bec", (size, 9))):
            if i == 0 or rng.random() < 0.8:
                atoms.arrays[f"REF_{label}"] = rng.normal(size=shape)
                atoms.arrays[f"muse_{label}"] = rng.normal(size=shape)
        frames.append(atoms)
    return frames


def plain_errors(frames: list[Atoms], label: str) -> list[tuple[int, int | None, float]]:
    """(frame, atomic number, error in the unit of the metric) of each component, by loops."""
    found = []
    for i, atoms in enumerate(frames):
        if label == "energy" and "REF_energy" in atoms.info:
            error = atoms.info["muse_energy"] - atoms.info["REF_energy"]
            found.append((i, None, 1000 * error / len(atoms)))
        elif f"REF_{label}" in atoms.arrays:
            scale = 1000 if label == "forces" else 1
            error = atoms.arrays[f"muse_{label}"] - atoms.arrays[f"REF_{label}"]
            for number, row in zip(atoms.numbers, error.reshape(len(atoms), -1), strict=True):
                found += [(i, int(number), scale * float(value)) for value in row]
    return found


def statistics(errors: list[float]) -> tuple[float, float]:
    return float(np.mean(np.abs(errors))), float(np.sqrt(np.mean(np.square(errors))))


@given(st.integers(0, 2**32 - 1))
def test_groups_agree_with_loops_over_the_frames(seed):
    frames = made(seed)
    predictions = collect(frames, "x")
    of_frame = (
        (by_info(predictions, "subset"), lambda a: a.info.get("subset", NOT_GIVEN)),
        (by_size(predictions), lambda a: str(len(a))),
        (by_total_charge(predictions), lambda a: str(a.info["total_charge"])),
        (by_boundary(predictions), _boundary),
    )
    for found, value in of_frame:
        assert sum(group.frames for group in found.groups) == len(frames)
        for group in found.groups:
            members = [i for i, atoms in enumerate(frames) if value(atoms) == group.name]
            assert group.frames == len(members)
            assert group.atoms == sum(len(frames[i]) for i in members)
            for label in ("energy", "forces", "charges", "bec"):
                own = [error for i, _, error in plain_errors(frames, label) if i in members]
                assert (label in group.errors) == bool(own)
                if own:
                    errors = group.errors[label]
                    assert (errors.mae, errors.rmse) == pytest.approx(statistics(own), rel=1e-9)
                    assert errors.count == len(own)
                    assert errors.mean_error == pytest.approx(np.mean(own), rel=1e-6, abs=1e-9)


def _boundary(atoms: Atoms) -> str:
    return "".join("FT"[int(periodic)] for periodic in atoms.pbc)


@given(st.integers(0, 2**32 - 1))
def test_errors_by_element_agree_with_loops_over_the_atoms(seed):
    frames = made(seed)
    groups = by_element(collect(frames, "x")).groups
    z = {"H": 1, "O": 8, "Na": 11, "Cl": 17}
    assert [g.name for g in groups] == [s for s in SYMBOLS if s in {g.name for g in groups}]
    for group in groups:
        assert group.atoms == sum((a.numbers == z[group.name]).sum() for a in frames)
        for label, errors in group.errors.items():
            own = [e for _, n, e in plain_errors(frames, label) if n == z[group.name]]
            assert (errors.mae, errors.rmse) == pytest.approx(statistics(own), rel=1e-9)
        assert "energy" not in group.errors


@given(st.integers(0, 2**32 - 1))
def test_parts_combine_to_the_whole(seed):
    """The errors of all groups, weighted by their sizes, are those of the set to 1e-12."""
    predictions = collect(made(seed), "x")
    total = overall(predictions).errors
    found = breakdowns(predictions, ["subset", "n_pairs"])
    assert {b.by for b in found} >= {"element", "subset", "n_pairs", "boundary", "number of atoms"}
    for breakdown in found:
        for label in breakdown.labels:
            parts = [g.errors[label] for g in breakdown.groups if label in g.errors]
            weights = [part.count for part in parts]
            assert sum(weights) == total[label].count
            for name in ("mae", "mean_error", "mean_mae"):
                mean = np.average([getattr(part, name) for part in parts], weights=weights)
                scale = total[label].mae + total[label].mean_mae
                assert abs(mean - getattr(total[label], name)) <= 1e-12 * scale
            for name in ("rmse", "mean_rmse"):
                squares = np.average([getattr(p, name) ** 2 for p in parts], weights=weights)
                assert np.sqrt(squares) == pytest.approx(getattr(total[label], name), rel=1e-12)


def test_the_scale_of_forces_is_their_rms_and_that_of_energies_the_deviation_per_atom():
    rng = np.random.default_rng(0)
    frames = []
    for copies in (1, 2, 3, 2, 1):
        atoms = Atoms("OH2" * copies, rng.normal(size=(3 * copies, 3)))
        energy = copies * (-2000.0 + rng.normal())
        atoms.info |= {"REF_energy": energy, "muse_energy": energy + 0.3 * copies}
        atoms.arrays["REF_forces"] = rng.normal(size=(3 * copies, 3))
        atoms.arrays["muse_forces"] = 0.9 * atoms.arrays["REF_forces"]
        frames.append(atoms)
    found = overall(collect(frames, "x")).errors
    forces = np.concatenate([atoms.arrays["REF_forces"].ravel() for atoms in frames])
    assert found["forces"].mean_rmse == pytest.approx(1000 * np.sqrt(np.mean(forces**2)))
    assert found["forces"].relative_rmse == pytest.approx(0.1)
    assert found["forces"].relative_mae == pytest.approx(0.1)
    per_atom = np.array([atoms.info["REF_energy"] / len(atoms) for atoms in frames])
    # A composition of one ratio: the best constants are the mean energy per atom.
    assert found["energy"].mean_rmse == pytest.approx(1000 * per_atom.std(), rel=1e-9)
    assert found["energy"].mae == pytest.approx(100.0)
    assert found["energy"].relative_mae == pytest.approx(
        100 / (1000 * np.abs(per_atom - per_atom.mean()).mean())
    )


def test_the_mean_predictor_knows_the_composition():
    """Energies that are sums over elements leave it no error; charges are those of the element."""
    rng = np.random.default_rng(1)
    frames = []
    for symbols in ("NaCl", "Na2Cl", "NaCl3", "Na5Cl2", "Na3Cl3"):
        atoms = Atoms(symbols, rng.normal(size=(len(Atoms(symbols)), 3)))
        sodium = int((atoms.numbers == 11).sum())
        atoms.info["REF_energy"] = -4000.0 * sodium - 12000.0 * (len(atoms) - sodium)
        atoms.info["muse_energy"] = atoms.info["REF_energy"] + 0.1
        charges = np.where(atoms.numbers == 11, 0.9, -0.8) + 0.1 * rng.normal(size=len(atoms))
        atoms.arrays |= {"REF_charges": charges, "muse_charges": charges}
        frames.append(atoms)
    found = overall(collect(frames, "x")).errors
    assert found["energy"].mean_rmse < 1e-6
    both = [
        np.concatenate([a.arrays["REF_charges"][a.numbers == z] for a in frames]) for z in (11, 17)
    ]
    squares = np.concatenate([(values - values.mean()) ** 2 for values in both])
    assert found["charges"].mean_rmse == pytest.approx(np.sqrt(squares.mean()))
    few = overall(collect(frames[:2], "x")).errors["energy"]
    assert np.isnan(few.mean_rmse)
    assert np.isnan(few.relative_rmse)


def test_a_group_at_the_mean_has_no_share():
    frames = [_single(-2000.1, "a"), _single(-2000.2, "b"), _single(-2000.3, "c")]
    middle = by_info(collect(frames, "x"), "subset").groups[1].errors["energy"]
    assert middle.mean_rmse == 0
    assert np.isnan(middle.relative_rmse)


def _single(energy: float, subset: object) -> Atoms:
    atoms = Atoms("H")
    atoms.info |= {"REF_energy": energy, "muse_energy": energy + 0.5, "subset": subset}
    return atoms


def test_many_numbers_form_ranges_and_many_texts_one_group_of_the_rare():
    values = np.random.default_rng(0).permutation(np.linspace(2.0, 9.0, 90)).tolist()
    index, names = classes(values)
    assert len(names) == 6
    assert (np.bincount(index) == 15).all()
    for i, name in enumerate(names):
        low, high = (float(part) for part in name.split(" to "))
        inside = np.array(values)[index == i]
        assert (low, high) == pytest.approx((inside.min(), inside.max()), rel=1e-3)
    texts = [f"t{i}" for i in range(MOST_GROUPS + 5)] + ["t3"] * 4
    index, names = classes(texts)
    assert len(names) == MOST_GROUPS
    assert names[-1] == "6 others"
    assert np.bincount(index)[names.index("t3")] == 5
    index, names = classes([1, 2.0, None, 1])
    assert (index.tolist(), names) == ([0, 1, 2, 0], ["1", "2", NOT_GIVEN])
    assert classes([1.0, "x"])[1] == ["1", "x"]


def test_keys_that_cannot_be_used_are_refused():
    frames = [_single(1.0, "a"), _single(2.0, np.arange(3))]
    with pytest.raises(InputError, match=r"'subset' holds '\[0 1 2\]'.*single numbers or text"):
        by_info(collect(frames, "x"), "subset")
    with pytest.raises(
        InputError, match=r"no frame has the info key 'subst' \(did you mean 'subse"
    ):
        by_info(collect(frames[:1], "x"), "subst")


def test_subsets_are_found_without_being_asked_for():
    frames = [_single(1.0, "a"), _single(2.0, "b"), _single(4.0, "b")]
    predictions = collect(frames, "x")
    assert usual_keys(predictions.info) == ["subset"]
    assert [found.by for found in breakdowns(predictions)] == ["subset"]
    same = collect([_single(1.0, "a"), _single(3.0, "a")], "x")
    assert breakdowns(same) == []
    assert [found.by for found in breakdowns(same, ["subset"])] == ["subset"]


def test_tables_and_the_file_of_errors(tmp_path):
    predictions = collect(made(3), "x")
    total = overall(predictions)
    text = text_table(scale_table(total))
    for expected in ("meV/atom", "meV/Å", "scale", "% of scale", "bec"):
        assert expected in text
    found = breakdowns(predictions)
    energy, forces = text.splitlines()[2:4]
    assert energy.index("meV/atom") == forces.index("meV/Å")  # text is aligned at the left
    table = text_table(breakdown_table(found[0], ("mae",)))
    assert "forces MAE (meV/Å)" in table
    assert "RMSE" not in table
    with write_errors(total, found, tmp_path / "errors.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    first = next(row for row in rows if (row["by"], row["label"]) == ("all", "forces"))
    assert first["unit"] == "meV/A"
    assert float(first["rmse"]) == total.errors["forces"].rmse
    assert {row["group"] for row in rows if row["by"] == "element"} <= set(SYMBOLS)
    assert "".join(row["unit"] for row in rows).isascii()

"""Energies relative to their composition, and the warnings about offsets and useless models."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from muse_lr.reporting.breakdown.cautions import cautions
from muse_lr.reporting.breakdown.errors import overall
from muse_lr.reporting.breakdown.offset import composition_offset, relative_metrics
from muse_lr.reporting.predictions import collect


def made(formulas: list[str], references, predictions) -> list[Atoms]:
    frames = []
    for formula, reference, predicted in zip(formulas, references, predictions, strict=True):
        atoms = Atoms(formula, np.arange(3.0 * len(Atoms(formula))).reshape(-1, 3))
        atoms.info |= {"REF_energy": float(reference), "muse_energy": float(predicted)}
        frames.append(atoms)
    return frames


def test_relative_energies_agree_with_loops_over_the_compositions():
    rng = np.random.default_rng(0)
    formulas = [["H2", "H2O", "ClNa", "ClNa2"][i] for i in rng.integers(0, 4, 30)] + ["O2"]
    references = -1e5 + rng.normal(size=31)
    guesses = references + rng.normal(size=31)
    predictions = collect(made(formulas, references, guesses), "x")
    expected = []
    for i, formula in enumerate(formulas):
        same = [j for j, other in enumerate(formulas) if other == formula]
        if len(same) > 1:
            error = guesses[i] - references[i] - np.mean(guesses[same] - references[same])
            expected.append(1000 * error / len(Atoms(formula)))
    metrics = relative_metrics(predictions)
    assert metrics["relative_energy_mae"] == pytest.approx(np.abs(expected).mean(), rel=1e-6)
    rmse = np.sqrt(np.mean(np.square(expected)))
    assert metrics["relative_energy_rmse"] == pytest.approx(rmse, rel=1e-6)
    errors = overall(predictions).errors["relative_energy"]
    assert errors.mae == metrics["relative_energy_mae"]
    assert errors.frames == 30  # O2 is alone
    quantity = predictions.quantities["relative_energy"]
    for formula in set(formulas[:30]):
        inside = [predictions.formula[frame] == formula for frame in quantity.frame]
        assert quantity.reference[inside].mean() == pytest.approx(0, abs=1e-8)


def test_frames_of_different_compositions_have_no_relative_energy():
    predictions = collect(made(["H2", "O2"], [1, 2], [3, 4]), "x")
    assert "relative_energy" not in predictions.quantities
    assert relative_metrics(predictions) == {}
    assert composition_offset(predictions) is None


def test_equal_energies_have_no_spread_of_rounding():
    energies = np.full(7, -12345.6789)
    errors = overall(collect(made(["H2O"] * 7, energies, energies + 0.1), "x")).errors
    assert errors["relative_energy"].mean_rmse == 0
    assert errors["relative_energy"].mae == 0


def offset_frames(offset: float, count: int = 20):
    """Two compositions whose predictions are off by a constant and by noise of 10 meV/atom."""
    rng = np.random.default_rng(1)
    formulas = ["H2", "O2"] * count
    references = rng.normal(size=2 * count)
    guesses = references + np.tile([offset, -offset], count) + 0.02 * rng.normal(size=2 * count)
    return collect(made(formulas, references, guesses), "x")


def test_an_offset_is_most_of_the_error_or_not():
    large, small = (composition_offset(offset_frames(offset)) for offset in (0.5, 0.01))
    assert large.is_most
    assert (large.frames, large.compositions) == (40, 2)
    assert large.mae == pytest.approx(250, rel=0.05)
    assert large.relative_mae == pytest.approx(8, rel=0.3)
    assert not small.is_most


def test_noise_in_pairs_of_frames_is_no_offset():
    """The mean of two frames takes a part of their noise away."""
    rng = np.random.default_rng(2)
    formulas = [f"H{i}" for i in range(1, 200) for _ in range(2)]
    references = np.zeros(len(formulas))
    guesses = rng.normal(size=len(formulas)) * np.repeat(np.arange(1.0, 200), 2)
    found = composition_offset(collect(made(formulas, references, guesses), "x"))
    assert found.relative_mae < 0.75 * found.mae
    assert not found.is_most


def test_an_offset_and_a_useless_model_are_told():
    predictions = offset_frames(5.0)
    worse, offset = cautions(predictions, overall(predictions))
    assert worse.startswith("Worse than the mean predictor, which knows the number of atoms")
    assert "energy (RMSE 2,500, mean predictor " in worse
    assert "relative energy" not in worse
    assert offset.startswith("Most of the energy error is a constant offset of each composition")
    assert "Either the E0s (`model.e0`) are inexact, or the energies of these" in offset
    good = offset_frames(0.01)
    assert cautions(good, overall(good)) == []


def hydrates(errors) -> list[str]:
    """Frames of 2 x (H2O)n and 2 x NaCl(H2O)n, whose predictions are off by errors(ions, n)."""
    counts = [(ions, n) for ions in (0, 1) for n in (1, 2, 3, 4, 6) for _ in range(2)]
    formulas = ["NaCl" * ions + f"H{2 * n}O{n}" for ions, n in counts]
    references = np.random.default_rng(4).normal(size=len(counts))
    guesses = references + [errors(*count) for count in counts]
    return collect(made(formulas, references, guesses), "x")


def test_e0s_are_named_only_if_constants_of_the_elements_explain_the_offset():
    linear = composition_offset(hydrates(lambda ions, n: 0.5 * ions - 0.2 * n))
    other = composition_offset(hydrates(lambda ions, n: 0.5 * ions * (-1) ** n))
    assert linear.is_most
    assert other.is_most
    assert linear.unexplained < 1e-6 * linear.size
    assert (linear.of_elements, other.of_elements) == (True, False)
    assert "look at the E0s (`model.e0`)" in linear.sentence()
    assert "model.e0" not in other.sentence()
    assert "charge states are not learned" in other.sentence()


def test_two_compositions_of_two_elements_do_not_tell():
    found = composition_offset(offset_frames(0.5))
    assert np.isnan(found.unexplained)
    assert found.of_elements is None


def test_an_offset_that_the_validation_data_do_not_have_is_not_one_of_e0s():
    frames = hydrates(lambda ions, n: 0.5 * ions - 0.2 * n)
    mae = composition_offset(frames).mae
    same, less = (composition_offset(frames, share * mae).sentence() for share in (0.9, 0.2))
    assert "look at the E0s" in same
    assert "The validation data have none" in less
    assert "are not learned" in less


def test_a_fit_to_few_frames_is_no_measure():
    """One constant for each of four elements reproduces five frames almost exactly."""
    formulas = ["HNaOCl", "H2NaOCl", "HNa2OCl", "HNaO2Cl", "HNaOCl2"]
    references = np.random.default_rng(3).normal(size=5)
    predictions = collect(made(formulas, references, references + 5.0), "x")
    total = overall(predictions)
    assert total.errors["energy"].relative_rmse > 1
    assert cautions(predictions, total) == []

"""What stands on the first screen of a study besides its result, and the winner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from muse_lr.ablate.aggregate import Record, Results
from muse_lr.ablate.report.findings import findings, label_notes, preliminary, scales
from muse_lr.ablate.report.outcome import outcomes
from muse_lr.ablate.report.winner import (
    disagreement,
    find_winner,
    next_command,
    next_commands,
    shown,
)
from muse_lr.ablate.study import Run
from muse_lr.reporting.breakdown.offset import relative_metrics
from muse_lr.reporting.predictions import collect, frame_sums
from muse_lr.reporting.runs import late_improvement

EPOCHS = 10


def predictions(offset: float, noise: float, unlabeled: int = 0):
    """Two compositions with energies of a spread of 1 eV; some frames have no forces."""
    rng = np.random.default_rng(0)
    frames = []
    for i in range(30):
        atoms = Atoms(["H2", "O2"][i % 2], [[0, 0, 0], [0, 0, 1]])
        energy = rng.normal()
        guess = energy + offset * (-1) ** i + noise * rng.normal()
        atoms.info |= {"REF_energy": energy, "muse_energy": guess}
        forces = rng.normal(size=(2, 3))
        if i >= unlabeled:
            atoms.arrays["REF_forces"] = forces
        atoms.arrays["muse_forces"] = forces + noise * rng.normal(size=(2, 3))
        frames.append(atoms)
    return collect(frames, "far")


def record(variant, seed=0, found=None, valid=50.0, losses=None, data=None):
    """A finished run; without losses its validation loss is flat."""
    metrics = {}
    if found is not None:
        for label in ("energy", "forces"):
            absolute, _, counts = frame_sums(found, label)
            metrics[f"{label}_mae"] = float(absolute.sum() / counts.sum())
        metrics |= relative_metrics(found)
    losses = np.ones(EPOCHS) if losses is None else losses
    curves = {
        "epoch": np.arange(1.0, len(losses) + 1),
        "valid_loss": losses,
        "valid_forces_mae": np.full(len(losses), float(valid)),
    }
    best = int(np.argmin(losses)) + 1
    summary = {"tests": {"far": metrics} if metrics else {}, "epochs": len(losses)}
    config = {"data": data or {}}
    run = Run(variant, seed, Path(variant, f"seed-{seed}"), config)
    tests = {} if found is None else {"far": found}
    return Record(run, "finished", summary | {"best_epoch": best}, curves, tests)


def test_a_sound_study_needs_no_warning():
    good = predictions(0.0, 0.1)
    assert findings(Results("a", [record(v, found=good) for v in "ab"])) == []


def test_variants_worse_than_the_mean_predictor_are_named_with_its_error():
    results = Results(
        "good",
        [record("good", found=predictions(0, 0.1)), record("bad", found=predictions(0, 3.0))],
    )
    limit = scales(results, "far")["energy_mae"]
    energy, forces = findings(results)
    assert energy.startswith("On the test set `far`, the energy MAE of `bad` (")
    assert f"is above 80 % of that of the mean predictor ({limit:.0f} meV/atom)" in energy
    assert "`good`" not in energy
    assert energy.endswith(
        "of each element only and is fitted to the test set itself: little was learned of total "
        "energies."
    )
    assert "the forces MAE of `bad`" in forces
    assert forces.endswith("only: little was learned of forces.")


def test_stress_that_is_worse_than_its_mean_is_named_with_what_to_do():
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(30):
        atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]], cell=[4, 4, 4], pbc=True)
        stress = rng.normal(size=(3, 3))
        stress += stress.T
        atoms.info |= {"REF_stress": stress, "muse_stress": 3 * stress}
        frames.append(atoms)
    found = collect(frames, "far")
    bad = record("bad")
    absolute, _, counts = frame_sums(found, "stress")
    metrics = {"stress_mae": float(absolute.sum() / counts.sum())}
    bad = replace(
        bad, summary=bad.summary | {"tests": {"far": metrics}}, predictions={"far": found}
    )
    (sentence,) = [text for text in findings(Results("bad", [bad])) if "stress" in text]
    assert (
        "which is the isotropic mean of the test set: little was learned of stress. Train"
        in sentence
    )


def test_an_offset_of_compositions_is_told_for_the_variants_that_have_it():
    off, even = predictions(0.3, 0.01), predictions(0.0, 0.01)
    results = Results("off", [record("off", found=off), record("even", found=even)])
    (text,) = findings(results)
    assert "most of the energy error is a constant offset of each composition" in text
    assert "is 3.85 instead of 149 meV/atom with `off`. Forces" in text
    assert "`even`" not in text


def test_the_offset_is_compared_with_the_validation_data():
    off = record("off", found=predictions(0.3, 0.01))
    assert "Either the E0s" in findings(Results("off", [off]))[0]
    curves = off.curves | {"valid_energy_mae": np.full(EPOCHS, 3.0)}
    (text,) = findings(Results("off", [replace(off, curves=curves)]))
    assert "The validation data have none" in text


def test_labels_that_were_not_trained_are_told_and_do_not_come_first():
    """Forces have other keys in the test set than in training, where they were not found."""
    records = [record(v, found=predictions(0, 0.1)) for v in "ab"]
    (both,) = outcomes(Results("a", records))
    assert both.metric == "forces_mae"
    for r in records:
        r.run.config["training"] = {"loss": {"energy": 1}}
    results = Results("a", records)
    (outcome,) = outcomes(results)
    assert outcome.metric == "energy_mae"
    (text,) = findings(results)
    assert text.startswith("No run was trained on forces (`training.loss`)")
    assert "`data.keys.forces`" in text


def test_runs_that_still_improve_are_told():
    falling = np.linspace(1.0, 0.5, EPOCHS)
    late = record("a", losses=falling)
    assert late_improvement(late.summary, late.curves) == pytest.approx(1 - 0.5 / falling[-3])
    results = Results("a", [late, record("b", losses=falling)])
    (text,) = findings(results)
    (sentence,) = preliminary(results)
    assert sentence.startswith(
        "Preliminary: each variant has one seed and 2 of 2 runs still improved at their end. "
    )
    assert text.startswith("All 2 runs had their lowest validation loss in the last epoch.")
    assert "18.2 % (median) in the last fifth" in text
    flat = record("b")
    assert "1 of 2 runs" in findings(Results("a", [late, flat]))[0]
    assert findings(Results("a", [late, flat, flat])) == []


@pytest.mark.parametrize(
    "losses", [[1.0], [1.0, 0.5, 0.6], np.linspace(1, 0.99, EPOCHS), [0.0, -1.0]]
)
def test_more_epochs_promise_nothing(losses):
    run = record("a", losses=np.array(losses))
    assert late_improvement(run.summary, run.curves) is None


def test_frames_without_a_label_are_noted():
    results = Results("a", [record("a", found=predictions(0, 0.1, unlabeled=4))])
    assert label_notes(results, "far") == ["Test set far: 26 of 30 frames have the label forces."]


def seeds(variant, values, **more):
    return [record(variant, seed, valid=value, **more) for seed, value in enumerate(values)]


def test_the_validation_data_choose_the_winner_not_the_test_set():
    """The variant that is worse on the test set wins, since its validation error is lower."""
    data = {"test": {"far": ["far.xyz"]}, "train": ["my files/x.xyz@:40"]}
    worse, better = predictions(0, 0.4), predictions(0, 0.1)
    records = seeds("a", [50, 52, 51], found=better) + seeds(
        "b", [41, 40, 42], found=worse, data=data
    )
    found = find_winner(Results("a", records))
    assert (found.variant, found.second, found.record.run.seed) == ("b", "a", 1)
    start = "Best on the validation data: `b`, force error (MAE) 41.0 ± 2.5 meV/Å; "
    assert found.sentence().startswith(
        f"{start}there the force error of the next best, `a`, is 24 % higher ["
    )
    assert found.model == "b/seed-1/model.pt"
    assert next_command(found) == "muse-lr md b/seed-1/model.pt 'my files/x.xyz' --ps 5"


def test_a_longer_study_is_proposed_where_the_losses_still_fell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    falling = np.linspace(1.0, 0.5, EPOCHS)
    command = "muse-lr ablate s.yaml --jobs 2"
    for losses, longer in ((falling, True), (None, False)):
        records = [record(v, valid=50 + i, losses=losses) for i, v in enumerate("ab")]
        for k, r in enumerate(records):
            config = {"training": {"epochs": EPOCHS}}
            directory = tmp_path / "runs" / r.run.variant / "seed-0"
            run = replace(r.run, directory=directory, config=config)
            records[k] = replace(r, run=run, summary=r.summary | {"seconds": 20.0})
        results = Results("a", records, command)
        winner = find_winner(results)
        commands = next_commands(results, winner)
        dynamics, *more = commands.values()
        assert dynamics.startswith("muse-lr md ")
        purpose = "the study with 3 times the epochs, 2 min 00 s of training divided by the jobs"
        assert list(commands)[1:] == ([purpose] if longer else [])
        expected = f"{command} --set training.epochs=30 --out runs_30_epochs"
        assert more == ([expected] if longer else [])
        assert list(next_commands(Results("a", records), winner).values()) == [dynamics]


def test_a_test_set_with_another_best_variant_is_named():
    records = [record("a", valid=40, found=predictions(0, 0.3))]
    records += [record("b", valid=50, found=predictions(0, 0.1))]
    results = Results("a", records)
    winner = find_winner(results)
    assert winner.variant == "a"
    (sentence,) = disagreement(results, winner)
    assert sentence.startswith("The lowest force error on test data is that of `b` on `far`.")
    agreed = [record("a", valid=40, found=predictions(0, 0.1))]
    agreed += [record("b", valid=50, found=predictions(0, 0.3))]
    assert disagreement(Results("a", agreed), find_winner(Results("a", agreed))) == []


def test_a_close_second_and_one_seed():
    close = Results("a", seeds("a", [41, 43, 42]) + seeds("b", [42.2, 42.5, 42.3]))
    assert (
        "the force error of the next best, `b`, is not significantly different ("
        in find_winner(close).sentence()
    )
    single = Results("a", seeds("a", [41]) + seeds("b", [42]))
    assert (
        find_winner(single)
        .sentence()
        .endswith("41.0 meV/Å; there the force error of the next best, `b`, is 2 % higher.")
    )
    assert next_command(find_winner(single)) == "muse-lr md a/seed-0/model.pt FILE --ps 5"


def test_variants_are_compared_by_the_seeds_that_all_have():
    records = seeds("a", [40, 60]) + seeds("b", [41])
    assert find_winner(Results("a", records)).variant == "a"


def test_one_variant_alone_and_runs_without_curves_have_no_winner():
    assert find_winner(Results("a", seeds("a", [40, 41]))) is None
    bare = [Record(Run(v, 0, Path(v), {}), "finished", {"tests": {}}) for v in "ab"]
    assert find_winner(Results("a", bare)) is None


def test_paths_are_shown_as_they_are_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "x" / "model.pt") == "x/model.pt"
    assert shown(Path("/elsewhere/model.pt")) == "/elsewhere/model.pt"

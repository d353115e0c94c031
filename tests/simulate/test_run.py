"""Runs: restart, failures, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write

import muse_lr
from muse_lr.simulate.report import write_results
from muse_lr.simulate.results import read_log
from muse_lr.simulate.run import simulate
from muse_lr.simulate.settings import Settings
from simulate.toys import Cliff, IdealGas


def salt_model(file: Path | None = None):
    torch.manual_seed(0)
    section = {
        "elements": ["Na", "Cl"],
        "backbone": {"channels": 4, "layers": 1, "cutoff": 3.5},
        "charges": {"kind": "conserved", "width": 0.5},
    }
    model = muse_lr.build_model(section)
    if file is not None:
        muse_lr.save_model(model, file)
    return model


def salt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.6, cubic=True)


class InterruptedRunError(Exception):
    """In place of a signal."""


def run_interrupted(model, structures, settings, directory, steps):
    """Run up to a step, die there, and resume."""

    def stop(simulation, recorder, *rest):
        step = simulation.integrator.step

        def dying(state, potential, number, stress):
            if number > steps:
                raise InterruptedRunError
            step(state, potential, number, stress)

        simulation.integrator.step = dying
        return run(simulation, recorder, *rest)

    from muse_lr.simulate import run as module

    run = module._run
    module._run = stop
    try:
        with pytest.raises(InterruptedRunError):
            simulate(model, structures, settings, directory)
    finally:
        module._run = run
    return simulate(model, structures, settings, directory, resume=True)


FILES = ("log.csv", "copy-0", "copy-1")


def contents(directory: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir() if p.name.startswith(FILES)}


@pytest.mark.parametrize(
    ("ensemble", "trajectory"), [("nve", "extxyz"), ("langevin", "traj"), ("npt", "extxyz")]
)
def test_a_resumed_run_is_bit_by_bit_that_of_an_uninterrupted_one(tmp_path, ensemble, trajectory):
    settings = Settings(
        ensemble=ensemble,
        temperatures=(300.0, 900.0),
        time_step=2.0,
        steps=40,
        log_every=4,
        save_every=5,
        checkpoint_every=16,
        trajectory=trajectory,
        skin=0.3,
        discard=0.0,
        rdf_cutoff=4.0,
    )
    model, whole, parts = salt_model(), tmp_path / "whole", tmp_path / "parts"
    finished = simulate(model, [salt()], settings, whole)
    # Step 29 lies beyond a checkpoint, two lines of the log and two frames.
    again = run_interrupted(model, [salt()], settings, parts, 29)
    assert len(contents(whole)) == 3
    assert contents(whole) == contents(parts)
    assert torch.equal(finished.simulation.state.positions, again.simulation.state.positions)
    assert torch.equal(finished.simulation.state.velocities, again.simulation.state.velocities)
    assert len(read(whole / f"copy-1.{trajectory}", ":")) == 9
    for target, histogram in finished.recorder.histograms.items():
        assert histogram.counts.any()
        assert histogram.state() == again.recorder.histograms[target].state()
    assert finished.simulation.potential.builds > 5


def test_kill_and_resume_on_the_command_line(tmp_path):
    model = salt_model(tmp_path / "model.pt")
    write(tmp_path / "salt.xyz", salt())
    options = [tmp_path / "model.pt", tmp_path / "salt.xyz", "--steps", "50", "--copies", "2"]
    options += ["--temperature", "600", "--checkpoint-every", "10", "--log-every", "1"]
    options += ["--save-every", "3", "--rdf-cutoff", "0", "--out"]
    command = [sys.executable, "-m", "muse_lr", "md", *map(str, options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = Settings(
        steps=50,
        copies=2,
        temperatures=(600.0,),
        checkpoint_every=10,
        log_every=1,
        save_every=3,
        rdf_cutoff=0,
    )
    simulate(model.float(), read(tmp_path / "salt.xyz", ":"), settings, whole)
    process = subprocess.Popen(
        [*command, parts], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    limit = time.monotonic() + 60
    checkpoint, log = parts / "checkpoint.pt", parts / "log.csv"
    while time.monotonic() < limit and process.poll() is None:
        if checkpoint.exists() and log.stat().st_size > 5000:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (parts / "summary.json").exists()
    done = subprocess.run([*command, parts, "--resume"], env=environment, capture_output=True)
    assert done.returncode == 0
    assert b"continued at step" in done.stderr
    assert contents(whole) == contents(parts)


@pytest.mark.parametrize("kind", ["nan", "refuse"])
def test_a_failed_copy_stops_and_the_others_go_on(tmp_path, kind):
    """One atom runs off a cliff; the other copies move as if it had never been there."""
    fast = Atoms("Ar", [[0, 0, 0]])
    settings = Settings(
        ensemble="nve", copies=6, steps=200, time_step=5.0, log_every=10, save_every=50, seed=1
    )
    toy = Cliff(kind, edge=2.0)
    finished = simulate(toy, [fast], settings, tmp_path / "cliff")
    free = simulate(IdealGas(), [fast], settings, tmp_path / "free")
    positions = free.simulation.state.positions
    beyond = (positions[:, 0] > 2.0).nonzero()[:, 0].tolist()
    assert 0 < len(beyond) < 6
    assert sorted(failure.copy for failure in finished.failures) == beyond
    for failure in finished.failures:
        speed = float(positions[failure.copy, 0]) / 1000  # A/fs
        assert failure.time_ps * 1000 == pytest.approx(2.0 / speed, abs=5.0)
        assert ("not finite" if kind == "nan" else "behind the cliff") in failure.reason
    state = finished.simulation.state
    assert state.copy.tolist() == [copy for copy in range(6) if copy not in beyond]
    torch.testing.assert_close(state.positions, positions[state.copy], rtol=0, atol=1e-12)
    write_results(finished, tmp_path / "cliff", "m", "f")
    summary = json.loads((tmp_path / "cliff" / "summary.json").read_text())
    assert summary["temperatures"][0]["failures"] == len(beyond)
    assert summary["result"].startswith(f"{6 - len(beyond)} of 6 copies ran 1 ps at 300 K")


def test_all_copies_fail_and_the_run_ends(tmp_path):
    """A restart of the finished run finds the same failures and makes no step."""
    settings = Settings(ensemble="nve", copies=3, steps=500, time_step=5.0)
    toy = Cliff("nan", edge=-1e3)
    toy.energies = lambda batch, at: torch.where(at.norm(dim=1) > 0.1, torch.nan, 0.0 * at[:, 0])
    atoms = Atoms("Ar", [[0, 0, 0]])
    finished = simulate(toy, [atoms], settings, tmp_path / "a")
    assert sorted(failure.copy for failure in finished.failures) == [0, 1, 2]
    assert finished.simulation.step < 500
    again = simulate(toy, [atoms], settings, tmp_path / "a", resume=True)
    assert again.failures == finished.failures
    assert again.simulation.step == finished.simulation.step


def test_criteria_of_a_failure(tmp_path):
    """Two atoms that come too close, and a copy that is too hot."""
    pair = Atoms("Ar2", [[0, 0, 0], [3.0, 0, 0]], cell=[20] * 3, pbc=True)
    settings = Settings(ensemble="nve", copies=40, steps=400, time_step=10.0, save_every=1000)
    finished = simulate(IdealGas(), [pair], settings, tmp_path / "close")
    reasons = [failure.reason for failure in finished.failures]
    assert reasons
    assert all("atoms 0 (Ar) and 1 (Ar)" in reason for reason in reasons)
    limit = 0.65 * 2 * 1.06
    for failure in finished.failures:
        last = read(tmp_path / "close" / f"copy-{failure.copy}.extxyz", -1)
        assert last.get_distance(0, 1, mic=True) < limit
    running = set(range(40)) - {failure.copy for failure in finished.failures}
    for copy in running:
        first, last = read(tmp_path / "close" / f"copy-{copy}.extxyz", ":")
        path = first.positions + np.linspace(0, 1, 401)[:, None, None] * (
            last.positions - first.positions
        )
        vector = path[:, 0] - path[:, 1]
        vector -= 20 * np.round(vector / 20)
        # Between two checks an atom can come and go.
        assert np.linalg.norm(vector, axis=1)[::10].min() > limit - 1e-6


def test_temperature_limits_allow_for_few_atoms(tmp_path):
    atom = Atoms("Ar", [[0, 0, 0]])
    settings = Settings(copies=300, steps=100, time_step=5.0, save_every=1000, friction=100.0)
    finished = simulate(IdealGas(), [atom], settings, tmp_path / "one")
    assert not finished.failures
    hot = settings.model_copy(update={"temperatures": (300.0,), "steps": 20})
    from muse_lr.simulate.start import prepare

    simulation = prepare(IdealGas(), [salt()], ["a"], hot)
    simulation.check.check(simulation.state, simulation.potential)
    simulation.state.velocities *= 10
    reasons = simulation.check.check(simulation.state, simulation.potential)
    assert len(reasons) == 300


def test_refusals_write_nothing(tmp_path):
    model, out = salt_model(), tmp_path / "out"
    close = Atoms("NaCl", [[0, 0, 0], [0.5, 0, 0]])
    slab = Atoms("Na", cell=[4, 4, 0], pbc=[True, True, False])
    cases = [
        (close, {}, "atoms 0 \\(Na\\) and 1 \\(Cl\\) are 0.50"),
        (slab, {"ensemble": "npt"}, "is a slab: npt changes the volume"),
        (Atoms("NaCl", [[0, 0, 0], [2.4, 0, 0]]), {"ensemble": "npt"}, "is a molecule"),
        (molecule("CH4"), {}, "the element C"),
    ]
    for atoms, settings, message in cases:
        with pytest.raises(muse_lr.InputError, match=message):
            simulate(model, [atoms], Settings(**settings), out, sources=["file.xyz, frame 0"])
        assert not out.exists()


def test_directories_of_other_runs(tmp_path):
    model, settings = salt_model(), Settings(steps=2, checkpoint_every=2, rdf_cutoff=0)
    simulate(model, [salt()], settings, tmp_path / "a")
    with pytest.raises(muse_lr.InputError, match="exists: use --resume"):
        simulate(model, [salt()], settings, tmp_path / "a")
    said: list[str] = []
    again = {"resume": True, "report": said.append}
    done = simulate(model, [salt()], settings, tmp_path / "a", **again)
    assert done.simulation.step == 2
    assert said[-1] == f"{tmp_path / 'a'} is finished, all 2 steps are made: nothing to do"
    other = settings.model_copy(update={"seed": 5})
    with pytest.raises(muse_lr.InputError, match=r"other settings \(seed\)"):
        simulate(model, [salt()], other, tmp_path / "a", resume=True)
    moved = salt()
    moved.positions[0] += 0.1
    with pytest.raises(muse_lr.InputError, match="another structure"):
        simulate(model, [moved], settings, tmp_path / "a", resume=True)
    with pytest.raises(muse_lr.InputError, match="another model"):
        simulate(salt_model().double(), [salt()], settings, tmp_path / "a", resume=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(muse_lr.InputError):
            simulate(model, [salt()], settings, tmp_path / "b", resume=resume)


def test_a_finished_run_is_not_continued(tmp_path):
    settings = Settings(steps=2, rdf_cutoff=0)
    finished = simulate(IdealGas(), [salt()], settings, tmp_path / "a")
    write_results(finished, tmp_path / "a", "m", "f")
    with pytest.raises(muse_lr.InputError, match=r"is finished: choose another --out$"):
        simulate(IdealGas(), [salt()], settings, tmp_path / "a")


def test_trajectories_have_the_charges_of_the_model(tmp_path, monkeypatch):
    """They come with the forces: no evaluation is added."""
    model = salt_model()
    ion = Atoms("NaCl", [[0, 0, 0], [2.4, 0, 0]], info={"total_charge": 1})
    settings = Settings(steps=4, save_every=2, rdf_cutoff=0, failure={"distance_fraction": 0})
    calls: list[tuple[str, ...]] = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **k: calls.append(a[1]) or forward(*a, **k))
    simulate(model, [ion, salt()], settings, tmp_path / "a")
    assert len(calls) == 5
    monkeypatch.undo()
    for copy, charge in enumerate((1.0, 0.0)):
        for frame in read(tmp_path / "a" / f"copy-{copy}.extxyz", ":"):
            found = frame.arrays["muse_charges"]
            assert found.sum() == pytest.approx(charge, abs=1e-5)
            bare = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
            bare.info["total_charge"] = charge
            batch = muse_lr.AtomsBatch.from_ase([bare], cutoff=model.cutoff)
            np.testing.assert_allclose(
                found, model(batch, compute="charges").charges.detach().numpy(), atol=1e-5
            )


def test_the_log_has_the_energies_at_a_failure(tmp_path):
    settings = Settings(ensemble="nve", copies=3, steps=500, time_step=5.0, log_every=400)
    toy = Cliff("nan", edge=-1e3)
    toy.energies = lambda batch, at: torch.where(at.norm(dim=1) > 0.1, torch.nan, 0.0 * at[:, 0])
    finished = simulate(toy, [Atoms("Ar", [[0, 0, 0]])], settings, tmp_path / "a")
    log = read_log(tmp_path / "a")
    for failure in finished.failures:
        assert log[failure.copy]["step"].tolist() == [0, failure.step]
    lines = write_results(finished, tmp_path / "a", "m", "f")
    assert not any("before it failed" in line for line in lines), "no term is known to fall"
    assert "term of the energy before" in (tmp_path / "a" / "report.html").read_text()


def test_slabs_molecules_and_charged_systems_in_one_batch(tmp_path):
    slab = Atoms("NaCl", [[0, 0, 0], [2.8, 0, 0]], cell=[5.6, 5.6, 0], pbc=[True, True, False])
    ion = Atoms("NaCl", [[0, 0, 0], [2.4, 0, 0]], info={"total_charge": 1})
    settings = Settings(steps=10, log_every=5, save_every=5, discard=0.0)
    finished = simulate(salt_model(), [slab, ion, salt()], settings, tmp_path / "mixed")
    write_results(finished, tmp_path / "mixed", "m", "<script>x")
    rows = (tmp_path / "mixed" / "log.csv").read_text().splitlines()
    pressures = [row.split(",")[9] for row in rows[1:4]]
    assert [pressure == "" for pressure in pressures] == [True, True, False]
    assert read(tmp_path / "mixed" / "copy-1.extxyz", -1).info["total_charge"] == 1
    assert "<script>x" not in (tmp_path / "mixed" / "report.html").read_text()

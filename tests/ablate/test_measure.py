"""Measurements in processes of their own: who measures what, when they stop, what fails."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace

import pytest

from muse_lr.ablate.proposal.measure import Candidate, main, measure, measure_alone
from muse_lr.errors import InputError
from muse_lr.train import costs
from muse_lr.train.config import load_config
from muse_lr.train.costs import Costs, measure_costs, representative
from muse_lr.train.setup import read_data
from training_data import write_run

#: Prints invented costs; the time of a step is twice as long in the second process.
FAKE = """
import json, sys, time
from pathlib import Path
path = Path(sys.argv[1])
print(json.dumps({"begun": time.time() + 2.0}))
for item in json.loads(path.read_text())["candidates"]:
    place = {"variant": item["variant"], "size": item["size"]}
    if item["variant"] == "bad":
        print(json.dumps({**place, "error": "no such label"}))
        continue
    costs = dict.fromkeys(("start", "read", "draft", "drafted", "frame", "fastest_step",
                           "valid", "test", "checkpoint", "finish", "peak_memory_mb",
                           "parameters"), 1)
    print(json.dumps({**place, "costs": {**costs, "step": 1.0 + int(path.stem)}}))
"""


def candidates(*names: str) -> list[Candidate]:
    return [Candidate(name, size, {}) for size in ("small", "large") for name in names]


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr("muse_lr.ablate.proposal.measure.COMMAND", (sys.executable, "-c", FAKE))


def test_processes_share_the_variants_and_what_fails_is_named(fake):
    lines: list[str] = []
    found = measure(candidates("a", "bad", "c"), 2, 10, 100, lines.append)
    assert set(found.costs) == {(name, size) for name in "ac" for size in ("small", "large")}
    assert found.problems == {"bad": "no such label"}
    assert found.costs["a", "small"].start == pytest.approx(2.0, abs=1.0)
    assert "measured a, small: 1000 ms per step" in lines


def test_of_several_measurements_the_slowest_counts(fake):
    found = measure(candidates("a"), 3, 10, 100, lambda text: None)
    assert found.costs["a", "small"].step == 3.0


def test_a_process_that_dies_is_an_error(monkeypatch):
    command = (sys.executable, "-c", "raise SystemExit('out of memory')")
    monkeypatch.setattr("muse_lr.ablate.proposal.measure.COMMAND", command)
    with pytest.raises(InputError, match="out of memory"):
        measure(candidates("a"), 1, 10, 100, lambda text: None)


@pytest.fixture
def config(tmp_path):
    return load_config(write_run(tmp_path, epochs=7))


def printed(tmp_path, capsys, config, steps: int, limit: float, run_seconds: float) -> list[dict]:
    dump = dict(config.model_dump(mode="json"))
    wrong = {**dump, "data": {**dump["data"], "keys": {"forces": "nowhere"}}}
    chosen = [
        Candidate("a", "small", dump), Candidate("b", "small", wrong),
        Candidate("a", "large", dump, steps),
    ]  # fmt: skip
    job = {"candidates": [asdict(c) for c in chosen], "limit": limit, "run_seconds": run_seconds}
    (tmp_path / "job.json").write_text(json.dumps(job))
    assert main([str(tmp_path / "job.json")]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()][1:]


def test_a_job_measures_refuses_and_leaves_out(tmp_path, capsys, config, monkeypatch):
    first, second, third = printed(tmp_path, capsys, config, 10, 1000, 1e6)
    assert (first["variant"], first["size"]) == ("a", "small")
    assert first["costs"]["step"] > 0
    assert "nowhere" in second["error"]
    assert third["size"] == "large"
    assert third["costs"]["finish"] == first["costs"]["finish"], "the report is timed once"
    known = Costs(**first["costs"])
    monkeypatch.setattr(
        "muse_lr.ablate.proposal.measure.measure_costs", lambda *_: replace(known, step=1)
    )
    assert len(printed(tmp_path, capsys, config, 90, 1000, 100)) == 3
    assert len(printed(tmp_path, capsys, config, 110, 1000, 100)) == 2, "hopeless"
    assert len(printed(tmp_path, capsys, config, 90, 0, 100)) == 2, "the time is over"


def test_costs_are_positive_and_nothing_is_written(tmp_path, config):
    before = sorted(path.name for path in tmp_path.iterdir())
    found = measure_costs(config, read_data(config), 0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    times = asdict(replace(found, start=1.0))
    assert all(value > 0 for value in times.values()), times
    assert found.read == 0.5


def test_one_stall_of_the_machine_is_no_fastest_step(config, monkeypatch):
    """The second of the timed steps takes 75 s by the clock."""
    clock = {"now": 0.0, "steps": 0}

    def step(run, batch):
        clock["steps"] += 1
        clock["now"] += 75.0 if clock["steps"] == 3 else 0.5

    monkeypatch.setattr(costs.Run, "step", step)
    monkeypatch.setattr(costs.time, "perf_counter", lambda: clock["now"])
    found = measure_costs(config, read_data(config), 0.5)
    assert found.fastest_step == 0.5
    assert found.step == pytest.approx((0.5 + 75 + 0.5) / 3)


def test_representative_frames_have_every_label(config):
    frames = read_data(config).train
    without = [replace(f, labels={"energy": f.labels["energy"]}) for f in frames[1:]]
    assert len(representative(frames, 3, ())) == 3
    chosen = representative([*without, frames[0]], 1, ("energy", "forces"))
    assert any("forces" in frame.labels for frame in chosen)
    assert len(chosen) <= 2


@pytest.mark.slow
def test_one_configuration_in_a_process_of_its_own(config):
    found = measure_alone(config, lambda text: None)
    assert 0.1 < found.start < 300
    assert found.step > 0

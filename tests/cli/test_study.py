"""From a file to a report in three commands: data check, study, ablate."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import ase.io
import pytest
from ase import Atoms
from ase.build import molecule

from helpers import refused, run_cli
from muse_lr.ablate.proposal import planning, propose
from muse_lr.ablate.proposal.measure import Measured
from muse_lr.ablate.proposal.variants import DEFAULT, VARIANTS
from muse_lr.ablate.study import load_study, plan
from muse_lr.config.yaml import load_yaml
from muse_lr.data.scaffold.shells import Cutoff, Shells
from muse_lr.train.config import load_config
from muse_lr.train.costs import Costs
from muse_lr.train.setup import read_data
from training_data import labeled_frames

COSTS = Costs(
    start=2.0, read=1.0, draft=0.5, drafted=200, frame=0.001, step=0.02, fastest_step=0.02,
    valid=0.002, test=0.004, checkpoint=0.01, finish=3.0, peak_memory_mb=400, parameters=1000,
)  # fmt: skip


@pytest.fixture(scope="module")
def frames() -> list[Atoms]:
    return labeled_frames(28)


@pytest.fixture(autouse=True)
def _data(frames: list[Atoms], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 24 frames and one of 4, in the working directory."""
    ase.io.write(tmp_path / "ions.xyz", frames[:24])
    ase.io.write(tmp_path / "far.xyz", frames[24:])
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Measured]:
    """Invented costs on two cores instead of a measurement; a test may change them."""
    found = Measured()

    def fake(candidates, jobs, limit, run_seconds, report):
        report("measured")
        for k, candidate in enumerate(candidates):
            key = candidate.variant, candidate.size
            found.costs.setdefault(key, replace(COSTS, step=0.02 + 0.01 * k))
        return found

    monkeypatch.setattr(propose, "measure", fake)
    monkeypatch.setattr(propose, "available_cores", lambda: 2)
    return [found]


def test_the_files_are_a_study_that_can_be_run(measured, capsys, tmp_path):
    assert run_cli("study", "ions.xyz", "--test", "far.xyz") == 0
    out, err = capsys.readouterr()
    command = "muse-lr ablate ions/study.yaml --out ions/runs --jobs 2"
    assert out.splitlines()[-1] == f"next: {command}"
    assert "12 runs: 4 variants x 3 seeds" in out
    assert "24 frames: 22 for training, 2 for validation; test frames: far 4\n" in out
    assert "expected time on this machine" in out
    assert "measured" in err
    text = (tmp_path / "ions" / "study.yaml").read_text()
    assert f"#   {command}" in text
    assert set(VARIANTS) <= {line.strip(" #").split(":")[0] for line in text.splitlines()}
    study = load_study("ions/study.yaml")
    assert study.reference == "short_range"
    assert study.seeds == (0, 1, 2)
    assert study.planned.jobs == 2
    assert tuple(study.variants) == DEFAULT
    runs = plan(study, Path("ions/study.yaml"), tmp_path / "runs")
    assert len(runs) == 12
    slots = ("charges", "multiscale")
    kinds = {
        run.variant: {k: (run.config["model"][k] or {}).get("kind") for k in slots} for run in runs
    }
    assert kinds == {
        "short_range": {"charges": None, "multiscale": None},
        "charges": {"charges": "split", "multiscale": None},
        "muse": {"charges": None, "multiscale": "muse"},
        "both": {"charges": "split", "multiscale": "muse"},
    }
    config = load_config("ions/config.yaml")
    assert config.data.test == {"far": (str(tmp_path / "far.xyz"),)}
    assert config.data.train == (str(tmp_path / "ions.xyz"),)
    training = [run.config["training"] for run in runs]
    assert all(t["epochs"] == config.training.epochs for t in training), "equal steps"


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "short_range"])
def test_every_variant_of_the_menu_can_be_run(measured, name, tmp_path):
    assert run_cli("study", "ions.xyz", "--variants", f"{name},short_range", "--out", "x") == 0
    study = load_study("x/study.yaml")
    assert study.reference == "short_range"
    short, other = plan(study, Path("x/study.yaml"), tmp_path / "runs")[3::-3]
    assert short.config["model"] != other.config["model"]


def test_without_a_test_set_some_frames_are_held_out(measured, capsys):
    assert run_cli("study", "ions.xyz", "--variants", "charges,muse", "--out", "x") == 0
    assert load_study("x/study.yaml").reference == "charges"
    data = read_data(load_config("x/config.yaml"))
    tested = {frame.source for frame in data.test["held_out"]}
    used = {frame.source for frame in [*data.train, *data.valid]}
    assert len(tested) == 2
    assert len(used) == 22
    assert not tested & used
    assert "24 frames: 20 for training, 2 for validation; test frames: held_out 2 (2 random" in (
        capsys.readouterr().out
    )


def test_the_last_frames_of_a_trajectory_are_held_out(measured, capsys, frames):
    """One system that moves slowly: random frames would be copies of their neighbors."""
    moving = []
    for k in range(30):
        atoms = frames[1].copy()
        atoms.positions[3:] += [0, 0, 0.1 * k]
        atoms.info["REF_energy"] = 0.1 * k
        moving.append(atoms)
    ase.io.write("md.xyz", moving)
    assert run_cli("study", "md.xyz", "--variants", "short_range,charges") == 0
    assert "held_out 3 (the last 3 frames of the training file" in capsys.readouterr().out
    data = read_data(load_config("md/config.yaml"))
    assert [frame.source.split()[-1] for frame in data.test["held_out"]] == ["27", "28", "29"]
    text = Path("md/config.yaml").read_text()
    assert "Consecutive frames are alike" in text
    assert 'valid: ["../md.xyz@:27@24:"]' in " ".join(text.replace("#", "").split())


def test_random_frames_of_several_trajectories_are_a_warning(measured, capsys, frames):
    moving = []
    for k in range(40):
        atoms = frames[k // 20].copy()
        atoms.positions[3:] += [0, 0, 0.1 * (k % 20)]
        atoms.info["REF_energy"] = 0.1 * k
        moving.append(atoms)
    ase.io.write("md.xyz", moving)
    assert run_cli("study", "md.xyz", "--variants", "short_range,charges") == 0
    assert "warning: the frames look like a trajectory" in capsys.readouterr().err
    text = Path("md/config.yaml").read_text()
    assert "# Warning: the frames look like a trajectory" in text
    assert "valid: [FILE]" in text


def test_keys_with_few_values_divide_the_errors(measured, frames):
    frames = [atoms.copy() for atoms in frames]
    for k, atoms in enumerate(frames):
        atoms.info.update(half=k % 2, group="ab"[k % 2], third=k % 3, note=f"frame {k}")
    ase.io.write("ions.xyz", frames[:20])
    ase.io.write("far.xyz", [*frames, *frames[:8]])
    short = ("ions.xyz", "--test", "far.xyz", "--variants", "short_range,charges")
    assert run_cli("study", *short) == 0
    assert load_study("ions/study.yaml").subsets == ("group", "half", "third")
    assert run_cli("study", *short, "--by", "distance", "half", "--out", "x") == 0
    assert load_study("x/study.yaml").subsets == ("distance", "half")


def test_usual_names_of_subsets_come_first(measured, frames):
    frames = [atoms.copy() for atoms in frames]
    for k, atoms in enumerate(frames):
        atoms.info.update(a=k % 2, b=k % 2, c=k % 2, subset=k % 4)
    ase.io.write("far.xyz", frames)
    arguments = ("--test", "far.xyz", "--variants", "short_range,charges")
    assert run_cli("study", "ions.xyz", *arguments) == 0
    assert load_study("ions/study.yaml").subsets == ("subset", "a", "b")


def test_without_such_keys_the_line_is_a_comment(measured):
    assert run_cli("study", "ions.xyz", "--test", "far.xyz") == 0
    assert "# subsets: [KEY] " in Path("ions/study.yaml").read_text()
    assert load_study("ions/study.yaml").subsets == ()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("distanse", "no test frame has this info key; keys with few values: half"),
        ("haf", "did you mean 'half'?"),
        ("REF_dipole", "not text or single numbers"),
    ],
)
def test_keys_that_cannot_divide_are_refused(measured, capsys, frames, key, message):
    frames = [atoms.copy() for atoms in frames]
    for k, atoms in enumerate(frames):
        atoms.info["half"] = k % 2
    ase.io.write("ions.xyz", frames)
    assert message in refused_study(capsys, ["ions.xyz", "--test", "ions.xyz", "--by", key])
    assert not Path("ions").exists()


def test_sizes_that_follow_from_the_time_say_so(measured):
    assert run_cli("study", "ions.xyz", "--minutes", "3") == 0
    text = Path("ions/config.yaml").read_text()
    for key in ("cutoff", "channels", "layers", "epochs"):
        (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
        assert "chosen for the time, not for accuracy" in line
    assert "# The cutoff is the usual value" in text


def test_the_cutoff_is_that_of_the_data(measured, monkeypatch):
    chosen = Cutoff(5.4, "in a gap of the distances: 4.5 A would cut the shell of Na-Cl")
    monkeypatch.setattr(Shells, "choose", lambda self, usual: chosen)
    assert run_cli("study", "ions.xyz") == 0
    config = load_config("ions/config.yaml")
    assert config.model.backbone.cutoff == 5.4
    assert f"# The cutoff is {chosen.reason}." in Path("ions/config.yaml").read_text()


def test_a_slow_file_gets_fewer_frames_and_a_small_backbone(measured, capsys, monkeypatch):
    """60 structures of a batch of one, 1 s for a step and 1.5 s for a test structure, in 6 min."""
    monkeypatch.setattr(propose, "BATCH_ATOMS", 3)
    waters = [molecule("H2O") for _ in range(60)]
    for k, atoms in enumerate(waters):
        atoms.rattle(0.05, seed=k)
        atoms.info["REF_energy"] = -10.0 + 0.001 * k
    ase.io.write("many.xyz", waters)
    names = ("short_range", "charges")
    slow = replace(COSTS, step=1.0, test=1.5)
    measured[0].costs |= {(name, size.name): slow for name in names for size in planning.SIZES}
    arguments = ("--minutes", "6", "--variants", ",".join(names), "--test", "t=many.xyz")
    assert run_cli("study", "many.xyz", *arguments) == 0
    config = load_config("many/config.yaml")
    assert config.model.backbone.channels == planning.SIZES[0].channels
    assert config.training.learning_rate == 0.01
    assert config.training.epochs == planning.FEWEST_EPOCHS
    assert config.data.max_frames is not None
    assert 200 <= 5 * 0.9 * config.data.max_frames < 250, "one step for each structure"
    assert config.data.test["t"][0].endswith("many.xyz@random=40")
    assert "test frames: t 40 of 60" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ions.xyz", "--variants", "charges,mus"], "'mus' is unknown (did you mean 'muse'?)"),
        (["ions.xyz", "--variants", "charges"], "at least two variants"),
        (["ions.xyz", "--variants", "charges,charges"], "once"),
        (["ions.xyz", "--test", "far.xyz", "--test", "./far.xyz"], "two test sets are named 'far'"),
        (["ions.xyz", "--test", "a/b=far.xyz"], "cannot read"),
        (["gone.xyz", "--minutes", "0.4"], "--minutes 0.4: planning and training need at least 1"),
        (["ions.xyz@:6"], "6 frames are too few to hold out a test set"),
        (["gone.xyz"], "gone.xyz"),
    ],
)
def test_refusals(measured, capsys, tmp_path, arguments, message):
    assert message in refused_study(capsys, arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far.xyz", "ions.xyz"]


def refused_study(capsys, arguments: list[str]) -> str:
    """The last line of a refused study; those before it are its progress."""
    capsys.readouterr()
    assert run_cli("study", *arguments) == 2
    *progress, error = capsys.readouterr().err.strip().splitlines()
    assert all(
        line.startswith(("checking", "measur", "warning: ions.xyz: the E0s")) for line in progress
    ), progress
    assert error.startswith("muse-lr: ")
    return error


def slow(measured, **steps: float) -> None:
    """Invented costs of a step, s, for all sizes."""
    for name, step in steps.items():
        for size in planning.SIZES:
            measured[0].costs[name, size.name] = replace(COSTS, step=step)


def test_a_time_that_is_too_short_is_refused_with_one_that_is_enough(measured, capsys):
    slow(measured, short_range=0.3, charges=0.3, muse=0.3, both=0.3)
    error = refused_study(capsys, ["ions.xyz", "--minutes", "1"])
    assert "--minutes 1 is not enough" in error
    assert "these 4 variants (one seed, 200 steps)" in error
    enough = error.partition("needs --minutes ")[2].split(",")[0]
    assert run_cli("study", "ions.xyz", "--minutes", enough) == 0


@pytest.mark.parametrize(
    ("minutes", "message"),
    [
        (
            "4",
            "fewer variants fit: --variants short_range,charges,muse (4 min, without both). All ",
        ),
        (
            "2",
            "fewer variants fit: --variants short_range,charges (2 min, without muse and both) or "
            "--variants ",
        ),
        (
            "1",
            "the fastest of them, --variants short_range,charges (without muse and both), need "
            "--minutes 2. All these times include the planning",
        ),
    ],
)
def test_fewer_variants_that_fit_are_named(measured, capsys, minutes, message):
    slow(measured, short_range=0.3, charges=0.3, muse=0.31, both=2.0)
    error = refused_study(capsys, ["ions.xyz", "--minutes", minutes])
    assert message in error
    if minutes != "1":
        chosen = error.partition("--variants ")[2].split()[0]
        assert run_cli("study", "ions.xyz", "--minutes", minutes, "--variants", chosen) == 0


def test_the_time_of_the_planning_counts(measured, capsys, monkeypatch):
    """A measurement of 100 s leaves 80 of 180 s."""
    slow(measured, short_range=0.01, charges=0.01)
    now = iter((0.0, 100.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(now, 100.0))
    arguments = ("ions.xyz", "--minutes", "3", "--variants", "short_range,charges")
    assert run_cli("study", *arguments) == 0
    assert "after 1 min 40 s of planning; given: 3 min 00 s" in capsys.readouterr().out
    minutes = load_study("ions/study.yaml").planned.minutes
    assert 40 < 60 * minutes <= 0.85 * 80


def test_fewer_seeds_say_what_three_need(measured, capsys):
    slow(measured, short_range=0.3, charges=0.3)
    arguments = ("ions.xyz", "--variants", "short_range,charges", "--test", "far.xyz")
    assert run_cli("study", *arguments, "--minutes", "3", "--out", "x") == 0
    (line,) = [s for s in capsys.readouterr().out.splitlines() if " seeds: " in s]
    assert line.startswith("2 seeds: wide intervals; 3 seeds need --minutes ")
    minutes = line.split()[-1]
    assert run_cli("study", *arguments, "--minutes", minutes) == 0
    out = capsys.readouterr().out
    assert "2 variants x 3 seeds" in out
    assert "wide intervals" not in out
    fewer = str(int(minutes) - 1)
    assert run_cli("study", *arguments, "--minutes", fewer, "--out", "y") == 0
    assert "2 variants x 2 seeds" in capsys.readouterr().out


def test_existing_files_are_kept(measured, capsys):
    Path("ions").mkdir()
    Path("ions/study.yaml").write_text("mine")
    assert "study.yaml exists" in refused(capsys, "study", "ions.xyz")
    assert Path("ions/study.yaml").read_text() == "mine"
    assert not Path("ions/config.yaml").exists()


def test_an_earlier_plan_is_overwritten_only_without_runs(measured, capsys):
    arguments = ("study", "ions.xyz", "--variants", "short_range,charges")
    assert run_cli(*arguments) == 0
    Path("ions/study.yaml").write_text("mine")
    assert run_cli(*arguments, "--force") == 0
    assert load_study("ions/study.yaml").reference == "short_range"
    Path("ions/runs/charges").mkdir(parents=True)
    error = refused(capsys, *arguments, "--force")
    assert "ions/config.yaml exists, and ions/runs holds runs of it: choose another" in error


def test_names_of_variants_between_blanks(capsys):
    assert run_cli("study", "ions.xyz", "--variants", "short_range", "charges") == 2
    assert "takes names with commas: --variants short_range,charges" in capsys.readouterr().err
    assert run_cli("study", "ions.xyz", "--variant", "short_range", "--sed", "3") == 2
    assert "unrecognized arguments: --sed 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["study", "ion.xyz"], ["study", "ions.xyz", "--test", "fa.xyz"]]
)
def test_near_names_of_files_are_suggested(capsys, arguments):
    run_cli(*arguments)
    name = {"ion.xyz": "ions.xyz", "fa.xyz": "far.xyz"}[arguments[-1]]
    assert f"(did you mean '{name}'?)" in capsys.readouterr().err


def test_a_directory_of_a_study_names_the_file_in_it(capsys):
    Path("ions").mkdir()
    Path("ions/study.yaml").write_text("{}")
    assert "did you mean ions/study.yaml?" in refused(capsys, "ablate", "ions")
    Path("ions/study.yaml").unlink()
    assert "cannot read ions: Is a directory" in refused(capsys, "ablate", "ions")


def test_variants_that_cannot_be_trained_are_named(measured, capsys):
    measured[0].problems["charges"] = "no such label"
    assert run_cli("study", "ions.xyz") == 2
    assert "muse-lr: variant 'charges': no such label" in capsys.readouterr().err
    assert not Path("ions").exists()


def test_the_help_lists_the_menu(capsys):
    assert run_cli("study", "--help") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in VARIANTS)


@pytest.mark.slow
def test_from_a_file_to_a_report_in_three_commands(monkeypatch, capsys):
    """With a plan of a few steps, which would otherwise use the time."""
    sizes = (planning.Size("small", 8, 1, 3.5, 10),)
    for module in (planning, propose):
        monkeypatch.setattr(module, "SIZES", sizes)
    monkeypatch.setattr(planning, "SEEDS", (2,))
    monkeypatch.setattr(planning, "MOST_STEPS", 40)
    assert run_cli("data", "check", "ions.xyz") == 0
    assert (
        run_cli("study", "ions.xyz", "--test", "far.xyz", "--variants", "short_range,charges") == 0
    )
    command = capsys.readouterr().out.splitlines()[-1].split()[2:]
    assert run_cli(*command) == 0
    out = capsys.readouterr().out
    assert "report: ions/runs/report.html" in out
    assert ", planned " in out.splitlines()[-1]
    summary = json.loads(Path("ions/runs/charges/seed-1/summary.json").read_text())
    assert 20 <= summary["steps"] <= 40
    assert load_yaml("ions/runs/charges/seed-1.yaml")["model"]["charges"]["by_element"] == {
        "Na": 1, "Cl": -1
    }  # fmt: skip

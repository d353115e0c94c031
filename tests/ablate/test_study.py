"""Study files: what is planned and what is refused."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from muse_lr.ablate.shared import difference_table, differing_keys, shared_lines
from muse_lr.ablate.study import identical_variants, load_study, plan, select
from muse_lr.errors import InputError

BASE = """
model: {elements: [H, O, Na, Cl], multiscale: null}
data:
  train: train.xyz
  test: {near: train.xyz, far: train.xyz}
  keys: {energy: REF_energy, forces: REF_forces}
training: {epochs: 5, learning_rate: 1e-6}
"""
STUDY = """
base: base.yaml
reference: short
seeds: [0, 3]
variants:
  short: {model.charges: null, model.heads.coulomb: null}
  full: {}
"""


@pytest.fixture
def study(tmp_path):
    def write(text=STUDY, base=BASE) -> Path:
        (tmp_path / "base.yaml").write_text(base)
        (tmp_path / "train.xyz").write_text("")
        path = tmp_path / "study.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def _plan(path, out="out"):
    return plan(load_study(path), path, path.parent / out)


def test_variants_times_seeds_with_their_overrides(study):
    runs = _plan(study())
    assert [run.name for run in runs] == [
        "short/seed-0",
        "short/seed-3",
        "full/seed-0",
        "full/seed-3",
    ]
    for run in runs:
        assert run.config["training"]["seed"] == run.seed
        assert run.config["training"]["directory"] == str(run.directory)
        assert run.config["data"]["train"] == [str(run.directory.parents[2] / "train.xyz")]
    assert runs[0].config["model"]["charges"] is None
    assert runs[0].config["model"]["heads"]["coulomb"] is None
    assert runs[2].config["model"]["heads"]["coulomb"]["kind"] == "coulomb"
    assert runs[0].config["training"]["learning_rate"] == 1e-6
    assert runs[0].config_path.name == "seed-0.yaml"
    assert runs[0].log_path.name == "seed-0.log"


def test_single_runs_are_chosen_by_name(study):
    runs = _plan(study())
    chosen = select(runs, ["full", "short/seed-3"])
    assert [run.name for run in chosen] == ["short/seed-3", "full/seed-0", "full/seed-3"]
    with pytest.raises(InputError, match=r"no such run \(did you mean 'short/seed-3'\?\)"):
        select(runs, ["short/seed-4"])


def test_null_is_a_variant_without_changes(study):
    runs = _plan(study(STUDY.replace("full: {}", "full:")))
    assert runs[-1].variant == "full"


def test_data_files_of_overrides_are_relative_to_the_study(study, tmp_path):
    path = study(STUDY.replace("base: base.yaml", "base: ../base.yaml"))
    inner = tmp_path / "inner"
    inner.mkdir()
    text = path.read_text().replace("full: {}", "full: {data.test.far: other.xyz}")
    (inner / "study.yaml").write_text(text)
    (inner / "other.xyz").write_text("")
    run = _plan(inner / "study.yaml")[-1]
    assert run.config["data"]["test"]["far"] == [str(inner / "other.xyz")]
    assert run.config["data"]["train"] == [str(tmp_path / "train.xyz")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds:", "seed:", "did you mean 'seeds'"),
        ("reference: short", "reference: shrot", "did you mean 'short'"),
        ("[0, 3]", "[0, 0]", "each seed once"),
        ("[0, 3]", "[-1]", "0 or more"),
        ("[0, 3]", "[]", "seeds"),
        ("full: {}", "../full: {}", "only letters"),
        ("full: {}", "..: {}", "only letters"),
        ("full: {}", "<script>: {}", "only letters"),
        ("full: {}", "plots: {}", "file of the report"),
        ("full: {}", "full: 3", "variants.full"),
        ("full: {}", "short: {}", "short"),
        ("full: {}", "full: !!python/object/apply:os.system [ls]", "tag"),
        ("base: base.yaml", "base: gone.yaml", "gone.yaml"),
        ("base: base.yaml\n", "", "base"),
        ("full: {}", "full: {model.chrages.kind: latent}", "'full'.*did you mean 'charges'"),
        ("full: {}", "full: {model.backbone.chanels: 3}", "'full'.*did you mean 'channels'"),
        ("full: {}", "full: {training.epochs: many}", "'full'.*epochs"),
        ("full: {}", "full: {training.seed: 3}", "'full'.*set by the study"),
        ("full: {}", "full: {data.train: gone.xyz}", "'full'.*no data file.*gone.xyz"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_clear_line(study, old, new, message):
    path = study(STUDY.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        _plan(path)
    assert "\n" not in str(caught.value)
    assert "study.yaml" in str(caught.value) or "gone.yaml" in str(caught.value)


def test_nothing_is_written_by_planning(study, tmp_path):
    _plan(study())
    assert {path.name for path in tmp_path.iterdir()} == {"base.yaml", "study.yaml", "train.xyz"}


def test_parts_that_do_not_fit_are_refused_before_anything_runs(study):
    path = study(STUDY.replace("full: {}", "full: {model.charges: null}"))
    with pytest.raises(InputError, match="variant 'full'"):
        _plan(path)


def test_identical_variants_are_found(study):
    path = study(STUDY + "  again: {training.epochs: 5}\n")
    assert identical_variants(_plan(path)) == [("full", "again")]
    assert identical_variants(_plan(study())) == []


def test_what_differs_is_listed_by_part(study):
    runs = _plan(study(STUDY + "  latent: {model.charges.kind: latent}\n"))
    found = differing_keys(runs)
    charges = {"short": "null", "full": "conserved", "latent": "latent"}
    assert found["model.charges"] == charges
    assert found["model.heads.coulomb"] == {"short": "null", "full": "coulomb", "latent": "coulomb"}
    assert not any(key.startswith(("training", "data")) for key in found)
    table = difference_table(runs)
    assert [cell.text for cell in table.rows[0]] == ["model.charges", *charges.values()]


def test_a_budget_that_is_not_shared_is_said(study):
    shared = shared_lines(_plan(study()))
    assert any(
        line.startswith("epochs, batches and early stopping: the same") and "epochs 5" in line
        for line in shared
    )
    assert any(line.startswith("seeds") and "(0, 3)" in line for line in shared)
    runs = _plan(study(STUDY.replace("full: {}", "full: {training.epochs: 9}")))
    (line,) = [line for line in shared_lines(runs) if line.startswith("epochs")]
    assert "NOT the same" in line
    assert "training.epochs" in line


def test_one_variant_differs_from_nothing(study):
    runs = _plan(study(STUDY.replace("  full: {}\n", "")))
    assert difference_table(runs) is None

"""``muse-lr hessian``: what it writes and prints, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import molecule

from helpers import painn_section, random_model, refused, run_cli
from muse_lr.cli.hessian import model_names, source_names
from muse_lr.data.hessians import write_hessians
from muse_lr.errors import InputError
from muse_lr.model.hessian import hessian
from muse_lr.model.serialization import save_model


@pytest.fixture
def files(tmp_path):
    """Two models, and the Hessians of the second one as the reference."""
    frames = [molecule("C2H6"), molecule("CH4")]
    coulomb = {"charges": {"kind": "conserved"}, "heads": {"coulomb": {"kind": "coulomb"}}}
    for name, sections in {"short": {"charges": None, "heads": {}}, "charges": coulomb}.items():
        model = random_model(painn_section(["H", "C"], 1.2, **sections), scale=0.3)
        save_model(model, tmp_path / name / "model.pt")
    matrices = [hessian(model, atoms) for atoms in frames]
    for atoms, size in zip(frames, ("large", "small"), strict=True):
        atoms.info["size"] = size
    write_hessians(tmp_path / "reference.xyz", frames, matrices)
    return tmp_path


def test_two_models(files, capsys):
    models = [files / "short" / "model.pt", files / "charges" / "model.pt"]
    command = ["hessian", *models, "--reference", files / "reference.xyz", "--by", "size"]
    assert run_cli(*command, "--bins", 0, 1.5, 3, "--out", files / "out") == 0
    content = json.loads((files / "out" / "hessian.json").read_text())
    short, charges = content["models"]
    assert [short["name"], charges["name"]] == ["short", "charges"]
    assert list(short["sets"]) == ["all", "size=large", "size=small"]
    assert content["edges"] == [0, 1.5, 2.4, 3, 4]
    beyond = short["sets"]["all"]["blocks"]["beyond_reach"]
    assert beyond["error"] == beyond["norm"]
    assert charges["sets"]["all"]["blocks"]["beyond_reach"]["relative_error"] < 1e-6
    text = capsys.readouterr().out
    assert "short: Hessian 2 of 2, 5 atoms" in text
    assert "distance / 2.4 Å" in text
    assert "1.5 to 2.4" in text
    assert "Only blocks beyond it show range" in " ".join(text.split())
    assert text.rstrip().endswith(str(files / "out" / "report.html"))
    assert (files / "out" / "hessians" / "charges" / "0001.npz").exists()


def test_the_directory_beside_the_model(files, capsys):
    model = files / "short" / "model.pt"
    source = f"{files / 'reference.xyz'}@0"
    assert run_cli("hessian", model, "--reference", source, "--memory", 1) == 0
    out = files / "short" / "hessian-reference@0"
    assert (out / "report.html").exists()
    before = (out / "hessians" / "short" / "0000.npz").stat().st_mtime_ns
    assert run_cli("hessian", model, "--reference", source) == 0  # uses what is there
    assert (out / "hessians" / "short" / "0000.npz").stat().st_mtime_ns == before


def test_what_is_refused(files, capsys):
    model, reference = files / "short" / "model.pt", files / "reference.xyz"
    both = ("hessian", model, "--reference", reference)
    assert "is given twice" in refused(capsys, "hessian", model, model, "--reference", reference)
    assert "absent.pt" in refused(capsys, "hessian", "absent.pt", "--reference", reference)
    assert "absent.xyz" in refused(capsys, "hessian", model, "--reference", "absent.xyz")
    assert "bins must ascend" in refused(capsys, *both, "--bins", 3, 2)
    assert "memory" in refused(capsys, *both, "--memory", 0)
    assert "no frame has this info key" in refused(capsys, *both, "--by", "family")
    write_hessians(files / "water.xyz", [molecule("H2O")], [np.zeros((9, 9))])
    line = refused(capsys, "hessian", model, "--reference", files / "water.xyz")
    assert "water.xyz, frame 0" in line
    assert "atom 0 is O" in line
    (files / "reference_hessians.npz").unlink()
    assert "reference_hessians.npz: no such file" in refused(capsys, *both)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/short/model.pt"], ["short"]),
        (["a/x/model.pt", "b/x/model.pt"], ["a/x", "b/x"]),
        (["study/muse/seed-0/model.pt"], ["muse/seed-0"]),
        (["s/muse/seed-0/model.pt", "s/both/seed-0/model.pt"], ["muse/seed-0", "both/seed-0"]),
        (["a/best.pt", "a/last.pt"], ["best", "last"]),
        (["a/../b/model.pt", "c/model.pt"], ["b", "c"]),
    ],
)
def test_names_of_models(paths, names):
    assert model_names(paths) == names


def test_a_model_that_is_given_twice():
    with pytest.raises(InputError, match="given twice"):
        model_names(["a/model.pt", "b/../a/model.pt"])


def test_names_of_references():
    assert source_names(["d/positive.xyz.xz", "d/negative.xyz"]) == {
        "positive": "d/positive.xyz.xz",
        "negative": "d/negative.xyz",
    }
    assert source_names(["a/x.xyz", "b/x.xyz"]) == {"a/x.xyz": "a/x.xyz", "b/x.xyz": "b/x.xyz"}

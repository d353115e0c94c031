"""The files of docs/mace_files.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import muse_lr
from muse_lr.backbones.mace.imports import import_mace
from muse_lr.cli.main import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mace_files.md"

pytestmark = pytest.mark.filterwarnings("ignore:The TorchScript type system")


def blocks(language: str) -> list[str]:
    """Code of the page in this language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with the files of the page."""
    monkeypatch.chdir(tmp_path)
    import_mace()  # keeps the environment of the process as it is
    script, _ = blocks("python")
    with torch.random.fork_rng():
        exec(compile(script, str(PAGE), "exec"), {})
    _, config, study = blocks("yaml")
    (tmp_path / "config.yaml").write_text(config)
    (tmp_path / "study.yaml").write_text(study)
    return tmp_path


@pytest.mark.slow
def test_the_example_trains_and_is_planned(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "study.yaml", "--plan"]) == 0
    planned = capsys.readouterr().out
    assert all(name in planned for name in ("short_range", "charges", "frozen", "muse"))
    options = ["--set", "training.epochs=1", "--set", "model.backbone.frozen=true"]
    assert main(["train", "config.yaml", *options]) == 0
    trained = muse_lr.load_model("runs/mace/model.pt")
    _, snippet = blocks("python")
    exec(compile(snippet, str(PAGE), "exec"), {})
    alone = muse_lr.load_model("small.pt")
    assert alone.backbone is not None
    assert trained.backbone is not None
    kept = trained.backbone.state_dict()
    for name, value in alone.backbone.state_dict().items():
        torch.testing.assert_close(kept[name].double(), value.double(), rtol=1e-6, atol=1e-6)
    assert alone.elements == ("H", "C", "N", "O", "Na", "Cl")
    assert trained.charges is not None
    assert any(p.requires_grad for p in trained.charges.parameters())

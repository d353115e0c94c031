"""The script of docs/own_loop.md runs as it stands, and its model is a model file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import muse_lr

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_loop.md"


def test_the_script_learns_and_saves_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    script, snippet, tensors, moving, _ = blocks  # the last one needs torch-sim
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        exec(compile(script, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert "Dataset(48 structures" in printed
    losses = [float(text) for text in re.findall(r"validation loss (\S+)", printed)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]
    frames = names["valid"].frames  # type: ignore[attr-defined]
    atoms = frames[0].atoms
    atoms.calc = muse_lr.Calculator("own.pt", dtype="float32")
    model = names["model"]
    assert isinstance(model, muse_lr.EnergyModel)
    names |= {"atoms": atoms, "other": frames[1].atoms}
    exec(compile(snippet, str(PAGE), "exec"), names)
    batch = names["batch"]
    assert isinstance(batch, muse_lr.AtomsBatch)
    assert batch["label_energy"].tolist() == [-1.2, -3.4]
    expected = float(model(batch).energy[0].detach())
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-4)

    frame = frames[0].atoms
    names |= {
        "positions": torch.from_numpy(frame.positions),
        "numbers": torch.from_numpy(frame.numbers),
        "cell": torch.zeros(3, 3),
        "pbc": False,
        "batch_index": torch.zeros(len(frame), dtype=torch.int64),
        "charges": None,
    }
    exec(compile(tensors, str(PAGE), "exec"), names)
    same = muse_lr.AtomsBatch.from_ase([frame], model.cutoff)
    assert torch.equal(model(names["batch"]).energy, model(same).energy)
    exec(compile(moving.replace("range(1000)", "range(2)"), str(PAGE), "exec"), names)
    forces = model(same, "forces").forces
    torch.testing.assert_close(names["forces"], forces, rtol=0, atol=1e-5)  # float32

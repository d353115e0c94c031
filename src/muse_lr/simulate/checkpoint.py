"""Checkpoints of a simulation, from which it continues exactly."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from muse_lr.config.schema import validate
from muse_lr.errors import InputError
from muse_lr.model.serialization import read_tensors, write_tensors
from muse_lr.simulate.settings import Settings
from muse_lr.simulate.start import Simulation
from muse_lr.simulate.state import State

CHECKPOINT = "checkpoint.pt"
FORMAT = "muse_lr simulation"
FORMAT_VERSION = 1


def save(path: Path, simulation: Simulation, digests: dict[str, str], more: dict[str, Any]) -> None:
    """Write the state of a simulation atomically.

    The neighbor list and everything else that depends on former positions is forgotten, so that a
    simulation that continues and one that is resumed compute the same numbers.
    """
    simulation.potential.forget()
    state = simulation.state
    tensors = {f.name: getattr(state, f.name) for f in fields(State)}
    data = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "settings": json.loads(simulation.settings.model_dump_json()),
        "digests": digests,
        "step": simulation.step,
        "state": {name: _on_cpu(value) for name, value in tensors.items()},
        "conserved": simulation.check.last.cpu(),
        "builds": simulation.potential.builds,
        "random_state": simulation.noise.generator.get_state(),
        **more,
    }
    write_tensors(data, path)


def restore(path: Path, simulation: Simulation, digests: dict[str, str]) -> dict[str, Any]:
    """Bring a prepared simulation to the state of a checkpoint.

    Returns
    -------
    dict
        The content of the file, with what was passed as ``more`` to :func:`save`.

    Raises
    ------
    InputError
        If the file is damaged, or of another model, structure or settings.
    """
    data = read_tensors(path, FORMAT, FORMAT_VERSION)
    for what, digest in digests.items():
        if data["digests"].get(what) != digest:
            raise InputError(
                f"{path} belongs to another {what}: resume with the same one, or use another --out"
            )
    changed = _changed(data["settings"], simulation.settings)
    if changed:
        raise InputError(
            f"{path} belongs to a run with other settings ({changed}): resume with the same "
            "options, or use another --out"
        )
    device = simulation.state.positions.device
    saved = {name: _on_device(value, device) for name, value in data["state"].items()}
    state = State(**saved)
    keep = torch.zeros(len(simulation.copies), dtype=torch.bool, device=device)
    keep[state.copy] = True
    if not bool(keep.all()) and bool(keep.any()):
        simulation.potential = simulation.potential.select(keep)
    simulation.potential.forget()
    simulation.potential.builds = data["builds"]
    simulation.state, simulation.step = state, data["step"]
    simulation.check.last = data["conserved"].to(device)
    simulation.noise.generator.set_state(data["random_state"])
    return data


def _changed(saved: dict[str, Any], settings: Settings) -> str:
    old = validate(Settings, saved, CHECKPOINT)
    names = Settings.model_fields
    return ", ".join(name for name in names if getattr(old, name) != getattr(settings, name))


def _on_cpu(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _on_cpu(entry) for name, entry in value.items()}
    return value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value


def _on_device(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {name: _on_device(entry, device) for name, entry in value.items()}
    return value.to(device) if isinstance(value, torch.Tensor) else value

"""Digests of a model and of structures, by which results are found again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from ase import Atoms

from muse_lr.model.energy_model import EnergyModel
from muse_lr.structures.state import read_state


def model_digest(model: EnergyModel) -> str:
    """Digest of the configuration, the weights, the precision and the device of a model."""
    digest = hashlib.sha256(model.config.model_dump_json().encode())
    digest.update(f"{model.dtype} {model.device}".encode())
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(values.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def structure_digest(structures: Sequence[Atoms]) -> str:
    """Digest of everything that a structure states to a model, and of its masses."""
    digest = hashlib.sha256()
    for atoms in structures:
        for values in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
            digest.update(values.tobytes())
        digest.update(atoms.get_masses().tobytes())
        digest.update(repr(read_state(atoms)).encode())
    return digest.hexdigest()

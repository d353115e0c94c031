"""Energy functions with known averages, in place of a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from muse_lr.errors import InputError
from muse_lr.model.output import ModelOutput


class Toy(nn.Module):
    """What a simulation needs of a model; subclasses define the energy of each atom."""

    cutoff = 1.0
    charges = None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("marker", torch.zeros((), dtype=torch.float64))

    device = torch.device("cpu")
    dtype = torch.float64

    @property
    def config(self) -> Any:
        return self

    def model_dump_json(self) -> str:
        return type(self).__name__

    def energies(self, batch: Any, positions: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, batch: Any, compute: tuple[str, ...], create_graph: bool) -> ModelOutput:
        strain = torch.zeros((batch.num_graphs, 3, 3), dtype=torch.float64, requires_grad=True)
        at = batch.positions.detach().requires_grad_(True)
        moved = at + torch.einsum("ia,iab->ib", at, strain[batch.batch])
        atoms = self.energies(batch, moved)
        energy = torch.zeros(batch.num_graphs, dtype=torch.float64)
        energy = energy.index_add(0, batch.batch, atoms)
        slopes = torch.autograd.grad(
            energy.sum(), (at, strain), allow_unused=True, materialize_grads=True
        )
        volume = torch.linalg.det(batch.cell).abs()[:, None, None]
        stress = slopes[1] / volume if "stress" in compute else None
        return ModelOutput(energy, {"toy": energy}, forces=-slopes[0], stress=stress)


class IdealGas(Toy):
    """No forces."""

    def energies(self, batch: Any, positions: Tensor) -> Tensor:
        return 0.0 * positions.sum(1)


class Harmonic(Toy):
    """Each atom is bound to the origin: E = k r^2 / 2, with k = 2 eV/A^2."""

    k = 2.0

    def energies(self, batch: Any, positions: Tensor) -> Tensor:
        return self.k / 2 * positions.square().sum(1)


class Cliff(Toy):
    """Force-free, but for a place behind which the energy is not defined.

    ``kind`` is ``nan`` or ``refuse``.
    """

    def __init__(self, kind: str, edge: float) -> None:
        super().__init__()
        self.kind, self.edge = kind, edge

    def energies(self, batch: Any, positions: Tensor) -> Tensor:
        beyond = positions[:, 0] > self.edge
        if self.kind == "refuse" and bool(beyond.any()):
            raise InputError("an atom is behind the cliff")
        return torch.where(beyond, torch.nan, 0.0) + 0.0 * positions.sum(1)

"""The smallest waves of a lattice, whatever vectors describe it."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

from muse_lr.structures.geometry import Geometry

#: Sweeps of the pairwise reduction; each that changes anything shortens a vector.
SWEEPS = 24
#: Half of the combinations with coefficients -1, 0, 1, which hold the shortest vectors.
COMBINATIONS = [n for n in product((0, 1, -1), repeat=3) if n > (0, 0, 0)]
#: Volume of three vectors over the product of their lengths below which they are in one plane.
FLAT = 1e-6
#: Length of the normal of slabs while the waves are sorted, 1/A: longer than any wave.
LONGEST = 1e6


@torch.no_grad()
def smallest_waves(geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Three independent smallest vectors of each reciprocal lattice.

    Returns
    -------
    waves : Tensor
        (n_graphs, 3, 3), rows in 1/A; along open directions unit vectors: the normal of slabs, the
        axes of open graphs.
    limit : Tensor
        (n_graphs, 3) of bool: rows along open directions.
    """
    slab = geometry.pbc.sum(1) == 2
    limit = geometry.open_graphs[:, None].repeat(1, 3)
    limit[:, 2] |= slab
    identity = torch.eye(3, dtype=geometry.cell.dtype, device=geometry.cell.device)
    cell = torch.where(geometry.open_graphs[:, None, None], identity, _normal_open(geometry, slab))
    reciprocal = 2 * math.pi * torch.linalg.inv(cell).mT
    waves = _shortest(_reduced(reciprocal))
    lengths = torch.linalg.vector_norm(waves, dim=2, keepdim=True)
    waves = torch.where(limit[:, :, None], waves / lengths, waves)
    return torch.where(geometry.open_graphs[:, None, None], identity, waves), limit


def _normal_open(geometry: Geometry, slab: Tensor) -> Tensor:
    """(G, 3, 3) cells in which the open vector of slabs is a very short normal."""
    cell = geometry.cell
    rows = torch.arange(len(cell), device=cell.device)
    axis = (~geometry.pbc).long().argmax(1)
    normal = torch.linalg.cross(cell[rows, (axis + 1) % 3], cell[rows, (axis + 2) % 3])
    length = torch.linalg.vector_norm(normal, dim=1, keepdim=True)
    normal = normal / length * (2 * math.pi / LONGEST)
    open_row = torch.nn.functional.one_hot(axis, 3).bool() & slab[:, None]
    return torch.where(open_row[:, :, None], normal[:, None], cell)


def _reduced(basis: Tensor) -> Tensor:
    """(G, 3, 3) bases of the same lattices in which no vector shortens another."""
    for _ in range(SWEEPS):
        before = basis
        for first, second in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
            other = basis[:, second]
            ratio = (basis[:, first] * other).sum(1) / other.square().sum(1)
            step = torch.zeros_like(basis)
            # What is exactly half may turn forever.
            step[:, first] = torch.round(ratio * (1 - 1e-9))[:, None] * other
            basis = basis - step
        if torch.equal(before, basis):
            break
    return basis


def _shortest(basis: Tensor) -> Tensor:
    """(G, 3, 3) the shortest vectors of reduced bases that are not in one plane, by length."""
    vectors = torch.einsum("ck,gka->gca", basis.new_tensor(COMBINATIONS), basis)
    lengths = torch.linalg.vector_norm(vectors, dim=2)
    order = lengths.argsort(dim=1, stable=True)
    rows = torch.arange(len(basis), device=basis.device)
    vectors, lengths = vectors[rows[:, None], order], lengths[rows[:, None], order]
    plane = torch.linalg.cross(vectors[:, 0], vectors[:, 1])[:, None]  # (G, 1, 3)
    height = (plane * vectors).sum(2).abs() / (lengths[:, :1] * lengths[:, 1:2] * lengths)
    third = torch.where(height > FLAT, lengths, torch.inf).argmin(1)
    return torch.stack([vectors[:, 0], vectors[:, 1], vectors[rows, third]], dim=1)

"""Shortest reciprocal lattice vectors, independent of the choice of cell vectors."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

from muse_lr.structures.geometry import Geometry

#: Maximum number of sweeps of the pairwise reduction. Each sweep shortens a vector or is the last.
SWEEPS = 24
#: Linear combinations with coefficients -1, 0, 1, one of each pair n and -n. They contain the
#: shortest vectors of a reduced basis.
COMBINATIONS = [n for n in product((0, 1, -1), repeat=3) if n > (0, 0, 0)]
#: Three vectors are coplanar if the ratio of their volume to the product of their lengths is
#: smaller.
FLAT = 1e-6
#: Length of the reciprocal vector along the normal of slabs while the vectors are sorted, 1/A. It
#: exceeds the length of all other vectors.
LONGEST = 1e6


@torch.no_grad()
def smallest_waves(geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Three shortest linearly independent vectors of each reciprocal lattice.

    Returns
    -------
    waves : Tensor
        (n_graphs, 3, 3) vectors as rows, 1/A. Along open directions they are unit vectors: the
        normal of slabs and the coordinate axes of open graphs.
    limit : Tensor
        (n_graphs, 3) of bool, True for rows along open directions.
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
    """(G, 3, 3) cells in which the open vector of slabs is a very short normal vector."""
    cell = geometry.cell
    rows = torch.arange(len(cell), device=cell.device)
    axis = (~geometry.pbc).long().argmax(1)
    normal = torch.linalg.cross(cell[rows, (axis + 1) % 3], cell[rows, (axis + 2) % 3])
    length = torch.linalg.vector_norm(normal, dim=1, keepdim=True)
    normal = normal / length * (2 * math.pi / LONGEST)
    open_row = torch.nn.functional.one_hot(axis, 3).bool() & slab[:, None]
    return torch.where(open_row[:, :, None], normal[:, None], cell)


def _reduced(basis: Tensor) -> Tensor:
    """(G, 3, 3) pairwise reduced bases of the same lattices."""
    for _ in range(SWEEPS):
        before = basis
        for first, second in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
            other = basis[:, second]
            ratio = (basis[:, first] * other).sum(1) / other.square().sum(1)
            step = torch.zeros_like(basis)
            # A ratio of exactly 1/2 would alternate in sign without end.
            step[:, first] = torch.round(ratio * (1 - 1e-9))[:, None] * other
            basis = basis - step
        if torch.equal(before, basis):
            break
    return basis


def _shortest(basis: Tensor) -> Tensor:
    """(G, 3, 3) shortest linearly independent vectors of reduced bases, sorted by length."""
    vectors = torch.einsum("ck,gka->gca", basis.new_tensor(COMBINATIONS), basis)
    lengths = torch.linalg.vector_norm(vectors, dim=2)
    order = lengths.argsort(dim=1, stable=True)
    rows = torch.arange(len(basis), device=basis.device)
    vectors, lengths = vectors[rows[:, None], order], lengths[rows[:, None], order]
    plane = torch.linalg.cross(vectors[:, 0], vectors[:, 1])[:, None]  # (G, 1, 3)
    height = (plane * vectors).sum(2).abs() / (lengths[:, :1] * lengths[:, 1:2] * lengths)
    third = torch.where(height > FLAT, lengths, torch.inf).argmin(1)
    return torch.stack([vectors[:, 0], vectors[:, 1], vectors[rows, third]], dim=1)

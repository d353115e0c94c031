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
#: Steps of the basis reduction. Each step before the last shortens the basis by at least sqrt(3).
GAUSS_STEPS = 16


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
    waves = _shortest(reduced_basis(reciprocal))
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


def reduced_basis(basis: Tensor) -> Tensor:
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


@torch.no_grad()
def shortest_in_plane(cell: Tensor, pbc: Tensor, normal: Tensor) -> Tensor:
    """(n_graphs,) length of the shortest reciprocal vector in the plane of slabs, 1/A.

    Parameters
    ----------
    cell, pbc, normal : Tensor
        (n_graphs, 3, 3), (n_graphs, 3) and (n_graphs, 3) cells, periodic directions and unit
        normals. Results for other boundaries are placeholders.
    """
    # Rows of the inverse transpose of the cell whose open vector is the unit normal.
    axis = (~pbc).long().argmax(1)
    rows = torch.arange(len(cell), device=cell.device)
    closed = cell.clone()
    closed[rows, axis] = normal
    reciprocal = 2 * math.pi * torch.linalg.inv(closed).mT
    return shortest_vector(reciprocal[rows, (axis + 1) % 3], reciprocal[rows, (axis + 2) % 3])


def shortest_vector(first: Tensor, second: Tensor) -> Tensor:
    """(G,) length of the shortest vector of each two-dimensional lattice, by Gauss reduction.

    Parameters
    ----------
    first, second : Tensor
        (G, 3) basis vectors, which can be skewed.
    """
    for _ in range(GAUSS_STEPS):
        shorter = first.square().sum(1) <= second.square().sum(1)
        first, second = (
            torch.where(shorter[:, None], first, second),
            torch.where(shorter[:, None], second, first),
        )
        along = (first * second).sum(1) / first.square().sum(1)
        second = second - along.round()[:, None] * first
    lengths = torch.linalg.vector_norm(torch.stack([first, second]), dim=2)
    return lengths.amin(0)

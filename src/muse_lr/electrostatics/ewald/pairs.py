r"""Real-space sum of charges with analytical first and second derivatives.

.. math:: E = \sum_{i<j} q_i q_j\, u(r_{ij}), \qquad
          u(r) = \frac{\mathrm{erfc}(r / 2\eta) - \mathrm{erfc}(r / \sqrt{2 s^2})}{r}\, w(r)

with the window w of :func:`muse_lr.math.switching.switch_off`. For point charges there is no second
erfc. With :math:`f_1 = u' / r` and :math:`f_2 = (u'' - u' / r) / r^2`, the gradient with respect to
the distance vector d is :math:`f_1 d` and the second derivative is :math:`f_1 1 + f_2 d d^T`. These
expressions are used for energies, forces, stress and the gradients of losses. Higher derivatives
use plain torch, so that derivatives of any order are correct.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import REAL_TAPER
from muse_lr.electrostatics.ewald.pair_kernel import ScreenedKernel, dot
from muse_lr.electrostatics.kernels import short_range_kernel
from muse_lr.math.plain_derivatives import hessian_product, wanted_inputs
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.structures.neighbor_tables import ImageTable


@dataclass(frozen=True)
class Pairs:
    """Pairs within the cutoff, each once.

    Pairs of an atom and its own image occur twice, with a weight of 1/2. The pairs are always the
    last dimension, because operations on rows of three elements are slower.

    Attributes
    ----------
    first, second : Tensor
        (p,) indices of the atoms.
    images : ImageTable
        Distinct lattice shifts.
    image : Tensor
        (p,) row of ``images`` with the lattice shift of the second atom.
    vectors : Tensor
        (3, p) from the first atom to the image of the second, A; detached.
    weight : Tensor or None
        (p,) 1/2 if both atoms are the same and 1 otherwise; None if all weights are 1.
    variance : Tensor or float
        (p,) s^2 in A^2, or one number.
    graph : Tensor or None
        (p,) graph of each pair; None if there is one graph.
    splitting, cutoff : float
        Splitting eta and cutoff, A.
    """

    first: Tensor
    second: Tensor
    images: ImageTable
    image: Tensor
    vectors: Tensor
    weight: Tensor | None
    variance: Tensor | float
    graph: Tensor | None
    splitting: float
    cutoff: float

    def image_vectors(self, cell: Tensor) -> Tensor:
        """(3, p) shift vectors in A for cells of shape (n_graphs, 3, 3)."""
        return select(self.images.vectors(cell).T, self.image)

    def pull_to_cells(self, slopes: Tensor, n_graphs: int) -> Tensor:
        """Backpropagate (3, p) gradients of the vectors to (n_graphs, 3, 3) cells."""
        rows = slopes.new_zeros((3, len(self.images.shifts))).index_add_(1, self.image, slopes)
        return self.images.pull_to_cells(rows.T, n_graphs)

    def pull_to_atoms(self, slopes: Tensor, n_atoms: int) -> Tensor:
        """Backpropagate (3, p) gradients of the vectors to (n_atoms, 3) positions."""
        # index_add with alpha = -1 is ten times slower.
        out = slopes.new_zeros((3, n_atoms)).index_add_(1, self.first, slopes).neg_()
        return out.index_add_(1, self.second, slopes).T.contiguous()

    def sum_graphs(self, values: Tensor, n_graphs: int) -> Tensor:
        """Sum (p,) values over the pairs of each graph -> (n_graphs,) in float64."""
        if self.graph is None:
            return values.sum(dtype=torch.float64)[None]
        return sum_nodes(values, self.graph, n_graphs)


def select(columns: Tensor, index: Tensor) -> Tensor:
    """(3, n) -> (3, p), detached. A loop over rows is five times faster than one operation."""
    columns = columns.detach().contiguous()
    out = columns.new_empty((len(columns), len(index)))
    for row, values in zip(columns, out, strict=True):
        torch.index_select(row, 0, index, out=values)
    return out


@torch.no_grad()
def find_pairs(
    density: ChargeDensity,
    geometry: Geometry,
    chosen: Tensor,
    widths: tuple[float, ...],
    splitting: float,
    cutoff: float,
) -> Pairs:
    """Pairs of the selected graphs within ``cutoff``, from the edges of the geometry."""
    tables = geometry.tables
    half, images = tables.half, tables.images
    first, second, image, graph = half.first, half.second, half.image, half.graph
    columns = geometry.positions.T
    vectors = select(columns, second).sub_(select(columns, first))
    vectors = vectors.add_(select(images.vectors(geometry.cell).T, image))
    weight = half.weight
    near = dot(vectors, vectors) < cutoff**2
    if graph is not None and not bool(chosen.all()):
        near = near & chosen.index_select(0, graph)
    if not bool(near.all()):
        keep = near.nonzero()[:, 0]
        vectors = select(vectors, keep)
        first, second, image = (each.index_select(0, keep) for each in (first, second, image))
        weight = None if weight is None else weight.index_select(0, keep)
        graph = None if graph is None else graph.index_select(0, keep)
    variance: Tensor | float = 2 * widths[0] ** 2
    if len(set(widths)) > 1:
        squared = density.width.square()
        variance = squared.index_select(0, first) + squared.index_select(0, second)
    dtype = density.charges.dtype
    weight = None if weight is None else weight.to(dtype)
    return Pairs(first, second, images, image, vectors, weight, variance, graph, splitting, cutoff)


def pair_energy(pairs: Pairs, charges: Tensor, geometry: Geometry) -> Tensor:
    """(n_graphs,) energies in e^2/A, differentiable with respect to all inputs."""
    # Views, because torch cannot report whether the gradient of a leaf tensor is needed.
    inputs = (value.view_as(value) for value in (geometry.positions, geometry.cell, charges))
    energy: Tensor = _PairEnergy.apply(*inputs, pairs, geometry)
    return energy


def plain_energy(positions: Tensor, cell: Tensor, charges: Tensor, pairs: Pairs) -> Tensor:
    """(n_graphs,) energies as in :func:`pair_energy`, in plain torch."""
    vectors = positions.index_select(0, pairs.second) - positions.index_select(0, pairs.first)
    vectors = vectors + pairs.images.vectors(cell).index_select(0, pairs.image)
    distance = torch.linalg.vector_norm(vectors, dim=1).to(charges.dtype)
    kernel = short_range_kernel(distance, pairs.variance, pairs.splitting)
    kernel = kernel * switch_off(distance, REAL_TAPER * pairs.cutoff, pairs.cutoff)
    if pairs.weight is not None:
        kernel = kernel * pairs.weight
    first, second = charges.index_select(0, pairs.first), charges.index_select(0, pairs.second)
    return pairs.sum_graphs(first * second * kernel, len(cell))


class _PairEnergy(torch.autograd.Function):
    """Energies, whose gradient is computed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        positions: Tensor,
        cell: Tensor,
        charges: Tensor,
        pairs: Pairs,
        geometry: Geometry,
    ) -> Tensor:
        vectors = pairs.vectors.to(charges.dtype)
        kernel = ScreenedKernel(vectors, pairs.variance, pairs.splitting, pairs.cutoff)
        u, f1 = _weighted(pairs.weight, kernel.value, kernel.first)
        first, second = charges.index_select(0, pairs.first), charges.index_select(0, pairs.second)
        potential = charges.new_zeros(len(charges))
        potential = potential.scatter_add_(0, pairs.first, u * second)
        potential = potential.scatter_add_(0, pairs.second, u * first)
        slopes = (vectors * (f1 * first).mul_(second)).to(positions.dtype)
        own_cell = None
        if ctx.needs_input_grad[1]:
            own_cell = pairs.pull_to_cells(slopes, len(cell))
        ctx.gradient = (pairs.pull_to_atoms(slopes, len(positions)), own_cell, potential)
        ctx.pairs, ctx.kernel, ctx.graph_index = pairs, kernel, geometry.graph_index
        ctx.save_for_backward(positions, cell, charges)
        return sum_nodes(charges * potential / 2, geometry.graph_index, len(cell))

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        if torch.is_grad_enabled():
            gradient = _PairGradient.apply(*ctx.saved_tensors, ctx.pairs, ctx.kernel, gradient)
        by_positions, by_cell, by_charges = gradient
        if by_cell is not None:
            by_cell = weight[:, None, None].to(by_cell.dtype) * by_cell
        on_atoms = weight.index_select(0, ctx.graph_index)
        by_positions = on_atoms[:, None].to(by_positions.dtype) * by_positions
        return by_positions, by_cell, on_atoms.to(by_charges.dtype) * by_charges, None, None


class _PairGradient(torch.autograd.Function):
    """Gradient from the forward pass of the energy, with its own derivative."""

    @staticmethod
    def forward(
        ctx: Any,
        positions: Tensor,
        cell: Tensor,
        charges: Tensor,
        pairs: Pairs,
        kernel: ScreenedKernel,
        gradient: tuple[Tensor, Tensor | None, Tensor],
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        ctx.pairs, ctx.kernel = pairs, kernel
        ctx.save_for_backward(positions, cell, charges)
        ctx.set_materialize_grads(False)
        by_positions, by_cell, by_charges = gradient
        # Copies, because autograd would attach a graph to the stored tensors.
        by_cell = None if by_cell is None else by_cell.clone()
        return by_positions.clone(), by_cell, by_charges.clone()

    @staticmethod
    def backward(ctx: Any, *weights: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(weight is None for weight in weights):
            return (None,) * 6
        inputs, pairs = ctx.saved_tensors, ctx.pairs
        wanted = wanted_inputs(ctx, 3)
        if torch.is_grad_enabled():
            energy = partial(plain_energy, pairs=pairs)
            product = hessian_product(energy, inputs, weights, wanted)
        else:
            product = _hessian_product(inputs, pairs, ctx.kernel, weights, wanted)
        return (*product, None, None, None)


def _hessian_product(
    inputs: tuple[Tensor, Tensor, Tensor],
    pairs: Pairs,
    kernel: ScreenedKernel,
    weights: tuple[Tensor | None, ...],
    wanted: list[bool],
) -> tuple[Tensor | None, ...]:
    """Analytical product of the second derivatives with weights of positions, cell and charges."""
    positions, cell, charges = inputs
    by_positions, by_cell, by_charges = weights
    vectors = pairs.vectors.to(charges.dtype)
    u, f1 = _weighted(pairs.weight, kernel.value, kernel.first)
    first, second = charges.index_select(0, pairs.first), charges.index_select(0, pairs.second)
    # Changes of the vectors and of the products of charges along the direction of the weights.
    push = _push(pairs, by_positions, by_cell, charges.dtype)
    along = dot(push, vectors)
    moved = torch.zeros_like(along)
    gain_first, gain_second = (along * f1).mul_(second), (along * f1).mul_(first)
    if by_charges is not None:
        weight_first = by_charges.index_select(0, pairs.first)
        weight_second = by_charges.index_select(0, pairs.second)
        moved = (weight_first * second).addcmul_(weight_second, first)
        gain_first = gain_first.addcmul_(weight_second, u)
        gain_second = gain_second.addcmul_(weight_first, u)
    out_charges = None
    if wanted[2]:
        out_charges = charges.new_zeros(len(charges)).scatter_add_(0, pairs.first, gain_first)
        out_charges = out_charges.scatter_add_(0, pairs.second, gain_second)
    out_positions = out_cell = None
    if wanted[0] or wanted[1]:
        (f2,) = _weighted(pairs.weight, kernel.second())
        product = first * second
        radial = (product * f2).mul_(along).addcmul_(moved, f1)
        slopes = (radial * vectors).addcmul_(product.mul_(f1), push).to(positions.dtype)
        out_positions = pairs.pull_to_atoms(slopes, len(positions))
        out_cell = pairs.pull_to_cells(slopes, len(cell)) if wanted[1] else None
    return out_positions, out_cell, out_charges


def _push(
    pairs: Pairs, by_positions: Tensor | None, by_cell: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """(3, p) changes of the vectors if positions and cells change by the weights."""
    push = torch.zeros_like(pairs.vectors)
    if by_positions is not None:
        columns = by_positions.T
        push = select(columns, pairs.second).sub_(select(columns, pairs.first))
    if by_cell is not None:
        push = push + pairs.image_vectors(by_cell)
    return push.to(dtype)


def _weighted(weight: Tensor | None, *values: Tensor) -> tuple[Tensor, ...]:
    """Multiply the kernel and its derivatives with the weight of each pair."""
    return values if weight is None else tuple(value * weight for value in values)

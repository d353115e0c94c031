r"""The real-space sum of charges, with its first and second derivatives written out.

.. math:: E = \sum_{i<j} q_i q_j\, u(r_{ij}), \qquad
          u(r) = \frac{\mathrm{erfc}(r / 2\eta) - \mathrm{erfc}(r / \sqrt{2 s^2})}{r}\, w(r)

with the window w of :func:`muse_lr.smooth.switch_off`; for points the second erfc is absent. With
:math:`f_1 = u' / r` and :math:`f_2 = (u'' - u' / r) / r^2`, the gradient by the distance vector is
:math:`f_1 d` and the second derivative :math:`f_1 1 + f_2 d d^T`. Energies, forces, stress and the
gradients of a loss of them take these; what is differentiated once more is plain torch, so that any
order is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.geometry import Geometry
from muse_lr.graph import sum_nodes
from muse_lr.images import ImageTable, image_table
from muse_lr.smooth import switch_off
from muse_lr.solvers.base import REAL_TAPER
from muse_lr.solvers.kernels import short_range_kernel
from muse_lr.solvers.pair_kernel import dot, screened_kernel
from muse_lr.solvers.plain_derivatives import hessian_product


@dataclass(frozen=True)
class Pairs:
    """Pairs within the cutoff, each once; of an atom and its own image both halves.

    Attributes
    ----------
    first, second : Tensor
        (p,) atoms.
    images : ImageTable
        Lattice shifts.
    image : Tensor
        (p,) row of the shift of the second atom in ``images``.
    vectors : Tensor
        (p, 3) from the first atom to the second's image, A, without a graph of their own.
    weight : Tensor or None
        (p,) 1/2 where both atoms are the same, else 1; None if they never are.
    variance : Tensor or float
        (p,) s^2 in A^2, or one number.
    graph : Tensor or None
        (p,) graph of each pair; None if there is one graph.
    splitting, cutoff : float
        A.
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
        """(p, 3) shift vectors in (n_graphs, 3, 3) cells, A."""
        return self.images.vectors(cell).index_select(0, self.image)

    def pull_to_cells(self, slopes: Tensor, n_graphs: int) -> Tensor:
        """(n_graphs, 3, 3) derivative by the cells from (p, 3) derivatives by the vectors."""
        rows = slopes.new_zeros((len(self.images.shifts), 3)).index_add(0, self.image, slopes)
        return self.images.pull_to_cells(rows, n_graphs)

    def kernel(self, vectors: Tensor, second: bool) -> tuple[Tensor, ...]:
        """(p,) the kernel and its derivatives, see :func:`screened_kernel`, weight in."""
        values = screened_kernel(vectors, self.variance, self.splitting, self.cutoff, second)
        return values if self.weight is None else tuple(value * self.weight for value in values)

    def sum_graphs(self, values: Tensor, n_graphs: int) -> Tensor:
        """(p,) -> (n_graphs,) in float64."""
        if self.graph is None:
            return values.sum(dtype=torch.float64)[None]
        return sum_nodes(values, self.graph, n_graphs)


@torch.no_grad()
def find_pairs(
    density: ChargeDensity,
    geometry: Geometry,
    chosen: Tensor,
    widths: tuple[float, ...],
    splitting: float,
    cutoff: float,
) -> Pairs:
    """The pairs of the chosen graphs within ``cutoff``, from the edges of the geometry."""
    sender, receiver = geometry.edge_index
    # The list has each pair twice.
    half = (receiver <= sender).nonzero()[:, 0]
    first, second = receiver.index_select(0, half), sender.index_select(0, half)
    graph_of_pair = geometry.graph_index.index_select(0, first)
    shift = geometry.edge_shift.index_select(0, half)
    images = image_table(shift, graph_of_pair, geometry.num_graphs)
    image = images.row_of_edge
    positions = geometry.positions
    vectors = positions.index_select(0, second) - positions.index_select(0, first)
    vectors = vectors + images.vectors(geometry.cell).index_select(0, image)
    near = dot(vectors, vectors) < cutoff**2
    if geometry.num_graphs > 1:
        near = near & chosen.index_select(0, graph_of_pair)
    if not bool(near.all()):
        keep = near.nonzero()[:, 0]
        first, second, image, vectors = (
            values.index_select(0, keep) for values in (first, second, image, vectors)
        )
    same = first == second
    weight = torch.where(same, 0.5, 1.0).to(density.charges.dtype) if bool(same.any()) else None
    variance: Tensor | float = 2 * widths[0] ** 2
    if len(set(widths)) > 1:
        squared = density.width.square()
        variance = squared.index_select(0, first) + squared.index_select(0, second)
    graph = geometry.graph_index.index_select(0, first) if geometry.num_graphs > 1 else None
    return Pairs(first, second, images, image, vectors, weight, variance, graph, splitting, cutoff)


def pair_energy(pairs: Pairs, charges: Tensor, geometry: Geometry) -> Tensor:
    """(n_graphs,) energies in e^2/A, differentiable in positions, cells and charges."""
    energy: Tensor = _PairEnergy.apply(geometry.positions, geometry.cell, charges, pairs, geometry)
    return energy


def plain_energy(positions: Tensor, cell: Tensor, charges: Tensor, pairs: Pairs) -> Tensor:
    """(n_graphs,) the same energy in plain torch."""
    vectors = positions.index_select(0, pairs.second) - positions.index_select(0, pairs.first)
    vectors = vectors + pairs.image_vectors(cell)
    distance = torch.linalg.vector_norm(vectors, dim=1).to(charges.dtype)
    kernel = short_range_kernel(distance, pairs.variance, pairs.splitting)
    kernel = kernel * switch_off(distance, REAL_TAPER * pairs.cutoff, pairs.cutoff)
    if pairs.weight is not None:
        kernel = kernel * pairs.weight
    first, second = charges.index_select(0, pairs.first), charges.index_select(0, pairs.second)
    return pairs.sum_graphs(first * second * kernel, len(cell))


class _PairEnergy(torch.autograd.Function):
    """Energies; the gradient is computed beside them."""

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
        u, f1 = pairs.kernel(vectors, second=False)
        first, second = charges.index_select(0, pairs.first), charges.index_select(0, pairs.second)
        product = first * second
        potential = charges.new_zeros(len(charges))
        potential = potential.index_add_(0, pairs.first, u * second)
        potential = potential.index_add_(0, pairs.second, u * first)
        slopes = (product.mul_(f1)[:, None] * vectors).to(positions.dtype)
        own_cell = None
        if ctx.needs_input_grad[1]:
            own_cell = pairs.pull_to_cells(slopes, len(cell))
        ctx.gradient = (_pull_to_atoms(slopes, pairs, len(positions)), own_cell, potential)
        ctx.pairs, ctx.graph_index = pairs, geometry.graph_index
        ctx.save_for_backward(positions, cell, charges)
        return sum_nodes(charges * potential / 2, geometry.graph_index, len(cell))

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        if torch.is_grad_enabled():
            gradient = _PairGradient.apply(*ctx.saved_tensors, ctx.pairs, gradient)
        by_positions, by_cell, by_charges = gradient
        if by_cell is not None:
            by_cell = weight[:, None, None].to(by_cell.dtype) * by_cell
        on_atoms = weight.index_select(0, ctx.graph_index)
        by_positions = on_atoms[:, None].to(by_positions.dtype) * by_positions
        return by_positions, by_cell, on_atoms.to(by_charges.dtype) * by_charges, None, None


class _PairGradient(torch.autograd.Function):
    """The gradient, already known, with its own derivative."""

    @staticmethod
    def forward(
        ctx: Any,
        positions: Tensor,
        cell: Tensor,
        charges: Tensor,
        pairs: Pairs,
        gradient: tuple[Tensor, Tensor | None, Tensor],
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        ctx.pairs = pairs
        ctx.save_for_backward(positions, cell, charges)
        ctx.set_materialize_grads(False)
        by_positions, by_cell, by_charges = gradient
        # Copies: an output may not be a tensor that is kept elsewhere.
        by_cell = None if by_cell is None else by_cell.clone()
        return by_positions.clone(), by_cell, by_charges.clone()

    @staticmethod
    def backward(ctx: Any, *weights: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(weight is None for weight in weights):
            return (None,) * 5
        inputs, pairs = ctx.saved_tensors, ctx.pairs
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():
            energy = partial(plain_energy, pairs=pairs)
            product = hessian_product(energy, inputs, weights, wanted)
        else:
            product = _hessian_product(inputs, pairs, weights, wanted)
        return (*product, None, None)


def _hessian_product(
    inputs: tuple[Tensor, Tensor, Tensor],
    pairs: Pairs,
    weights: tuple[Tensor | None, ...],
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Second derivatives times (positions, cell, charges) weights, written out."""
    positions, cell, charges = inputs
    by_positions, by_cell, by_charges = weights
    vectors = pairs.vectors.to(charges.dtype)
    u, f1, f2 = pairs.kernel(vectors, second=True)
    first, second = charges.index_select(0, pairs.first), charges.index_select(0, pairs.second)
    # What the weights make of each vector, and of each product of charges.
    push = torch.zeros_like(pairs.vectors)
    if by_positions is not None:
        push = by_positions.index_select(0, pairs.second)
        push = push - by_positions.index_select(0, pairs.first)
    if by_cell is not None:
        push = push + pairs.image_vectors(by_cell)
    push = push.to(charges.dtype)
    along = dot(push, vectors)
    product = first * second
    radial, straight = product * f2 * along, product * f1
    to_charges = along * f1
    potential = charges.new_zeros(len(charges))
    gain_first, gain_second = to_charges * second, to_charges * first
    if by_charges is not None:
        weight_first = by_charges.index_select(0, pairs.first)
        weight_second = by_charges.index_select(0, pairs.second)
        radial = radial + (weight_first * second + weight_second * first) * f1
        gain_first = gain_first + weight_second * u
        gain_second = gain_second + weight_first * u
    out_charges = None
    if wanted[2]:
        potential = potential.index_add(0, pairs.first, gain_first)
        out_charges = potential.index_add(0, pairs.second, gain_second)
    out_positions = out_cell = None
    if wanted[0] or wanted[1]:
        slopes = (radial[:, None] * vectors + straight[:, None] * push).to(positions.dtype)
        out_positions = _pull_to_atoms(slopes, pairs, len(positions))
        out_cell = pairs.pull_to_cells(slopes, len(cell)) if wanted[1] else None
    return out_positions, out_cell, out_charges


def _pull_to_atoms(slopes: Tensor, pairs: Pairs, n_atoms: int) -> Tensor:
    """(n_atoms, 3) derivative by the positions from (p, 3) derivatives by the vectors."""
    # With alpha = -1 index_add is ten times slower.
    out = slopes.new_zeros((n_atoms, 3)).index_add(0, pairs.first, slopes).neg_()
    return out.index_add_(0, pairs.second, slopes)

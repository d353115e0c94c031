r"""Conjugate gradients at fixed total charges, with a preconditioner that includes screening.

Responding charges screen each other. For a uniform medium of softness s and number density
:math:`\rho` the inverse of :math:`1/s + 4\pi k \rho / q^2` at the wave vector q is

.. math:: s - s\, \frac{4 \pi k \rho}{q^2 + \kappa^2}\, s, \qquad \kappa^2 = 4 \pi k \rho s.

The long-range interaction has a short-range inverse with the Yukawa kernel. The preconditioner is
:math:`D^{-1} - D^{-1} Y D^{-1}`, with the diagonal D and :math:`Y_{ij} = c A_{ij} e^{-\kappa
r_{ij}}` for near pairs. The factor c <= 1 makes it positive definite by Gershgorin's theorem.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from muse_lr.electrostatics.operators.charge_operator import compressed
from muse_lr.errors import InputError
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.units import COULOMB_CONSTANT

#: Screening constant kappa, 1/A: typical of condensed matter with hardnesses of 10 to 20 eV/e^2.
SCREENING = 0.8
#: Cutoff of the pairs in the preconditioner, A.
REACH = 6.0
#: Largest sum of the off-diagonal elements of a row, relative to its diagonal element.
DOMINANCE = 0.95


class ScreenedPreconditioner:
    """The preconditioner. It acts on the chosen graphs of a batch and is diagonal in the others.

    Parameters
    ----------
    diagonal : Tensor
        (n_atoms,) positive diagonal of H, eV/e^2.
    width : Tensor
        (n_atoms,) Gaussian standard deviations, A.
    geometry : Geometry
        Its edges define the near pairs.
    chosen : Tensor
        (n_graphs,) of bool.
    """

    def __init__(self, diagonal: Tensor, width: Tensor, geometry: Geometry, chosen: Tensor) -> None:
        self._softness = 1 / diagonal
        sender, receiver = geometry.edge_index
        near = (geometry.edge_lengths < REACH) & chosen[geometry.graph_index[receiver]]
        edges = near.nonzero()[:, 0]
        edges = edges[torch.argsort(receiver[edges], stable=True)]
        sender, receiver = sender[edges], receiver[edges]
        distance = geometry.edge_lengths[edges]
        scale = (2 * (width[sender].square() + width[receiver].square())).sqrt()
        kernel = COULOMB_CONSTANT * torch.erf(distance / scale) / distance
        kernel = kernel * torch.exp(-SCREENING * distance)
        count = len(diagonal)
        rows = torch.zeros_like(diagonal).index_add_(0, receiver, kernel * self._softness[sender])
        kernel = kernel * min(1.0, DOMINANCE / max(float(rows.amax()), DOMINANCE))
        self._kernel = compressed(receiver, sender, kernel, (count, count))

    def __call__(self, residual: Tensor) -> Tensor:
        """(n_atoms,) preconditioned residual, which is a change of the charges."""
        charges = self._softness * residual
        return charges - self._softness * (self._kernel @ charges)


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    inverse: Callable[[Tensor], Tensor],
    force: Tensor,
    totals: Tensor,
    graph_index: Tensor,
    tolerance: float,
    limit: int,
) -> tuple[Tensor, int]:
    """Solve H x = b for charges x with fixed totals by conjugate gradients.

    The preconditioner is the bordered system of an approximate inverse, so that all steps keep the
    totals (N. I. M. Gould, M. E. Hribar, J. Nocedal, SIAM J. Sci. Comput. 23, 1376 (2001)). All
    graphs are iterated together, and each stops when it has converged.

    Parameters
    ----------
    product : callable
        The product H x for (n,) x.
    inverse : callable
        Approximate inverse of H, linear, symmetric and positive definite.
    force : Tensor
        (n,) b, eV/e.
    totals : Tensor
        (n_graphs,) Q, e.
    graph_index : Tensor
        (n,) graph of each charge.
    tolerance : float
        Largest preconditioned residual at convergence, relative to the initial one.
    limit : int
        Maximum number of iterations.

    Returns
    -------
    solution : Tensor
        (n,).
    iterations : int

    Raises
    ------
    InputError
        If H is not positive definite, or the limit is reached.
    """
    graphs = _Levels(inverse, force, graph_index, len(totals))
    _, solution = graphs.level(force, totals)
    # A uniform force changes no charges. Its residual is only rounding error.
    scale = torch.maximum(graphs.largest(inverse(force)), graphs.largest(solution))
    return _iterate(product, graphs, force, solution, tolerance * scale, limit)


def _iterate(
    product: Callable[[Tensor], Tensor],
    graphs: _Levels,
    force: Tensor,
    solution: Tensor,
    threshold: Tensor,
    limit: int,
) -> tuple[Tensor, int]:
    """The iteration of :func:`conjugate_gradients`, to a threshold (n_graphs,) of the steps."""
    residual, step = graphs.level(force - product(solution))
    direction, power = step, graphs.total(residual * step)
    for iteration in range(limit):
        active = graphs.largest(step) > threshold
        if not bool(active.any()):
            return solution, iteration
        pushed = product(direction)
        curvature = graphs.total(direction * pushed)
        if bool((curvature[active] <= 0).any()):
            graph = int((active & (curvature <= 0)).nonzero()[0])
            raise InputError(
                f"structure {graph}: the energy of the charges has no minimum; the hardness is too "
                "small for the widths of the charges"
            )
        length = torch.where(active, power / curvature, 0.0)[graphs.index]
        solution = solution + length * direction
        residual, step = graphs.level(residual - length * pushed)
        previous, power = power, graphs.total(residual * step)
        ratio = torch.where(active, power / previous, 0.0)[graphs.index]
        direction = step + ratio * direction
    graph = int(active.nonzero()[0])
    raise InputError(
        f"structure {graph}: the charges did not converge in {limit} iterations of conjugate "
        "gradients; check that no two atoms have the same position"
    )


class _Levels:
    """Projects residuals to fixed total charges, by a constant for each graph.

    Parameters
    ----------
    inverse : callable
        The preconditioner.
    like : Tensor
        (n,) tensor with the dtype of the charges.
    graph_index : Tensor
        (n,) graph of each charge.
    count : int
        Number of graphs.
    """

    def __init__(
        self, inverse: Callable[[Tensor], Tensor], like: Tensor, graph_index: Tensor, count: int
    ) -> None:
        self._inverse = inverse
        self.index, self._count = graph_index, count
        self._response = inverse(torch.ones_like(like))
        self._softness = self.total(self._response).clamp(min=torch.finfo(torch.float64).tiny)

    def level(self, residual: Tensor, totals: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        """The residual plus a constant for which its charges have the totals, and these charges.

        Without this step the constant part of the residual grows and its rounding error exceeds
        the other part.
        """
        charges = self._inverse(residual)
        constant = ((totals - self.total(charges)) / self._softness)[self.index]
        return residual + constant, charges + constant * self._response

    def total(self, values: Tensor) -> Tensor:
        """(n_graphs,) sums."""
        return sum_nodes(values, self.index, self._count)

    def largest(self, values: Tensor) -> Tensor:
        """(n_graphs,) largest absolute values."""
        empty = values.new_zeros(self._count)
        return empty.scatter_reduce(0, self.index, values.abs(), "amax")

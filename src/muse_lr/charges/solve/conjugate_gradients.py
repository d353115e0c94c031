r"""Conjugate gradients at fixed total charges, with a preconditioner that knows screening.

Charges that respond screen each other. For a uniform medium of softness s and number density
:math:`\rho` the inverse of :math:`1/s + 4\pi k \rho / q^2` at the wave vector q is

.. math:: s - s\, \frac{4 \pi k \rho}{q^2 + \kappa^2}\, s, \qquad \kappa^2 = 4 \pi k \rho s:

the long-ranged interaction has a short-ranged inverse, with Yukawa's kernel. The preconditioner is
:math:`D^{-1} - D^{-1} Y D^{-1}` of the diagonal D and :math:`Y_{ij} = c A_{ij} e^{-\kappa r_{ij}}`
of the near pairs, with c <= 1 such that it is positive definite by Gershgorin's theorem.
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

#: kappa of condensed matter with hardnesses of 10 to 20 eV/e^2, 1/A.
SCREENING = 0.8
#: Pairs that the preconditioner looks at, A.
REACH = 6.0
#: Largest share of a row that its other elements may take.
DOMINANCE = 0.95


class ScreenedPreconditioner:
    """The preconditioner, of some graphs of a batch; in the others it is the diagonal.

    Parameters
    ----------
    diagonal : Tensor
        (n_atoms,) positive, of H, eV/e^2.
    width : Tensor
        (n_atoms,) Gaussian standard deviations, A.
    geometry : Geometry
        Its edges are the near pairs.
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
        """(n_atoms,) charges that a residual asks for."""
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
    """Conjugate gradients under the constraint of the totals.

    The preconditioner is the bordered system of an approximate inverse, so that all steps keep the
    totals (N. I. M. Gould, M. E. Hribar, J. Nocedal, SIAM J. Sci. Comput. 23, 1376 (2001)). Graphs
    are iterated together and stop one by one.

    Parameters
    ----------
    product : callable
        H x of (n,) x.
    inverse : callable
        Near to the inverse of H, linear, symmetric and positive definite.
    force : Tensor
        (n,) b, eV/e.
    totals : Tensor
        (n_graphs,) Q, e.
    graph_index : Tensor
        (n,) graph of each charge.
    tolerance : float
        Largest preconditioned residual, relative to the largest of the start: a change of charge.
    limit : int
        Iterations.

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
    # A force that is the same for all charges moves none: what is left of it is round-off.
    scale = torch.maximum(graphs.largest(inverse(force)), graphs.largest(solution))
    residual, step = graphs.level(force - product(solution))
    direction, power = step, graphs.total(residual * step)
    for iteration in range(limit):
        active = graphs.largest(step) > tolerance * scale
        if not bool(active.any()):
            return solution, iteration
        pushed = product(direction)
        curvature = graphs.total(direction * pushed)
        if bool((curvature[active] <= 0).any()):
            graph = int((active & (curvature <= 0)).nonzero()[0])
            raise InputError(
                f"structure {graph}: the energy of the charges has no minimum: the hardness is too "
                "small for the widths of the charges"
            )
        length = torch.where(active, power / curvature, 0.0)[graph_index]
        solution = solution + length * direction
        residual, step = graphs.level(residual - length * pushed)
        previous, power = power, graphs.total(residual * step)
        ratio = torch.where(active, power / previous, 0.0)[graph_index]
        direction = step + ratio * direction
    graph = int(active.nonzero()[0])
    raise InputError(
        f"structure {graph}: the charges did not converge in {limit} iterations of conjugate "
        "gradients: are two atoms at one place?"
    )


class _Levels:
    """Residuals whose constant part, which the constraint takes up, is set for each graph.

    Parameters
    ----------
    inverse : callable
        The preconditioner.
    like : Tensor
        (n,) for its precision.
    graph_index : Tensor
        (n,).
    count : int
        Graphs.
    """

    def __init__(
        self, inverse: Callable[[Tensor], Tensor], like: Tensor, graph_index: Tensor, count: int
    ) -> None:
        self._inverse = inverse
        self._index, self._count = graph_index, count
        self._response = inverse(torch.ones_like(like))
        self._softness = self.total(self._response).clamp(min=torch.finfo(torch.float64).tiny)

    def level(self, residual: Tensor, totals: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        """The residual plus a constant so that its charges have the totals, and these charges.

        Without it the constant grows to hide, in round-off, what is left of the rest.
        """
        charges = self._inverse(residual)
        constant = ((totals - self.total(charges)) / self._softness)[self._index]
        return residual + constant, charges + constant * self._response

    def total(self, values: Tensor) -> Tensor:
        """(n_graphs,) sums."""
        return sum_nodes(values, self._index, self._count)

    def largest(self, values: Tensor) -> Tensor:
        """(n_graphs,) largest absolute values."""
        empty = values.new_zeros(self._count)
        return empty.scatter_reduce(0, self._index, values.abs(), "amax")

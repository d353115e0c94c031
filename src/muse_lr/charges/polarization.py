r"""The response of multipoles to the field of all multipoles, for induced multipoles.

.. math::
   M_{i,lm}' = M^0_{i,lm} - S_{i,l}\, v_{i,lm}[M] \qquad
   v_{i,lm} = \frac{\partial}{\partial M_{i,lm}} \Bigl( E_\mathrm{Coulomb} - F \cdot \mu \Bigr),

with a Fukui step for the charges, :math:`q_i' \to q_i' + f_i (Q - \sum_j q_j')`,
:math:`f_i = S_{i,0} / \sum_j S_{j,0}`. The softness S_0 is the response of a charge both to the
potential and to the chemical potential, so that only differences of the potential matter. S_1 is
the dipole polarizability :math:`\alpha`, S_2 the quadrupole polarizability. The response of the
charges can be switched off. S_0 then only determines the distribution of the total charge.

The response of the orders l >= 1 can be nonlinear (:mod:`muse_lr.charges.nonlinearity`). The
charges respond linearly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from muse_lr.charges.constraint import spread
from muse_lr.charges.nonlinearity import Nonlinearity
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.fields import FieldOperator, fields_at_atoms
from muse_lr.electrostatics.kernels import self_interaction
from muse_lr.math.multipoles import order_of
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.units import COULOMB_CONSTANT


def largest_susceptibilities(width: Tensor, l_max: int) -> Tensor:
    r"""(n, l_max + 1) susceptibilities at which a Gaussian sustains its own multipole.

    :math:`S_l = 1 / D_l`, where :math:`\tfrac12 D_l |M_l|^2` is the self-energy of a Gaussian
    multipole: :math:`D_0 = k / \sqrt\pi \sigma` and :math:`D_1 = k / 6 \sqrt\pi \sigma^3`. The
    Coulomb energy including these terms is never negative. With all :math:`S_l < 1 / D_l` the
    linear response is therefore stable in any structure, without a polarization catastrophe.

    Parameters
    ----------
    width : Tensor
        (n,) Gaussian standard deviations, A, positive.
    l_max : int

    Returns
    -------
    Tensor
        In e^2 A^(2l) / eV.
    """
    none = torch.zeros_like(width)
    orders = []
    for order in range(l_max + 1):
        squares = [none] * order + [torch.ones_like(width)]
        orders.append(1 / (COULOMB_CONSTANT * self_interaction(squares, 2 * width**2)))
    return torch.stack(orders, dim=1)


@dataclass(frozen=True)
class Response:
    """Multipoles of a batch without a field, and their response to a field.

    Attributes
    ----------
    reference : Tensor
        (n_atoms, (l_max + 1)^2, channels) M^0 in e A^l, with one channel, or two for spin up and
        down. The charges need not sum to the totals.
    susceptibility : Tensor
        (n_atoms, l_max + 1, channels) S in e^2 A^(2l) / eV, positive.
    external : Tensor
        (n_atoms, (l_max + 1)^2) external potential and its derivatives, eV/(e A^l).
    nonlinearity : Nonlinearity or None
        None if the response is linear.
    """

    reference: Tensor
    susceptibility: Tensor
    external: Tensor
    nonlinearity: Nonlinearity | None = None


class PolarizationMap:
    """Maps M to M' in the geometry and boundaries of a batch.

    It is a :class:`~muse_lr.charges.solve.fixed_point.Map`, whose tensors are those of
    :func:`tensors_of`.

    Parameters
    ----------
    geometry : Geometry
        With edges up to at least ``solver.ewald.cutoff``.
    width : Tensor
        (n_atoms,) Gaussian standard deviations of the density and of the probe, A, float64.
    solver : ReferenceSolver
        Solver for these widths.
    totals : Tensor
        (n_graphs, channels) total charges, e.
    charges : bool
        Whether charges respond to the potential.
    """

    def __init__(
        self,
        geometry: Geometry,
        width: Tensor,
        solver: ReferenceSolver,
        totals: Tensor,
        charges: bool = True,
    ) -> None:
        self._geometry, self._width = geometry, width
        self._solver, self._totals = solver, totals
        self._first = 0 if charges else 1

    def __call__(self, unknowns: Tensor, *tensors: Tensor) -> Tensor:
        """M' of the multipoles ``unknowns``, both (n_atoms, (l_max + 1)^2, channels)."""
        positions, cell, *parts = tensors
        response = _response_of(parts)
        geometry = replace(self._geometry, positions=positions, cell=cell)
        return self.respond(response, self._fields(unknowns, geometry))

    def _fields(self, multipoles: Tensor, geometry: Geometry) -> Tensor:
        """(n_atoms, (l_max + 1)^2) fields of multipoles, without the external field."""
        moments = multipoles.sum(2)
        density = ChargeDensity(moments, self._width, geometry.graph_index, geometry.num_graphs)
        return fields_at_atoms(density, geometry, self._solver, order_of(moments)).moments

    def frozen(self, *tensors: Tensor) -> Callable[[Tensor], Tensor]:
        """See :meth:`Map.frozen`."""
        positions, cell, *parts = (tensor.detach() for tensor in tensors)
        response = _response_of(parts)
        geometry = replace(self._geometry, positions=positions, cell=cell)
        l_max = order_of(response.external)
        fields = FieldOperator(geometry, self._solver, l_max, self._width, self._width, l_max)
        return lambda unknowns: self.respond(response, fields(unknowns.sum(2)).moments)

    def respond(self, response: Response, fields: Tensor) -> Tensor:
        """(n_atoms, (l_max + 1)^2, channels) multipoles in given fields.

        Parameters
        ----------
        response : Response
        fields : Tensor
            (n_atoms, (l_max + 1)^2) field of the density, without the external field, eV/(e A^l).
        """
        reference, fields = response.reference, fields + response.external
        susceptibility, shares = response.susceptibility, response.susceptibility[:, 0]
        if response.nonlinearity is not None:
            factors = response.nonlinearity.factors(fields, susceptibility)
            susceptibility = susceptibility * factors
        change = by_component(susceptibility) * fields[:, :, None]
        charges = reference[:, 0]
        if not self._first:
            charges = charges - change[:, 0]
        charges = spread(charges, shares, self._totals, self._geometry.graph_index)
        return torch.cat([charges[:, None], reference[:, 1:] - change[:, 1:]], dim=1)

    def at_rest(self, response: Response) -> Tensor:
        """(n_atoms, (l_max + 1)^2, channels) multipoles without any field, with given totals."""
        still = replace(response, external=torch.zeros_like(response.external), nonlinearity=None)
        return self.respond(still, still.external)

    def work(self, response: Response, moments: Tensor, sources: Tensor) -> Tensor:
        r"""(n_graphs,) work of polarization, eV.

        It is :math:`\sum |\Delta M|^2 / 2 S` for a linear response, and the Legendre transform of
        the energy of :mod:`muse_lr.charges.nonlinearity` for a nonlinear one. With this term, the
        energy of interacting multipoles is stationary in self-consistent multipoles.

        Parameters
        ----------
        response : Response
        moments : Tensor
            (n_atoms, (l_max + 1)^2, channels) multipoles.
        sources : Tensor
            The multipoles in whose field ``moments`` were induced. They are the same where they are
            self-consistent. Only a nonlinear response depends on them.
        """
        change = moments - self.at_rest(response)
        own = change**2 / (2 * by_component(response.susceptibility))
        # Charges that do not respond contribute no work.
        linear = 1 if response.nonlinearity is not None else own.shape[1]
        total = own[:, self._first : linear].sum((1, 2))
        if response.nonlinearity is not None:
            fields = self._fields(sources, self._geometry) + response.external
            pushed = (-change[:, 1:] * fields[:, 1:, None]).sum(1)
            gained = response.nonlinearity.energy(fields, response.susceptibility)
            total = total + (pushed - gained).sum(1)
        index, count = self._geometry.graph_index, self._geometry.num_graphs
        return sum_nodes(total, index, count)


def by_component(susceptibility: Tensor) -> Tensor:
    """Repeat the values of each l for all m: (n, l_max + 1, ...) -> (n, (l_max + 1)^2, ...)."""
    orders = torch.arange(susceptibility.shape[1], device=susceptibility.device)
    return susceptibility[:, orders.repeat_interleave(2 * orders + 1)]


def tensors_of(response: Response, geometry: Geometry) -> tuple[Tensor, ...]:
    """The differentiable arguments of a :class:`PolarizationMap`."""
    parts = [response.reference, response.susceptibility, response.external]
    nonlinearity = response.nonlinearity
    if nonlinearity is not None:
        parts += [nonlinearity.strength, nonlinearity.scale]
    return geometry.positions, geometry.cell, *parts


def _response_of(parts: Sequence[Tensor]) -> Response:
    """The inverse of :func:`tensors_of`, without positions and cell."""
    reference, susceptibility, external, *rest = parts
    nonlinearity = Nonlinearity(*rest) if rest else None
    return Response(reference, susceptibility, external, nonlinearity)

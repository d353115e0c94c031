r"""How multipoles answer to the field of all multipoles: the map behind induced charges.

.. math::
   M_{i,lm}' = M^0_{i,lm} - S_{i,l}\, v_{i,lm}[M] \qquad
   v_{i,lm} = \frac{\partial}{\partial M_{i,lm}} \Bigl( E_\mathrm{Coulomb} - F \cdot \mu \Bigr),

with a Fukui step for the charges, :math:`q_i' \to q_i' + f_i (Q - \sum_j q_j')`,
:math:`f_i = S_{i,0} / \sum_j S_{j,0}`: the softness S_0 says how charges follow the potential and
the chemical potential alike, so that only differences of the potential act. S_1 is the
polarizability :math:`\alpha`, S_2 that of quadrupoles. Charges can be left out of the response; S_0
then only shares out the total.

The susceptibilities may depend on the strength of the field at the atom, through invariants
:math:`u_{il} = \log(1 + |v_{il}|^2)` of l >= 1 (v in eV/(e A^l), the external field in it),

.. math:: S_{il} = 2\, \mathrm{sigmoid}\bigl(W_2\, \mathrm{silu}(a_i + W_1 u_i)\bigr)\, S^0_{il}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from muse_lr.charges.constraint import spread
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

    :math:`S_l = 1 / D_l`, where :math:`\tfrac12 D_l |M_l|^2` is the energy of a Gaussian multipole
    with itself: :math:`D_0 = k / \sqrt\pi \sigma` and :math:`D_1 = k / 6 \sqrt\pi \sigma^3`. The
    Coulomb energy with these terms is never negative, so that with all :math:`S_l < 1 / D_l` the
    linear response is stable in any structure: there is no polarization catastrophe.

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
class Modulation:
    """How susceptibilities depend on the strength of the field.

    Attributes
    ----------
    hidden : Tensor
        (n_atoms, H) a, from the features of the atoms.
    inner : Tensor
        (orders, H) W_1; the orders are l = 1 to max(1, l_max).
    outer : Tensor
        (H, (l_max + 1) channels) W_2.
    """

    hidden: Tensor
    inner: Tensor
    outer: Tensor

    def factor(self, fields: Tensor, shape: torch.Size) -> Tensor:
        """(n_atoms, l_max + 1, channels) between 0 and 2.

        Parameters
        ----------
        fields : Tensor
            (n_atoms, (order + 1)^2) v.
        shape : torch.Size
            Of the result.
        """
        orders = range(1, len(self.inner) + 1)
        strengths = [fields[:, o**2 : (o + 1) ** 2].square().sum(1).log1p() for o in orders]
        hidden = self.hidden + torch.stack(strengths, dim=1) @ self.inner
        return 2 * torch.sigmoid(torch.nn.functional.silu(hidden) @ self.outer).reshape(shape)


@dataclass(frozen=True)
class Response:
    """What the multipoles of a batch are without a field, and how they answer to one.

    Attributes
    ----------
    reference : Tensor
        (n_atoms, (l_max + 1)^2, channels) M^0 in e A^l; the channels are spins, or one. Their
        charges need not sum to the totals.
    susceptibility : Tensor
        (n_atoms, l_max + 1, channels) S in e^2 A^(2l) / eV, positive.
    external : Tensor
        (n_atoms, (order + 1)^2) external potential and its derivatives, eV/(e A^l); the order is
        l_max, and at least 1 with a modulation.
    modulation : Modulation or None
        None where the response is linear.
    """

    reference: Tensor
    susceptibility: Tensor
    external: Tensor
    modulation: Modulation | None = None

    @property
    def field_order(self) -> int:
        """Highest derivative of the potential that acts."""
        return order_of(self.external)


class PolarizationMap:
    """M' of M, in the geometry and boundaries of a batch; a Map of the fixed point.

    Its tensors are those that :func:`tensors_of` gives.

    Parameters
    ----------
    geometry : Geometry
        Its edges reach at least ``solver.ewald.cutoff``.
    width : Tensor
        (n_atoms,) Gaussian standard deviations of the density and of the probe, A, float64.
    solver : ReferenceSolver
        Built for these widths.
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
        """(n_atoms, (l_max + 1)^2, channels) M' of M."""
        positions, cell, *parts = tensors
        response = _response_of(parts)
        geometry = replace(self._geometry, positions=positions, cell=cell)
        moments = unknowns.sum(2)
        density = ChargeDensity(moments, self._width, geometry.graph_index, geometry.num_graphs)
        fields = fields_at_atoms(density, geometry, self._solver, response.field_order)
        return self.respond(response, fields.moments)

    def frozen(self, *tensors: Tensor) -> Callable[[Tensor], Tensor]:
        """See :meth:`Map.frozen`."""
        positions, cell, *parts = (tensor.detach() for tensor in tensors)
        response = _response_of(parts)
        geometry = replace(self._geometry, positions=positions, cell=cell)
        l_max = order_of(response.reference[:, :, 0])
        fields = FieldOperator(
            geometry, self._solver, response.field_order, self._width, self._width, l_max
        )
        return lambda unknowns: self.respond(response, fields(unknowns.sum(2)).moments)

    def respond(self, response: Response, fields: Tensor) -> Tensor:
        """(n_atoms, (l_max + 1)^2, channels) multipoles in given fields.

        Parameters
        ----------
        response : Response
        fields : Tensor
            (n_atoms, (order + 1)^2) of the density itself, eV/(e A^l).
        """
        reference, fields = response.reference, fields + response.external
        susceptibility = response.susceptibility
        if response.modulation is not None:
            factor = response.modulation.factor(fields, susceptibility.shape)
            susceptibility = susceptibility * factor
        susceptibility = by_component(susceptibility)
        change = susceptibility * fields[:, : reference.shape[1], None]
        if self._first:  # the field moves no charge, by its strength neither
            charges, shares = reference[:, 0], response.susceptibility[:, 0]
        else:
            charges, shares = reference[:, 0] - change[:, 0], susceptibility[:, 0]
        charges = spread(charges, shares, self._totals, self._geometry.graph_index)
        return torch.cat([charges[:, None], reference[:, 1:] - change[:, 1:]], dim=1)

    def at_rest(self, response: Response) -> Tensor:
        """(n_atoms, (l_max + 1)^2, channels) multipoles without any field, at the totals."""
        still = replace(response, external=torch.zeros_like(response.external), modulation=None)
        return self.respond(still, still.external)

    def work(self, response: Response, moments: Tensor) -> Tensor:
        r"""(n_graphs,) energy that it takes to polarize, :math:`\sum |\Delta M|^2 / 2 S`, eV.

        With it the energy of all multipoles in the field of each other is stationary in the
        self-consistent multipoles of a linear response. S is that without a modulation.
        """
        change = moments - self.at_rest(response)
        own = change**2 / (2 * by_component(response.susceptibility))
        own = own[:, self._first :]  # charges that do not respond cost nothing
        index, count = self._geometry.graph_index, self._geometry.num_graphs
        return sum_nodes(own.sum((1, 2)), index, count)


def by_component(susceptibility: Tensor) -> Tensor:
    """(n, l_max + 1, ...) -> (n, (l_max + 1)^2, ...): one for each m."""
    orders = torch.arange(susceptibility.shape[1], device=susceptibility.device)
    return susceptibility[:, orders.repeat_interleave(2 * orders + 1)]


def tensors_of(response: Response, geometry: Geometry) -> tuple[Tensor, ...]:
    """What a :class:`PolarizationMap` depends on."""
    parts = [response.reference, response.susceptibility, response.external]
    modulation = response.modulation
    if modulation is not None:
        parts += [modulation.hidden, modulation.inner, modulation.outer]
    return geometry.positions, geometry.cell, *parts


def _response_of(parts: Sequence[Tensor]) -> Response:
    """The inverse of :func:`tensors_of`, positions and cell aside."""
    reference, susceptibility, external, *rest = parts
    modulation = Modulation(*rest) if rest else None
    return Response(reference, susceptibility, external, modulation)

r"""Projection of the potential of a charge density on Gaussian multipoles at the atoms.

.. math::
   v_{i,\sigma l m} = \int V(r)\, \phi_{lm}(r - r_i; \sigma)\, dr, \qquad
   V(r) = k \int \frac{\rho(r')}{|r - r'|}\, dr',

Here :math:`\phi_{lm}` are the Gaussians of :mod:`muse_lr.density` with a unit multipole, and
:math:`\rho` does not include the multipoles of atom i. The projection is the energy of a probe
:math:`\phi_{lm}` in V, which is an interaction of two Gaussian densities and exact in every
boundary. These are the projections of long-distance equivariants (A. Grisafi, J. Nigam, M.
Ceriotti, Chem. Sci. 12, 2078 (2021), arXiv:2008.12122), on Gaussians of several widths instead of
radial functions within a cutoff (arXiv:2603.14700). With exponent 6, the potential is that of
:mod:`muse_lr.heads.field_features.power_projection`, which is 1/r^6 at large distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.fields import fields_at_atoms
from muse_lr.heads.field_features.power_projection import PowerProjection
from muse_lr.structures.geometry import Geometry
from muse_lr.units import COULOMB_CONSTANT

#: Computes (n_atoms, (l_max + 1)^2) projections of the potential divided by k, for one probe width.
Projection = Callable[[ChargeDensity, Geometry], Tensor]


class CoulombProjection:
    r"""Projections of the Coulomb potential on probes of one width, for sources of one width.

    The interaction of a probe of width :math:`\sigma` and a source of width :math:`\sigma'` is
    :math:`\mathrm{erf}(r / 2 \eta) / r` with :math:`\eta^2 = (\sigma^2 + \sigma'^2) / 2`. This is
    the smooth part of an Ewald sum with splitting :math:`\eta`, so no real-space part remains.

    Parameters
    ----------
    width, source_width : float
        Gaussian standard deviations, A; the source width is 0 for point charges.
    l_max : int
        Highest order of the probes.
    accuracy : float
        The periodic sums are cut where their Gaussian is a tenth of this value.
    """

    def __init__(self, width: float, source_width: float, l_max: int, accuracy: float) -> None:
        self.width, self.l_max = width, l_max
        splitting = math.sqrt((width**2 + source_width**2) / 2)
        self.solver = ReferenceSolver((splitting,), accuracy, 0.0)

    def __call__(self, sources: ChargeDensity, geometry: Geometry) -> Tensor:
        """(n_atoms, (l_max + 1)^2) in e A^-(1 + l)."""
        probe = torch.full_like(sources.width, self.width)
        fields = fields_at_atoms(sources, geometry, self.solver, self.l_max, probe)
        return fields.moments / COULOMB_CONSTANT


class ProjectedPotential:
    r"""Projections on several widths, without a real-space sum.

    Sources of different widths are projected separately.

    Parameters
    ----------
    widths : sequence of float
        Gaussian standard deviations of the probes, A.
    source_widths : sequence of float
        Gaussian width of the charges of each element, A; 0 for points (exponent 1 only).
    l_max : int
        Highest order of the probes, 0 to 2.
    accuracy : float
        The periodic sums are cut where their Gaussian is a tenth of this value.
    exponent : int
        Exponent p of the potential, 1 or 6.
    """

    def __init__(
        self,
        widths: Sequence[float],
        source_widths: Sequence[float],
        l_max: int,
        accuracy: float,
        exponent: Literal[1, 6] = 1,
    ) -> None:
        self.widths, self.l_max, self.exponent = tuple(widths), l_max, exponent
        kind = CoulombProjection if exponent == 1 else PowerProjection
        self._groups: list[tuple[list[bool], list[Projection]]] = [
            (
                [own == source for own in source_widths],
                [kind(width, source, l_max, accuracy) for width in self.widths],
            )
            for source in sorted(set(source_widths))
        ]

    def __call__(self, density: ChargeDensity, geometry: Geometry, composition: Tensor) -> Tensor:
        r"""(n_atoms, n_widths, (l_max + 1)^2) of :math:`\sigma^{l+p} v_{\sigma lm} / k`, in e.

        Parameters
        ----------
        density : ChargeDensity
        geometry : Geometry
            May mix FFF, TTF and TTT. Its edges are not used.
        composition : Tensor
            (n_atoms, n_elements), one-hot, in the order of the source widths.
        """
        totals = [density.width.new_zeros(()) for _ in self.widths]
        for members, projections in self._groups:
            sources = density
            if not all(members):
                chosen = composition @ composition.new_tensor(members)
                sources = replace(density, moments=density.moments * chosen[:, None])
            for i, (width, projection) in enumerate(zip(self.widths, projections, strict=True)):
                scale = self._scale(width, density)
                totals[i] = totals[i] + scale * projection(sources, geometry)
        return torch.stack(totals, dim=1)

    def _scale(self, width: float, density: ChargeDensity) -> Tensor:
        """((l_max + 1)^2,) sigma^(l + p)."""
        orders = range(self.l_max + 1)
        scales = [
            width ** (order + self.exponent) for order in orders for _ in range(2 * order + 1)
        ]
        return density.moments.new_tensor(scales)

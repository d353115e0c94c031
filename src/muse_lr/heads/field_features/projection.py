r"""The potential of a charge density, projected at its atoms on Gaussian multipoles.

.. math::
   v_{i,\sigma l m} = \int V(r)\, \phi_{lm}(r - r_i; \sigma)\, dr, \qquad
   V(r) = k \int \frac{\rho(r')}{|r - r'|}\, dr',

with the Gaussians :math:`\phi_{lm}` of :mod:`muse_lr.density`, which carry a unit multipole, and
:math:`\rho` without the atom's own multipoles. It is the energy of a probe
:math:`\phi_{lm}` in V, hence the interaction of two Gaussian densities, exact in every boundary:
the projections of long-distance equivariants (A. Grisafi, J. Nigam, M. Ceriotti, Chem. Sci. 12,
2078 (2021), arXiv:2008.12122), on widths instead of radial functions within a cutoff
(arXiv:2603.14700). With the exponent 6 the potential is that of
:mod:`muse_lr.heads.field_features.power_projection` instead, 1/r^6 far away.
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

#: (n_atoms, (l_max + 1)^2) projections on probes of one width, 1/k times those of the potential.
Projection = Callable[[ChargeDensity, Geometry], Tensor]


class CoulombProjection:
    r"""Projections of the Coulomb potential on probes of one width, of sources of one width.

    A probe of width :math:`\sigma` and a source of width :math:`\sigma'` interact by
    :math:`\mathrm{erf}(r / 2 \eta) / r` with :math:`\eta^2 = (\sigma^2 + \sigma'^2) / 2`, which is
    the smooth part of an Ewald sum of that splitting: nothing remains for real space.

    Parameters
    ----------
    width, source_width : float
        Gaussian standard deviations, A; 0 for points as sources.
    l_max : int
        Highest order of the probes.
    accuracy : float
        Of the periodic sums: their terms end where their Gaussian is a tenth of it.
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

    Sources of unlike width are projected one width after the other.

    Parameters
    ----------
    widths : sequence of float
        Gaussian standard deviations of the probes, A.
    source_widths : sequence of float
        Of the charges of each element, A; 0 for points, where the exponent is 1.
    l_max : int
        Highest order of the probes, 0 to 2.
    accuracy : float
        Of the periodic sums: their terms end where their Gaussian is a tenth of it.
    exponent : int
        p of the potential, 1 or 6.
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
            May mix FFF, TTF and TTT; its edges are not used.
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

r"""The potential of a charge density, projected at its atoms on Gaussian multipoles.

.. math::
   v_{i,\sigma l m} = \int V(r)\, \phi_{lm}(r - r_i; \sigma)\, dr, \qquad
   V(r) = k \int \frac{\rho(r')}{|r - r'|}\, dr',

with the Gaussians :math:`\phi_{lm}` of :mod:`muse_lr.density`, which carry a unit multipole, and
:math:`\rho` without the atom's own multipoles. It is the energy of a probe
:math:`\phi_{lm}` in V, hence the interaction of two Gaussian densities, exact in every boundary:
the projections of long-distance equivariants (A. Grisafi, J. Nigam, M. Ceriotti, Chem. Sci. 12,
2078 (2021), arXiv:2008.12122), on widths instead of radial functions within a cutoff
(arXiv:2603.14700).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.geometry import Geometry
from muse_lr.solvers.fields import fields_at_atoms
from muse_lr.solvers.reference import ReferenceSolver
from muse_lr.units import COULOMB_CONSTANT


class ProjectedPotential:
    r"""Projections on several widths, without a real-space sum.

    A probe of width :math:`\sigma` and a source of width :math:`\sigma'` interact by
    :math:`\mathrm{erf}(r / 2 \eta) / r` with :math:`\eta^2 = (\sigma^2 + \sigma'^2) / 2`, which is
    the smooth part of an Ewald sum of that splitting: nothing remains for real space. Sources of
    unlike width are projected one width after the other.

    Parameters
    ----------
    widths : sequence of float
        Gaussian standard deviations of the probes, A.
    source_widths : sequence of float
        Of the charges of each element, A; 0 for points.
    l_max : int
        Highest order of the probes, 0 to 2.
    accuracy : float
        Of the periodic sums: their terms end where their Gaussian is a tenth of it.
    """

    def __init__(
        self,
        widths: Sequence[float],
        source_widths: Sequence[float],
        l_max: int,
        accuracy: float,
    ) -> None:
        self.widths, self.l_max = tuple(widths), l_max
        self._groups = [
            ([own == width for own in source_widths], self._solvers(width, accuracy))
            for width in sorted(set(source_widths))
        ]

    def _solvers(self, source_width: float, accuracy: float) -> list[ReferenceSolver]:
        splittings = [math.sqrt((width**2 + source_width**2) / 2) for width in self.widths]
        return [ReferenceSolver((splitting,), accuracy, 0.0) for splitting in splittings]

    def __call__(self, density: ChargeDensity, geometry: Geometry, composition: Tensor) -> Tensor:
        r"""(n_atoms, n_widths, (l_max + 1)^2) of :math:`(\sigma^{l+1} / k) v_{\sigma lm}`, in e.

        Parameters
        ----------
        density : ChargeDensity
        geometry : Geometry
            May mix FFF, TTF and TTT; its edges are not used.
        composition : Tensor
            (n_atoms, n_elements), one-hot, in the order of the source widths.
        """
        totals = [density.width.new_zeros(()) for _ in self.widths]
        for members, solvers in self._groups:
            sources = density
            if not all(members):
                chosen = composition @ composition.new_tensor(members)
                sources = replace(density, moments=density.moments * chosen[:, None])
            for i, (width, solver) in enumerate(zip(self.widths, solvers, strict=True)):
                probe = torch.full_like(density.width, width)
                fields = fields_at_atoms(sources, geometry, solver, self.l_max, probe)
                totals[i] = totals[i] + self._scale(width, density) * fields.moments
        return torch.stack(totals, dim=1)

    def _scale(self, width: float, density: ChargeDensity) -> Tensor:
        """((l_max + 1)^2,) sigma^(l + 1) / k."""
        orders = range(self.l_max + 1)
        scales = [width ** (order + 1) for order in orders for _ in range(2 * order + 1)]
        return density.moments.new_tensor(scales) / COULOMB_CONSTANT

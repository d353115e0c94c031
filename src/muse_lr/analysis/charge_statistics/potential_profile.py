r"""Planar averages of the charge density and of the potential of a slab.

For charges q, dipoles along the normal :math:`\mu` and Gaussian widths :math:`\sigma` at heights
:math:`z_i`, on an area A, the double integral of the planar average with no field below the slab is

.. math:: \phi(z) = -\frac{1}{\epsilon_0} \int_{-\infty}^z (z - z') \rho(z')\, dz'
          = -\frac{1}{\epsilon_0 A} \sum_i \left[ q_i\, \sigma_i f(u_i) - \mu_i \Phi(u_i) \right],
          \qquad u_i = \frac{z - z_i}{\sigma_i},

with :math:`f(u) = u \Phi(u) + \varphi(u)`, and the normal density :math:`\varphi` and its integral
:math:`\Phi`. For points, :math:`\sigma f` is the positive part of :math:`z - z_i`. There is no
numerical integration. Above a neutral slab the potential is constant again, and the step

.. math:: \phi(\infty) - \phi(-\infty) = \frac{M_z}{\epsilon_0 A}

is that of the dipole M_z along the normal (H. Helmholtz). The potential drop along the normal is
the negative of the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from muse_lr.analysis.averages import Estimate, mean
from muse_lr.analysis.charge_statistics.sites import ChargedSites
from muse_lr.analysis.charge_statistics.structure_factor import PER_PERMITTIVITY
from muse_lr.errors import InputError
from muse_lr.structures.geometry import slab_normals

Array = NDArray[np.float64]

#: Spacing of the heights, A.
SPACING = 0.1
#: Heights beyond the outermost charges, A, besides six Gaussian widths.
MARGIN = 5.0
#: Largest charge of a slab that counts as neutral, e.
NEUTRAL = 1e-3
#: Share of the thickness that counts as the inside of a slab.
INSIDE = 1 / 3


@dataclass(frozen=True)
class PotentialProfile:
    r"""Averages over planes and frames along the normal of a slab.

    Attributes
    ----------
    z : ndarray
        (heights,) in A, relative to the center of the slab: the mean height of its atoms.
    density : ndarray
        (heights,) charge density, e/A^3. Points are drawn as Gaussians as wide as the spacing.
    potential, error : ndarray
        (heights,) potential, zero below the slab, and its standard error, V.
    step : Estimate
        Potential above minus potential below the slab, V.
    dipole : Estimate
        Dipole along the normal, e A. ``step`` is this over the area and the permittivity.
    area : float
        Mean area, A^2.
    interface : Estimate
        Mean potential inside, the middle third of the slab, minus that outside, the mean of both
        sides, V. It is the potential drop across an interface of a symmetric slab.
    """

    z: Array
    density: Array
    potential: Array
    error: Array
    step: Estimate
    dipole: Estimate
    area: float
    interface: Estimate


def potential_profile(sites: ChargedSites, spacing: float = SPACING) -> PotentialProfile:
    """Charge density and potential of a slab along its normal, with errors from block averages.

    Parameters
    ----------
    sites : ChargedSites
        With two periodic directions. Along the open direction the atoms must not be wrapped.
    spacing : float
        Distance of the heights, A.

    Raises
    ------
    InputError
        If there are not two periodic directions, or if the slab has a net charge: its field extends
        to infinity, and a potential drop across it is not defined.
    """
    normal, areas = _normal_and_areas(sites)
    totals = sites.charges.sum(1)
    if np.abs(totals).max() > NEUTRAL:
        worst = int(np.abs(totals).argmax())
        raise InputError(
            f"frame {worst} has a net charge of {totals[worst]:.3g} e: the field of a charged slab "
            "extends to infinity. Leave out the frame, or include the counter charge"
        )
    heights = sites.positions @ normal
    heights = heights - heights.mean(1, keepdims=True)
    dipoles = None if sites.dipoles is None else sites.dipoles @ normal
    widths = np.zeros(heights.shape[1]) if sites.widths is None else sites.widths
    edge = float(np.abs(heights).max()) + MARGIN + 6 * float(widths.max(initial=0.0))
    z = np.arange(-np.ceil(edge / spacing), np.ceil(edge / spacing) + 1) * spacing
    density, potentials = np.zeros(len(z)), np.empty((len(heights), len(z)))
    for i, places in enumerate(heights):
        local = None if dipoles is None else dipoles[i]
        potentials[i] = planar_potential(z, places, sites.charges[i], areas[i], local, widths)
        drawn = np.maximum(widths, spacing)
        density += planar_density(z, places, sites.charges[i], areas[i], local, drawn)
    moments = (sites.charges * heights).sum(1) + (0.0 if dipoles is None else dipoles.sum(1))
    steps = PER_PERMITTIVITY * moments / areas
    found = [mean(column) for column in potentials.T]
    inside = np.abs(z) <= INSIDE / 2 * _thickness(heights)
    interface = potentials[:, inside].mean(1) - steps / 2
    return PotentialProfile(
        z,
        density / len(heights),
        np.array([estimate.value for estimate in found]),
        np.array([estimate.error for estimate in found]),
        mean(steps),
        mean(moments),
        float(areas.mean()),
        mean(interface),
    )


def planar_potential(
    z: Array,
    heights: Array,
    charges: Array,
    area: float,
    dipoles: Array | None = None,
    widths: Array | None = None,
) -> Array:
    """Planar average of the potential of one frame, (m,) in V, zero below all charges.

    Parameters
    ----------
    z : ndarray
        (m,) heights, A.
    heights, charges : ndarray
        (n,) in A and e.
    area : float
        A^2.
    dipoles, widths : ndarray, optional
        (n,) components along the normal in e A, and Gaussian standard deviations in A; 0 for
        points.
    """
    distance = z[:, None] - heights
    wide = np.zeros(len(heights)) if widths is None else widths
    u, point = _scaled(distance, wide)
    below = np.where(point, distance > 0, ndtr(u))
    rise = np.where(point, np.maximum(distance, 0.0), distance * below + wide * _normal(u))
    potential: Array = -rise @ charges
    if dipoles is not None:
        potential = potential + below @ dipoles
    return PER_PERMITTIVITY / area * potential


def planar_density(
    z: Array,
    heights: Array,
    charges: Array,
    area: float,
    dipoles: Array | None,
    widths: Array,
) -> Array:
    """Planar average of the charge density of one frame, (m,) in e/A^3.

    The parameters are those of :func:`planar_potential`; all ``widths`` are positive.
    """
    u = (z[:, None] - heights) / widths
    bell = _normal(u) / widths
    density: Array = bell @ charges
    if dipoles is not None:
        density = density + (bell * u / widths) @ dipoles
    return density / area


def _normal_and_areas(sites: ChargedSites) -> tuple[Array, Array]:
    """Unit normal of the first frame, along the open cell vector, and areas of all frames."""
    if sites.pbc.sum() != 2:
        raise InputError(
            f"the frames have pbc {sites.pbc.tolist()}, but a potential drop needs a slab: set "
            "pbc to False along its normal, with atoms that are not wrapped in this direction"
        )
    cells, pbc = torch.from_numpy(sites.cells), torch.from_numpy(sites.pbc.copy())
    normal = slab_normals(cells[:1], pbc[None])[0].numpy()
    open_vector = sites.cells[0][~sites.pbc][0]
    normal = normal * (1.0 if normal @ open_vector >= 0 else -1.0)
    first, second = sites.cells[:, sites.pbc][:, 0], sites.cells[:, sites.pbc][:, 1]
    return normal, np.linalg.norm(np.cross(first, second), axis=1)


def _thickness(heights: Array) -> float:
    """Height between the 5th and the 95th percentile of the atoms, A."""
    low, high = np.percentile(heights, [5, 95])
    return float(high - low)


def _scaled(distance: Array, widths: Array) -> tuple[Array, NDArray[np.bool_]]:
    point = np.broadcast_to(widths <= 0, distance.shape)
    return distance / np.where(widths > 0, widths, 1.0), point


def _normal(u: Array) -> Array:
    bell: Array = np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi)
    return bell

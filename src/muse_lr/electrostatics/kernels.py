r"""Coulomb interaction of Gaussian multipoles from radial functions and Cartesian tensors.

For two Gaussians with s^2 = sigma_i^2 + sigma_j^2 and :math:`\alpha^2 = 1 / 2 s^2`,

.. math::
   B_0(r) = \frac{\mathrm{erf}(\alpha r)}{r}, \qquad B_{n+1} = -\frac1r \frac{dB_n}{dr}
   \quad\Rightarrow\quad
   B_n = \frac{2\alpha}{\sqrt\pi} (2\alpha^2)^n F_n(\alpha^2 r^2),

with the Boys functions F_n. For point multipoles :math:`B_n = (2n - 1)!! / r^{2n + 1}`.
W. Smith, CCP5 Newsletter 46, 18 (1998), gives the same recursion for the erfc of the Ewald sum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.boys import boys
from muse_lr.math.multipoles import CartesianMultipoles, order_of
from muse_lr.structures.graph import sum_nodes
from muse_lr.units import COULOMB_CONSTANT

#: Smallest s^2 in A^2 if points are mixed with Gaussians. The interaction of two points then
#: differs from 1/r by erfc(r / sqrt(2 s^2)) / r, which is negligible at distances between nuclei.
POINT_VARIANCE = 1e-4


def radial_kernel(squared: Tensor, variance: Tensor | float, highest: int) -> list[Tensor]:
    """Radial functions B_0 to B_highest.

    Parameters
    ----------
    squared : Tensor
        (p,) squared distances, A^2.
    variance : Tensor or float
        (p,) s^2 = sigma_i^2 + sigma_j^2 in A^2. The number 0 selects point multipoles.
    highest : int
        Highest order.

    Returns
    -------
    list of Tensor
        B_n in A^-(2n + 1).
    """
    if isinstance(variance, (int, float)):
        if variance == 0:
            return _point_kernel(squared, highest)
        variance = squared.new_tensor(float(variance))
    alpha_squared = 0.5 / variance.clamp(min=POINT_VARIANCE)
    prefactor = 2 * (alpha_squared / math.pi).sqrt()
    values = []
    for value in boys(alpha_squared * squared, highest):
        values.append(prefactor * value)
        prefactor = prefactor * 2 * alpha_squared
    return values


def short_range_kernel(distance: Tensor, variance: Tensor | float, splitting: float) -> Tensor:
    r"""Interaction of two charges minus that of two Gaussians with the splitting, in 1/A.

    :math:`[\mathrm{erf}(r / \sqrt{2 s^2}) - \mathrm{erf}(r / 2 \eta)] / r`, and
    :math:`\mathrm{erfc}(r / 2 \eta) / r` for point charges. This function is faster than
    differences of B_0 from :func:`radial_kernel`, but requires nonzero distances.

    Parameters
    ----------
    distance : Tensor
        (p,) in A, positive.
    variance : Tensor or float
        (p,) s^2 in A^2, or one number for all pairs.
    splitting : float
        eta in A.
    """
    smooth = torch.erfc(distance / (2 * splitting))
    if isinstance(variance, (int, float)):
        if variance == 0:
            return smooth / distance
        variance = distance.new_tensor(float(variance))
    exact = torch.erfc(distance / (2 * variance.clamp(min=POINT_VARIANCE)).sqrt())
    return (smooth - exact) / distance


def _point_kernel(squared: Tensor, highest: int) -> list[Tensor]:
    inverse = 1 / squared
    values = [inverse.sqrt()]
    for n in range(1, highest + 1):
        values.append((2 * n - 1) * values[-1] * inverse)
    return values


def pair_interaction(
    first: CartesianMultipoles,
    second: CartesianMultipoles,
    vector: Tensor,
    kernel: list[Tensor],
) -> Tensor:
    r"""Interaction energies of pairs of sites, :math:`\hat L_1 \hat L_2 B_0(|d|)`.

    :math:`\hat L = q \pm \mu_a \partial_a + \tfrac13 \Theta_{ab} \partial_a \partial_b` with
    derivatives with respect to d. The sign is + for the first and - for the second site.

    Parameters
    ----------
    first, second : CartesianMultipoles
        Multipoles of the p pairs. Their orders can differ.
    vector : Tensor
        (p, 3) vectors d in A, position of the first minus that of the second site.
    kernel : list of Tensor
        B_0 to B_n, where n is the sum of the two orders.

    Returns
    -------
    Tensor
        (p,) in e^2/A.
    """
    energy = first.charges * second.charges * kernel[0]
    mu1, mu2 = first.dipoles, second.dipoles
    theta1, theta2 = first.quadrupoles, second.quadrupoles
    along1 = None if mu1 is None else _dot(mu1, vector)
    along2 = None if mu2 is None else _dot(mu2, vector)
    if along1 is not None:
        energy = energy - second.charges * along1 * kernel[1]
    if along2 is not None:
        energy = energy + first.charges * along2 * kernel[1]
    if mu1 is not None and mu2 is not None and along1 is not None and along2 is not None:
        energy = energy + _dot(mu1, mu2) * kernel[1] - along1 * along2 * kernel[2]
    push1 = None if theta1 is None else _apply(theta1, vector)
    push2 = None if theta2 is None else _apply(theta2, vector)
    if push1 is not None:
        energy = energy + _with_quadrupole(push1, second.charges, mu2, along2, vector, kernel, 1)
    if push2 is not None:
        energy = energy + _with_quadrupole(push2, first.charges, mu1, along1, vector, kernel, -1)
    if theta1 is not None and theta2 is not None and push1 is not None and push2 is not None:
        contact = (theta1 * theta2).sum((1, 2)) * 2 * kernel[2]
        middle = 4 * _dot(push1, push2) * kernel[3]
        far = _dot(push1, vector) * _dot(push2, vector) * kernel[4]
        energy = energy + (contact - middle + far) / 9
    return energy


def _with_quadrupole(
    push: Tensor,
    charges: Tensor,
    dipoles: Tensor | None,
    along: Tensor | None,
    vector: Tensor,
    kernel: list[Tensor],
    sign: int,
) -> Tensor:
    """Interaction of a quadrupole with the charge and dipole of the other site.

    ``push`` is Theta d. ``sign`` is 1 for a quadrupole at the first site and -1 at the second.
    """
    double = _dot(push, vector)
    energy = charges * double * kernel[2]
    if dipoles is not None and along is not None:
        energy = energy + sign * (along * double * kernel[3] - 2 * _dot(dipoles, push) * kernel[2])
    return energy / 3


def self_interaction(squares: list[Tensor], variance: Tensor | float) -> Tensor:
    r"""Interaction of multipoles with themselves, :math:`\sum_l |M_l|^2 B_l(0) / (2l - 1)!!`.

    Parameters
    ----------
    squares : list of Tensor
        For each l, (n,) sums over m of M_lm^2, or of products of two sets of moments.
    variance : Tensor or float
        s^2, twice the Gaussian variance, A^2.

    Returns
    -------
    Tensor
        (n,) in e^2/A. The self-energy is one half of it.
    """
    variance = torch.as_tensor(variance, dtype=squares[0].dtype, device=squares[0].device)
    total = torch.zeros_like(squares[0])
    prefactor = 2 * (0.5 / variance / math.pi).sqrt()
    for order, square in enumerate(squares):
        # B_l(0) = prefactor / (2l + 1); (2l - 1)!! is 1, 1, 3.
        total = total + square * prefactor / ((2 * order + 1) * math.prod(range(1, 2 * order, 2)))
        prefactor = prefactor / variance
    return total


def self_energy(density: ChargeDensity) -> Tensor:
    """(n_graphs,) self-energies of Gaussians in eV; k q^2 / 2 sqrt(pi) sigma for a charge."""
    squares = multipole_products(density.moments, density.moments)
    own = self_interaction(squares, 2 * density.width**2) / 2
    return COULOMB_CONSTANT * sum_nodes(own, density.graph_index, density.num_graphs)


def multipole_products(first: Tensor, second: Tensor) -> list[Tensor]:
    """(n,) sums over m of the products of two sets of moments, for each l common to both."""
    lowest = min(order_of(first), order_of(second))
    blocks = [slice(order**2, (order + 1) ** 2) for order in range(lowest + 1)]
    return [(first[:, block] * second[:, block]).sum(1) for block in blocks]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[:, :, None])[:, :, 0]

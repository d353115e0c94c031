r"""Multipoles up to l = 2: their Cartesian form, their frames, their translation.

Racah's real components and Cartesian tensors of the same moments:

.. math::
   \mu_a = \sum q\, r_a, \qquad
   \Theta_{ab} = \tfrac12 \sum q\, (3 r_a r_b - r^2 \delta_{ab}), \qquad \Theta_{zz} = Q_{20},

so that the energy in a potential is :math:`q \phi + \mu_a \phi_a + \tfrac13 \Theta_{ab} \phi_{ab}`
(A. D. Buckingham, Adv. Chem. Phys. 12, 107 (1967)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import sqrt

import torch
from torch import Tensor

from muse_lr.math.harmonics import e3nn_to_standard

#: Where x, y, z stand among the components m = -1, 0, 1 of l = 1.
DIPOLE_ORDER = (2, 0, 1)
MAX_MULTIPOLE = 2


def to_standard_order(vectors: Tensor) -> Tensor:
    """(n, 3, ...) from x, y, z to m = -1, 0, 1 with z as polar axis: y, z, x."""
    return vectors[:, [1, 2, 0]]


def from_standard_order(vectors: Tensor) -> Tensor:
    """(n, 3, ...) from m = -1, 0, 1, which is y, z, x, to x, y, z."""
    return vectors[:, DIPOLE_ORDER]


def order_of(moments: Tensor) -> int:
    """l_max of moments of shape (..., (l_max + 1)^2)."""
    return round(moments.shape[-1] ** 0.5) - 1


@dataclass(frozen=True)
class CartesianMultipoles:
    """Charges, dipoles and traceless quadrupoles of n sites; None beyond the highest order.

    Attributes
    ----------
    charges : Tensor
        (n,) in e.
    dipoles : Tensor or None
        (n, 3) in e A.
    quadrupoles : Tensor or None
        (n, 3, 3) in e A^2, symmetric and traceless (Buckingham's Theta).
    """

    charges: Tensor
    dipoles: Tensor | None = None
    quadrupoles: Tensor | None = None

    @property
    def l_max(self) -> int:
        """Highest order that is there."""
        return (self.dipoles is not None) + (self.quadrupoles is not None)

    def __getitem__(self, index: Tensor) -> CartesianMultipoles:
        return CartesianMultipoles(
            self.charges[index],
            None if self.dipoles is None else self.dipoles[index],
            None if self.quadrupoles is None else self.quadrupoles[index],
        )


def to_cartesian(moments: Tensor) -> CartesianMultipoles:
    """Cartesian tensors of moments of shape (n, (l_max + 1)^2)."""
    l_max = order_of(moments)
    dipoles = from_standard_order(moments[:, 1:4]) if l_max > 0 else None
    quadrupoles = None
    if l_max > 1:
        quadrupoles = torch.einsum("nm,mab->nab", moments[:, 4:9], _quadrupole_basis(moments))
    return CartesianMultipoles(moments[:, 0], dipoles, quadrupoles)


def from_cartesian(multipoles: CartesianMultipoles) -> Tensor:
    """(n, (l_max + 1)^2) moments; the inverse of :func:`to_cartesian`."""
    parts = [multipoles.charges[:, None]]
    if multipoles.dipoles is not None:
        parts.append(to_standard_order(multipoles.dipoles))
    if multipoles.quadrupoles is not None:
        basis = _quadrupole_basis(multipoles.quadrupoles)
        # The basis tensors are orthogonal with squared norm 3/2.
        parts.append(torch.einsum("nab,mab->nm", multipoles.quadrupoles, basis) / 1.5)
    return torch.cat(parts, dim=1)


@cache
def _quadrupole_tensors() -> Tensor:
    """(5, 3, 3) Cartesian tensors of unit moments Q_2m, m = -2..2, float64."""
    basis = torch.zeros((5, 3, 3), dtype=torch.float64)
    half = sqrt(3) / 2
    for component, (a, b) in ((0, (0, 1)), (1, (1, 2)), (3, (0, 2))):
        basis[component, a, b] = basis[component, b, a] = half
    basis[2] = torch.diag(basis.new_tensor([-0.5, -0.5, 1.0]))
    basis[4] = torch.diag(basis.new_tensor([half, -half, 0.0]))
    return basis


def _quadrupole_basis(like: Tensor) -> Tensor:
    return _quadrupole_tensors().to(like)


def moments_to_e3nn(moments: Tensor) -> Tensor:
    """Moments in e3nn's frame, l = 1 as (x, y, z), still in Racah normalization."""
    return _reframe(moments, inverse=True)


def moments_from_e3nn(moments: Tensor) -> Tensor:
    """The inverse of :func:`moments_to_e3nn`."""
    return _reframe(moments, inverse=False)


def _reframe(moments: Tensor, inverse: bool) -> Tensor:
    parts = []
    for order in range(order_of(moments) + 1):
        frame = e3nn_to_standard(order).to(moments)
        block = moments[..., order**2 : (order + 1) ** 2]
        parts.append(block @ (frame if inverse else frame.T))
    return torch.cat(parts, dim=-1)


def translate(multipoles: CartesianMultipoles, displacement: Tensor, l_max: int) -> Tensor:
    r"""Moments of each site about a point from which the site is displaced by d.

    .. math::
       \mu' = \mu + q d, \qquad
       \Theta' = \Theta + \tfrac32 (d \mu + \mu d) - (d \cdot \mu) \mathbf 1
                 + \tfrac q2 (3 d d - d^2 \mathbf 1).

    Exact: a point charge density has the same moments up to l_max about its new origin.

    Parameters
    ----------
    multipoles : CartesianMultipoles
        Of n sites.
    displacement : Tensor
        (n, 3), site minus new origin, A.
    l_max : int
        Highest order of the result; it may exceed that of ``multipoles``.

    Returns
    -------
    Tensor
        (n, (l_max + 1)^2).
    """
    charges = multipoles.charges
    d = displacement.to(charges.dtype)
    local = torch.zeros_like(d) if multipoles.dipoles is None else multipoles.dipoles
    dipoles = quadrupoles = None
    if l_max > 0:
        dipoles = local + charges[:, None] * d
    if l_max > 1:
        # mu d + q d d / 2, made symmetric and traceless with the factor 3.
        product = torch.einsum("na,nb->nab", local + charges[:, None] * d / 2, d)
        symmetric = (product + product.mT) / 2
        trace = symmetric.diagonal(dim1=1, dim2=2).sum(1)
        identity = torch.eye(3, dtype=d.dtype, device=d.device)
        quadrupoles = 3 * symmetric - trace[:, None, None] * identity
        if multipoles.quadrupoles is not None:
            quadrupoles = quadrupoles + multipoles.quadrupoles
    return from_cartesian(CartesianMultipoles(charges, dipoles, quadrupoles))

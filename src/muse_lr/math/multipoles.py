r"""Multipoles up to l = 2: Cartesian form, conversion to e3nn, and translation.

The Cartesian tensors are related to the real components in Racah normalization by

.. math::
   \mu_a = \sum q\, r_a, \qquad
   \Theta_{ab} = \tfrac12 \sum q\, (3 r_a r_b - r^2 \delta_{ab}), \qquad \Theta_{zz} = Q_{20},

so that the energy in an external potential is :math:`q \phi + \mu_a \phi_a + \tfrac13 \Theta_{ab}
\phi_{ab}` (A. D. Buckingham, Adv. Chem. Phys. 12, 107 (1967)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import sqrt

import torch
from torch import Tensor

from muse_lr.math.harmonics import e3nn_to_standard

#: Indices of x, y and z among the components m = -1, 0, 1 of l = 1.
DIPOLE_ORDER = (2, 0, 1)
MAX_MULTIPOLE = 2


def to_standard_order(vectors: Tensor) -> Tensor:
    """Reorder (n, 3, ...) from (x, y, z) to m = -1, 0, 1, which is (y, z, x)."""
    return vectors[:, [1, 2, 0]]


def from_standard_order(vectors: Tensor) -> Tensor:
    """Reorder (n, 3, ...) from m = -1, 0, 1, which is (y, z, x), to (x, y, z)."""
    return vectors[:, DIPOLE_ORDER]


def order_of(moments: Tensor) -> int:
    """l_max of moments of shape (..., (l_max + 1)^2)."""
    return round(moments.shape[-1] ** 0.5) - 1


@dataclass(frozen=True)
class CartesianMultipoles:
    """Charges, dipoles and traceless quadrupoles of n sites.

    Tensors above the highest order are None.

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
        """Highest order of the tensors."""
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
    """Moments of shape (n, (l_max + 1)^2); the inverse of :func:`to_cartesian`."""
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
    """Convert moments to the frame of e3nn, l = 1 as (x, y, z), in Racah normalization."""
    return _reframe(moments, inverse=True)


def moments_from_e3nn(moments: Tensor) -> Tensor:
    """Inverse of :func:`moments_to_e3nn`."""
    return _reframe(moments, inverse=False)


def _reframe(moments: Tensor, inverse: bool) -> Tensor:
    parts = []
    for order in range(order_of(moments) + 1):
        frame = e3nn_to_standard(order).to(moments)
        block = moments[..., order**2 : (order + 1) ** 2]
        parts.append(block @ (frame if inverse else frame.T))
    return torch.cat(parts, dim=-1)


def translate(multipoles: CartesianMultipoles, displacement: Tensor, l_max: int) -> Tensor:
    r"""Translate the moments of each site to a new origin, with d the site minus the new origin.

    .. math::
       \mu' = \mu + q d, \qquad
       \Theta' = \Theta + \tfrac32 (d \mu + \mu d) - (d \cdot \mu) \mathbf 1
                 + \tfrac q2 (3 d d - d^2 \mathbf 1).

    The translation is exact for all moments up to l_max of point multipoles.

    Parameters
    ----------
    multipoles : CartesianMultipoles
        Multipoles of n sites.
    displacement : Tensor
        (n, 3) vectors d in A.
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
        # Symmetric traceless part of mu d + q d d / 2, times 3.
        product = torch.einsum("na,nb->nab", local + charges[:, None] * d / 2, d)
        symmetric = (product + product.mT) / 2
        trace = symmetric.diagonal(dim1=1, dim2=2).sum(1)
        identity = torch.eye(3, dtype=d.dtype, device=d.device)
        quadrupoles = 3 * symmetric - trace[:, None, None] * identity
        if multipoles.quadrupoles is not None:
            quadrupoles = quadrupoles + multipoles.quadrupoles
    return from_cartesian(CartesianMultipoles(charges, dipoles, quadrupoles))

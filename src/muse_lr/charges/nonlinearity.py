r"""Nonlinear polarization of an atom as the gradient of a convex energy.

The moments that a field induces in an atom are the gradient of an energy of the field. For the
derivatives :math:`v_l` of the potential, l >= 1, including the external field,

.. math::
   M_l = M^0_l - \frac{\partial g}{\partial v_l}, \qquad
   g(v) = \tfrac12 \sum_l S_l |v_l|^2 + \sum_k c_k \bigl(\sqrt{1 + x_k} - 1\bigr), \qquad
   x_k = \sum_l e_{kl} S_l |v_l|^2 .

The terms with negative :math:`c_k` raise the polarizability in strong fields, the others lower it.
With :math:`e_{kl} > 0` and :math:`\sum_k |c_k| e_{kl} < 1` the curvature of g is between 0 and
twice that of the linear response, so that g is convex and a response with 2 S below the limit of
:func:`~muse_lr.charges.polarization.largest_susceptibilities` is stable in any structure.

The work that polarizes the atom is the Legendre transform of g,

.. math:: g^*(M^0 - M) = \sum_l (M^0_l - M_l) \cdot v_l - g(v),

which is :math:`\sum_l |M_l - M^0_l|^2 / 2 S_l` without the second sum of g. With it, the energy
of interacting multipoles is stationary in self-consistent multipoles, so that energy, dipole and
polarizability agree: :math:`dE/dF = -\mu` and :math:`d\mu/dF = \alpha`. A response that is not a
gradient, such as a susceptibility that is any function of :math:`|v|`, one for each order, has no
such energy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

#: Number of terms k.
TERMS = 8


@dataclass(frozen=True)
class Nonlinearity:
    """The second sum of the energy g.

    Attributes
    ----------
    strength : Tensor
        (n_atoms, terms, channels) between -1 and 1: c_k sum_l e_kl, times the number of terms.
    scale : Tensor
        (n_atoms, terms, l_max) e_kl in 1/eV, positive.
    """

    strength: Tensor
    scale: Tensor

    def factors(self, fields: Tensor, susceptibility: Tensor) -> Tensor:
        """(n_atoms, l_max + 1, channels) ratio of the response to the linear one, 0 to 2.

        It is 1 for the charges.

        Parameters
        ----------
        fields : Tensor
            (n_atoms, (l_max + 1)^2) v, eV/(e A^l).
        susceptibility : Tensor
            (n_atoms, l_max + 1, channels) S, e^2 A^(2l) / eV.
        """
        slopes = self._weights / self._roots(fields, susceptibility)
        change = torch.einsum("nkl,nkc->nlc", self.scale, slopes)
        return 1 + nn.functional.pad(change, (0, 0, 1, 0))

    def energy(self, fields: Tensor, susceptibility: Tensor) -> Tensor:
        """(n_atoms, channels) g(v) of the orders l >= 1, eV."""
        linear = _strengths(fields, susceptibility).sum(1) / 2
        roots = self._roots(fields, susceptibility)
        return linear + (self._weights * (roots - 1)).sum(1)

    @property
    def _weights(self) -> Tensor:
        """(n_atoms, terms, channels) c_k, eV."""
        terms = self.strength.shape[1]
        return self.strength / (terms * self.scale.sum(2, keepdim=True))

    def _roots(self, fields: Tensor, susceptibility: Tensor) -> Tensor:
        """(n_atoms, terms, channels) sqrt(1 + x_k)."""
        strengths = _strengths(fields, susceptibility)
        return (1 + torch.einsum("nkl,nlc->nkc", self.scale, strengths)).sqrt()


def _strengths(fields: Tensor, susceptibility: Tensor) -> Tensor:
    """(n_atoms, l_max, channels) S |v|^2 of the orders l >= 1, eV."""
    orders = range(1, susceptibility.shape[1])
    squares = [fields[:, o**2 : (o + 1) ** 2].square().sum(1) for o in orders]
    return torch.stack(squares, dim=1)[:, :, None] * susceptibility[:, 1:]


class NonlinearReadout(nn.Module):
    """Predicts a :class:`Nonlinearity` from features.

    Parameters
    ----------
    features : int
        Number of scalar features.
    l_max : int
        Highest order of the multipoles, at least 1.
    channels : int
        1, or 2 for spin up and down.
    """

    def __init__(self, features: int, l_max: int, channels: int) -> None:
        super().__init__()
        self.strength = nn.Linear(features, TERMS * channels)
        self.scale = nn.Linear(features, TERMS * l_max)

    def forward(self, scalars: Tensor) -> Nonlinearity:
        """Parameters for (n_atoms, features) scalars, in float64."""
        strength = torch.tanh(self.strength(scalars).double())
        scale = nn.functional.softplus(self.scale(scalars).double())
        return Nonlinearity(strength.unflatten(1, (TERMS, -1)), scale.unflatten(1, (TERMS, -1)))

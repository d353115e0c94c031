"""The one charge representation that all long-range heads share.

Atom-centred Gaussian multipoles: ``moments`` of shape (n_atoms, (l_max + 1)^2) in e A^l, real solid
harmonics in Racah normalisation with m = -l..l and z as the polar axis,
[q, mu_y, mu_z, mu_x, Q_-2 .. Q_2], and a width sigma in A:

    rho(r) = sum_i sum_lm M_i,lm phi_lm(r - r_i; sigma),

where phi_lm is a Gaussian of standard deviation sigma times r^l Y_lm that carries a unit multipole.
A width of zero is a point. The latent Ewald summation's Gaussians of width sigma_LES are these with
sigma = sigma_LES / sqrt(2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from muse_lr.graph import sum_nodes


@dataclass(frozen=True)
class ChargeDensity:
    """Gaussian multipoles on the atoms.

    Attributes
    ----------
    moments : Tensor
        (n_atoms, (l_max + 1)^2) in e A^l.
    width : Tensor
        (n_atoms,) Gaussian standard deviation, A; 0 is a point.
    graph_index : Tensor
        (n_atoms,) graph of each atom.
    num_graphs : int
    """

    moments: Tensor
    width: Tensor
    graph_index: Tensor
    num_graphs: int

    @property
    def l_max(self) -> int:
        """Highest order of the multipoles."""
        return round(self.moments.shape[1] ** 0.5) - 1

    @property
    def charges(self) -> Tensor:
        """(n_atoms,) monopoles, e."""
        return self.moments[:, 0]

    @property
    def dipoles(self) -> Tensor:
        """(n_atoms, 3) atomic dipoles in Cartesian order x, y, z, e A; zero for l_max = 0."""
        if self.l_max < 1:
            return self.moments.new_zeros((len(self.moments), 3))
        return self.moments[:, [3, 1, 2]]

    def total_charge(self) -> Tensor:
        """(n_graphs,) sum of the charges, e, in float64."""
        return sum_nodes(self.charges, self.graph_index, self.num_graphs)

    def dipole(self, positions: Tensor) -> Tensor:
        """Dipole about the origin, mu = sum_i q_i r_i + mu_i.

        Parameters
        ----------
        positions : Tensor
            (n_atoms, 3) in A. Under periodicity the value depends on the images that are given.

        Returns
        -------
        Tensor
            (n_graphs, 3) in e A, float64.
        """
        local = self.charges[:, None].to(positions.dtype) * positions + self.dipoles
        return sum_nodes(local, self.graph_index, self.num_graphs)


def check_width(width: float | Tensor, n_atoms: int, like: Tensor) -> Tensor:
    """(n_atoms,) widths from one number or one per atom, on the device and dtype of ``like``."""
    return torch.as_tensor(width, dtype=like.dtype, device=like.device).expand(n_atoms)

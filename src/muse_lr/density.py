"""Charge density representation shared by all long-range heads.

The density is a sum of atom-centered Gaussian multipoles. ``moments`` has the shape
(n_atoms, (l_max + 1)^2) and the unit e A^l. Its components are those of real solid harmonics in
Racah normalization with m = -l..l and z as the polar axis: [q, mu_y, mu_z, mu_x, Q_-2 .. Q_2].
With a width sigma in A, the density is

    rho(r) = sum_i sum_lm M_i,lm phi_lm(r - r_i; sigma),

where phi_lm is a Gaussian of standard deviation sigma times r^l Y_lm that carries a unit multipole.
A width of zero is a point multipole. The Gaussians of latent Ewald summation (LES) with the width
sigma_LES correspond to sigma = sigma_LES / sqrt(2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.math.multipoles import (
    CartesianMultipoles,
    moments_to_e3nn,
    order_of,
    to_cartesian,
    translate,
)
from muse_lr.structures.graph import sum_nodes


@dataclass(frozen=True)
class ChargeDensity:
    """Gaussian multipoles on atoms or on coarse sites.

    Attributes
    ----------
    moments : Tensor
        (n_atoms, (l_max + 1)^2) in e A^l.
    width : Tensor
        (n_atoms,) Gaussian standard deviation in A; 0 for a point multipole.
    graph_index : Tensor
        (n_atoms,) graph of each atom.
    num_graphs : int
    spin_moments : Tensor or None
        (n_atoms, (l_max + 1)^2) spin-up minus spin-down electrons, in the layout of ``moments``;
        None without a spin channel. Coulomb sums do not use it.
    polarization : Tensor or None
        (n_graphs, 3) in e A, float64. Dipole of each graph whose derivatives with respect to the
        positions do not depend on the choice of periodic images. None if it is not defined for
        the charge model.
    energy : Tensor or None
        (n_graphs,) in eV, float64. Energy that the charge model assigns to these moments. It is
        added to the energy of the model under the name ``charges``. None if there is no such term.
    """

    moments: Tensor
    width: Tensor
    graph_index: Tensor
    num_graphs: int
    spin_moments: Tensor | None = None
    polarization: Tensor | None = None
    energy: Tensor | None = None

    @property
    def l_max(self) -> int:
        """Highest order of the multipoles."""
        return order_of(self.moments)

    @property
    def charges(self) -> Tensor:
        """(n_atoms,) monopoles, e."""
        return self.moments[:, 0]

    @property
    def cartesian(self) -> CartesianMultipoles:
        """Charges, dipoles (x, y, z) and traceless quadrupoles of the atoms in Cartesian form."""
        return to_cartesian(self.moments)

    @property
    def e3nn_moments(self) -> Tensor:
        """(n_atoms, (l_max + 1)^2) in the e3nn frame, l = 1 as (x, y, z); Racah normalization."""
        return moments_to_e3nn(self.moments)

    def total_charge(self) -> Tensor:
        """(n_graphs,) sum of the charges, e, in float64."""
        return sum_nodes(self.charges, self.graph_index, self.num_graphs)

    def dipole(self, positions: Tensor, origin: Tensor | None = None) -> Tensor:
        """Dipole of each graph, mu = sum_i q_i (r_i - o) + mu_i.

        Parameters
        ----------
        positions : Tensor
            (n_atoms, 3) in A. In periodic systems the dipole depends on the choice of images.
        origin : Tensor, optional
            (n_graphs, 3) o in A; the coordinate origin by default. The dipole of a neutral graph
            does not depend on it.

        Returns
        -------
        Tensor
            (n_graphs, 3) in e A, float64.
        """
        dipoles = to_cartesian(self._about(positions, origin, 1)).dipoles
        assert dipoles is not None
        return sum_nodes(dipoles, self.graph_index, self.num_graphs)

    def quadrupole(self, positions: Tensor, origin: Tensor | None = None) -> Tensor:
        """Traceless quadrupole of each graph, Theta = 1/2 int rho (3 r r - r^2) about an origin.

        Parameters
        ----------
        positions, origin :
            As in :meth:`dipole`.

        Returns
        -------
        Tensor
            (n_graphs, 3, 3) in e A^2, float64. The width of the Gaussians does not contribute
            because it is isotropic.
        """
        quadrupoles = to_cartesian(self._about(positions, origin, 2)).quadrupoles
        assert quadrupoles is not None
        return sum_nodes(quadrupoles, self.graph_index, self.num_graphs)

    def _about(self, positions: Tensor, origin: Tensor | None, l_max: int) -> Tensor:
        if origin is not None:
            positions = positions - origin.to(positions.dtype)[self.graph_index]
        moments = to_cartesian(self.moments.to(positions.dtype))
        return translate(moments, positions, l_max)

    def pool(
        self,
        assignment: Tensor,
        weights: Tensor,
        displacement: Tensor,
        sites: ChargeDensity,
    ) -> ChargeDensity:
        """Transfer the moments to coarse sites, with a weight for each atom and site.

        M_s = sum_i w_is T(r_i - r_s) M_i, where T is the exact translation of multipoles up to
        ``l_max``. If the weights of an atom sum to 1, its charge is conserved to rounding. For
        l_max >= 1 its contribution to the dipole of the system is conserved, too.

        Parameters
        ----------
        assignment : Tensor
            (2, p) of int64: indices of atoms and sites.
        weights : Tensor
            (p,) weights w.
        displacement : Tensor
            (p, 3) vectors from the site to the image of the atom, A.
        sites : ChargeDensity
            Template that defines the width, the graph index and the l_max of the sites. The values
            of its moments are not used.
        """
        atom, site = assignment

        def pooled(moments: Tensor) -> Tensor:
            moved = moved_shares(moments[atom], weights, displacement, sites.l_max)
            empty = moved.new_zeros((len(sites.moments), moved.shape[1]))
            return empty.index_add(0, site, moved)

        spin = None if self.spin_moments is None else pooled(self.spin_moments)
        return ChargeDensity(
            pooled(self.moments), sites.width, sites.graph_index, sites.num_graphs, spin
        )

    def check(self) -> None:
        """Check that the moments are finite.

        Raises
        ------
        InputError
            If they are not. The message names the first such atom.
        """
        finite = torch.isfinite(self.moments).all(1)
        if not bool(finite.all()):
            atom = int((~finite).nonzero()[0])
            raise InputError(
                f"the multipoles of atom {atom} (structure {int(self.graph_index[atom])}) are not "
                "finite: the charge model diverged or its input contains NaN or infinity"
            )


def moved_shares(moments: Tensor, weights: Tensor, displacement: Tensor, l_max: int) -> Tensor:
    """Scale p sets of moments by ``weights`` and translate them to their sites.

    ``displacement``, (p, 3) in A, points from the site to the origin of the moments. The result has
    the shape (p, (l_max + 1)^2).
    """
    shares = moments * weights[:, None].to(moments.dtype)
    return translate(to_cartesian(shares), displacement, l_max)

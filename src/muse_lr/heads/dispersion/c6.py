"""Pairwise dispersion -C6 / r^6 with damping, for all boundary conditions."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from muse_lr.electrostatics.base import REAL_TAPER
from muse_lr.electrostatics.edge_sums import sum_over_edges
from muse_lr.electrostatics.pair_sums import sum_over_pairs
from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs
from muse_lr.heads.dispersion.lattice_sum import PowerSplit, smooth_energy
from muse_lr.heads.dispersion.volumes import VolumeRatios, free_atoms
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.structures.sparse import rungs_of, with_pairs

#: d of the Fermi damping (Tkatchenko and Scheffler).
STEEPNESS = 20.0


class C6Config(HeadConfig):
    """Keys of the pairwise dispersion."""

    kind: Literal["c6"] = "c6"
    damping: Literal["fermi", "becke_johnson", "none"] = Field(
        "fermi", description="Damping function at short distance."
    )
    radius_scale: float = Field(
        0.94,
        gt=0,
        le=3,
        description="Damping radius in units of the sum of the van der Waals radii. 0.94 was "
        "fitted to PBE with Fermi damping.",
    )
    cutoff: float = Field(
        8.0,
        gt=0,
        le=30,
        description="Distance at which the damping ends and at which the real-space sum of "
        "periodic structures is cut, A. The dispersion itself has no cutoff.",
    )
    accuracy: float = Field(
        1e-6, ge=1e-12, le=1e-2, description="Relative truncation error of the lattice sum."
    )


class C6Head(Head):
    r"""Pairwise dispersion with C6 coefficients that depend on the volumes of the atoms.

    .. math:: E = -\sum_{i<j} \frac{C_{6,ij}}{r_{ij}^6}
              \bigl[1 - w(r_{ij}) (1 - f(r_{ij} / R_{ij}))\bigr], \qquad
              C_{6,ij} = v_i v_j C_{6,Z_i Z_j}, \quad
              R_{ij} = s (v_i^{1/3} R_{Z_i} + v_j^{1/3} R_{Z_j})

    The sum runs over all pairs and all images. The volume ratios v are those of
    :class:`~muse_lr.heads.dispersion.volumes.VolumeRatios`. C6 is a product of the volumes because
    C6 = v^2 C6_free and alpha = v alpha_free, with the combination rule of A. Tkatchenko and M.
    Scheffler, Phys. Rev. Lett. 102, 073005 (2009). The damping f is their Fermi function, or
    r^6 / (r^6 + R^6) after A. D. Becke and E. R. Johnson, J. Chem. Phys. 123, 154101 (2005). The
    switch w removes the damping beyond a cutoff, in the same way for all boundaries. The undamped
    rest is then summed to infinity in closed form.
    """

    Config: ClassVar[type[HeadConfig]] = C6Config
    reads_density: bool = False
    long_range: ClassVar[bool] = True

    def __init__(self, config: C6Config, context: HeadContext) -> None:
        super().__init__()
        self.damping, self.radius_scale = config.damping, config.radius_scale
        self.cutoff = config.cutoff
        self.split = PowerSplit.within(config.cutoff, config.accuracy)
        self.volume_ratios = VolumeRatios(context)
        # Not buffers, because casting the model would round them.
        self._free = free_atoms(context.elements)

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        ratios = self.volume_ratios(inputs)
        return self.energy(inputs.geometry, inputs.composition.double(), ratios)

    def energy(self, geometry: Geometry, composition: Tensor, ratios: Tensor) -> Tensor:
        """Compute the energy of atoms with given volumes.

        Parameters
        ----------
        geometry : Geometry
        composition : Tensor
            (n_atoms, n_elements), one-hot, float64.
        ratios : Tensor
            (n_atoms,) ratio of the volume to that of the free atom, float64.

        Returns
        -------
        Tensor
            (n_graphs,) in eV.
        """
        coupling = self._free.c6_pairs.to(ratios.device)
        weights = composition * ratios[:, None]
        radii = (composition @ self._free.radius.to(ratios.device)) * ratios.pow(1 / 3)

        def open_energy(
            first: Tensor, second: Tensor, positions: Tensor, weights: Tensor, radii: Tensor
        ) -> Tensor:
            distance = torch.linalg.vector_norm(positions[first] - positions[second], dim=1)
            share = 1 - self._undamped(distance, radii[first] + radii[second])
            pairs = self._pairs(distance, share, (first, second), weights, coupling)
            return sum_nodes(pairs, geometry.graph_index[first], geometry.num_graphs)

        tensors = geometry.positions, weights, radii
        energy = sum_over_pairs(
            open_energy, geometry.nodes_per_graph, geometry.open_graphs, tensors
        )
        periodic = ~geometry.open_graphs
        if not bool(periodic.any()):
            return energy
        for rung, graphs in rungs_of(geometry, periodic):
            wide = with_pairs(geometry, rung, 2**rung * self.cutoff)
            energy = energy + self._near(wide, graphs, rung, weights, coupling, radii)
        return energy + smooth_energy(weights, coupling, geometry, periodic, self.split)

    def _near(
        self,
        geometry: Geometry,
        periodic: Tensor,
        rung: int,
        weights: Tensor,
        coupling: Tensor,
        radii: Tensor,
    ) -> Tensor:
        """(n_graphs,) short-range part and damping of periodic graphs of one rung, eV."""
        split, cutoff = self.split.on_rung(rung), 2**rung * self.cutoff
        sender, receiver = geometry.edge_index
        near = (geometry.edge_lengths < cutoff) & periodic[geometry.graph_index[receiver]]
        # The neighbor list contains each pair twice.
        near = near & (sender <= receiver)

        def energy(
            first: Tensor, second: Tensor, distance: Tensor, _: Tensor, *tensors: Tensor
        ) -> Tensor:
            weights, radii = tensors
            window = switch_off(distance, REAL_TAPER * cutoff, cutoff)
            share = split.short_range(distance) * window
            share = share - self._undamped(distance, radii[first] + radii[second])
            share = torch.where(first == second, 0.5, 1.0) * share
            pairs = self._pairs(distance, share, (first, second), weights, coupling)
            return sum_nodes(pairs, geometry.graph_index[second], geometry.num_graphs)

        return sum_over_edges(energy, geometry, near.nonzero()[:, 0], rung, (weights, radii))

    @staticmethod
    def _pairs(
        distance: Tensor,
        share: Tensor,
        atoms: tuple[Tensor, Tensor],
        weights: Tensor,
        coupling: Tensor,
    ) -> Tensor:
        """(p,) -C6 / r^6 times ``share``, eV."""
        c6 = ((weights @ coupling)[atoms[0]] * weights[atoms[1]]).sum(1)
        return -share * c6 / distance.pow(6)

    def _undamped(self, distance: Tensor, radius: Tensor) -> Tensor:
        """(p,) w (1 - f), the fraction of the interaction that damping removes."""
        if self.damping == "none":
            return torch.zeros_like(distance)
        ratio = distance / (self.radius_scale * radius)
        if self.damping == "fermi":
            removed = torch.sigmoid(-STEEPNESS * (ratio - 1))
        else:
            removed = 1 / (1 + ratio.pow(6))
        # Becke-Johnson damping decays slowly, so a short taper would cause spurious forces.
        return removed * switch_off(distance, self.cutoff / 2, self.cutoff)

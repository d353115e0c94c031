"""What a model says of a batch."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.multiscale.muse.assignment import Assignment, CoarseNodes
from muse_lr.structures.graph import NodeFeatures


@dataclass
class ModelOutput:
    """What the model says of a batch.

    Attributes
    ----------
    energy : Tensor
        (n_graphs,) in eV, float64.
    energy_parts : dict of str to Tensor
        e0, backbone (each term of one that has several: backbone.TERM), multiscale, then the heads
        by name; they sum to the energy.
    forces : Tensor or None
        (n_atoms, 3) in eV/A.
    stress : Tensor or None
        (n_graphs, 3, 3) in eV/A^3, ASE's sign; NaN for graphs without a periodic direction.
    force_parts, stress_parts : dict of str to Tensor
        Forces and stress of each of the ``energy_parts``, where they were asked for; they sum to
        those of the energy.
    charges : Tensor or None
        (n_atoms,) in e.
    dipole : Tensor or None
        (n_graphs, 3) in e A, about the origin.
    quadrupole : Tensor or None
        (n_graphs, 3, 3) in e A^2, traceless, Theta_zz = sum q (3 z^2 - r^2) / 2 about the origin.
    polarization : Tensor or None
        (n_graphs, 3) in e A: the dipole that does not depend on the choice of images.
    potential : Tensor or None
        (n_atoms,) in V: of all other atoms, averaged over the Gaussian of each atom.
    bec : Tensor or None
        (n_atoms, 3, 3) Born effective charges dP_a/dr_ib in e.
    bec_error : Tensor or None
        (n_graphs,) their estimated error in e: 0 where they are exact.
    polarizability : Tensor or None
        (n_graphs, 3, 3) dP_a/dF_b in e A^2/V at fixed atoms; NaN where a field along a periodic
        direction would move charges.
    dielectric : Tensor or None
        (n_graphs, 3, 3) electronic dielectric tensor; NaN for what is no crystal.
    density : ChargeDensity or None
    features : NodeFeatures or None
        Of the backbone, or of the multiscale part where there is one.
    levels : tuple
        Coarse nodes and assignment of each level of the multiscale part.
    total_charge : Tensor or None
        (n_graphs,) in e: as stated, or what the charge model takes it to be.
    """

    energy: Tensor
    energy_parts: dict[str, Tensor] = field(default_factory=dict)
    forces: Tensor | None = None
    stress: Tensor | None = None
    force_parts: dict[str, Tensor] = field(default_factory=dict)
    stress_parts: dict[str, Tensor] = field(default_factory=dict)
    charges: Tensor | None = None
    dipole: Tensor | None = None
    quadrupole: Tensor | None = None
    polarization: Tensor | None = None
    potential: Tensor | None = None
    bec: Tensor | None = None
    bec_error: Tensor | None = None
    polarizability: Tensor | None = None
    dielectric: Tensor | None = None
    density: ChargeDensity | None = None
    features: NodeFeatures | None = None
    levels: tuple[tuple[CoarseNodes, Assignment], ...] = ()
    total_charge: Tensor | None = None

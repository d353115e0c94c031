"""The output of a model for a batch of structures."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.multiscale.base import Assignment, CoarseNodes
from muse_lr.structures.graph import NodeFeatures

#: Quantities of the output that the summary lists, and their units.
UNITS = {
    "energy": "eV",
    "forces": "eV/A",
    "stress": "eV/A^3",
    "charges": "e",
    "dipole": "e A",
    "quadrupole": "e A^2",
    "polarization": "e A",
    "potential": "V",
    "bec": "e",
    "polarizability": "e A^2/V",
    "dielectric": "",
}


@dataclass(repr=False)
class ModelOutput:
    """Energies and the requested quantities of a batch.

    Attributes
    ----------
    energy : Tensor
        (n_graphs,) in eV, float64.
    energy_parts : dict of str to Tensor
        Terms of the energy: e0, backbone, multiscale, charges and the heads by name. A backbone
        with several terms has one entry backbone.TERM for each. They sum to ``energy``. With
        ``only``, the chosen ones.
    forces : Tensor or None
        (n_atoms, 3) in eV/A.
    stress : Tensor or None
        (n_graphs, 3, 3) in eV/A^3, ASE's sign; NaN for graphs without a volume: open systems, and
        slabs whose cell has no vector along the open direction.
    force_parts, stress_parts : dict of str to Tensor
        Forces and stress of each of the ``energy_parts``, if requested. They sum to ``forces`` and
        ``stress``.
    charges : Tensor or None
        (n_atoms,) in e.
    dipole : Tensor or None
        (n_graphs, 3) in e A, about the origin.
    quadrupole : Tensor or None
        (n_graphs, 3, 3) in e A^2, traceless, Theta_zz = sum q (3 z^2 - r^2) / 2 about the origin.
    polarization : Tensor or None
        (n_graphs, 3) in e A; a dipole that does not depend on the choice of periodic images.
    potential : Tensor or None
        (n_atoms,) in V; potential of all other atoms, averaged over the Gaussian of each atom.
    bec : Tensor or None
        (n_atoms, 3, 3) Born effective charges dP_a/dr_ib in e.
    bec_error : Tensor or None
        (n_graphs,) estimated error of ``bec`` in e; 0 where it is exact.
    polarizability : Tensor or None
        (n_graphs, 3, 3) dP_a/dF_b in e A^2/V at fixed atoms; NaN where a field along a periodic
        direction would move charges.
    dielectric : Tensor or None
        (n_graphs, 3, 3) electronic dielectric tensor; NaN for graphs that are not crystals.
    density : ChargeDensity or None
    features : NodeFeatures or None
        Features of the multiscale block if there is one, else of the backbone.
    levels : tuple
        Coarse nodes and atom-to-node assignment of each level of the multiscale block.
    total_charge : Tensor or None
        (n_graphs,) in e; from the batch, or from the charge model if it fixes one.
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

    def __getitem__(self, name: object) -> Tensor:
        raise InputError(f"a quantity is an attribute of the output: output.{name}")

    def __repr__(self) -> str:
        found = [
            f"{name} {tuple(value.shape)}{f' {unit}' * bool(unit)}"
            for name, unit in UNITS.items()
            if (value := getattr(self, name)) is not None
        ]
        parts = ", ".join(self.energy_parts)
        return f"ModelOutput({', '.join(found)}; energy_parts {parts})"

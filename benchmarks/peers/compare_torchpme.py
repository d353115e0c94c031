"""torch-pme against our reference solver: Ewald, PME, P3M, slabs, Gaussians; and its r^-6 sum.

    python -m benchmarks.peers.compare_torchpme

Its calculators return potentials that are already halved, in e/A. Its ``smearing`` is sqrt(2)
times our splitting. The Fourier half alone, at smearing sqrt(2) sigma, is the energy of Gaussian
charges of width sigma, up to a background term of point charges that is taken back here. Its slab
correction reads the Cartesian axis, so slabs are orthorhombic and strains that tilt them are left
out.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from benchmarks.peers.common import (
    CUBIC,
    ORTHORHOMBIC,
    TRICLINIC,
    Answer,
    EnergyOf,
    System,
    differentiate,
    ours,
    pair_distances,
    pairs,
    scattered,
)
from benchmarks.peers.oracles import reciprocal_sum
from benchmarks.peers.report import Report, require
from muse_lr.units import COULOMB_CONSTANT

torchpme = require("torchpme", "torch-pme")

SMEARING = 1.2
REAL_CUTOFF = 9.5
#: |k| <= pi / wavelength; exp(-smearing^2 k^2 / 2) is then 1e-14.
EWALD_WAVELENGTH = math.pi * SMEARING / math.sqrt(2 * math.log(1e14))
#: A mesh has the power of two above 2 L / spacing points: 128 along each axis here.
MESH_SPACING = 0.18
SIMPLE_CUBIC_SIXTH = 8.4019239748
VALUES = ("energy", "forces", "field")
SKEWED_P3M = "P3M takes Cartesian k for fractional: wrong in skewed cells"


def calculator_energy(system: System, kind: str, **options: object) -> EnergyOf:
    """Energy of point charges by one of its calculators, eV."""
    calculator = getattr(torchpme, kind)(
        torchpme.CoulombPotential(smearing=SMEARING), full_neighbor_list=True, **options
    ).double()
    index, shifts = pairs(system, REAL_CUTOFF)
    periodic = torch.tensor(system.atoms.pbc)

    def energy_of(positions: Tensor, cell: Tensor, moments: Tensor) -> Tensor:
        potential = calculator(
            charges=moments[:, :1],
            cell=cell,
            positions=positions,
            neighbor_indices=torch.from_numpy(index.T.copy()),
            neighbor_distances=pair_distances(positions, cell, index, shifts),
            periodic=periodic,
        )
        return COULOMB_CONSTANT * (moments[:, :1] * potential).sum()

    return energy_of


def gaussian_energy(width: float) -> EnergyOf:
    """Energy of periodic Gaussian charges, the Fourier half of its Ewald sum, eV."""
    smearing = math.sqrt(2) * width
    calculator = torchpme.EwaldCalculator(
        torchpme.CoulombPotential(smearing=smearing),
        lr_wavelength=math.pi * smearing / math.sqrt(2 * math.log(1e14)),
        full_neighbor_list=True,
    ).double()

    def energy_of(positions: Tensor, cell: Tensor, moments: Tensor) -> Tensor:
        charges = moments[:, :1]
        potential = calculator(
            charges=charges,
            cell=cell,
            positions=positions,
            neighbor_indices=torch.zeros((0, 2), dtype=torch.int64),
            neighbor_distances=torch.zeros(0, dtype=torch.float64),
        )
        background = math.pi * smearing**2 * charges.sum() ** 2 / torch.linalg.det(cell).abs()
        return COULOMB_CONSTANT * ((charges * potential).sum() + background)

    return energy_of


def charge_rows(report: Report) -> None:
    """Point charges in crystals by all three calculators."""
    kinds = {
        "EwaldCalculator": ({"lr_wavelength": EWALD_WAVELENGTH}, 1e-8),
        "PMECalculator": ({"mesh_spacing": MESH_SPACING, "interpolation_nodes": 7}, 1e-7),
        "P3MCalculator": ({"mesh_spacing": MESH_SPACING, "interpolation_nodes": 5}, 1e-6),
    }
    for shape, cell in (("cubic", CUBIC), ("triclinic", TRICLINIC)):
        for charge in (0.0, 1.5):
            system = scattered(shape, cell, (1, 1, 1), 20, 0, total_charge=charge)
            mine = ours(system)
            for kind, (options, tolerance) in kinds.items():
                theirs = differentiate(calculator_energy(system, kind, **options), system)
                case = f"{kind}, TTT {shape}, Q = {charge:g}"
                skewed = kind == "P3MCalculator"
                note = SKEWED_P3M if skewed and shape == "triclinic" else ""
                report.compare(case, mine, theirs, tolerance, VALUES, note)
                note = SKEWED_P3M if skewed else ""
                report.compare(case, mine, theirs, tolerance, ("strain",), note)


def gaussian_rows(report: Report) -> None:
    """Gaussian charges, wide enough that no real-space part is needed."""
    for width in (0.6, 1.5):
        for charge in (0.0, 1.5):
            system = scattered(
                "gaussian", TRICLINIC, (1, 1, 1), 20, 0, width=width, total_charge=charge
            )
            mine = ours(system)
            theirs = differentiate(gaussian_energy(width), system)
            case = f"Gaussians of {width} A, TTT triclinic, Q = {charge:g}"
            report.compare(case, mine, theirs, 1e-8)
            exact = Answer(reciprocal_sum(system))
            report.compare(f"plain numpy sum, {case}", mine, exact, 1e-8)


def slab_rows(report: Report) -> None:
    """Point charges in slabs along every axis."""
    options = {"lr_wavelength": EWALD_WAVELENGTH}
    for axis, name in enumerate("abc"):
        cell = ORTHORHOMBIC.copy()
        cell[axis] *= 5
        pbc = [index != axis for index in range(3)]
        for charge in (0.0, 1.0):
            system = scattered("slab", cell, pbc, 12, 0, total_charge=charge, seed=axis)
            theirs = differentiate(calculator_energy(system, "EwaldCalculator", **options), system)
            case = f"EwaldCalculator, slab, open {name}, Q = {charge:g}"
            report.compare(case, ours(system), theirs.without_tilt(axis), 1e-7)


def sixth_power_sum() -> float:
    """Its lattice sum of r^-6 over the simple cubic lattice of unit spacing."""
    smearing = 0.35
    calculator = torchpme.EwaldCalculator(
        torchpme.InversePowerLawPotential(exponent=6, smearing=smearing),
        lr_wavelength=math.pi * smearing / math.sqrt(2 * math.log(1e14)),
        full_neighbor_list=True,
    ).double()
    atoms = Atoms("H", cell=np.eye(3), pbc=True)
    system = System("simple cubic", atoms, np.ones((1, 1)), np.zeros(1))
    index, shifts = pairs(system, 4.5)
    potential = calculator(
        charges=torch.ones(1, 1, dtype=torch.float64),
        cell=system.cell(),
        positions=system.positions(),
        neighbor_indices=torch.from_numpy(index.T.copy()),
        neighbor_distances=pair_distances(system.positions(), system.cell(), index, shifts),
    )
    return 2 * float(potential)


def direct_sixth_power_sum(reach: int = 60) -> float:
    """The same sum over a ball, its tail by the integral, in numpy."""
    axis = np.arange(-reach, reach + 1)
    squared = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).astype(float)
    near = squared[(squared > 0) & (squared <= reach**2)]
    radius = ((len(near) + 1) * 3 / (4 * math.pi)) ** (1 / 3)
    return float((near**-3).sum()) + 4 * math.pi / (3 * radius**3)


def main() -> int:
    """Run all cases."""
    report = Report("peers_torchpme", "torch-pme")
    charge_rows(report)
    gaussian_rows(report)
    slab_rows(report)
    sixth = sixth_power_sum()
    case = "r^-6, simple cubic"
    report.value(f"{case}, against the literature", SIMPLE_CUBIC_SIXTH, sixth, 1e-9)
    report.value(f"{case}, against a direct sum", direct_sixth_power_sum(), sixth, 1e-7)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())

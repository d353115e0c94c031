"""nvalchemi-toolkit-ops against our reference solver: charges, slabs and multipoles up to l = 2.

    python -m benchmarks.peers.compare_nvalchemi

Their charge routines return e^2/A and are multiplied by our Coulomb constant. Their multipole
routines return eV with 1 / (4 pi eps0) from ten digits of eps0, which is divided out. Their l = 2
input is sum q (r r - r^2 / 3), two thirds of our traceless tensor. Their erfc is right to about
1e-7, which limits all sums with a real-space part but the charges' Ewald sum. The first run on a
machine compiles kernels for minutes.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.common import (
    CUBIC,
    TRICLINIC,
    Answer,
    EnergyOf,
    System,
    cartesian_quadrupoles,
    differentiate,
    ours,
    pairs,
    scattered,
)
from benchmarks.peers.oracles import reciprocal_sum
from benchmarks.peers.report import Report, require
from muse_lr.units import COULOMB_CONSTANT

require("nvalchemiops.torch", "nvalchemi-toolkit-ops")
from nvalchemiops.torch.interactions import electrostatics as nv  # noqa: E402
from nvalchemiops.torch.math import FIELD_CONSTANT  # noqa: E402

ALPHA = 0.6
REAL_CUTOFF = 9.5
RECIPROCAL_CUTOFF = 6.8
#: Width of the Gaussian multipoles, A.
SIGMA = 0.8
SKEWED_PME = "their multipole PME is wrong in skewed cells"
THEIR_CONSTANT = FIELD_CONSTANT / (4 * np.pi)


def neighbors(system: System, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    """Their list: pairs (2, n_pairs), row pointers (n + 1,) and shifts (n_pairs, 3), all int32."""
    index, shifts = pairs(system, cutoff)
    pointer = np.searchsorted(index[0], np.arange(len(system.atoms) + 1))
    index_, pointer_, shifts_ = (
        torch.tensor(array, dtype=torch.int32) for array in (index, pointer, shifts)
    )
    return index_, pointer_, shifts_


def charge_energy(function: Callable[..., Tensor], system: System, **options: Any) -> EnergyOf:
    """Energy of point charges by their Ewald or PME, eV."""
    index, pointer, shifts = neighbors(system, REAL_CUTOFF)
    pbc = torch.tensor(system.atoms.pbc)
    if not pbc.all():
        options = {**options, "pbc": pbc, "slab_correction": True}

    def energy_of(positions: Tensor, cell: Tensor, moments: Tensor) -> Tensor:
        energy = function(
            positions,
            moments[:, 0].contiguous(),
            cell,
            alpha=ALPHA,
            neighbor_list=index,
            neighbor_ptr=pointer,
            neighbor_shifts=shifts,
            **options,
        )
        return COULOMB_CONSTANT * energy.sum()

    return energy_of


def packed(moments: Tensor) -> Tensor:
    """Their moments from ours."""
    l_max = round(moments.shape[1] ** 0.5) - 1
    return nv.pack_multipole_moments(
        moments[:, 0],
        moments[:, [3, 1, 2]] if l_max > 0 else None,
        cartesian_quadrupoles(moments) * 2 / 3 if l_max > 1 else None,
    )


def direct_energy(system: System) -> EnergyOf:
    """Energy of Gaussian multipoles by their direct reciprocal sum, eV."""

    def energy_of(positions: Tensor, cell: Tensor, moments: Tensor) -> Tensor:
        energy = nv.multipole_electrostatic_energy(
            positions, packed(moments), cell, sigma=SIGMA, k_cutoff=8.0
        )
        return energy.sum() * COULOMB_CONSTANT / THEIR_CONSTANT

    return energy_of


def split_energy(function: Callable[..., Tensor], system: System, **options: Any) -> EnergyOf:
    """Energy of Gaussian multipoles by their multipole Ewald or PME, eV."""
    index, pointer, shifts = neighbors(system, 12.0)

    def energy_of(positions: Tensor, cell: Tensor, moments: Tensor) -> Tensor:
        energy = function(
            positions,
            packed(moments),
            cell,
            index[1].contiguous(),
            pointer,
            shifts,
            sigma=SIGMA,
            alpha=ALPHA,
            **options,
        )
        return energy.sum() * COULOMB_CONSTANT / THEIR_CONSTANT

    return energy_of


def charge_rows(report: Report) -> None:
    """Point charges in crystals, neutral and charged."""
    for shape, cell in (("cubic", CUBIC), ("triclinic", TRICLINIC)):
        for charge in (0.0, 1.5):
            system = scattered(shape, cell, (1, 1, 1), 20, 0, total_charge=charge)
            mine = ours(system)
            case = f"TTT {shape}, Q = {charge:g}"
            ewald = charge_energy(nv.ewald_summation, system, k_cutoff=RECIPROCAL_CUTOFF)
            theirs = differentiate(ewald, system)
            report.compare(f"Ewald, {case}", mine, theirs, 1e-8)
            mesh = charge_energy(
                nv.particle_mesh_ewald, system, mesh_dimensions=(128,) * 3, spline_order=6
            )
            theirs = differentiate(mesh, system)
            report.compare(f"PME, {case}", mine, theirs, 1e-5)


def slab_rows(report: Report) -> None:
    """Point charges in slabs along every axis."""
    for axis, name in enumerate("abc"):
        pbc = [index != axis for index in range(3)]
        for shape, cell in (("orthorhombic", CUBIC), ("triclinic", TRICLINIC)):
            long = cell.copy()
            long[axis] *= 6
            for charge in (0.0, 1.0):
                system = scattered(shape, long, pbc, 12, 0, total_charge=charge, seed=axis)
                ewald = charge_energy(nv.ewald_summation, system, k_cutoff=RECIPROCAL_CUTOFF)
                case = f"slab, open {name}, {shape}, Q = {charge:g}"
                report.compare(case, ours(system), differentiate(ewald, system), 1e-7)


def multipole_sums(l_max: int) -> dict[str, tuple[Callable[[System], EnergyOf], float]]:
    """Their three sums of multipoles, each with its tolerance."""

    def ewald(system: System) -> EnergyOf:
        return split_energy(nv.multipole_ewald_summation, system, k_cutoff=RECIPROCAL_CUTOFF)

    def mesh(system: System) -> EnergyOf:
        options = {"mesh_dimensions": (64,) * 3, "spline_order": 6}
        return split_energy(nv.multipole_particle_mesh_ewald, system, **options)

    sums: dict[str, tuple[Callable[[System], EnergyOf], float]]
    sums = {"direct": (direct_energy, 1e-8), "Ewald": (ewald, 1e-5), "PME": (mesh, 1e-5)}
    if l_max > 1:
        # Its kernels for quadrupoles take many minutes to compile on a CPU.
        del sums["PME"]
    return sums


def multipole_rows(report: Report) -> None:
    """Gaussian multipoles in crystals, l = 0, 1, 2, neutral and charged."""
    for l_max in (0, 1, 2):
        for shape, cell in (("cubic", CUBIC), ("triclinic", TRICLINIC)):
            for charge in (0.0, 1.0):
                system = scattered(
                    shape, cell, (1, 1, 1), 16, l_max, width=SIGMA, total_charge=charge
                )
                mine = ours(system)
                case = f"{shape}, l = {l_max}, Q = {charge:g}"
                for name, (build, tolerance) in multipole_sums(l_max).items():
                    theirs = differentiate(build(system), system)
                    note = SKEWED_PME if name == "PME" and shape == "triclinic" else ""
                    report.compare(f"multipole {name}, {case}", mine, theirs, tolerance, note=note)
                exact = Answer(reciprocal_sum(system))
                report.compare(f"plain numpy sum, {case}", mine, exact, 1e-8)


def main() -> int:
    """Run all cases."""
    warnings.filterwarnings("ignore")
    report = Report("peers_nvalchemi", "nvalchemi-toolkit-ops", "warp-lang")
    charge_rows(report)
    slab_rows(report)
    multipole_rows(report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())

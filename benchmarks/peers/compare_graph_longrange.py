"""graph-longrange against our reference solver: Gaussian multipoles, l <= 1.

    python -m benchmarks.peers.compare_graph_longrange

Order [Q, d_y, d_z, d_x] and width as ours. Its 1 / (4 pi eps0) has ten digits, which is divided
out. Its dipoles of open systems are pairs of charges at a finite distance, so these agree to that
distance only. Its slabs are neutral and normal to z: the potential, a derivative towards net
charge, is compared up to a constant, and strains that tilt the slab are left out.
"""

from __future__ import annotations

import math
import sys
import warnings

import torch
from torch import Tensor

from benchmarks.peers.common import (
    CUBIC,
    TRICLINIC,
    Answer,
    EnergyOf,
    System,
    differentiate,
    ours,
    scattered,
)
from benchmarks.peers.oracles import open_cluster_sum
from benchmarks.peers.report import Report, require
from muse_lr.backbones.mace.imports import float64_construction
from muse_lr.units import COULOMB_CONSTANT

require("graph_longrange", "graph_longrange")

SIGMA = 0.8
K_CUTOFF = 8.0


def peer_energy(system: System, handling: str) -> EnergyOf:
    """Energy by GTOElectrostaticEnergy, eV, with our Coulomb constant."""
    with float64_construction():
        from graph_longrange.energy import GTOElectrostaticEnergy
        from graph_longrange.kspace import compute_k_vectors_flat
        from graph_longrange.utils import FIELD_CONSTANT

        module = GTOElectrostaticEnergy(
            density_max_l=system.l_max,
            density_smearing_width=SIGMA,
            kspace_cutoff=K_CUTOFF,
            pbc_handling=handling,
        ).double()
    constant = FIELD_CONSTANT / (4 * math.pi)
    pbc = torch.tensor(system.atoms.pbc)[None]
    batch = torch.zeros(len(system.atoms), dtype=torch.int64)

    def energy_of(positions: Tensor, cell: Tensor, moments: Tensor) -> Tensor:
        reciprocal = 2 * math.pi * torch.linalg.inv(cell).T
        k_vectors, k_norm2, k_batch, k_zero = compute_k_vectors_flat(
            K_CUTOFF, cell[None], reciprocal[None]
        )
        energy = module(
            k_vectors=k_vectors,
            k_norm2=k_norm2,
            k_vector_batch=k_batch,
            k0_mask=k_zero,
            source_feats=moments,
            node_positions=positions,
            batch=batch,
            volume=torch.linalg.det(cell).abs()[None],
            pbc=pbc,
        )
        return energy.sum() * COULOMB_CONSTANT / constant

    return energy_of


def main() -> int:
    """Run all cases."""
    warnings.filterwarnings("ignore")
    torch.set_default_dtype(torch.float64)
    report = Report("peers_graph_longrange", "graph_longrange", "e3nn")
    for l_max in (0, 1):
        for shape, cell in (("cubic", CUBIC), ("triclinic", TRICLINIC)):
            for charge in (0.0, 1.0):
                system = scattered(
                    shape, cell, (1, 1, 1), 16, l_max, total_charge=charge, width=SIGMA, seed=3
                )
                report.compare(
                    f"TTT {shape}, l = {l_max}, Q = {charge:g}",
                    ours(system),
                    differentiate(peer_energy(system, "pbc"), system),
                    1e-8,
                )
        cell = CUBIC.copy()
        cell[2] *= 5
        system = scattered("slab", cell, (1, 1, 0), 10, l_max, width=SIGMA, seed=3)
        theirs = differentiate(peer_energy(system, "slab"), system).without_tilt(2)
        case = f"neutral slab, open c, l = {l_max}"
        mine, theirs = ours(system), theirs.without_mean_potential()
        report.compare(case, mine.without_mean_potential(), theirs, 1e-8)
        system = scattered("molecule", 8 * CUBIC / 10, (0, 0, 0), 6, l_max, width=SIGMA, seed=3)
        mine = ours(system)
        theirs = differentiate(peer_energy(system, "realspace"), system)
        tolerance = 1e-5 if l_max == 0 else 2e-2
        report.compare(f"molecule, l = {l_max}", mine, theirs, tolerance, ("energy", "forces"))
        exact = Answer(open_cluster_sum(system))
        report.compare(f"molecule by clusters of charges, l = {l_max}", mine, exact, 1e-7)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())

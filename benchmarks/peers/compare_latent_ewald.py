"""The latent Ewald sum as published, in numpy, against our Gaussian charges of width / sqrt(2).

    python -m benchmarks.peers.compare_latent_ewald

    E = 1 / (2 eps0 V) sum_{k != 0} exp(-sigma^2 k^2 / 2) / k^2 |sum_i q_i exp(i k.r_i)|^2
        - k / (sigma sqrt(2 pi)) sum_i q_i^2

(Cheng, npj Comput. Mater. 11, 80 (2025), equations 3 and 4). The sum is converged here: at the
resolution dl = 2 A of the published code, |k| < 2 pi / dl, it is not, which the last rows show.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from benchmarks.peers.common import CUBIC, TRICLINIC, Answer, System, ours, scattered
from benchmarks.peers.oracles import reciprocal_vectors
from benchmarks.peers.report import Report
from muse_lr.units import COULOMB_CONSTANT

VACUUM_PERMITTIVITY = 1 / (4 * math.pi * COULOMB_CONSTANT)


def latent_ewald(system: System, sigma: float, cutoff: float) -> Answer:
    """Energy and forces by the published formula, eV and eV/A."""
    charges = system.moments[:, 0]
    cell = system.atoms.cell.array
    vectors = reciprocal_vectors(cell, cutoff)
    squared = (vectors**2).sum(1)
    weight = np.exp(-(sigma**2) * squared / 2) / squared
    weight /= 2 * VACUUM_PERMITTIVITY * abs(np.linalg.det(cell))
    phases = np.exp(1j * vectors @ system.atoms.positions.T)
    structure = phases @ charges
    own = COULOMB_CONSTANT * (charges**2).sum() / (sigma * math.sqrt(2 * math.pi))
    energy = float((weight * np.abs(structure) ** 2).sum() - own)
    slope = (weight * structure.conj())[:, None] * phases
    gradient = -2 * np.einsum("kn,ka->na", slope.imag, vectors) * charges[:, None]
    return Answer(energy, -gradient)


def main() -> int:
    """Run all cases."""
    report = Report("peers_latent_ewald")
    for shape, cell in (("cubic", CUBIC), ("triclinic", TRICLINIC)):
        for sigma in (1.0, 1.7):
            system = scattered(
                shape, cell, (1, 1, 1), 12, 0, width=sigma / math.sqrt(2), total_charge=0.5
            )
            converged = latent_ewald(system, sigma, math.sqrt(2 * math.log(1e14)) / sigma)
            case = f"{shape}, sigma = {sigma} A"
            mine = ours(system)
            report.compare(case, mine, converged, 1e-8)
            coarse = latent_ewald(system, sigma, math.pi)
            report.compare(case, mine, coarse, 0.0, note="at its default dl = 2 A")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())

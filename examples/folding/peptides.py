"""Ac-Ala_n-NHMe from backbone dihedrals, with the standard geometry of a peptide.

Bond lengths and angles: R. A. Engh, R. Huber, Acta Cryst. A 47, 392 (1991), rounded; all peptide
bonds are trans, and residues are L-alanine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from benchmarks.datasets.geometries import bonds_between, clashes, placed

#: Bond lengths (A) of the backbone and the angles (degrees) at its atoms.
N_CA, CA_C, C_N = 1.458, 1.525, 1.329
AT_N, AT_CA, AT_C = 121.7, 111.0, 116.6
CB, CARBONYL, NH, CH, METHYL = 1.52, 1.231, 1.01, 1.09, 1.51
#: Dihedral N-C-CA-X of the side chain and of the hydrogen of an L residue.
SIDE, HYDROGEN = 122.7, -119.0
OMEGA = 180.0
Torsions = Sequence[tuple[float, float]]


class Chain:
    """Atoms placed one after the other."""

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.positions: list[np.ndarray] = []

    def add(self, symbol: str, position: Sequence[float]) -> int:
        """Add an atom and return its index."""
        self.symbols.append(symbol)
        self.positions.append(np.asarray(position, dtype=float))
        return len(self.symbols) - 1

    def attach(
        self, symbol: str, anchors: tuple[int, int, int], internal: tuple[float, float, float]
    ) -> int:
        """Add an atom at a bond length, an angle and a dihedral from three others."""
        return self.add(symbol, placed(*(self.positions[i] for i in anchors), internal))

    def methyl(self, carbon: int, second: int, third: int) -> None:
        """Three staggered hydrogens."""
        for turn in (60.0, 180.0, -60.0):
            self.attach("H", (carbon, second, third), (CH, 109.5, turn))

    def carbonyl(self, previous: int, following: int, carbon: int) -> None:
        """Oxygen opposite to the atom that follows the carbon."""
        self.attach("O", (carbon, previous, following), (CARBONYL, 120.5, 180.0))


def peptide(torsions: Torsions) -> Atoms:
    """Ac-Ala_n-NHMe.

    Parameters
    ----------
    torsions : sequence of (float, float)
        phi and psi of each residue from the acetyl end, degrees.
    """
    chain = Chain()
    bend = np.radians(AT_C)
    start = chain.add("C", (METHYL * np.cos(bend), METHYL * np.sin(bend), 0.0))
    carbon = chain.add("C", (0.0, 0.0, 0.0))
    nitrogen = chain.add("N", (C_N, 0.0, 0.0))
    chain.carbonyl(start, nitrogen, carbon)
    chain.methyl(start, carbon, nitrogen)
    before = start
    for phi, psi in torsions:
        alpha = chain.attach("C", (nitrogen, carbon, before), (N_CA, AT_N, OMEGA))
        chain.attach("H", (nitrogen, carbon, before), (NH, 119.0, OMEGA + 180.0))
        own = chain.attach("C", (alpha, nitrogen, carbon), (CA_C, AT_CA, phi))
        side = chain.attach("C", (alpha, own, nitrogen), (CB, 110.0, SIDE))
        chain.attach("H", (alpha, own, nitrogen), (CH, 108.0, HYDROGEN))
        chain.methyl(side, alpha, nitrogen)
        following = chain.attach("N", (own, alpha, nitrogen), (C_N, AT_C, psi))
        chain.carbonyl(alpha, following, own)
        before, carbon, nitrogen = alpha, own, following
    end = chain.attach("C", (nitrogen, carbon, before), (N_CA, AT_N, OMEGA))
    chain.attach("H", (nitrogen, carbon, before), (NH, 119.0, OMEGA + 180.0))
    chain.methyl(end, nitrogen, carbon)
    return Atoms(chain.symbols, np.array(chain.positions))


def has_clash(torsions: Torsions) -> bool:
    """Whether parts of the chain are too close."""
    straight = peptide([(-139.0, 135.0)] * len(torsions))
    return clashes(peptide(torsions), bonds_between(straight))

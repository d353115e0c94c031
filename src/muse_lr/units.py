"""Units and physical constants of the package.

Energies are in eV, lengths in A and charges in units of the elementary charge e. Stress is in
eV/A^3 with the sign convention of ASE (``stress = dE/dstrain / volume``, positive under tension).
Dipoles are in e A. Electric fields are in V/A, with the energy ``E = -mu . F``.
"""

from __future__ import annotations

#: e^2 / (4 pi eps0) in eV A (CODATA 2018).
COULOMB_CONSTANT = 14.399645478425668

#: 1 Bohr in A (CODATA 2018).
BOHR = 0.529177210903

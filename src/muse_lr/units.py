"""Units and physical constants of the package, in one place.

Energies are in eV, lengths in A, charges in units of the elementary charge e. Stress is in
eV/A^3 with ASE's sign (tension positive, ``stress = dE/dstrain / volume``), dipoles in e A, the
electric field in V/A with the textbook's sign, ``E = -mu . F``.
"""

from __future__ import annotations

#: e^2 / (4 pi eps0) in eV A (CODATA 2018).
COULOMB_CONSTANT = 14.399645478425668

#: 1 Bohr in A (CODATA 2018).
BOHR = 0.529177210903

"""Check of the size of derivatives: force constants that displacements of phonons see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from muse_lr.testing.measurement import Measurement, judge
from muse_lr.testing.potentials import Subject, as_potential

#: Displacements u of one atom, A. The first one gives the force constant.
DISPLACEMENTS = (0.001, 0.01, 0.03)
#: Force constants below this are compared with it, eV/A^2.
SMALLEST = 0.3


def check_force_constant(
    subject: Subject,
    atoms: Atoms,
    atom: int = 0,
    *,
    displacements: Sequence[float] = DISPLACEMENTS,
    tolerance: float = 0.1,
) -> Measurement:
    r"""Check that the force constant of an atom does not depend on the size of its displacement.

    .. math:: k(u) = -\frac{F(u) - F(-u)}{2 u}, \qquad
              \frac{|k(u) - k(u_0)|}{\max(|k(u_0)|, 0.3\ \mathrm{eV/\AA^2})} \le tolerance

    along each axis, with the force on the displaced atom. A potential can be smooth and still be so
    stiff that finite displacements, relaxations and the time step of an integrator do not resolve
    it. Phonons by displacements need the same force constant at 0.005 and 0.02 A.

    Parameters
    ----------
    subject : Subject
        Model or calculator.
    atoms : ase.Atoms
        A structure near a minimum, for example a crystal.
    atom : int
        Index of the displaced atom.
    displacements : sequence of float
        Displacements u in A; the first one is u_0.
    tolerance : float
        Largest relative deviation.

    Raises
    ------
    CheckFailed
        If the deviation is larger.
    """
    potential = as_potential(subject)
    worst, where = 0.0, ""
    for axis in range(3):
        moved = [_moved(atoms, atom, axis, s * u) for u in displacements for s in (1, -1)]
        outputs = potential.evaluate(moved, ("forces",))
        forces = outputs.get("forces").reshape(len(moved), len(atoms), 3)[:, atom, axis]
        constants = -(forces[::2] - forces[1::2]) / (2 * np.array(displacements))
        scale = max(abs(constants[0]), SMALLEST)
        deviations = np.abs(constants - constants[0]) / scale
        if deviations.max() >= worst:
            worst = float(deviations.max())
            at = displacements[int(deviations.argmax())]
            where = f"{constants[0]:.3g} eV/A^2 changes by a factor at u = {at:g} A"
    what = f"relative change of the force constant of atom {atom} ({where})"
    return judge("force constant", worst, tolerance, "", what)


def _moved(atoms: Atoms, atom: int, axis: int, step: float) -> Atoms:
    moved = atoms.copy()
    moved.positions[atom, axis] += step
    return moved

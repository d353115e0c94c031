"""Planted faults: for each check of the exam a toy potential that breaks what it measures."""

from __future__ import annotations

import time

import numpy as np

from muse_lr.testing import Outputs, Potential
from testing.exam.toys import (
    Ions,
    Nodes,
    Shared,
    crystal_sum,
    nearest_images,
    screened_sum,
)

NOISE = np.random.default_rng(0)


def tethered(atoms, row):
    """Atoms are bound to the origin: a gradient, but not invariant."""
    at = atoms.positions
    energy = row["energy"] + 0.005 * np.square(at).sum()
    return {"energy": energy, "forces": row.get("forces", 0 * at) - 0.01 * at}


def swirl(atoms, row):
    """Forces that are no gradient."""
    x, y, z = (atoms.positions - atoms.positions.mean(0)).T
    if "forces" not in row:
        return {}
    return {"forces": row["forces"] + 0.05 * np.stack([-y, x, 0 * z], axis=1)}


def chiral(atoms, row):
    """Knows left from right."""
    if len(atoms) < 4:
        return {}
    b, c, d = atoms.positions[1:4] - atoms.positions[0]
    return {"energy": row["energy"] + 1e-3 * np.cross(b, c) @ d}


def few_images(atoms, row):
    """Images are searched within ten cells only."""
    if not atoms.pbc.any() or np.abs(atoms.get_scaled_positions(wrap=False)).max() < 10:
        return {}
    return {"energy": row["energy"] + 1e-3}


def tie(atoms, row):
    """Two sites are exchanged within 0.001 A."""
    if len(atoms) < 2:
        return {}
    distance = np.linalg.norm(atoms.positions[1] - atoms.positions[0])
    return {"energy": row["energy"] + 1e-3 * np.tanh((distance % 2.0 - 1.0) / 1e-3)}


def stiff(atoms, row):
    """The force on the first atom of a crystal changes within 0.002 A."""
    if "forces" not in row:
        return {}
    forces = row["forces"].copy()
    forces[0] -= 0.05 * np.tanh(atoms.positions[0] / 2e-3)
    return {"forces": forces}


def collapse(atoms, row):
    """A hole at short distances."""
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    near = (distances[np.triu_indices(len(atoms), 1)] < 1.3).any()
    return {"energy": row["energy"] - 1e5 * near}


def implosion(atoms, row):
    """A hole at high density."""
    dense = atoms.pbc.all() and atoms.cell.volume / len(atoms) < 9
    return {"energy": row["energy"] - 1e3 * dense}


def overflow(atoms, row):
    """No number at contact."""
    close = len(atoms) > 1 and atoms.get_distance(0, 1) < 0.6
    return {"energy": np.nan if close else row["energy"]}


def inverse_cube(atoms, row):
    """Neutral atoms attract each other like dipoles."""
    if len(atoms) != 2:
        return {}
    return {"energy": row["energy"] - 1 / atoms.get_distance(0, 1) ** 3}


class Slow(Potential):
    """The time grows as a power of the number of atoms: a cube is a fault, a square is not."""

    provides = frozenset()

    def __init__(self, seconds, power):
        self.seconds, self.power = seconds, power

    def evaluate(self, structures, compute=()):
        need = sum(self.seconds * len(atoms) ** self.power for atoms in structures)
        end = time.process_time() + need
        while time.process_time() < end:
            pass
        return Outputs(energy=np.zeros(len(structures)))


def dense(atoms, row):
    """The memory grows as the cube of the number of atoms."""
    np.zeros(len(atoms) ** 3, dtype=np.int8)
    return {}


def lost_virial(atoms, row):
    return {"stress": row["short_stress"]} if "short_stress" in row else {}


def shared_composition(atoms, row):
    """A term of the mean composition: the same for copies, not for unlike fragments."""
    return row["energy"] + 1e-4 * len(atoms) * np.var(atoms.numbers)


def energy(change):
    """Replace the energy by ``change(atoms, row)``."""
    return lambda atoms, row: {"energy": change(atoms, row)}


def handed(atoms, row):
    return row["energy"] * (np.sign(np.linalg.det(atoms.cell.array)) or 1)


FAULTS = {
    "translation": Ions(energy(lambda a, row: row["energy"] + 1e-3 * a.positions[0, 0])),
    "rotation": Ions(energy(lambda a, row: row["energy"] + 1e-3 * np.ptp(a.positions[:, 2]))),
    "reflection": Ions(chiral),
    "permutation": Ions(lambda a, row: {"charges": row["charges"] + 1e-4 * np.arange(len(a))}),
    "wrapping": Ions(energy(lambda a, row: row["energy"] + 1e-5 * np.square(a.positions).sum())),
    "far_images": Ions(few_images),
    "equivalent_cell": Ions(energy(lambda a, row: row["energy"] + 1e-5 * a.cell.lengths().sum())),
    "left_handed_cell": Ions(energy(handed)),
    "supercell": Ions(energy(lambda a, row: row["energy"] / len(a))),
    "far_copies": Ions(energy(lambda a, row: row["energy"] + 1e-3 * len(a) ** 0.5)),
    "unlike_fragments": Ions(energy(shared_composition)),
    "leaving_ion": Ions(energy(lambda a, row: row["energy"] + 0.05 * row["charges"].sum() ** 2)),
    "forces": Ions(lambda a, row: {"forces": -row["forces"]} if "forces" in row else {}),
    "stress": Ions(lost_virial),
    "hessian_symmetry": Ions(swirl),
    "acoustic_sum_rule": Ions(tethered),
    "smooth_separation": Ions(hard=True),
    "smooth_displacement": Ions(energy(lambda a, row: row["energy"] + round(row["energy"], 2))),
    "smooth_strain": Ions(
        energy(lambda a, row: row["energy"] + 1e-3 * np.floor(a.cell.volume / 2))
    ),
    "smooth_rearrangement": Nodes(delta=0.0),
    "curvature": Ions(tie),
    "stiff_rearrangement": Nodes(delta=1e-3),
    "harmonicity": Ions(stiff),
    "energy_drift": Ions(swirl),
    "total_charge": Shared(lambda a, row: {"charges": row["charges"] + 1e-3}),
    "dipole_of_field": Ions(lambda a, row: {"dipole": -row["dipole"]}),
    "tail_ion_ion": Ions(constant=27.2114),
    "tail_ion_dipole": Ions(sums={0: screened_sum}),
    "tail_dipole_dipole": Ions(sums={0: screened_sum}),
    "tail_neutral": Ions(inverse_cube, charges={"Na": 0.0, "Cl": 0.0}),
    "madelung": Ions(sums={3: nearest_images}),
    "finite_at_extremes": Ions(overflow),
    "dimer_holes": Ions(collapse),
    "compression_holes": Ions(implosion),
    "determinism": Ions(energy(lambda a, row: row["energy"] + 1e-6 * NOISE.normal())),
    "slab_vacuum": Ions(sums={2: crystal_sum}),
    "dipolar_slab": Ions(sums={2: crystal_sum}),
    "capacitor": Ions(sums={2: crystal_sum}),
    "time_growth": Slow(2e-8, 3),
    "memory_growth": Ions(dense),
}

#: The faults that a user is most likely to make, and the check that is made for each of them.
NAMED = {
    "wrong sign": "forces",
    "hard cutoff": "smooth_separation",
    "mean instead of sum": "supercell",
    "nearest image": "madelung",
    "lost virial term": "stress",
    "leaked charge": "total_charge",
    "energy per node": "smooth_rearrangement",
    "stiff ties": "stiff_rearrangement",
    "wrong unit": "tail_ion_ion",
}

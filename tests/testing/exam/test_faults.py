"""The sound toy passes every check that applies, and each check finds the fault planted for it."""

from __future__ import annotations

import time

import numpy as np
import pytest
from ase import Atoms

from muse_lr.testing import Outputs, Potential, exam
from muse_lr.testing.exam.slabs import mean_fields
from muse_lr.units import COULOMB_CONSTANT
from testing.exam.toys import Ions, Shared, crystal_sum, nearest_images, screened_sum

#: What does not apply to fixed charges of one precision.
SKIPPED = {"total_charge", "born_sum_rule", "tail_neutral", "single_precision", "metal_slab"}
NOISE = np.random.default_rng(0)


def verdict(name, subject, elements=("Na", "Cl"), **options):
    """The result of one check, quick."""
    (result,) = exam.examine(subject, elements, only=[name], quick=True, **options)
    assert result.name == name
    return result


@pytest.fixture(scope="module")
def sound():
    return Ions()


@pytest.mark.parametrize("name", [name for name in exam.CHECKS if name != "time_growth"])
def test_the_sound_control_passes(name, sound):
    result = verdict(name, sound)
    assert result.status == ("skipped" if name in SKIPPED else "pass"), result
    if name in SKIPPED:
        assert result.why
    else:
        assert 0 <= result.value <= result.tolerance


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


class Cubic(Potential):
    """The time grows as the cube of the number of atoms."""

    provides = frozenset()

    def evaluate(self, structures, compute=()):
        end = time.process_time() + sum(2e-8 * len(atoms) ** 3 for atoms in structures)
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
    "curvature": Ions(tie),
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
    "time_growth": Cubic(),
    "memory_growth": Ions(dense),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    result = verdict(name, FAULTS[name])
    assert result.status == "fail", result
    assert not result.value <= result.tolerance
    assert result.why
    assert result.structure is not None


@pytest.mark.parametrize(
    ("fault", "passed"),
    [
        ("far_images", "wrapping"),
        ("equivalent_cell", "left_handed_cell"),
        ("unlike_fragments", "far_copies"),
        ("acoustic_sum_rule", "forces"),
        ("acoustic_sum_rule", "hessian_symmetry"),
        ("reflection", "rotation"),
        ("stress", "forces"),
    ],
)
def test_faults_are_told_apart(fault, passed):
    """The check that is made for a fault finds it, and its neighbor does not."""
    assert verdict(passed, FAULTS[fault]).status == "pass"


def test_every_check_has_its_fault():
    """Three are planted differently: in a batch, in a second precision, in a model."""
    assert set(exam.CHECKS) - set(FAULTS) == {
        "batch",
        "single_precision",
        "born_sum_rule",
        "metal_slab",
    }


def test_a_batch_that_leaks():
    class Leaky(Ions):
        def evaluate(self, structures, compute=()):
            out = super().evaluate(structures, compute)
            mean = 1e-6 * np.mean([len(atoms) for atoms in structures])
            return Outputs(**{**vars(out), "energy": out.energy + mean})

    assert verdict("batch", Leaky()).status == "fail"


def test_a_poor_single_precision(sound):
    def poor():
        return Ions(lambda a, row: {"forces": 1.01 * row["forces"]} if "forces" in row else {})

    assert verdict("single_precision", sound, single=poor).status == "fail"
    assert verdict("single_precision", sound, single=Ions).status == "pass"


def test_charges_that_follow_the_total_charge():
    assert verdict("total_charge", Shared()).status == "pass"
    assert verdict("leaving_ion", Shared()).status == "known"


def test_a_declared_failure_is_known():
    declared = Ions(FAULTS["unlike_fragments"].fault)
    declared.size_consistent = False
    result = verdict("unlike_fragments", declared)
    assert result.status == "known"
    assert "size_consistent: false" in result.why
    assert result.value > result.tolerance
    assert verdict("far_copies", FAULTS["far_copies"]).status == "fail"


def test_the_field_in_a_metal_vanishes():
    """Surface charges F S / 4 pi k screen the field F; without them it goes through."""
    d, field = 3.0, 0.05
    charge = field * d**2 / (4 * np.pi * COULOMB_CONSTANT)
    charges = np.array([-charge, 0, 0, 0, 0, 0, 0, charge])
    nothing = np.zeros(8)
    np.testing.assert_allclose(mean_fields(charges, nothing, d), 0, atol=1e-12)
    np.testing.assert_allclose(mean_fields(nothing, nothing, d), field)
    # A solid of point dipoles screens by -4 pi k p / d^3.
    dipole = field * d**3 / (4 * np.pi * COULOMB_CONSTANT)
    np.testing.assert_allclose(mean_fields(nothing, nothing + dipole, d), 0, atol=1e-12)


def test_a_hole_behind_a_high_barrier_is_not_reached():
    def walled(atoms, row):
        near = len(atoms) == 2 and atoms.get_distance(0, 1)
        wall = 30.0 * (0.9 < near < 1.3)
        return {"energy": row["energy"] - 1e5 * (0 < near <= 0.9) + wall}

    assert verdict("dimer_holes", Ions(walled)).status == "pass"


def test_a_crash_is_a_failure_and_the_exam_goes_on():
    class Fragile(Ions):
        def one(self, atoms, compute):
            if len(atoms) == 4:
                raise RuntimeError("stack smashed\nat line 7")
            return super().one(atoms, compute)

    crashed, fine = exam.examine(
        Fragile(), ["Na", "Cl"], only=["rotation", "dimer_holes"], quick=True
    )
    assert (crashed.status, fine.status) == ("fail", "pass")
    assert crashed.why.endswith("RuntimeError: stack smashed at line 7")
    assert len(crashed.structure) == 4
    assert crashed.value is None


def test_a_refusal_is_a_skip_with_its_reason():
    class Molecular(Ions):
        def one(self, atoms, compute):
            if atoms.pbc.any():
                raise NotImplementedError("molecules only")
            return super().one(atoms, compute)

    assert verdict("rotation", Molecular()).status == "pass"
    result = verdict("supercell", Molecular())
    assert (result.status, result.why) == ("skipped", "molecules only")


def test_properties_that_are_missing():
    class Bare(Ions):
        provides = frozenset()

    assert verdict("rotation", Bare()).status == "pass"
    result = verdict("forces", Bare())
    assert (result.status, result.why) == ("skipped", "the potential does not compute forces")


def test_frames_are_the_base(sound):
    frame = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.6]], info={"energy": 1.0})
    made = exam.from_frames([frame], quick=True)
    assert [name for name, _ in made.molecules] == ["frame 0 (ClNa)"]
    assert made.molecules[0][1].info == {}
    assert made.crystals
    assert exam.examine(sound, made, only=["forces"])[0].status == "pass"

"""The registry of checks: adding one is a class and a line here.

The values are import paths, so that names can be listed without importing the checks.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from muse_lr.errors import InputError, nearest
from muse_lr.testing.exam.check import Check

_EXAM = "muse_lr.testing.exam"
#: Module and class of every check, in the order of the exam.
CHECKS = {
    "translation": f"{_EXAM}.symmetry:Translation",
    "rotation": f"{_EXAM}.symmetry:Rotation",
    "reflection": f"{_EXAM}.symmetry:Reflection",
    "permutation": f"{_EXAM}.symmetry:Permutation",
    "wrapping": f"{_EXAM}.symmetry:Wrapping",
    "far_images": f"{_EXAM}.symmetry:FarImages",
    "equivalent_cell": f"{_EXAM}.symmetry:EquivalentCell",
    "left_handed_cell": f"{_EXAM}.symmetry:LeftHandedCell",
    "supercell": f"{_EXAM}.extensivity:Supercell",
    "far_copies": f"{_EXAM}.extensivity:FarCopies",
    "unlike_fragments": f"{_EXAM}.extensivity:UnlikeFragments",
    "leaving_ion": f"{_EXAM}.extensivity:LeavingIon",
    "forces": f"{_EXAM}.derivatives:Forces",
    "stress": f"{_EXAM}.derivatives:Stress",
    "hessian_symmetry": f"{_EXAM}.derivatives:HessianSymmetry",
    "acoustic_sum_rule": f"{_EXAM}.derivatives:AcousticSumRule",
    "smooth_separation": f"{_EXAM}.smoothness:SmoothSeparation",
    "smooth_displacement": f"{_EXAM}.smoothness:SmoothDisplacement",
    "smooth_strain": f"{_EXAM}.smoothness:SmoothStrain",
    "smooth_rearrangement": f"{_EXAM}.rearrangements:SmoothRearrangement",
    "curvature": f"{_EXAM}.smoothness:Curvature",
    "stiff_rearrangement": f"{_EXAM}.rearrangements:StiffRearrangement",
    "harmonicity": f"{_EXAM}.smoothness:Harmonicity",
    "energy_drift": f"{_EXAM}.dynamics:EnergyDrift",
    "total_charge": f"{_EXAM}.charges:TotalCharge",
    "dipole_of_field": f"{_EXAM}.charges:DipoleOfField",
    "born_sum_rule": f"{_EXAM}.charges:BornSumRule",
    "tail_ion_ion": f"{_EXAM}.tails:IonIon",
    "tail_ion_dipole": f"{_EXAM}.tails:IonDipole",
    "tail_dipole_dipole": f"{_EXAM}.tails:DipoleDipole",
    "tail_neutral": f"{_EXAM}.tails:NeutralTail",
    "madelung": f"{_EXAM}.tails:Madelung",
    "finite_at_extremes": f"{_EXAM}.limits:Finite",
    "dimer_holes": f"{_EXAM}.limits:DimerHoles",
    "compression_holes": f"{_EXAM}.limits:CompressionHoles",
    "batch": f"{_EXAM}.numerics:Batch",
    "determinism": f"{_EXAM}.numerics:Determinism",
    "single_precision": f"{_EXAM}.numerics:SinglePrecision",
    "slab_vacuum": f"{_EXAM}.slabs:Vacuum",
    "dipolar_slab": f"{_EXAM}.slabs:DipolarSlab",
    "capacitor": f"{_EXAM}.slabs:Capacitor",
    "metal_slab": f"{_EXAM}.slabs:MetalSlab",
    "time_growth": f"{_EXAM}.numerics:TimeGrowth",
    "memory_growth": f"{_EXAM}.numerics:MemoryGrowth",
}


def check_class(name: str) -> type[Check]:
    """The class of a check.

    Raises
    ------
    InputError
        For an unknown name, with the nearest one.
    """
    if name not in CHECKS:
        raise InputError(
            f"there is no check {name!r}{nearest(name, CHECKS)}: muse-lr audit --list prints all"
        )
    module, _, attribute = CHECKS[name].partition(":")
    found: type[Check] = getattr(import_module(module), attribute)
    return found


def chosen_checks(names: Iterable[str] = ()) -> list[type[Check]]:
    """Classes of these checks in the order of the exam; of all checks without names."""
    wanted = [check_class(name) for name in names]
    return [check for name in CHECKS if (check := check_class(name)) in wanted or not wanted]

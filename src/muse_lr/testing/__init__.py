"""Property-based tests for interatomic potentials: muse_lr models and ASE calculators.

Example of a test::

    from hypothesis import given
    from muse_lr.testing import check_forces, strategies

    @given(atoms=strategies.molecules(["H", "O"]))
    def test_forces(atoms):
        check_forces(my_calculator, atoms)

:mod:`muse_lr.testing.checks` has the checks. :mod:`muse_lr.testing.strategies` draws structures
with Hypothesis (extra ``exam``); :mod:`muse_lr.testing.structures` makes them from an integer seed.
:class:`Exam` is the physics exam as a test class. Names are imported on first use, so that the
plugin of pytest, which is loaded with every run of pytest, imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "CalculatorPotential": "muse_lr.testing.potentials",
    "CheckFailed": "muse_lr.testing.measurement",
    "Contract": "muse_lr.testing.contract",
    "Exam": "muse_lr.testing.suite",
    "Measurement": "muse_lr.testing.measurement",
    "ModelPotential": "muse_lr.testing.potentials",
    "NotApplicable": "muse_lr.testing.measurement",
    "Outputs": "muse_lr.testing.potentials",
    "Potential": "muse_lr.testing.potentials",
    "as_potential": "muse_lr.testing.potentials",
    "check_batch": "muse_lr.testing.checks",
    "check_contract": "muse_lr.testing.contract",
    "check_equivalent_cell": "muse_lr.testing.checks",
    "check_far_copies": "muse_lr.testing.checks",
    "check_force_constant": "muse_lr.testing.checks",
    "check_forces": "muse_lr.testing.checks",
    "check_hessian_symmetric": "muse_lr.testing.checks",
    "check_parameters_receive_gradients": "muse_lr.testing.checks",
    "check_permutation": "muse_lr.testing.checks",
    "check_reflection": "muse_lr.testing.checks",
    "check_rotation": "muse_lr.testing.checks",
    "check_save_load": "muse_lr.testing.checks",
    "check_second_derivatives": "muse_lr.testing.checks",
    "check_size_consistency": "muse_lr.testing.checks",
    "check_smooth": "muse_lr.testing.checks",
    "check_stress": "muse_lr.testing.checks",
    "check_supercell": "muse_lr.testing.checks",
    "check_total_charge": "muse_lr.testing.checks",
    "check_training_gradient": "muse_lr.testing.checks",
    "check_translation": "muse_lr.testing.checks",
    "check_wrapping": "muse_lr.testing.checks",
    "displacement_path": "muse_lr.testing.checks",
    "randomize_weights": "muse_lr.testing.checks",
    "separation_path": "muse_lr.testing.checks",
    "strain_path": "muse_lr.testing.checks",
}
_MODULES = ("strategies", "structures")

__all__ = [
    "CalculatorPotential",
    "CheckFailed",
    "Contract",
    "Exam",
    "Measurement",
    "ModelPotential",
    "NotApplicable",
    "Outputs",
    "Potential",
    "as_potential",
    "check_batch",
    "check_contract",
    "check_equivalent_cell",
    "check_far_copies",
    "check_force_constant",
    "check_forces",
    "check_hessian_symmetric",
    "check_parameters_receive_gradients",
    "check_permutation",
    "check_reflection",
    "check_rotation",
    "check_save_load",
    "check_second_derivatives",
    "check_size_consistency",
    "check_smooth",
    "check_stress",
    "check_supercell",
    "check_total_charge",
    "check_training_gradient",
    "check_translation",
    "check_wrapping",
    "displacement_path",
    "randomize_weights",
    "separation_path",
    "strain_path",
    "strategies",
    "structures",
]

if TYPE_CHECKING:
    from muse_lr.testing import strategies as strategies
    from muse_lr.testing import structures as structures
    from muse_lr.testing.checks import check_batch as check_batch
    from muse_lr.testing.checks import check_equivalent_cell as check_equivalent_cell
    from muse_lr.testing.checks import check_far_copies as check_far_copies
    from muse_lr.testing.checks import check_force_constant as check_force_constant
    from muse_lr.testing.checks import check_forces as check_forces
    from muse_lr.testing.checks import check_hessian_symmetric as check_hessian_symmetric
    from muse_lr.testing.checks import (
        check_parameters_receive_gradients as check_parameters_receive_gradients,
    )
    from muse_lr.testing.checks import check_permutation as check_permutation
    from muse_lr.testing.checks import check_reflection as check_reflection
    from muse_lr.testing.checks import check_rotation as check_rotation
    from muse_lr.testing.checks import check_save_load as check_save_load
    from muse_lr.testing.checks import check_second_derivatives as check_second_derivatives
    from muse_lr.testing.checks import check_size_consistency as check_size_consistency
    from muse_lr.testing.checks import check_smooth as check_smooth
    from muse_lr.testing.checks import check_stress as check_stress
    from muse_lr.testing.checks import check_supercell as check_supercell
    from muse_lr.testing.checks import check_total_charge as check_total_charge
    from muse_lr.testing.checks import check_training_gradient as check_training_gradient
    from muse_lr.testing.checks import check_translation as check_translation
    from muse_lr.testing.checks import check_wrapping as check_wrapping
    from muse_lr.testing.checks import displacement_path as displacement_path
    from muse_lr.testing.checks import randomize_weights as randomize_weights
    from muse_lr.testing.checks import separation_path as separation_path
    from muse_lr.testing.checks import strain_path as strain_path
    from muse_lr.testing.contract import Contract as Contract
    from muse_lr.testing.contract import check_contract as check_contract
    from muse_lr.testing.measurement import CheckFailed as CheckFailed
    from muse_lr.testing.measurement import Measurement as Measurement
    from muse_lr.testing.measurement import NotApplicable as NotApplicable
    from muse_lr.testing.potentials import CalculatorPotential as CalculatorPotential
    from muse_lr.testing.potentials import ModelPotential as ModelPotential
    from muse_lr.testing.potentials import Outputs as Outputs
    from muse_lr.testing.potentials import Potential as Potential
    from muse_lr.testing.potentials import as_potential as as_potential
    from muse_lr.testing.suite import Exam as Exam


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return import_module(f"muse_lr.testing.{name}")
    raise AttributeError(f"module 'muse_lr.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Property-based tests for interatomic potentials: muse_lr models and ASE calculators.

Example of a test::

    from hypothesis import given
    from muse_lr.testing import check_forces, strategies

    @given(atoms=strategies.molecules(["H", "O"]))
    def test_forces(atoms):
        check_forces(my_calculator, atoms)

:mod:`muse_lr.testing.checks` has the checks. :mod:`muse_lr.testing.strategies` draws structures
with Hypothesis (extra ``test``); :mod:`muse_lr.testing.structures` makes them from an integer seed.
"""

from __future__ import annotations

from muse_lr.testing import strategies, structures
from muse_lr.testing.checks import (
    check_batch,
    check_equivalent_cell,
    check_far_copies,
    check_force_constant,
    check_forces,
    check_hessian_symmetric,
    check_parameters_receive_gradients,
    check_permutation,
    check_reflection,
    check_rotation,
    check_save_load,
    check_second_derivatives,
    check_size_consistency,
    check_smooth,
    check_stress,
    check_supercell,
    check_total_charge,
    check_training_gradient,
    check_translation,
    check_wrapping,
    displacement_path,
    randomize_weights,
    separation_path,
    strain_path,
)
from muse_lr.testing.contract import Contract, check_contract
from muse_lr.testing.measurement import CheckFailed, Measurement, NotApplicable
from muse_lr.testing.potentials import (
    CalculatorPotential,
    ModelPotential,
    Outputs,
    Potential,
    as_potential,
)

__all__ = [
    "CalculatorPotential",
    "CheckFailed",
    "Contract",
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

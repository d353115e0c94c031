"""Checks of properties that every interatomic potential should have, one function each.

A check takes a structure and any object that :func:`muse_lr.testing.as_potential` can wrap. It
returns a :class:`~muse_lr.testing.Measurement`. It raises :class:`~muse_lr.testing.CheckFailed` (an
AssertionError) if the potential violates the property, and
:class:`~muse_lr.testing.NotApplicable` if the property is not defined for the input.
"""

from __future__ import annotations

from muse_lr.testing.checks.derivatives import (
    check_forces,
    check_hessian_symmetric,
    check_stress,
)
from muse_lr.testing.checks.extensivity import (
    check_batch,
    check_far_copies,
    check_size_consistency,
    check_supercell,
    check_total_charge,
)
from muse_lr.testing.checks.second_derivatives import (
    check_second_derivatives,
    check_training_gradient,
)
from muse_lr.testing.checks.smoothness import (
    check_smooth,
    displacement_path,
    separation_path,
    strain_path,
)
from muse_lr.testing.checks.stiffness import check_force_constant
from muse_lr.testing.checks.symmetry import (
    check_equivalent_cell,
    check_permutation,
    check_reflection,
    check_rotation,
    check_translation,
    check_wrapping,
)
from muse_lr.testing.checks.training import (
    check_parameters_receive_gradients,
    check_save_load,
    randomize_weights,
)

__all__ = [
    "check_batch",
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
]

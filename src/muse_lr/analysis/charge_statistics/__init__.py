"""Statistics of long range that errors of forces do not show, for charges along a trajectory.

:mod:`.structure_factor` has the charge structure factor and its limits at long wavelengths,
:mod:`.dielectric` the dielectric constant from dipole fluctuations, :mod:`.mean_force` the tail of
the mean force of two ions, and :mod:`.potential_profile` the potential drop across a slab.
:mod:`.sites` reads the charges of a trajectory, and :mod:`.summary` computes all that applies.
"""

from muse_lr.analysis.charge_statistics.dielectric import DielectricConstant, dielectric_constant
from muse_lr.analysis.charge_statistics.mean_force import (
    IonPotential,
    PairMeanForce,
    continuum_potential,
    coulomb_forces,
    ion_potential,
    pair_mean_force,
)
from muse_lr.analysis.charge_statistics.molecules import (
    find_groups,
    molecular_dipoles,
    whole_molecules,
)
from muse_lr.analysis.charge_statistics.potential_profile import (
    PotentialProfile,
    planar_density,
    planar_potential,
    potential_profile,
)
from muse_lr.analysis.charge_statistics.results import Profile, Statistic
from muse_lr.analysis.charge_statistics.sites import ChargedSites, charged_sites
from muse_lr.analysis.charge_statistics.structure_factor import (
    ChargeStructureFactor,
    charge_structure_factor,
)
from muse_lr.analysis.charge_statistics.summary import long_range_statistics
from muse_lr.analysis.charge_statistics.verdict import (
    Verdict,
    judge_statistic,
    judge_statistics,
)

__all__ = [
    "ChargeStructureFactor",
    "ChargedSites",
    "DielectricConstant",
    "IonPotential",
    "PairMeanForce",
    "PotentialProfile",
    "Profile",
    "Statistic",
    "Verdict",
    "charge_structure_factor",
    "charged_sites",
    "continuum_potential",
    "coulomb_forces",
    "dielectric_constant",
    "find_groups",
    "ion_potential",
    "judge_statistic",
    "judge_statistics",
    "long_range_statistics",
    "molecular_dipoles",
    "pair_mean_force",
    "planar_density",
    "planar_potential",
    "potential_profile",
    "whole_molecules",
]

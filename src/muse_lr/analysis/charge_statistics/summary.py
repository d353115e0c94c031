"""All statistics of long range that apply to a trajectory, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from ase import Atoms

from muse_lr.analysis.averages import Estimate
from muse_lr.analysis.charge_statistics.dielectric import dielectric_constant
from muse_lr.analysis.charge_statistics.mean_force import PairMeanForce, pair_mean_force
from muse_lr.analysis.charge_statistics.molecules import (
    DIFFUSES,
    Groups,
    diffuse,
    find_groups,
    ions,
)
from muse_lr.analysis.charge_statistics.potential_profile import potential_profile
from muse_lr.analysis.charge_statistics.results import (
    DIELECTRIC,
    INTERFACE,
    MOMENTS,
    TAILS,
    Statistic,
    of_dipoles,
    of_pair,
    of_slab,
    of_waves,
    skipped,
)
from muse_lr.analysis.charge_statistics.sites import ChargedSites, Charges, charged_sites
from muse_lr.analysis.charge_statistics.structure_factor import charge_structure_factor
from muse_lr.errors import InputError

T = TypeVar("T")

#: Distance from which the mean force of a pair is compared with Coulomb's law, A.
TAIL = 7.0
SOLID = (
    f"ions move by less than {DIFFUSES:g} Å: they are those of a crystal, or the frames span too "
    "little time for a liquid"
)


def long_range_statistics(
    frames: Sequence[Atoms],
    charges: Charges,
    temperature: float,
    *,
    groups: Groups | None = None,
    dielectric: Estimate | float | None = None,
    optical: float = 1.0,
    pair: tuple[int, int] | None = None,
    tail: float = TAIL,
    report: Callable[[str], None] = lambda line: None,
) -> list[Statistic]:
    """Compute the statistics of long range that apply to a trajectory.

    Crystals and liquids have the moments of the charge structure factor and, unless they have ions
    that diffuse, the dielectric constant. Slabs have potential drops. Two ions in frames with
    forces have the tail of their mean force. What does not apply is skipped, with the reason.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Equilibrated frames at equal intervals of time, all with the same atoms.
    charges, report :
        As in :func:`~muse_lr.analysis.charge_statistics.sites.charged_sites`.
    temperature : float
        K.
    groups, optical :
        As in :func:`~muse_lr.analysis.charge_statistics.dielectric.dielectric_constant`.
    dielectric : Estimate or float, optional
        Known dielectric constant, as the reference.
    pair : tuple of int, optional
        Indices of two ions whose mean force is analyzed.
    tail : float
        Distance from which it is compared with Coulomb's law, A.

    Raises
    ------
    InputError
        If the frames or their charges cannot be used at all.
    """
    sites = charged_sites(frames, charges, report)
    groups = find_groups(sites) if groups is None else groups
    charged = [groups[i] for i in ions(sites, groups)]
    conducting = bool(charged) and diffuse(sites, charged)
    solid = bool(charged) and not conducting
    parts = [np.arange(len(sites.numbers))] if solid else groups
    constant = _try(lambda: dielectric_constant(sites, temperature, parts, optical))
    given = Estimate(dielectric, 0.0) if isinstance(dielectric, (int, float)) else dielectric
    known = given or (None if isinstance(constant, str) else constant.value)
    factor = _try(lambda: charge_structure_factor(sites, temperature))
    profile = _try(lambda: potential_profile(sites))
    found = [
        *_listed(constant, DIELECTRIC, lambda x: of_dipoles(x, given, (SOLID,) * solid)),
        *_listed(factor, MOMENTS, lambda x: of_waves(x, conducting, known, optical)),
        *_listed(profile, INTERFACE, of_slab),
    ]
    if pair is not None:
        force = _try(lambda: _mean_force(frames, sites, groups, pair, tail))
        found += _listed(force, TAILS, lambda x: of_pair(x, known, tail))
    return found


def _try(compute: Callable[[], T]) -> T | str:
    """The result, or the reason why there is none."""
    try:
        return compute()
    except InputError as error:
        return str(error)


def _listed(
    result: T | str,
    names: Sequence[tuple[str, str]],
    statistics: Callable[[T], list[Statistic]],
) -> list[Statistic]:
    if isinstance(result, str):
        return [skipped(name, unit, result) for name, unit in names]
    return statistics(result)


def _mean_force(
    frames: Sequence[Atoms],
    sites: ChargedSites,
    groups: Groups,
    pair: tuple[int, int],
    tail: float,
) -> PairMeanForce:
    """Mean force with the charges of the molecules that the two atoms belong to."""
    forces = []
    for i, atoms in enumerate(frames):
        if atoms.calc is None or "forces" not in atoms.calc.results:
            raise InputError(f"frame {i} has no forces: write them, or leave out the pair")
        forces.append(np.asarray(atoms.calc.results["forces"], dtype=np.float64))
    charges = [
        float(sites.charges.mean(0)[group].sum()) for a in pair for group in groups if a in group
    ]
    if len(charges) != 2:
        raise InputError(f"the pair {pair} is not two atoms of the molecules of the frames")
    return pair_mean_force(frames, forces, pair, (charges[0], charges[1]), tail)

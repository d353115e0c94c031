r"""Static dielectric constant from the fluctuation of the total dipole.

.. math:: \epsilon = \epsilon_\infty
          + \frac{\langle M^2 \rangle - \langle M \rangle^2}{3\, \epsilon_0 V k_B T}

for a conducting boundary at infinity, which is that of Ewald sums without a surface term (M.
Neumann, Mol. Phys. 50, 841 (1983)). The total dipole M is the sum over whole molecules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.units import kB
from numpy.typing import NDArray

from muse_lr.analysis.averages import Estimate, mean
from muse_lr.analysis.charge_statistics.molecules import (
    Groups,
    describe_group,
    find_groups,
    ions,
    molecular_dipoles,
)
from muse_lr.analysis.charge_statistics.sites import ChargedSites
from muse_lr.analysis.charge_statistics.structure_factor import PER_PERMITTIVITY
from muse_lr.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DielectricConstant:
    r"""Dielectric constant and what it was computed from.

    Attributes
    ----------
    value : Estimate
    axes : tuple of Estimate
        :math:`\epsilon_\infty + (\langle M_a^2 \rangle - \langle M_a \rangle^2) / \epsilon_0 V k_B
        T` along x, y and z. In a liquid they differ by their errors.
    running : ndarray
        (frames,) dielectric constant of the frames up to each one.
    independent : float
        Number of independent values of the dipole along an axis: its variance over the squared
        standard error of its mean.
    molecule : float
        Root mean square dipole of a molecule, e A.
    kirkwood : float
        Kirkwood factor: the fluctuation of M relative to that of independent molecules.
    charge_fluctuation : float
        Root mean square fluctuation of the charge of a molecule, e. If molecules exchange charge,
        the dipole lacks the part that is carried from molecule to molecule.
    """

    value: Estimate
    axes: tuple[Estimate, Estimate, Estimate]
    running: Array
    independent: float
    molecule: float
    kirkwood: float
    charge_fluctuation: float


def dielectric_constant(
    sites: ChargedSites, temperature: float, groups: Groups | None = None, optical: float = 1.0
) -> DielectricConstant:
    """Dielectric constant from dipole fluctuations, with errors from block averages.

    Parameters
    ----------
    sites : ChargedSites
        With three periodic directions.
    temperature : float
        K.
    groups : sequence of ndarray, optional
        Indices of the atoms of each molecule. By default they are found from bonds in the first
        frame. For a crystal, whose ions do not diffuse, give one group with all atoms.
    optical : float
        Electronic dielectric constant. It is 1 for fixed charges.

    Raises
    ------
    InputError
        If a direction is open or the temperature is not positive, or if a molecule is an ion: the
        dipole then depends on the choice of images, and a liquid of ions that diffuse conducts.
    """
    if not sites.periodic:
        raise InputError(
            "the dielectric constant from dipole fluctuations needs three periodic directions: the "
            "dipole of a slab or a drop fluctuates in its own depolarization field"
        )
    if not temperature > 0:
        raise InputError(f"the temperature is {temperature} K, but must be positive")
    groups = find_groups(sites) if groups is None else groups
    charged = ions(sites, groups)
    if charged:
        raise InputError(
            f"{describe_group(sites, groups[charged[0]])} is an ion, and {len(charged)} of "
            f"{len(groups)} molecules are: where ions diffuse, the liquid conducts and the dipole "
            "of a cell depends on the images. Use charge_structure_factor, whose limit is that of "
            "Stillinger and Lovett, or give one group with all atoms of a crystal"
        )
    dipoles, charges = molecular_dipoles(sites, groups)
    total = dipoles.sum(1)
    scale = PER_PERMITTIVITY / (sites.volumes * kB * temperature)
    squares = scale[:, None] * (total - total.mean(0)) ** 2
    along = [mean(squares[:, axis]) for axis in range(3)]
    average = mean(squares.mean(1))
    return DielectricConstant(
        Estimate(optical + average.value, average.error),
        (_shifted(along[0], optical), _shifted(along[1], optical), _shifted(along[2], optical)),
        _running(total, scale, optical),
        _independent(total),
        float(np.sqrt((dipoles**2).sum(2).mean())),
        _kirkwood(total, dipoles),
        float(charges.std(0).max(initial=0.0)),
    )


def _shifted(estimate: Estimate, by: float) -> Estimate:
    return Estimate(by + estimate.value, estimate.error)


def _running(total: Array, scale: Array, optical: float) -> Array:
    """Dielectric constant of the frames up to each one."""
    count = np.arange(1, len(total) + 1)
    means = np.cumsum(total, axis=0) / count[:, None]
    squares = np.cumsum(total**2, axis=0) / count[:, None]
    running: Array = optical + np.cumsum(scale) / count * (squares - means**2).sum(1) / 3
    return running


def _kirkwood(total: Array, dipoles: Array) -> float:
    alone = float((dipoles**2).sum(2).mean()) * dipoles.shape[1]
    return float(total.var(0).sum()) / alone if alone > 0 else float("nan")


def _independent(total: Array) -> float:
    """Mean over the axes of the variance over the squared error of the mean; NaN if unknown."""
    errors = np.array([mean(total[:, axis]).error for axis in range(3)])
    squared = float((errors**2).sum())
    return float(total.var(0).sum()) / squared if squared > 0 else float("nan")

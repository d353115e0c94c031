"""All statistics of long range that apply to a trajectory, in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.analysis.averages import Estimate
from muse_lr.analysis.charge_statistics.dielectric import DielectricConstant, dielectric_constant
from muse_lr.analysis.charge_statistics.mean_force import PairMeanForce, pair_mean_force
from muse_lr.analysis.charge_statistics.molecules import Groups, find_groups, ions
from muse_lr.analysis.charge_statistics.potential_profile import (
    PotentialProfile,
    potential_profile,
)
from muse_lr.analysis.charge_statistics.sites import ChargedSites, Charges, charged_sites
from muse_lr.analysis.charge_statistics.structure_factor import (
    ChargeStructureFactor,
    charge_structure_factor,
)
from muse_lr.errors import InputError

Array = NDArray[np.float64]

#: Distance from which the mean force of a pair is compared with Coulomb's law, A.
TAIL = 7.0
#: Fewest independent values of the total dipole without a caution.
FEWEST_INDEPENDENT = 20.0


@dataclass(frozen=True)
class Profile:
    """Curve of a statistic for a plot.

    Attributes
    ----------
    x, y : ndarray
        (points,).
    x_label, y_label : str
        With units.
    error : ndarray or None
        (points,) standard errors of ``y``.
    reference : ndarray or None
        (points,) expected values.
    """

    x: Array
    y: Array
    x_label: str
    y_label: str
    error: Array | None = None
    reference: Array | None = None


@dataclass(frozen=True)
class Statistic:
    """One statistic of a trajectory.

    Attributes
    ----------
    name : str
    value, error : float
        Value and standard error. Both are NaN if the statistic was skipped, and the error is NaN if
        there are too few frames for one.
    unit : str
        Empty for a number without a unit.
    reference, reference_error : float or None
        Expected value, if it is known, and its standard error.
    meaning : str
        What the statistic says, and where the reference comes from.
    skipped : str
        Why the statistic does not apply; empty if it does.
    cautions : tuple of str
    profile : Profile or None
    """

    name: str
    value: float
    error: float
    unit: str
    meaning: str
    reference: float | None = None
    reference_error: float = 0.0
    skipped: str = ""
    cautions: tuple[str, ...] = ()
    profile: Profile | None = None

    @property
    def deviation(self) -> float | None:
        """Difference from the reference in standard errors; None without both."""
        if self.reference is None or not math.isfinite(self.error):
            return None
        error = math.hypot(self.error, self.reference_error)
        return (self.value - self.reference) / error if error > 0 else None


def long_range_statistics(
    frames: Sequence[Atoms],
    charges: Charges,
    temperature: float,
    *,
    groups: Groups | None = None,
    dielectric: float | None = None,
    optical: float = 1.0,
    pair: tuple[int, int] | None = None,
    tail: float = TAIL,
) -> list[Statistic]:
    """Compute the statistics of long range that apply to a trajectory.

    Crystals and liquids have the moments of the charge structure factor and, unless they have ions
    that diffuse, the dielectric constant. Slabs have potential drops. A pair of ions whose distance
    varies, in frames with forces, has the tail of its mean force. What does not apply is listed as
    skipped, with the reason.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Equilibrated frames at equal intervals of time, all with the same atoms.
    charges : str, mapping, array, EnergyModel or None
        See :func:`~muse_lr.analysis.charge_statistics.sites.charged_sites`.
    temperature : float
        K.
    groups : sequence of ndarray, optional
        Indices of the atoms of each molecule; from bonds in the first frame by default.
    dielectric : float, optional
        Known dielectric constant, as the reference.
    optical : float
        Electronic dielectric constant, for charges or dipoles that respond to fields at once.
    pair : tuple of int, optional
        Indices of two ions whose mean force is analyzed.
    tail : float
        Distance from which it is compared with Coulomb's law, A.

    Returns
    -------
    list of Statistic

    Raises
    ------
    InputError
        If the frames or their charges cannot be used at all.
    """
    sites = charged_sites(frames, charges)
    if groups is None:
        groups = find_groups(sites)
    found: list[Statistic] = []
    constant: DielectricConstant | None = None
    try:
        constant = dielectric_constant(sites, temperature, groups, optical)
        found.append(_dielectric(constant, dielectric))
    except InputError as error:
        found.append(_skipped("dielectric constant", "", str(error)))
    conducting = bool(ions(sites, groups))
    known = None if constant is None else constant.value
    known = known if dielectric is None else Estimate(dielectric, 0.0)
    try:
        factor = charge_structure_factor(sites, temperature)
        found += _moments(factor, conducting, known, optical)
    except InputError as error:
        found += [_skipped(name, unit, str(error)) for name, unit in MOMENTS]
    found += _attempt(INTERFACE, lambda: _interface(potential_profile(sites)))
    if pair is not None:
        result = lambda: _pair(_mean_force(frames, sites, groups, pair, tail), known, tail)  # noqa: E731
        found += _attempt(TAILS, result)
    return found


MOMENTS = (("zeroth moment of charges", "e^2"), ("second moment of charges", ""))
INTERFACE = (("potential step across the slab", "V"), ("potential inside the slab", "V"))
TAILS = (("tail of the mean force of the pair", ""),)


def _attempt(
    names: Sequence[tuple[str, str]], compute: Callable[[], list[Statistic]]
) -> list[Statistic]:
    try:
        return compute()
    except InputError as error:
        return [_skipped(name, unit, str(error)) for name, unit in names]


def _skipped(name: str, unit: str, reason: str) -> Statistic:
    return Statistic(name, math.nan, math.nan, unit, "", skipped=reason)


def _dielectric(found: DielectricConstant, known: float | None) -> Statistic:
    cautions = []
    if not found.independent >= FEWEST_INDEPENDENT:
        cautions.append(
            f"the frames hold about {found.independent:.0f} independent values of the dipole: run "
            "longer for a reliable error"
        )
    if found.charge_fluctuation > 0.01:
        cautions.append(
            "molecules exchange charge (up to "
            f"{found.charge_fluctuation:.2g} e), which the dipoles of molecules do not contain"
        )
    steps = np.arange(1.0, len(found.running) + 1)
    profile = Profile(steps, found.running, "frames", "dielectric constant")
    return Statistic(
        "dielectric constant",
        found.value.value,
        found.value.error,
        "",
        "Fluctuation of the total dipole. It is too small if dipoles do not correlate over long "
        f"distances; Kirkwood factor {found.kirkwood:.2f}.",
        known,
        cautions=tuple(cautions),
        profile=profile,
    )


def _moments(
    found: ChargeStructureFactor, conducting: bool, known: Estimate | None, optical: float
) -> list[Statistic]:
    reference, uncertainty = None, 0.0
    source = "Its limit for a dielectric liquid is 1/eps_optical - 1/eps"
    if conducting:
        reference = 1 / optical
        source = "A conducting liquid screens charges completely (Stillinger and Lovett)"
    elif known is not None:
        reference, uncertainty = 1 / optical - 1 / known.value, known.error / known.value**2
    shape = np.full(len(found.k), np.nan if reference is None else reference)
    (zeroth, unit), (second, _) = MOMENTS
    return [
        Statistic(
            zeroth,
            found.zeroth.value,
            found.zeroth.error,
            unit,
            "Limit of the charge structure factor at long wavelengths. Large volumes are neutral "
            "if it vanishes.",
            0.0,
            profile=Profile(
                found.k, found.s, "k (1/Å)", "S_ZZ (e²)", found.s_error, np.zeros(len(found.k))
            ),
        ),
        Statistic(
            second,
            found.limit.value,
            found.limit.error,
            "",
            f"Screening of long waves, S_ZZ / k² in units of perfect screening. {source}.",
            reference,
            uncertainty if math.isfinite(uncertainty) else 0.0,
            profile=Profile(
                found.k,
                found.screening,
                "k (1/Å)",
                "screening",
                found.screening_error,
                None if reference is None else shape,
            ),
        ),
    ]


def _interface(found: PotentialProfile) -> list[Statistic]:
    profile = Profile(found.z, found.potential, "z (Å)", "potential (V)", found.error)
    (step, unit), (inside, _) = INTERFACE
    return [
        Statistic(
            step,
            found.step.value,
            found.step.error,
            unit,
            "Potential above minus below the slab: its dipole over its area. It vanishes on "
            "average for a slab with two equal faces.",
            profile=profile,
        ),
        Statistic(
            inside,
            found.interface.value,
            found.interface.error,
            unit,
            "Mean potential in the middle third of the slab minus that outside. It depends on the "
            "charges, widths and dipoles of the model, and compares models with the same ones.",
            profile=profile,
        ),
    ]


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


def _pair(found: PairMeanForce, known: Estimate | None, tail: float) -> list[Statistic]:
    reference = None if known is None else 1 / known.value
    ((name, unit),) = TAILS
    expected = None if reference is None else found.vacuum * reference
    return [
        Statistic(
            name,
            found.inverse.value,
            found.inverse.error,
            unit,
            f"Mean force beyond {tail:g} Å over the Coulomb force in vacuum. It is the inverse of "
            "the dielectric constant of the solvent.",
            reference,
            0.0 if known is None else known.error / known.value**2,
            profile=Profile(
                found.r, found.force, "distance (Å)", "force (eV/Å)", found.error, expected
            ),
        )
    ]

"""One statistic with its value, error, reference and curve, made from each kind of analysis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muse_lr.analysis.averages import Estimate
from muse_lr.analysis.charge_statistics.dielectric import DielectricConstant
from muse_lr.analysis.charge_statistics.mean_force import PairMeanForce
from muse_lr.analysis.charge_statistics.potential_profile import PotentialProfile
from muse_lr.analysis.charge_statistics.structure_factor import ChargeStructureFactor

Array = NDArray[np.float64]

#: Fewest independent values of the total dipole without a caution.
FEWEST_INDEPENDENT = 20.0
#: Largest fluctuation of the charge of a molecule without a caution, e.
LARGEST_FLUCTUATION = 0.01
#: Names and units of the statistics of each analysis.
DIELECTRIC = (("dielectric constant", ""),)
MOMENTS = (("zeroth moment of charges", "e²"), ("second moment of charges", ""))
INTERFACE = (("potential step across the slab", "V"), ("potential inside the slab", "V"))
TAILS = (("tail of the mean force of the pair", ""),)


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


def skipped(name: str, unit: str, reason: str) -> Statistic:
    return Statistic(name, math.nan, math.nan, unit, "", skipped=reason)


def of_dipoles(
    found: DielectricConstant, known: Estimate | None, cautions: Sequence[str] = ()
) -> list[Statistic]:
    """The dielectric constant, with a known one as its reference."""
    cautions = list(cautions)
    if not found.independent >= FEWEST_INDEPENDENT:
        cautions.append(
            f"the frames hold about {found.independent:.0f} independent values of the dipole: run "
            "longer for a reliable error"
        )
    if found.charge_fluctuation > LARGEST_FLUCTUATION:
        cautions.append(
            "molecules exchange charge (up to "
            f"{found.charge_fluctuation:.2g} e), which the dipoles of molecules do not contain"
        )
    steps = np.arange(1.0, len(found.running) + 1)
    line = None if known is None else np.full(len(steps), known.value)
    profile = Profile(steps, found.running, "frames", "dielectric constant", reference=line)
    ((name, unit),) = DIELECTRIC
    return [
        Statistic(
            name,
            found.value.value,
            found.value.error,
            unit,
            "Fluctuation of the total dipole. Its error is large in short runs. Kirkwood factor of "
            f"the correlation of dipoles: {found.kirkwood:.2f}.",
            None if known is None else known.value,
            0.0 if known is None else known.error,
            cautions=tuple(cautions),
            profile=profile,
        )
    ]


def of_waves(
    found: ChargeStructureFactor, conducting: bool, known: Estimate | None, optical: float
) -> list[Statistic]:
    reference, uncertainty = None, 0.0
    source = "Its limit for a dielectric liquid is 1/eps_optical - 1/eps"
    if conducting:
        reference = 1 / optical
        source = "A conducting liquid screens charges completely (Stillinger and Lovett)"
    elif known is not None:
        reference, uncertainty = 1 / optical - 1 / known.value, known.error / known.value**2
    (zeroth, unit), (second, _) = MOMENTS
    structure, screening = _wave_profiles(found, reference)
    return [
        Statistic(
            zeroth,
            found.zeroth.value,
            found.zeroth.error,
            unit,
            "Limit of the charge structure factor at long wavelengths. Large volumes are neutral "
            "if it vanishes.",
            0.0,
            profile=structure,
        ),
        Statistic(
            second,
            found.limit.value,
            found.limit.error,
            "",
            f"Screening of long waves, S_ZZ / k² in units of perfect screening. {source}.",
            reference,
            uncertainty if math.isfinite(uncertainty) else 0.0,
            profile=screening,
        ),
    ]


def _wave_profiles(
    found: ChargeStructureFactor, reference: float | None
) -> tuple[Profile, Profile]:
    """Curves that begin with the limits at k = 0, and the law of long waves that is expected."""
    k = np.append(0.0, found.k)
    s, s_error, screening, error = (
        np.append(limit, values)
        for limit, values in (
            (found.zeroth.value, found.s),
            (found.zeroth.error, found.s_error),
            (found.limit.value, found.screening),
            (found.limit.error, found.screening_error),
        )
    )
    flat = parabola = None
    if reference is not None:
        flat = np.full(len(k), reference)
        if found.screening[0] > 0:
            parabola = reference * found.s[0] / found.screening[0] * (k / found.k[0]) ** 2
    return (
        Profile(k, s, "k (1/Å)", "S_ZZ (e²)", s_error, parabola),
        Profile(k, screening, "k (1/Å)", "screening", error, flat),
    )


def of_slab(found: PotentialProfile) -> list[Statistic]:
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


def of_pair(found: PairMeanForce, known: Estimate | None, tail: float) -> list[Statistic]:
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

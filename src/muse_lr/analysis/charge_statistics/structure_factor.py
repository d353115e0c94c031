r"""Charge structure factor at small wave vectors, and what screening requires of it.

With the charge density of a frame,

.. math:: \rho_k = \sum_i (q_i + i k \cdot \mu_i)\, e^{-k^2 \sigma_i^2 / 2}\, e^{i k \cdot r_i},

the charge structure factor of N sites is :math:`S_{ZZ}(k) = \langle |\rho_k|^2 \rangle / N`, in
e^2, and the screening function

.. math:: \chi(k) = \frac{\langle |\rho_k|^2 \rangle}{\epsilon_0 V k_B T k^2}

is the part of an external charge of this wavelength that the liquid screens,
:math:`\chi(k) = 1 - 1 / \epsilon(k)` (J.-P. Hansen, I. R. McDonald, *Theory of Simple Liquids*,
4th edition, chapters 10.2 and 11.2). Its limit for k -> 0 does not depend on how N is counted:

- conducting liquid: 1, the second moment of F. H. Stillinger, R. Lovett, J. Chem. Phys. 49, 1991
  (1968). For ions of charges q it reads :math:`S_{ZZ} \to \langle q^2 \rangle k^2 / k_D^2` with
  :math:`k_D^2 = \rho \langle q^2 \rangle / \epsilon_0 k_B T`.
- dielectric liquid: :math:`1 - 1 / \epsilon`.
- Charges or dipoles that follow the positions at once, as those of polarizable models do, do not
  fluctuate by themselves. The limits are then :math:`1/\epsilon_\infty` and
  :math:`1/\epsilon_\infty - 1/\epsilon`.

The zeroth moment, :math:`S_{ZZ}(0) = 0`, says that a large volume is neutral up to its surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.units import kB
from numpy.typing import NDArray

from muse_lr.analysis.averages import Estimate, mean
from muse_lr.analysis.charge_statistics.sites import ChargedSites
from muse_lr.errors import InputError
from muse_lr.units import COULOMB_CONSTANT

Array = NDArray[np.float64]

#: Largest wave vector, in units of the smallest one, without a choice of the caller.
LARGEST = 4.0
#: Largest wave vector from which limits are extrapolated, in units of the smallest one.
FITTED = 2.5
#: Width of the bins in |k|, in units of the smallest one. It separates the first shells of a cube.
WIDTH = 0.2
#: Fewest bins of a fit beyond its coefficients, and most coefficients of a polynomial in k^2.
SPARE, PARABOLA, CUBIC = 2, 3, 4
#: An inverse must exceed zero by so many standard errors to be inverted.
SIGNIFICANT = 3.0
#: 1 / eps0 in V A / e.
PER_PERMITTIVITY = 4 * np.pi * COULOMB_CONSTANT


@dataclass(frozen=True)
class ChargeStructureFactor:
    r"""Charge structure factor and screening function against the wave vector.

    Attributes
    ----------
    k : ndarray
        (bins,) mean length of the wave vectors of a bin, 1/A.
    vectors : ndarray
        (bins,) number of wave vectors, one of each pair k and -k.
    s, s_error : ndarray
        (bins,) :math:`S_{ZZ}` and its standard error, e^2.
    screening, screening_error : ndarray
        (bins,) :math:`\chi` and its standard error.
    zeroth : Estimate
        Limit of :math:`S_{ZZ}` for k -> 0, e^2.
    limit : Estimate
        Limit of :math:`\chi` for k -> 0.
    fitted : int
        Number of bins in the extrapolation.
    """

    k: Array
    vectors: NDArray[np.int64]
    s: Array
    s_error: Array
    screening: Array
    screening_error: Array
    zeroth: Estimate
    limit: Estimate
    fitted: int


def charge_structure_factor(
    sites: ChargedSites, temperature: float, k_max: float | None = None
) -> ChargeStructureFactor:
    r"""Charge structure factor with errors from block averages, and its limits for k -> 0.

    The wave vectors are those of the cell of each frame, with the same integers in all frames.
    Limits are extrapolated over the bins up to 2.5 times the smallest wave vector, by a cubic in
    k^2 for :math:`S_{ZZ}` and by a parabola in k^2 for the inverse of the screening function. The
    inverse is smooth: in the random-phase approximation it is linear in k^2. The fits are linear in
    the data of each frame, so that their errors are those of block averages too, with all
    correlations between bins.

    Parameters
    ----------
    sites : ChargedSites
        With three periodic directions.
    temperature : float
        K.
    k_max : float, optional
        Largest wave vector, 1/A. By default four times the smallest one.

    Raises
    ------
    InputError
        If a direction is open, if the temperature is not positive, or if ``k_max`` is below the
        smallest wave vector of the cell.
    """
    if not sites.periodic:
        raise InputError(
            "the charge structure factor needs three periodic directions; for slabs see "
            "potential_profile"
        )
    if not temperature > 0:
        raise InputError(f"the temperature is {temperature} K, but must be positive")
    integers = wave_integers(sites.cells.mean(0), k_max)
    squared, k = squared_density(sites, integers)
    volumes = sites.volumes[:, None]
    scaled = PER_PERMITTIVITY * squared / (volumes * kB * temperature * k**2)
    lengths = k.mean(0)
    bins = np.round((lengths / lengths.min() - 1) / WIDTH).astype(np.int64)
    used, which, vectors = np.unique(bins, return_inverse=True, return_counts=True)
    members = (which == np.arange(len(used))[:, None]) / vectors[:, None]
    k_bins, s_series, series = members @ lengths, squared @ members.T, scaled @ members.T
    s_series = s_series / sites.charges.shape[1]
    s, s_error = _columns(s_series)
    screening, error = _columns(series)
    kept = k_bins <= FITTED * k_bins[0] * (1 + 1e-6)
    # The variance of |rho_k|^2 is the square of its mean, which grows as k^2.
    weights = vectors[kept] / k_bins[kept] ** 4
    zeroth = _intercept(k_bins[kept], s_series[:, kept], weights, CUBIC)
    limit = _inverse_intercept(k_bins[kept], series[:, kept], vectors[kept])
    return ChargeStructureFactor(
        k_bins, vectors, s, s_error, screening, error, zeroth, limit, int(kept.sum())
    )


def wave_integers(cell: Array, k_max: float | None = None) -> NDArray[np.int64]:
    """(m, 3) integers n of the wave vectors k = 2 pi n cell^-T up to ``k_max``, without -n.

    Parameters
    ----------
    cell : ndarray
        (3, 3), rows are cell vectors, A.
    k_max : float, optional
        1/A; four times the smallest wave vector by default.
    """
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    lengths = np.linalg.norm(cell, axis=1)
    # A wave vector has n = k . a / 2 pi <= |k| |a| / 2 pi.
    bound = k_max if k_max is not None else LARGEST * np.linalg.norm(reciprocal, axis=1).min()
    most = np.floor(bound * lengths / (2 * np.pi) + 1e-9).astype(int).tolist()
    ranges = [range(-m, m + 1) for m in most]
    integers = np.array([n for n in product(*ranges) if n > (0, 0, 0)], dtype=np.int64)
    norms = np.linalg.norm(integers.reshape(-1, 3) @ reciprocal, axis=1)
    if k_max is None and len(norms):
        bound = LARGEST * norms.min()
    kept = integers[norms <= bound * (1 + 1e-9)] if len(norms) else integers
    if not len(kept):
        raise InputError(
            f"k_max is {k_max:g}/A, but the smallest wave vector of the cell is larger: give a "
            "larger k_max or leave it out"
        )
    return kept


def squared_density(sites: ChargedSites, integers: NDArray[np.int64]) -> tuple[Array, Array]:
    """Squared charge density |rho_k|^2 in e^2 and |k| in 1/A, both (frames, m)."""
    frames = len(sites.positions)
    squared, k = np.empty((2, frames, len(integers)))
    for i in range(frames):
        inverse = np.linalg.inv(sites.cells[i])
        waves = 2 * np.pi * integers @ inverse.T
        k[i] = np.linalg.norm(waves, axis=1)
        phases = _phases(sites.positions[i] @ inverse, integers)
        if sites.dipoles is None and sites.widths is None:
            density = phases @ sites.charges[i]
        else:
            amplitudes = np.broadcast_to(sites.charges[i], phases.shape).astype(np.complex128)
            if sites.dipoles is not None:
                amplitudes = amplitudes + 1j * waves @ sites.dipoles[i].T
            if sites.widths is not None:
                amplitudes = amplitudes * np.exp(-0.5 * np.outer(k[i], sites.widths) ** 2)
            density = (phases * amplitudes).sum(1)
        squared[i] = np.abs(density) ** 2
    return squared, k


def _phases(fractional: Array, integers: NDArray[np.int64]) -> NDArray[np.complex128]:
    """(m, n) values of exp(2 pi i n . s), as products of powers along the three vectors."""
    most = int(np.abs(integers).max())
    powers = np.exp(2j * np.pi * fractional.T[:, None] * np.arange(-most, most + 1)[:, None])
    rows = integers + most
    found: NDArray[np.complex128] = powers[0][rows[:, 0]] * powers[1][rows[:, 1]]
    found *= powers[2][rows[:, 2]]
    return found


def _columns(series: Array) -> tuple[Array, Array]:
    found = [mean(column) for column in series.T]
    return np.array([e.value for e in found]), np.array([e.error for e in found])


def _intercept(k: Array, series: Array, weights: Array, most: int) -> Estimate:
    """Value at k = 0 of a weighted least-squares fit to each frame, averaged over the frames."""
    coefficients = int(np.clip(len(k) - SPARE, 1, most))
    design = k[:, None] ** (2.0 * np.arange(coefficients))
    root = np.sqrt(weights)
    linear = np.linalg.pinv(design * root[:, None])[0] * root
    return mean(series @ linear)


def _inverse_intercept(k: Array, series: Array, vectors: NDArray[np.int64]) -> Estimate:
    """Value at k = 0 of a series of positive means, by a fit to the inverse of its means.

    Where the inverse is zero within its error, the fit is to the series itself.
    """
    means = series.mean(0)
    if (means > 0).all():
        # To first order in the deviation of a frame from the mean.
        inverse = 1 / means - (series - means) / means**2
        found = _intercept(k, inverse, vectors * means**2, PARABOLA)
        if found.value > 0 and not found.value < SIGNIFICANT * found.error:
            return Estimate(1 / found.value, found.error / found.value**2)
    return _intercept(k, series, vectors.astype(np.float64), PARABOLA)

r"""Mean force between two ions at long distances, and their potential of mean force.

The mean force on two ions at a fixed distance, averaged over the solvent, tends to the Coulomb
force in a continuum,

.. math:: \langle F(r) \rangle = -\frac{d w}{d r}
          \to \frac{q_1 q_2}{4 \pi \epsilon_0\, \epsilon\, r^2},

with :math:`w = -k_B T \ln g` (J. G. Kirkwood, J. Chem. Phys. 3, 300 (1935)). A short-ranged model
has no such tail: its mean force vanishes beyond its reach, or is that of the vacuum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from ase.geometry import find_mic
from ase.units import kB
from numpy.typing import NDArray

from muse_lr.analysis.averages import Estimate, mean
from muse_lr.analysis.rdf import PairHistogram
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.dispatch import Electrostatics
from muse_lr.errors import InputError
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.geometry import strained_geometry
from muse_lr.units import COULOMB_CONSTANT

Array = NDArray[np.float64]

#: Width of the bins of the distance, A.
WIDTH = 0.5
#: Accuracy and cutoff of the Ewald sums of two charges, A, and how many frames are summed at once.
ACCURACY, CUTOFF, AT_ONCE = 1e-8, 8.0, 256
#: Number of blocks of frames from which the error of a potential of mean force follows.
BLOCKS = 5


@dataclass(frozen=True)
class PairMeanForce:
    r"""Mean force along the axis of a pair; positive if the ions repel each other.

    Attributes
    ----------
    r : ndarray
        (bins,) mean distances, A; bins without a frame are left out.
    force, error : ndarray
        (bins,) mean force and its standard error, eV/A.
    vacuum : ndarray
        (bins,) Coulomb force of the two charges in vacuum, eV/A, with the images of the cell.
    inverse : Estimate
        :math:`1 / \epsilon`: the factor between both forces beyond the start of the tail.
    """

    r: Array
    force: Array
    error: Array
    vacuum: Array
    inverse: Estimate


@dataclass(frozen=True)
class IonPotential:
    """Potential of mean force of two kinds of ions.

    Attributes
    ----------
    r : ndarray
        (bins,) distances, A.
    w, error : ndarray
        (bins,) potential of mean force and its standard error, eV; NaN where no ion was.
    """

    r: Array
    w: Array
    error: Array


def pair_mean_force(
    frames: Sequence[Atoms],
    forces: Sequence[Array],
    pair: tuple[int, int],
    charges: tuple[float, float],
    tail: float,
) -> PairMeanForce:
    r"""Mean force of an ion pair against its distance, and the dielectric constant of its tail.

    The force is :math:`(F_2 - F_1) \cdot \hat r_{12} / 2`, with the nearest image. Each of the two
    terms has the average :math:`-d w / d r`, so that their mean is the more precise estimate.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Frames with the pair at various distances, held or free.
    forces : sequence of ndarray
        (n, 3) forces of each frame, eV/A, without those of a restraint.
    pair : tuple of int
        Indices of the two ions.
    charges : tuple of float
        Their charges in e, as seen from a distance: those of the ions, not of a model's atoms.
    tail : float
        Distance from which the tail is compared with Coulomb's law, A.

    Raises
    ------
    InputError
        If the pair is not two atoms of the frames, if a charge is zero, or if no frame is in the
        tail.
    """
    _check_pair(frames, forces, pair, charges)
    first, second = pair
    vectors = np.array([_nearest(atoms, first, second) for atoms in frames])
    r = np.linalg.norm(vectors, axis=1)
    axes = vectors / r[:, None]
    differences = np.array([force[second] - force[first] for force in forces])
    along = (differences * axes).sum(1) / 2
    vacuum = coulomb_forces(frames, vectors, charges)
    inside = r >= tail
    if not inside.any():
        raise InputError(
            f"the largest distance of the pair is {r.max():.2f} A, but the tail begins at "
            f"{tail:g} A: give frames of larger distances, or a smaller tail"
        )
    square = float((vacuum[inside] ** 2).mean())
    factor = float((along * vacuum)[inside].mean()) / square
    # The factor is a ratio of averages. Its error is that of its linear terms.
    rest = (along - factor * vacuum)[inside] * vacuum[inside] / square
    inverse = Estimate(factor, mean(rest).error)
    bins = np.floor(r / WIDTH).astype(np.int64)
    members = [bins == which for which in np.unique(bins)]
    found = [mean(along[chosen]) for chosen in members]
    return PairMeanForce(
        np.array([r[chosen].mean() for chosen in members]),
        np.array([estimate.value for estimate in found]),
        np.array([estimate.error for estimate in found]),
        np.array([vacuum[chosen].mean() for chosen in members]),
        inverse,
    )


def coulomb_forces(frames: Sequence[Atoms], vectors: Array, charges: tuple[float, float]) -> Array:
    """Coulomb force of two charges in vacuum along their axis, (frames,) in eV/A.

    In a periodic cell it is that of the Ewald sum with a conducting boundary, and a background if
    the pair has a net charge. This is what a periodic simulation has in place of q1 q2 / r^2.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Cells and periodic directions.
    vectors : ndarray
        (frames, 3) vectors from the first to the second charge, A.
    charges : tuple of float
        e.
    """
    if not any(atoms.pbc.any() for atoms in frames):
        lengths = np.linalg.norm(vectors, axis=1)
        found: Array = COULOMB_CONSTANT * charges[0] * charges[1] / lengths**2
        return found
    pairs = [
        Atoms("H2", [np.zeros(3), vector], cell=atoms.cell, pbc=atoms.pbc)
        for atoms, vector in zip(frames, vectors, strict=True)
    ]
    solver = Electrostatics((0.0,), 0, ACCURACY, CUTOFF)
    parts = [
        _pair_forces(solver, pairs[start : start + AT_ONCE], charges)
        for start in range(0, len(pairs), AT_ONCE)
    ]
    axes = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    along: Array = (np.concatenate(parts) * axes).sum(1)
    return along


def ion_potential(
    frames: Sequence[Atoms], pair: tuple[str, str], temperature: float, cutoff: float
) -> IonPotential:
    r"""Potential of mean force :math:`w(r) = -k_B T \ln g(r)` of two elements.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        With three periodic directions.
    pair : tuple of str
        Chemical symbols of the ions.
    temperature : float
        K.
    cutoff : float
        Largest distance, A; at most half the smallest distance of two faces of the cell is useful.
    """
    elements = [atomic_numbers[symbol] for symbol in pair]
    count = min(BLOCKS, len(frames))
    curves = []
    for block in np.array_split(np.arange(len(frames)), count):
        histogram = PairHistogram(elements, cutoff)
        for index in block:
            histogram.add(frames[index])
        wanted = {"-".join(pair), "-".join(reversed(pair))}
        found = [each for each in histogram.results() if each.pair in wanted]
        if not found or found[0].g is None:
            raise InputError(
                f"no pair {'-'.join(pair)} within {cutoff:g} A of three periodic directions in "
                f"frames {block[0]} to {block[-1]}"
            )
        curves.append(found[0].g)
    g = np.array(curves)
    with np.errstate(divide="ignore", invalid="ignore"):
        w = -kB * temperature * np.log(g.mean(0))
        spread = g.std(0, ddof=1) / np.sqrt(count) if count > 1 else np.full(g.shape[1], np.nan)
        error = kB * temperature * spread / g.mean(0)
    return IonPotential(found[0].r, np.where(np.isfinite(w), w, np.nan), error)


def continuum_potential(
    r: Array, charges: tuple[float, float], dielectric: float, debye_length: float = np.inf
) -> Array:
    r"""Potential of two charges in a continuum of ions, in eV.

    .. math:: w(r) = \frac{q_1 q_2}{4 \pi \epsilon_0\, \epsilon\, r} e^{-r / \lambda_D}

    Parameters
    ----------
    r : ndarray
        A.
    charges : tuple of float
        e.
    dielectric : float
        Dielectric constant of the solvent.
    debye_length : float
        A; infinite without other ions.
    """
    product = COULOMB_CONSTANT * charges[0] * charges[1] / dielectric
    potential: Array = product / r * np.exp(-r / debye_length)
    return potential


def _check_pair(
    frames: Sequence[Atoms],
    forces: Sequence[Array],
    pair: tuple[int, int],
    charges: tuple[float, float],
) -> None:
    fewest = min((len(atoms) for atoms in frames), default=0)
    if pair[0] == pair[1] or not all(0 <= index < fewest for index in pair):
        raise InputError(f"the pair {pair} is not two atoms of every frame: give two indices")
    if len(forces) != len(frames):
        raise InputError(f"there are {len(frames)} frames, but forces of {len(forces)}")
    if not all(charges):
        raise InputError(f"the charges of the pair are {charges}: a neutral ion has no such tail")


def _nearest(atoms: Atoms, first: int, second: int) -> Array:
    vector: Array = find_mic(
        atoms.positions[second] - atoms.positions[first], atoms.cell, atoms.pbc
    )[0]
    return vector


def _pair_forces(
    solver: Electrostatics, pairs: Sequence[Atoms], charges: tuple[float, float]
) -> Array:
    """(frames, 3) forces on the second charge of each pair, eV/A."""
    batch = AtomsBatch.from_ase(list(pairs), cutoff=solver.cutoff)
    positions = batch.positions.clone().requires_grad_()
    strain = torch.zeros((len(pairs), 3, 3), dtype=torch.float64)
    geometry = strained_geometry(batch, positions, strain)
    moments = torch.tensor(charges, dtype=torch.float64).repeat(len(pairs))[:, None]
    density = ChargeDensity(moments, torch.zeros(len(moments)), batch.batch, len(pairs))
    energy = solver.energy(density, geometry, frozenset({"forces"}))
    (gradient,) = torch.autograd.grad(energy.sum(), positions)
    forces: Array = -gradient[1::2].numpy()
    return forces

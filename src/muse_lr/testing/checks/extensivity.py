"""Checks of additivity: batches, supercells, far copies and total charges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.electrostatics.kernels import pair_interaction, radial_kernel
from muse_lr.math.multipoles import order_of, to_cartesian
from muse_lr.structures.state import read_state, repeated_info
from muse_lr.testing.checks.comparison import compare
from muse_lr.testing.measurement import Measurement, NotApplicable, judge
from muse_lr.testing.potentials import Outputs, Potential, Subject, as_potential
from muse_lr.testing.structures import join
from muse_lr.units import COULOMB_CONSTANT

Array = NDArray[np.float64]

#: Upper limit of the energy of two unknown dipoles times their distance cubed, eV A^3.
DIPOLE_ALLOWANCE = 40.0


def check_batch(
    subject: Subject, structures: Sequence[Atoms], *, tolerance: float = 1e-9
) -> Measurement:
    r"""Check that a batch gives the same results as its structures one by one.

    .. math:: E(\{A, B, \ldots\}) = \{E(A), E(B), \ldots\}

    and likewise for forces, charges and, if all structures are periodic, the stress.

    Parameters
    ----------
    subject : EnergyModel, ASE calculator or Potential
    structures : sequence of ase.Atoms
        Structures, possibly with different boundaries, including isolated atoms.
    tolerance : float
        Largest deviation, as a share of max(1, largest value) in eV, eV/A, eV/A^3, e A and e.

    Raises
    ------
    CheckFailed
    """
    potential = as_potential(subject)
    offers = [set(potential.offered(atoms)) for atoms in structures]
    compute = tuple(sorted(set.intersection(*offers)))
    together = potential.evaluate(structures, compute)
    singles = [potential.evaluate([atoms], compute) for atoms in structures]
    alone = Outputs(
        energy=np.concatenate([single.energy for single in singles]),
        **{name: np.concatenate([single.get(name) for single in singles]) for name in compute},
    )
    return compare("batch", alone, together, tolerance, "in a batch")


def check_supercell(
    subject: Subject,
    atoms: Atoms,
    *,
    repeats: Sequence[int] = (2, 1, 1),
    tolerance: float = 1e-8,
) -> Measurement:
    r"""Check that a supercell of n cells has n times the energy and the same other properties.

    .. math:: E(n \times A) = n E(A)

    Parameters
    ----------
    subject : EnergyModel, ASE calculator or Potential
    atoms : ase.Atoms
        A given total charge is multiplied by n.
    repeats : sequence of int
        Number of cells along each vector; open directions are not repeated.
    tolerance : float
        Largest deviation (energy: per cell), as a share of max(1, largest value).

    Raises
    ------
    NotApplicable
        Without periodic directions.
    CheckFailed
    """
    if not atoms.pbc.any():
        raise NotApplicable("open boundaries have no supercell")
    potential = as_potential(subject)
    counts = np.where(atoms.pbc, repeats, 1)
    if counts.prod() == 1:
        counts = np.where(atoms.pbc, 2, 1)
    size = int(counts.prod())
    supercell = repeated(atoms, counts.tolist())
    compute = tuple(name for name in potential.offered(atoms) if name != "dipole")
    one, many = potential.evaluate([atoms], compute), potential.evaluate([supercell], compute)
    tiled = {
        name: np.concatenate([one.get(name)] * size)
        for name in compute
        if name in ("forces", "charges")
    }
    expected = Outputs(energy=one.energy, stress=one.stress, **tiled)
    actual = Outputs(**{**vars(many), "energy": many.energy / size})
    return compare("supercell", expected, actual, tolerance, f"per cell of {counts.tolist()} cells")


def repeated(atoms: Atoms, counts: Sequence[int]) -> Atoms:
    """Supercell of ``counts`` cells; total charge and unpaired electrons are multiplied."""
    supercell = atoms.repeat(tuple(int(count) for count in counts))
    supercell.info = repeated_info(atoms, int(np.prod(counts)))
    return supercell


def check_far_copies(
    subject: Subject,
    atoms: Atoms,
    *,
    distance: float = 200.0,
    tolerance: float = 1e-7,
    strict: bool = False,
    seed: int = 0,
) -> Measurement:
    r"""Check that two far copies have twice the energy plus the Coulomb tail of their multipoles.

    .. math:: E(A \cup A_R) = 2 E(A) + k \sum_{i \in A, j \in A_R} \frac{q_i q_j}{r_{ij}},

    with the charges that the potential reports for the pair, and the terms of its multipoles. A
    potential without such a tail (``coulomb`` is False) is compared without it. If ``coulomb`` is
    None, the excess energy delta is extrapolated to infinite distance:
    :math:`(\delta(R) - 6 \delta(2R) + 8 \delta(4R)) / 3` has no terms in 1/R and 1/R^2, and the
    tolerance is raised by the 1/R^3 of dipoles.

    Parameters
    ----------
    subject : EnergyModel, ASE calculator or Potential
    atoms : ase.Atoms
        A molecule (open boundaries).
    distance : float
        R in A; Gaussian charges must not overlap.
    tolerance : float
        eV, as a share of max(1 eV, energy of the copy).
    strict : bool
        Also fail a potential that declares ``size_consistent`` false. A charge constraint does not
        transfer charge between identical copies, so that it does not explain a violation.
    seed : int
        For the direction.

    Raises
    ------
    NotApplicable
        For periodic structures.
    CheckFailed
    """
    return _fragments("far_copies", subject, atoms, atoms, distance, tolerance, seed, strict)


def check_size_consistency(
    subject: Subject,
    first: Atoms,
    second: Atoms,
    *,
    distance: float = 200.0,
    tolerance: float = 1e-7,
    seed: int = 0,
) -> Measurement:
    r"""Check that two different far fragments interact through their Coulomb tail only.

    .. math:: E(A \cup B_R) = E(A) + E(B) + k \sum_{i \in A, j \in B_R} \frac{q_i q_j}{r_{ij}}

    Parameters and errors as for :func:`check_far_copies`. A potential that declares
    ``size_consistent`` false is measured but never fails: a global charge constraint transfers
    charge between different fragments.
    """
    return _fragments("size_consistency", subject, first, second, distance, tolerance, seed)


def check_total_charge(subject: Subject, atoms: Atoms, *, tolerance: float = 1e-10) -> Measurement:
    r"""Check that the charges sum to the given total charge.

    .. math:: \sum_i q_i = Q, \quad Q = \mathtt{info["total\_charge"]} \text{ or } 0

    Parameters
    ----------
    subject : EnergyModel, ASE calculator or Potential
    atoms : ase.Atoms
    tolerance : float
        Largest deviation, e.

    Raises
    ------
    NotApplicable
        If the potential reports no charges.
    CheckFailed
    """
    charges = as_potential(subject).evaluate([atoms], ("charges",)).get("charges")
    stated = read_state(atoms).total_charge
    return judge(
        "total_charge",
        abs(charges.sum() - stated),
        tolerance,
        "e",
        f"deviation of the charges' sum from {stated:g} e",
    )


def _fragments(
    name: str,
    subject: Subject,
    first: Atoms,
    second: Atoms,
    distance: float,
    tolerance: float,
    seed: int,
    strict: bool = False,
) -> Measurement:
    if first.pbc.any() or second.pbc.any():
        raise NotApplicable("far copies need open boundaries")
    potential = as_potential(subject)
    direction = np.random.default_rng(seed).normal(size=3)
    direction /= np.linalg.norm(direction)
    alone = potential.energies([first, second])
    scale = max(1.0, float(np.abs(alone).max()))
    if potential.coulomb is False:
        excess = _excess(potential, first, second, direction * distance, alone, with_tail=False)
        what = f"energy at {distance:g} A minus that of the fragments"
    elif "charges" in potential.provides and potential.coulomb is not None:
        excess = _excess(potential, first, second, direction * distance, alone, with_tail=True)
        what = f"energy at {distance:g} A minus that of the fragments and their Coulomb tail"
    else:
        near, middle, far = (
            _excess(potential, first, second, direction * r, alone, with_tail=False)
            for r in (distance, 2 * distance, 4 * distance)
        )
        excess = (near - 6 * middle + 8 * far) / 3
        tolerance = max(tolerance, DIPOLE_ALLOWANCE / distance**3)
        what = "energy minus that of the fragments, extrapolated to infinite distance"
    declared = not (potential.size_consistent or strict)
    known = "the potential declares size_consistent: false" if declared else ""
    return judge(name, abs(excess), tolerance * scale, "eV", what, known)


def _excess(
    potential: Potential,
    first: Atoms,
    second: Atoms,
    shift: Array,
    alone: Array,
    *,
    with_tail: bool,
) -> float:
    """Energy of the pair minus that of its parts and (``with_tail``) the Coulomb tail, eV."""
    moved = second.copy()
    moved.positions += shift
    pair = join(first, moved)
    compute = ("charges",) if with_tail else ()
    out = potential.evaluate([pair], compute)
    excess = float(out.energy[0] - alone.sum())
    if with_tail:
        moments = out.get("charges")[:, None] if out.moments is None else out.moments
        excess -= coulomb_energy_between(
            first.positions, moments[: len(first)], moved.positions, moments[len(first) :]
        )
    return excess


def coulomb_energy_between(
    first: Array, first_moments: Array, second: Array, second_moments: Array
) -> float:
    r"""Energy of two sets of point multipoles, :math:`k \sum_{ij} q_i q_j / r_{ij}` for charges.

    Parameters
    ----------
    first, second : ndarray
        (n, 3) and (m, 3) positions in A.
    first_moments, second_moments : ndarray
        (n, (l_max + 1)^2) and (m, (l_max + 1)^2) in e A^l, as in
        :class:`~muse_lr.density.ChargeDensity`.

    Returns
    -------
    float
        In eV.
    """
    vector = torch.from_numpy((first[:, None] - second[None]).reshape(-1, 3))
    i = torch.arange(len(first)).repeat_interleave(len(second))
    j = torch.arange(len(second)).repeat(len(first))
    ours, theirs = torch.from_numpy(first_moments), torch.from_numpy(second_moments)
    kernel = radial_kernel(vector.square().sum(1), 0.0, order_of(ours) + order_of(theirs))
    pairs = pair_interaction(to_cartesian(ours)[i], to_cartesian(theirs)[j], vector, kernel)
    return COULOMB_CONSTANT * float(pairs.sum())

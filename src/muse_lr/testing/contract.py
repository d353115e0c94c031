"""All checks of a model in one call."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms
from scipy.spatial.distance import pdist

from muse_lr.testing import checks
from muse_lr.testing.measurement import CheckFailed, Measurement, NotApplicable

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

Check = Callable[[], Measurement]
#: A path on which two atoms come closer than this is not used, A: the energy is too steep.
CLOSEST = 0.9
#: Checks of one structure that take a seed.
SEEDED = (
    *("forces", "hessian_symmetric", "second_derivatives", "translation", "rotation"),
    *("reflection", "permutation", "wrapping", "equivalent_cell"),
)


@dataclass(frozen=True)
class Contract:
    """Measurements of all checks that apply, and the reasons why the others do not."""

    measurements: list[Measurement]
    not_applicable: list[str]


def check_contract(model: EnergyModel, structures: Sequence[Atoms], *, seed: int = 0) -> Contract:
    """Apply every check that applies to a copy of the model, in float64.

    Noise is added to the weights, so that parts which start at zero contribute.

    Parameters
    ----------
    model : EnergyModel
    structures : sequence of ase.Atoms
        At most about ten atoms each, none closer than about 1 A. Together they should contain
        every element of the model, and a molecule, a crystal and a slab if the model supports them.
    seed : int
        For everything random.

    Raises
    ------
    CheckFailed
        For the first violation. A note names the structure.
    """
    fresh = copy.deepcopy(model).to(torch.float64).eval()
    own = copy.deepcopy(fresh)
    checks.randomize_weights(own, seed + 1)
    tests = [("all structures", check) for check in _of_all(fresh, own, structures, seed)]
    for index, atoms in enumerate(structures):
        where = f"structure {index} ({atoms.get_chemical_formula()})"
        tests += [(where, check) for check in _of_one(own, atoms, seed)]
    measurements, not_applicable = list[Measurement](), list[str]()
    for where, check in tests:
        try:
            measurements.append(check())
        except NotApplicable as error:
            not_applicable.append(f"{where}: {error}")
        except CheckFailed as error:
            error.add_note(f"check_contract: {where}")
            raise
    return Contract(measurements, not_applicable)


def _of_all(
    fresh: EnergyModel, own: EnergyModel, structures: Sequence[Atoms], seed: int
) -> Iterator[Check]:
    labels = ["energy", "forces"]
    if own.charges is not None and not any(head.needs_density for head in own.heads.values()):
        labels.append("charges")  # no energy depends on them, but a loss on them can train them
    gradients = partial(checks.check_parameters_receive_gradients, noise=0.02, seed=seed)
    yield partial(gradients, fresh, structures, labels=labels)
    yield partial(checks.check_save_load, own, structures)
    yield partial(checks.check_batch, own, structures)
    crystals = [atoms for atoms in structures if atoms.pbc.any()]
    molecules = [atoms for atoms in structures if not atoms.pbc.any()]
    if crystals:
        yield partial(checks.check_training_gradient, own, crystals, seed=seed)
    else:
        yield partial(_lacks, "check_training_gradient needs a periodic structure")
    if len(molecules) < 2:
        yield partial(_lacks, "check_size_consistency needs two molecules")
    for first, second in pairwise(molecules):
        yield partial(checks.check_size_consistency, own, first, second, seed=seed)


def _lacks(reason: str) -> Measurement:
    """A check that the structures do not allow: it is named, not left out in silence."""
    raise NotApplicable(reason)


def _of_one(own: EnergyModel, atoms: Atoms, seed: int) -> Iterator[Check]:
    for name in SEEDED:
        yield partial(getattr(checks, f"check_{name}"), own, atoms, seed=seed)
    yield partial(checks.check_far_copies, own, atoms, strict=True, seed=seed)
    yield partial(checks.check_stress, own, atoms)
    yield partial(checks.check_supercell, own, atoms, repeats=[2 if p else 1 for p in atoms.pbc])
    if own.charges is not None and own.charges.exact_total_charge:
        yield partial(checks.check_total_charge, own, atoms)
    path = checks.displacement_path(atoms, seed=seed)
    yield partial(checks.check_smooth, own, path, span=(-0.25, 0.25), points=30)
    if atoms.pbc.any():
        path = checks.strain_path(atoms, seed=seed)
        yield partial(checks.check_smooth, own, path, span=(-0.08, 0.08), points=30)
        return
    for cutoff in sorted({part.cutoff for part in own.parts.named().values()} - {0.0}):
        yield partial(_check_separation, own, atoms, cutoff)


def _check_separation(own: EnergyModel, atoms: Atoms, cutoff: float) -> Measurement:
    """Smoothness where a pair leaves the cutoff; the first pair that meets no other atom."""
    for atom in range(len(atoms)):
        path = checks.separation_path(atoms, cutoff, atom)
        if min(pdist(path(t).positions).min() for t in np.linspace(-0.5, 0.5, 21)) > CLOSEST:
            return checks.check_smooth(own, path, points=30, look_at=(0.0,))
    raise NotApplicable("every path across the cutoff leads atoms into each other")

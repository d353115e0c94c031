"""The ZBL repulsion against its published form, and the protocol of the heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

import muse_lr
from muse_lr.heads.zbl import screened_repulsion

ZBL_ONLY = {"elements": ["C", "O"], "backbone": None, "charges": None, "heads": {"zbl": {}}}


def test_screened_repulsion_is_the_published_one():
    """Z. B. L. (1985) for C-O at 0.5 A, evaluated by hand from the printed constants."""
    z1, z2, r = 6, 8, 0.5
    a = 0.88534 * 0.529177210903 / (z1**0.23 + z2**0.23)
    x = r / a
    phi = (
        0.18175 * np.exp(-3.19980 * x)
        + 0.50986 * np.exp(-0.94229 * x)
        + 0.28022 * np.exp(-0.40290 * x)
        + 0.02817 * np.exp(-0.20162 * x)
    )
    expected = 14.3996454784 * z1 * z2 / r * phi
    found = screened_repulsion(*(torch.tensor(float(v), dtype=torch.float64) for v in (r, z1, z2)))
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_repulsion_ends_at_the_bond_length():
    model = muse_lr.build_model(ZBL_ONLY).to(torch.float64)
    bond = covalent_radii[atomic_numbers["C"]] + covalent_radii[atomic_numbers["O"]]
    distances = np.array([0.4, 0.5, 0.8, 0.99, 1.0, 1.2]) * bond
    dimers = [Atoms("CO", [[0, 0, 0], [0, 0, d]]) for d in distances]
    energy = model(muse_lr.AtomsBatch.from_ase(dimers, cutoff=model.cutoff)).energy
    full = screened_repulsion(
        torch.tensor(distances), torch.full((6,), 6.0).double(), torch.full((6,), 8.0).double()
    )
    torch.testing.assert_close(energy[:2], full[:2])
    assert bool((energy[2:4] > 0).all())
    assert bool((energy[4:] == 0).all())


def test_repulsion_ends_at_the_given_distances():
    zbl = {"kind": "zbl", "distances": {"O-C": 1.1, "C-C": 1.4}, "inner_fraction": 0.7}
    model = muse_lr.build_model(ZBL_ONLY | {"heads": {"zbl": zbl}}).to(torch.float64)
    assert model.cutoff == pytest.approx(1.4)  # covalent radii give 1.32 A for O-O
    distances = torch.tensor([0.5, 0.76, 0.78, 1.09, 1.1, 1.3], dtype=torch.float64)
    dimers = [Atoms("CO", [[0, 0, 0], [0, 0, float(d)]]) for d in distances]
    energy = model(muse_lr.AtomsBatch.from_ase(dimers, cutoff=model.cutoff)).energy
    charges = torch.full((6,), 6.0).double(), torch.full((6,), 8.0).double()
    full = screened_repulsion(distances, *charges)
    torch.testing.assert_close(energy[:2], full[:2])
    assert bool((energy[2:4] > 0).all() and (energy[2:4] < full[2:4]).all())
    assert bool((energy[4:] == 0).all())
    oxygen = [Atoms("O2", [[0, 0, 0], [0, 0, 1.2]]), Atoms("O2", [[0, 0, 0], [0, 0, 1.33]])]
    near, far = model(muse_lr.AtomsBatch.from_ase(oxygen, cutoff=model.cutoff)).energy
    assert near > 0
    assert far == 0  # not listed: the sum of the covalent radii


def test_the_wall_adds_a_cubic_energy_to_the_pairs_with_distances():
    energies = []
    atoms = [Atoms("CO", [[0, 0, 0], [0, 0, r]]) for r in (0.9, 1.0, 1.1, 1.3)]
    for wall in (None, 500.0):
        zbl = {"kind": "zbl", "distances": {"O-C": 1.1}, "wall": wall}
        model = muse_lr.build_model(ZBL_ONLY | {"heads": {"zbl": zbl}}).to(torch.float64)
        batch = muse_lr.AtomsBatch.from_ase(atoms, cutoff=model.cutoff)
        energies.append(model(batch).energy_parts["zbl"].tolist())
    added = [b - a for a, b in zip(*energies, strict=True)]
    assert added == pytest.approx([500 * (2 / 11) ** 3, 500 / 11**3, 0, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        ({"CO": 1.0}, "'CO' is not a pair of elements such as H-O"),
        ({"C-Q": 1.0}, "'Q' is no"),
        ({"C-O": 0.0}, "the distance of C-O is 0.0: it must be positive"),
        ({"C-O": 1.0, "O-C": 1.1}, "the pair C-O is listed twice"),
    ],
)
def test_wrong_distances_are_refused(distances, message):
    with pytest.raises(muse_lr.InputError, match=message):
        muse_lr.build_model(ZBL_ONLY | {"heads": {"zbl": {"distances": distances}}})


def test_parts_sum_to_the_energy():
    model = muse_lr.build_model({"elements": ["C", "O"], "heads": {"coulomb": {}, "zbl": {}}})
    dimer = Atoms("CO", [[0, 0, 0], [0, 0, 0.9]])
    out = model(muse_lr.AtomsBatch.from_ase([dimer], cutoff=model.cutoff), ("forces",))
    assert list(out.energy_parts) == ["e0", "backbone", "coulomb", "zbl"]
    assert float(sum(out.energy_parts.values())) == pytest.approx(float(out.energy), abs=1e-12)


def test_a_null_head_is_switched_off():
    model = muse_lr.build_model({"elements": ["C"], "heads": {"coulomb": None, "zbl": {}}})
    assert list(model.heads) == ["zbl"]


@pytest.mark.parametrize("name", ["keys", "a.b", "type", "training"])
def test_heads_may_have_any_name(name):
    section = {"kind": "zbl"}
    model = muse_lr.build_model({"elements": ["C"], "charges": None, "heads": {name: section}})
    dimer = Atoms("C2", [[0, 0, 0], [0, 0, 0.9]])
    out = model(muse_lr.AtomsBatch.from_ase([dimer], cutoff=model.cutoff))
    assert name in out.energy_parts


def test_a_short_neighbor_list_is_refused():
    model = muse_lr.build_model({"elements": ["C", "O"]})
    batch = muse_lr.AtomsBatch.from_ase([Atoms("CO", [[0, 0, 0], [0, 0, 0.9]])], cutoff=2.0)
    with pytest.raises(muse_lr.InputError, match="ends at 2 A, the model needs 5 A"):
        model(batch)


def test_coincident_atoms_and_empty_batches_are_refused():
    with pytest.raises(muse_lr.InputError, match="atoms 0 and 1 are at one place"):
        muse_lr.AtomsBatch.from_ase([Atoms("CO", [[0, 0, 0], [0, 0, 0]])], cutoff=2.0)
    with pytest.raises(muse_lr.InputError, match="at least one structure"):
        muse_lr.AtomsBatch.from_ase([], cutoff=2.0)
    with pytest.raises(muse_lr.InputError, match="no element"):
        muse_lr.AtomsBatch.from_ase([Atoms("X")], cutoff=2.0)


def test_fixed_charges_are_their_own_total_charge():
    charges = {"kind": "fixed", "by_element": {"Na": 1.0, "Cl": -1.0}}
    model = muse_lr.build_model({"elements": ["Na", "Cl"], "backbone": None, "charges": charges})
    ions = Atoms("Na2Cl", [[0, 0, 0], [0, 0, 3], [0, 0, 6]])
    assert float(model(muse_lr.AtomsBatch.from_ase([ions], cutoff=6.0)).total_charge) == 1.0
    ions.info["total_charge"] = 0
    with pytest.raises(muse_lr.InputError, match="states total_charge 0 but"):
        model(muse_lr.AtomsBatch.from_ase([ions], cutoff=6.0))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"charges": None}, "'coulomb' needs charges"),
        ({"backbone": None}, "reads features"),
        ({"charges": {"l_max": 2}}, "needs features of l = 2"),
        ({"heads": {"energy": {"kind": "zbl"}}}, "name is taken"),
        ({"heads": {"../x": {"kind": "zbl"}}}, "only letters"),
        ({"charges": {"kind": "fixed", "by_element": {"C": 1}}}, "no charge for O"),
    ],
)
def test_parts_that_do_not_fit_are_refused(section, message):
    with pytest.raises(muse_lr.InputError, match=message):
        muse_lr.build_model({"elements": ["C", "O"], **section})

"""Batches from tensors: equal to those of ASE structures, and refused with their messages."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, graphene, molecule
from hypothesis import given
from hypothesis import strategies as st

import muse_lr
from helpers import painn_section, random_model
from muse_lr import InputError
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.verlet_list import VerletList
from muse_lr.testing.strategies import any_structures, molecules, near_ties

CUTOFF = 4.0


def tensors_of(structures):
    """Arguments of ``from_tensors``: positions, numbers, cell, pbc, batch."""
    sizes = torch.tensor([len(atoms) for atoms in structures])
    return {
        "positions": torch.from_numpy(np.concatenate([a.positions for a in structures])),
        "numbers": torch.from_numpy(np.concatenate([a.numbers for a in structures])),
        "cell": torch.from_numpy(np.stack([a.cell.array for a in structures])),
        "pbc": torch.from_numpy(np.stack([a.pbc for a in structures])),
        "batch": torch.arange(len(sizes)).repeat_interleave(sizes),
    }


def assert_same(batch, expected):
    assert set(batch.keys()) == set(expected.keys())
    for name in expected.keys():  # noqa: SIM118
        one, other = batch[name], expected[name]
        if isinstance(other, torch.Tensor):
            assert (one.dtype, one.device) == (other.dtype, other.device), name
            assert torch.equal(one, other), name
        else:
            assert one == other, name
    assert batch.num_graphs == expected.num_graphs
    assert repr(batch) == repr(expected)


@given(structures=st.lists(any_structures(max_atoms=6) | near_ties(), min_size=1, max_size=4))
def test_equal_to_the_batch_of_ase_structures(structures):
    """Molecules, slabs and crystals, tensor by tensor, and each structure taken out again."""
    expected = AtomsBatch.from_ase(structures, CUTOFF)
    batch = AtomsBatch.from_tensors(**tensors_of(structures), cutoff=CUTOFF)
    assert_same(batch, expected)
    for index in range(len(structures)):
        one, other = batch[index], expected[index]
        assert set(one.keys()) == set(other.keys())
        for name in other.keys():  # noqa: SIM118
            assert np.all(np.asarray(one[name]) == np.asarray(other[name])), name


@given(
    structures=st.lists(molecules(max_atoms=4), min_size=1, max_size=3),
    charge=st.integers(-2, 2),
    extra=st.integers(0, 2),
)
def test_what_structures_state(structures, charge, extra):
    rng = np.random.default_rng(len(structures))
    spins, fields, groups = [], [], []
    for atoms in structures:
        spins.append(1.0 + (int(atoms.numbers.sum()) - charge) % 2 + 2 * extra)
        fields.append(rng.normal(size=3))
        groups.append(rng.integers(-1, 3, size=len(atoms)))
        atoms.info = {"charge": charge, "spin": spins[-1], "electric_field": fields[-1]}
        atoms.set_array("coarse_index", groups[-1])
    tensors = tensors_of(structures) | {"cell": None, "pbc": None}
    batch = AtomsBatch.from_tensors(
        **tensors,
        cutoff=CUTOFF,
        total_charge=charge,
        spin=torch.tensor(spins),
        field=torch.from_numpy(np.stack(fields)),
        coarse_index=torch.from_numpy(np.concatenate(groups)),
    )
    assert_same(batch, AtomsBatch.from_ase(structures, CUTOFF))


def test_skewed_cells_incomplete_cells_and_structures_without_atoms():
    skewed = bulk("NaCl", "rocksalt", a=5.6)
    skewed.set_cell(np.array([[1, 0, 0], [7, 1, 0], [-9, 8, 1]]) @ skewed.cell.array)
    sheet = graphene("C2", vacuum=None)
    sheet.pbc = [True, True, False]
    structures = [skewed, Atoms(), sheet, molecule("H2O"), Atoms()]
    expected = AtomsBatch.from_ase(structures, CUTOFF)
    batch = AtomsBatch.from_tensors(**tensors_of(structures), cutoff=CUTOFF)
    assert batch.num_graphs == 5
    assert batch.has_volume.tolist() == [True, False, False, False, False]
    assert_same(batch, expected)


def test_one_structure_one_cell_for_all_and_float32():
    salt = bulk("NaCl", "rocksalt", a=5.5)
    tensors = tensors_of([salt])
    positions, numbers = tensors["positions"].float(), tensors["numbers"].to(torch.uint8)
    cell = tensors["cell"][0].float()
    expected = AtomsBatch.from_ase([salt], CUTOFF)
    assert_same(AtomsBatch.from_tensors(positions, numbers, cell, True, cutoff=CUTOFF), expected)
    twice = AtomsBatch.from_tensors(
        positions.repeat(2, 1),
        numbers.repeat(2),
        cell,
        torch.tensor([True, True, True]),
        torch.tensor([0, 0, 1, 1]),
        cutoff=CUTOFF,
    )
    assert_same(twice, AtomsBatch.from_ase([salt, salt], CUTOFF))
    open_one = AtomsBatch.from_tensors(positions, numbers, cutoff=CUTOFF)
    assert_same(open_one, AtomsBatch.from_ase([Atoms("NaCl", salt.positions)], CUTOFF))


def test_tensors_are_copied_and_gradients_flow_to_them():
    model = random_model(painn_section(["Na", "Cl"], charges={"kind": "conserved"}, heads={}))
    salt = bulk("NaCl", "rocksalt", a=5.5)
    salt.rattle(0.1, seed=0)
    tensors = tensors_of([salt])
    positions, cell = (tensors.pop(name).requires_grad_() for name in ("positions", "cell"))
    batch = AtomsBatch.from_tensors(positions, cell=cell, cutoff=model.cutoff, **tensors)
    energy = model(batch).energy.sum()
    slope, strain = torch.autograd.grad(energy, (positions, cell))
    out = model(AtomsBatch.from_ase([salt], model.cutoff), ("forces", "stress"))
    torch.testing.assert_close(-slope, out.forces)
    virial = positions.mT @ slope + cell[0].mT @ strain[0]
    torch.testing.assert_close(virial / salt.get_volume(), out.stress[0], rtol=1e-7, atol=1e-9)
    with torch.no_grad():
        positions += 1
    assert not torch.equal(batch.positions, positions)


def test_a_verlet_list_attaches_the_list_of_a_batch_without_one():
    tensors = tensors_of([bulk("NaCl", "rocksalt", a=5.5), molecule("H2O")])
    batch = AtomsBatch.from_tensors(**tensors, cutoff=None)
    assert (batch.edge_index.shape[1], float(batch.cutoff.max())) == (0, 0.0)
    assert VerletList(3.0, 0.5).attach(batch)
    expected = AtomsBatch.from_tensors(**tensors, cutoff=3.5)
    assert torch.equal(batch.edge_index, expected.edge_index)
    assert torch.equal(batch.edge_shift, expected.edge_shift)


def changed(name, value):
    """Arguments of a molecule and a crystal, one of them replaced."""
    tensors = tensors_of([molecule("H2O"), bulk("NaCl", "rocksalt", a=5.5)])
    if callable(value):
        value = value(tensors[name])
    return tensors | {"cutoff": CUTOFF, name: value}


def at(index, value):
    def change(tensor):
        tensor = tensor.clone()
        tensor[index] = value
        return tensor

    return change


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("positions", at((4, 1), torch.nan), "structure 1: the position of atom 1 is not finite"),
        ("positions", at(1, torch.zeros(3)), None),
        ("positions", lambda t: t[:, :2], r"positions has the shape \(5, 2\)"),
        ("positions", lambda t: t.numpy(), "positions is a ndarray: a torch.Tensor is needed"),
        ("positions", lambda t: t > 0, "positions has the type torch.bool"),
        ("positions", at((3, 0), 1e9), "structure 1: atom 0 has a coordinate of 1e\\+09"),
        ("numbers", at(2, 0), "structure 0: atom 2 has the atomic number 0: no element"),
        ("numbers", at(4, 119), "structure 1: atom 1 has the atomic number 119"),
        ("numbers", lambda t: t[1:], r"numbers has the shape \(4,\), not \(5,\)"),
        ("numbers", lambda t: t.to("meta"), "numbers is on meta and positions on cpu"),
        ("cell", None, "structure 1: periodic along axis 0 but the cell has no vector there"),
        ("cell", at(1, torch.ones(3, 3)), "structure 1: the cell is singular|structure 1: the c"),
        ("cell", lambda t: t[:1], r"cell has the shape \(1, 3, 3\) for 2 structure"),
        ("pbc", None, "a cell needs pbc"),
        ("pbc", lambda t: t.long(), "pbc has the type torch.int64"),
        ("pbc", "T", "pbc is the text 'T'"),
        ("batch", at(0, 1), "batch is 0 at row 1: the structures must follow one another"),
        ("batch", at(0, -1), "batch is -1 at row 0"),
        ("batch", lambda t: t.double(), "one integer is needed for each of the 5 atoms"),
        ("cutoff", -1.0, "the cutoff is -1.0"),
        ("total_charge", torch.tensor([0.0, torch.inf]), "structure 1: total_charge is not finite"),
        ("total_charge", torch.zeros(3), r"total_charge has the shape \(3,\) for 2 structure"),
        ("spin", torch.tensor([1.0, 0.0]), "structure 1: spin is 0: it is the multiplicity"),
        ("spin", 1.5, "structure 0: spin is 1.5"),
        ("field", torch.zeros(2), "field has the shape"),
        ("coarse_index", torch.tensor([0, 1, 2, -2, 0]), "structure 1: coarse_index of atom 0 is "),
        ("coarse_index", torch.zeros(2), "coarse_index must contain one whole number"),
    ],
)
def test_refusals_name_the_structure_and_the_atom(name, value, message):
    arguments = changed(name, value)
    if message is None:  # two atoms moved to one place
        arguments["positions"][2] = 0
        message = "structure 0: atoms 1 and 2 are at one place"
    with pytest.raises(InputError, match=message):
        AtomsBatch.from_tensors(**arguments)


def test_the_messages_are_those_of_ase_structures():
    """The same wrong input through both ways."""
    salt = bulk("NaCl", "rocksalt", a=5.5)
    for name, value in (("positions", np.nan), ("numbers", 0), ("cell", 0.0)):
        wrong = salt.copy()
        array = wrong.cell.array if name == "cell" else wrong.arrays[name]
        array[1] = value
        texts = []
        for build in (
            lambda w=wrong: AtomsBatch.from_ase([salt, w], CUTOFF),
            lambda w=wrong: AtomsBatch.from_tensors(**tensors_of([salt, w]), cutoff=CUTOFF),
        ):
            with pytest.raises(InputError) as caught:
                build()
            texts.append(str(caught.value))
        assert texts[0] == texts[1]


def test_an_impossible_spin_warns_and_a_possible_one_does_not():
    water = tensors_of([molecule("H2O")])
    with pytest.warns(UserWarning, match="2 is impossible for an even number of electrons"):
        AtomsBatch.from_tensors(**water, cutoff=CUTOFF, spin=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AtomsBatch.from_tensors(**water, cutoff=CUTOFF, spin=2, total_charge=1)


def test_a_batch_from_tensors_gives_the_energies_of_one_from_ase():
    section = painn_section(["H", "O", "Na", "Cl"], charges={"kind": "conserved"})
    model = random_model(section)
    structures = [molecule("H2O"), bulk("NaCl", "rocksalt", a=5.5)]
    batch = AtomsBatch.from_tensors(**tensors_of(structures), cutoff=model.cutoff)
    expected = muse_lr.AtomsBatch.from_ase(structures, model.cutoff)
    assert torch.equal(model(batch, "forces").forces, model(expected, "forces").forces)

"""Neighbor lists of whole batches by nvalchemi-toolkit-ops: the same pairs as by vesin.

The kernels of the library also run on the CPU, where these tests compare them. The tests on a GPU
are skipped where there is none.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, graphene, molecule
from hypothesis import given
from hypothesis import strategies as st

from muse_lr import InputError
from muse_lr.structures import edges
from muse_lr.structures.batch import AtomsBatch, atoms_to_data
from muse_lr.structures.device_list import device_list
from muse_lr.structures.verlet_list import VerletList
from muse_lr.testing.strategies import any_structures

CUTOFF = 4.0
pytestmark = pytest.mark.skipif(
    find_spec("nvalchemiops") is None, reason="needs the extra fast (nvalchemi-toolkit-ops)"
)
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def arguments(batch):
    return batch.positions, batch.cell, batch.pbc, batch.ptr


def rows(edge_index, shift, batch, limit=CUTOFF):
    """Sorted rows (receiver, sender, shift) of the pairs well within the cutoff."""
    sender, receiver = edge_index
    images = torch.einsum("ea,eab->eb", shift.double(), batch.cell[batch.batch[receiver]])
    lengths = (batch.positions[sender] - batch.positions[receiver] + images).norm(dim=1)
    # Two libraries can disagree on pairs at the cutoff itself, by rounding.
    kept = lengths < limit - 1e-9
    found = torch.cat([receiver[:, None], sender[:, None], shift], 1)[kept]
    return sorted(map(tuple, found.tolist()))


@pytest.mark.parametrize("method", ["batch_naive", "batch_cell_list", None])
@given(structures=st.lists(any_structures(max_atoms=6), min_size=1, max_size=3))
def test_the_pairs_are_those_of_vesin(method, structures):
    batch = AtomsBatch.from_ase(structures, CUTOFF)
    found = device_list(*arguments(batch), CUTOFF, method)
    assert rows(*found, batch) == rows(batch.edge_index, batch.edge_shift, batch)


def special():
    """Atoms far outside the cell, small cells, no atoms, no vector normal to a sheet."""
    small = bulk("Na", "bcc", a=3.0)
    outside = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    outside.positions[::2] += outside.cell.array.sum(0) * 3
    left_handed = outside.copy()
    left_handed.set_cell(outside.cell.array[[1, 0, 2]])
    sheet = graphene("C2", vacuum=None)
    sheet.pbc = [True, True, False]
    sheet.positions += [0, 0, 50.0]
    far = molecule("H2O")
    far.positions += 300.0
    chain = Atoms("H30", np.arange(30)[:, None] * [1.0, 0.5, -0.7])
    dense = Atoms("H120", np.random.default_rng(0).uniform(0, 4, size=(120, 3)))
    return [small, Atoms(), outside, left_handed, sheet, far, chain, dense, Atoms()]


@pytest.mark.parametrize("method", ["batch_naive", "batch_cell_list", None])
def test_special_structures(method):
    batch = AtomsBatch.from_ase(special(), CUTOFF)
    found = device_list(*arguments(batch), CUTOFF, method)
    assert rows(*found, batch) == rows(batch.edge_index, batch.edge_shift, batch)
    receiver, sender = found[0][1], found[0][0]
    order = receiver * len(batch.positions) + sender
    assert bool((order[1:] >= order[:-1]).all())


def test_the_errors_are_those_of_the_list_on_the_cpu():
    data = [atoms_to_data(molecule("H2O"), None) for _ in range(2)]
    for place, value in (((4, 1), torch.nan), ((4, 1), 2e9), (4, None)):
        batch = AtomsBatch.from_structures(data)
        batch.positions[place] = batch.positions[5] if value is None else value
        texts = []
        for build in (edges.batch_edges, edges.checked_device_list):
            with pytest.raises(InputError) as caught:
                build(*arguments(batch), CUTOFF)
            texts.append(str(caught.value))
        assert texts[0] == texts[1]
        assert texts[0].startswith("structure 1: atom")


@pytest.mark.gpu
@on_gpu
def test_a_batch_on_a_gpu_gets_the_list_of_the_cpu():
    data = [atoms_to_data(atoms, None) for atoms in special()]
    lists = []
    for device in ("cpu", "cuda"):
        batch = AtomsBatch.from_structures(data).to(device)
        assert VerletList(CUTOFF - 0.5, 0.5).attach(batch)
        assert batch.edge_index.device == batch.positions.device
        cpu = batch.to("cpu")
        lists.append(rows(cpu.edge_index, cpu.edge_shift, cpu))
    assert lists[0] == lists[1]


@pytest.mark.gpu
@on_gpu
def test_without_the_library_the_list_of_a_gpu_is_made_on_the_cpu_with_a_warning(monkeypatch):
    monkeypatch.setattr(edges, "load_library", lambda: None)
    batch = AtomsBatch.from_structures([atoms_to_data(molecule("H2O"), None)]).to("cuda")
    with pytest.warns(UserWarning, match=r"muse_lr\[fast\]"):
        VerletList(CUTOFF, 0.5).attach(batch)
    assert batch.edge_index.shape[1] == 6

"""Heads in sparse periodic boxes: energies, memory, and limits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

import muse_lr
from helpers import energies_of, evaluate, head_model, painn_section, random_model
from muse_lr.electrostatics import edge_sums
from muse_lr.electrostatics.ewald import reciprocal_space, waves
from muse_lr.errors import InputError
from muse_lr.heads.dispersion import dipoles
from muse_lr.multiscale import ewald_portions
from muse_lr.structures import sparse

ELEMENTS = ["H", "C", "O"]
#: Name, heads and multiscale block, and the relative error that the truncation allows.
PARTS = {
    "coulomb": ({"a": {"kind": "coulomb"}}, None, 1e-7),
    "c6": ({"a": {"kind": "c6"}}, None, 1e-6),
    "d3": ({"a": {"kind": "d3"}}, None, 1e-6),
    "field_features": ({"a": {"kind": "field_features"}}, None, 1e-7),
    "power": ({"a": {"kind": "field_features", "exponent": 6}}, None, 1e-6),
    "ewald_mp": ({}, {"kind": "ewald_mp", "num_radial": 4, "reciprocal_cutoff": 3.0}, 1e-7),
}


def model_of(name, **charges):
    heads, multiscale, _ = PARTS[name]
    section = painn_section(
        ELEMENTS, charges={"kind": "conserved", **charges}, heads=heads, multiscale=multiscale
    )
    return random_model(section)


def ethanol(cell, pbc=True):
    atoms = molecule("CH3CH2OH")
    atoms.set_cell(np.array(cell, dtype=float))
    atoms.pbc = pbc
    return atoms


STRUCTURES = [
    ethanol([11, 12, 13]),
    ethanol([[10, 0, 0], [3, 11, 0], [2, 1, 12]]),
    ethanol([11, 12, 1], (True, True, False)),
]


def results(model, structures, loss=False):
    """Energies, forces, stress, and the gradients of a loss with forces and stress."""
    batch = muse_lr.AtomsBatch.from_ase(structures, cutoff=model.cutoff)
    output = model(batch, ["forces", "stress"], create_graph=loss)
    found = [output.energy, output.forces, output.stress[batch.has_volume]]
    if loss:
        total = sum(value.square().sum() for value in found)
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        found += torch.autograd.grad(total, weights, allow_unused=True, materialize_grads=True)
    return found


def assert_close(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= tolerance * other.abs().max()


def on_one_rung(monkeypatch, rung):
    monkeypatch.setattr(
        sparse, "density_rungs", lambda cell, pbc, counts: torch.where(pbc.any(1), rung, 0 * counts)
    )


@pytest.mark.parametrize("name", PARTS)
def test_every_rung_has_the_same_energy_forces_and_stress(name, monkeypatch):
    model = model_of(name)
    on_one_rung(monkeypatch, 0)
    expected = results(model, STRUCTURES)
    for rung in (1, ewald_portions.PAIR_RUNG if name == "ewald_mp" else 2):
        on_one_rung(monkeypatch, rung)
        assert_close(results(model, STRUCTURES), expected, PARTS[name][2])


@pytest.mark.parametrize("name", PARTS)
def test_portions_have_the_gradients_of_losses(name, monkeypatch):
    model = model_of(name)
    structures = [ethanol([25, 26, 27]), STRUCTURES[1], STRUCTURES[2], molecule("CH3OH")]
    expected = results(model, structures, loss=True)
    for module, bytes_of_portion in ((reciprocal_space, 2**23), (ewald_portions, 2**18)):
        monkeypatch.setattr(module, "PORTION_BYTES", bytes_of_portion)
    monkeypatch.setattr(edge_sums, "PORTION", 40)
    assert_close(results(model, structures, loss=True), expected, 1e-10)


@pytest.mark.parametrize("name", PARTS)
def test_a_large_box_has_the_energy_of_the_molecule(name):
    model = model_of(name)
    listed = [ethanol([264] * 3), ethanol([264, 264, 1], (True, True, False))]
    alone = energies_of(model, [ethanol([1, 1, 1], False)])
    np.testing.assert_allclose(energies_of(model, listed), np.repeat(alone, 2), atol=3e-6)


@pytest.mark.parametrize("charges", ["qeq", "split", "scf", "induced"])
def test_charge_models_in_sparse_boxes(charges, monkeypatch):
    """Charges that depend on the potential solve the same equations on every rung."""
    section = painn_section(
        ELEMENTS, charges={"kind": charges}, heads={"coulomb": {"kind": "coulomb"}}
    )
    model = random_model(section)
    structures = [atoms.copy() for atoms in STRUCTURES[:2]]
    structures[0].info["total_charge"] = 1
    on_one_rung(monkeypatch, 0)
    expected = results(model, structures, loss=True)
    on_one_rung(monkeypatch, 2)
    assert_close(results(model, structures, loss=True), expected, 1e-6)


def test_the_step_of_a_cell_that_expands_is_below_the_accuracy():
    """Cells on either side of the first rung."""
    model = model_of("coulomb")
    edge = (9 / sparse.SPARSE_DENSITY) ** (1 / 3)
    below, above = (energies_of(model, [ethanol([edge * x] * 3)]) for x in (1 - 2e-6, 1 + 2e-6))
    charges = evaluate(model, [ethanol([edge] * 3)], "charges").charges
    scale = 14.4 * charges.detach().square().mean().item() / edge * 9 ** (1 / 3)
    assert abs(below - above)[0] / 9 < 1e-6 * scale


LIMITED = """
import sys
sys.path.insert(0, {tests!r})
from heads.test_sparse_boxes import PARTS, ethanol, model_of, results
import muse_lr
for name in PARTS:
    atoms = ethanol([264, 264, 264])
    atoms.calc = muse_lr.Calculator(model_of(name))
    atoms.get_stress()
    results(model_of(name), [atoms], loss=True)
# Not ru_maxrss, which a process inherits from the one that started it.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc of Linux")
def test_memory_in_a_box_of_264_angstrom(request):
    tests = str(request.config.rootpath / "tests")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(tests=tests)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 1500


def test_too_many_waves_name_the_box(monkeypatch):
    monkeypatch.setattr(waves, "WAVE_LIMIT", 100)
    for module in (reciprocal_space, ewald_portions):
        monkeypatch.setattr(module, "PORTION_BYTES", 2**10)
    for name in PARTS:
        with pytest.raises(InputError, match=r"box of 20 x 21 x 22 Å with 9 atoms needs .* k"):
            energies_of(model_of(name), [ethanol([20, 21, 22])])


def test_many_body_dispersion_in_portions(monkeypatch):
    model = head_model("mbd", ELEMENTS)
    atoms = Atoms("CO", [[0, 0, 0], [1.2, 0, 0]], cell=[6, 7, 8], pbc=True)
    expected = results(model, [atoms])
    monkeypatch.setattr(dipoles, "PORTION_BYTES", 2**19)
    # The order of the sums differs. On some processors the rounding reaches 2e-11.
    assert_close(results(model, [atoms]), expected, 1e-10)
    with pytest.raises(InputError, match=r"mbd head needs .* periodic box of 300 x 300 x 300 Å"):
        energies_of(model, [ethanol([300] * 3)])

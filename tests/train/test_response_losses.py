"""Losses and metrics of polarization, polarizability and dielectric tensor."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write

import muse_lr
from helpers import painn_section, random_model
from muse_lr import AtomsBatch, testing
from muse_lr.config.yaml import dump_yaml
from muse_lr.data.labels import applies, read_label
from muse_lr.data.reading import Frame
from muse_lr.errors import InputError
from muse_lr.reporting.predictions import frame_sums, read_predictions
from muse_lr.train.config import TrainingConfig, load_config
from muse_lr.train.loop import train
from muse_lr.train.losses import computed, label_counts, residuals, weighted_loss
from muse_lr.train.metrics import Metrics
from muse_lr.train.possible import ImpossibleLossError, check_possible, impossible_labels

ELEMENTS = ("H", "O")
SPLIT = {"kind": "split", "by_element": {"H": 1, "O": -2}}
RESPONSIVE = {"kind": "scf", "l_max": 1, "charge_response": False}
STEPWISE = {**RESPONSIVE, "kind": "induced"}


def model_of(charges, seed=0):
    return random_model(painn_section(ELEMENTS, 3.0, charges=charges), scale=0.2, seed=seed)


def structures():
    """A crystal, a slab and a molecule of one composition."""
    symbols, made = ["O", "H", "H"], testing.structures
    return [
        made.crystal(symbols, 3, minimum_distance=1.2),
        made.slab(symbols, 3, minimum_distance=1.2),
        made.molecule(symbols, 2, minimum_distance=1.1),
    ]


def random_labels(atoms, names, rng):
    """Labels that are defined for a structure, with arbitrary values."""
    shapes = {"polarization": (3,), "polarizability": (3, 3), "dielectric": (3, 3)}
    return {name: rng.normal(size=shapes[name]) for name in names if applies(name, atoms)}


def loss_of(model, atoms, labels, names, **options):
    batch = muse_lr.AtomsBatch.from_ase(atoms, cutoff=model.cutoff, labels=labels)
    output = model(batch, computed(names), create_graph=True)
    config = TrainingConfig(loss=dict.fromkeys(names, 1.0), **options)
    counts = dict(zip(names, label_counts(batch, names).tolist(), strict=True))
    return weighted_loss(output, batch, config, counts)


@pytest.mark.parametrize(
    ("charges", "names"),
    [
        (SPLIT, ("polarization",)),
        (RESPONSIVE, ("polarizability",)),
        (RESPONSIVE, ("dielectric",)),
        (STEPWISE, ("polarizability",)),
    ],
)
def test_gradients_are_differences_of_the_loss(charges, names):
    model, atoms = model_of(charges), structures()
    rng = np.random.default_rng(0)
    labels = [random_labels(a, names, rng) for a in atoms]
    value = loss_of(model, atoms, labels, names, loss_function="mse")
    assert float(value.detach()) > 0
    parameters = [p for n, p in model.named_parameters() if n.startswith("charges")]
    gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, d in zip(parameters, direction, strict=True):
                parameter.add_(sign * 1e-5 * d)
        values.append(float(loss_of(model, atoms, labels, names, loss_function="mse").detach()))
    assert abs(slope) > 1e-6
    assert slope == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize(
    ("charges", "names"),
    [(SPLIT, ("polarization",)), (RESPONSIVE, ("polarizability", "dielectric"))],
)
def test_losses_do_not_depend_on_images_and_quanta(charges, names):
    """Wrapping atoms, and adding e times a lattice vector to a label, change nothing."""
    model, rng = model_of(charges), np.random.default_rng(1)
    for atoms in structures()[:2]:
        labels = random_labels(atoms, names, rng)
        defined = tuple(labels)
        expected = float(loss_of(model, [atoms], [labels], defined).detach())
        moved = atoms.copy()
        shifts = rng.integers(-2, 3, (len(atoms), 3)) * atoms.pbc
        moved.positions += shifts @ atoms.cell.array
        if "polarization" in labels:
            steps = rng.integers(-3, 4, 3) * atoms.pbc
            labels["polarization"] = labels["polarization"] + steps @ atoms.cell.array
        found = float(loss_of(model, [moved], [labels], defined).detach())
        assert expected > 0
        assert found == pytest.approx(expected, rel=1e-9)


def test_metrics_are_those_of_numpy():
    """Per structure, and for the polarization with the nearest of its values."""
    model, atoms = model_of(SPLIT), structures()[:2]
    rng = np.random.default_rng(2)
    labels = [random_labels(a, ("polarization",), rng) for a in atoms]
    batch = muse_lr.AtomsBatch.from_ase(atoms, cutoff=model.cutoff, labels=labels)
    output = model(batch, ("polarization",), create_graph=False)
    metrics = Metrics(("polarization",), TrainingConfig(loss={"polarization": 1}))
    metrics.add(output, batch)
    errors = []
    for row, (a, label) in enumerate(zip(atoms, labels, strict=True)):
        difference = output.polarization[row].detach().numpy() - label["polarization"]
        steps = [range(-4, 5) if p else (0,) for p in a.pbc]
        grid = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
        candidates = difference - grid @ a.cell.array
        errors.append(candidates[np.linalg.norm(candidates, axis=1).argmin()])
    results = metrics.results()
    assert results["polarization_mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-9)
    assert results["polarization_rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()))


def frame(atoms, **labels):
    return Frame(atoms, {name: np.zeros(3) for name in labels}, "data.xyz, frame 0")


@pytest.mark.parametrize(
    ("charges", "label", "reason"),
    [
        ({"kind": "latent"}, "polarization", "displacement"),
        ({"kind": "latent"}, "polarizability", "respond to a field"),
        ({"kind": "scf", "l_max": 1}, "dielectric", "charge_response"),
        ({"kind": "scf", "l_max": 1}, "bec", "charge_response"),
        ({"kind": "split", "by_element": {"H": 0.4, "O": -0.8}}, "polarization", "-0.8 e"),
        ({"kind": "split", "by_element": {"O": -2}}, "polarization", "whole numbers"),
        ({**RESPONSIVE, "charges_at_rest": "elements"}, "polarization", "learned"),
        (None, "dielectric", "model.charges is null"),
    ],
)
def test_what_a_model_does_not_define_is_refused_with_the_reason(charges, label, reason):
    section = painn_section(ELEMENTS, 3.0, charges=charges, heads={})
    model = muse_lr.build_model(section)
    frames = [frame(structures()[0], polarization=1)]
    with pytest.raises(ImpossibleLossError, match=reason):
        check_possible(model, [label], frames)
    assert label in impossible_labels(model, frames)


def test_defined_responses_are_possible():
    frames = [frame(structures()[0], polarization=1)]
    for charges in (SPLIT, {"kind": "split"}):
        assert "polarization" not in impossible_labels(model_of(charges), frames)
    for name in ("polarizability", "dielectric"):
        assert name not in impossible_labels(model_of(RESPONSIVE), frames)
        molecule = [frame(structures()[2])]
        assert name not in impossible_labels(model_of({"kind": "qeq"}), molecule)


def test_labels_apply_where_they_are_defined():
    crystal, slab, molecule = structures()
    assert applies("polarization", crystal)
    assert applies("polarization", slab)
    assert not applies("polarization", molecule)
    charged = crystal.copy()
    charged.info["total_charge"] = 1
    assert not applies("polarization", charged)
    assert [applies("dielectric", a) for a in (crystal, slab, molecule)] == [True, False, False]
    assert all(applies("polarizability", a) for a in (crystal, slab, molecule))


def test_tensors_are_read_row_by_row():
    tensor = np.arange(9.0)
    atoms = Atoms("H", info={"REF_polarizability": tensor, "wrong": np.ones(6)})
    found = read_label(atoms, "polarizability", "REF_polarizability")
    np.testing.assert_array_equal(found, tensor.reshape(3, 3))
    with pytest.raises(InputError, match="shape"):
        read_label(atoms, "polarizability", "wrong")


@pytest.mark.parametrize(
    ("charges", "names"),
    [(SPLIT, ("polarization",)), (STEPWISE, ("polarizability", "dielectric"))],
)
def test_each_response_trains_alone_and_is_tested(tmp_path, charges, names):
    """The errors of the summary are those of the predictions beside the labels."""
    teacher, frames = model_of(charges, seed=5), []
    for seed in range(4):
        atoms = testing.structures.crystal(["O", "H", "H"], seed, minimum_distance=1.2)
        batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=teacher.cutoff)
        output = teacher(batch, names)
        for name in names:
            value = getattr(output, name)[0].detach().numpy()
            quantum = atoms.cell.array[seed % 3] if name == "polarization" else 0
            atoms.info[f"REF_{name}"] = (value + quantum).ravel()
        frames.append(atoms)
    write(tmp_path / "a.xyz", frames, format="extxyz")
    backbone = {"kind": "painn", "channels": 8, "layers": 1, "cutoff": 3.0}
    config = {
        "model": {"backbone": backbone, "charges": charges},
        "data": {"train": "a.xyz", "valid": "a.xyz", "test": {"same": "a.xyz"}},
        "training": {
            "directory": "run",
            "epochs": 5,
            "batch": {"graphs": 2},
            "learning_rate": 0.01,
            "loss": dict.fromkeys(names, 1),
            "device": "cpu",
        },
    }
    dump_yaml(config, tmp_path / "config.yaml")
    directory = train(load_config(tmp_path / "config.yaml"))
    summary = json.loads((directory / "summary.json").read_text())["tests"]["same"]
    rows = [line.split(",") for line in (directory / "metrics.csv").read_text().splitlines()]
    predictions = read_predictions(directory / "predictions-same.extxyz")
    for name in names:
        column = rows[0].index(f"valid_{name}_rmse")
        assert float(rows[-1][column]) < float(rows[1][column])
        absolute, squared, count = (v.sum() for v in frame_sums(predictions, name))
        assert summary[f"{name}_mae"] == pytest.approx(absolute / count, rel=1e-4)
        assert summary[f"{name}_rmse"] == pytest.approx((squared / count) ** 0.5, rel=1e-4)


def test_the_dipole_of_a_slab_counts_along_its_normal() -> None:
    """One component per slab, none per crystal, and no dependence on the choice of images."""
    torch.manual_seed(0)
    section = {
        "elements": ["Na", "Cl"],
        "backbone": {"channels": 4, "layers": 1, "cutoff": 4.0},
        "charges": {"width": 0.5},
    }
    model = muse_lr.build_model(section).double().eval()
    slab = Atoms("NaCl", [[0, 0, 0], [0.3, 0.1, 2.5]], pbc=[False, True, True])
    slab.cell = [[0, 0, 0], [0.5, 4.1, 0.3], [0.4, 0.2, 4.4]]
    moved = slab.copy()
    moved.positions[1] += 2 * slab.cell[1] - slab.cell[2]
    crystal = slab.copy()
    crystal.cell = np.eye(3) * 6
    crystal.pbc = True
    label = np.array([0.1, -0.2, 0.3])
    labels = [{"dipole": label}] * 3
    batch = AtomsBatch.from_ase([slab, moved, crystal], model.cutoff, labels)
    output = model(batch, ("dipole", "charges"))
    found = residuals(output, batch, "dipole").detach().numpy()
    assert label_counts(batch, ["dipole"]).tolist() == [2]
    normal = np.cross(slab.cell[1], slab.cell[2])
    normal /= np.linalg.norm(normal)
    dipole = output.charges[:2].detach().numpy() @ slab.positions
    expected = (dipole - label) @ normal / 2
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-10)

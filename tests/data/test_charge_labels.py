"""Training on what the charges say: charges, dipoles, quadrupoles, Born charges."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from ase.io import read, write

import muse_lr
from muse_lr.cli.main import main
from muse_lr.data.labels import read_label
from muse_lr.errors import InputError
from muse_lr.reporting.predictions import frame_sums, read_predictions
from muse_lr.train.config import load_config
from muse_lr.train.loop import train
from training_data import write_run

LABELS = ("charges", "dipole", "quadrupole", "potential", "bec")
KEYS = {"quadrupole": "REF_quadrupole"}


def labeled_run(directory, **training):
    """A run whose structures carry the charges and responses of a model with other weights."""
    config = write_run(directory, **training)
    torch.manual_seed(11)
    elements = ["H", "O", "Na", "Cl"]
    section = {"backbone": {"channels": 8, "layers": 1}, "charges": {"kind": "split"}}
    teacher = muse_lr.build_model({"elements": elements, **section}).double()
    for name in ("train.xyz", "test.xyz"):
        frames = read(directory / name, ":")
        for atoms in frames:
            batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=teacher.cutoff)
            out = teacher(batch, LABELS)
            atoms.arrays["REF_charges"] = out.charges.detach().numpy()
            atoms.arrays["REF_potential"] = out.potential.detach().numpy()
            atoms.arrays["REF_bec"] = out.bec.detach().numpy().reshape(-1, 9)
            atoms.info["REF_dipole"] = out.dipole[0].detach().numpy()
            atoms.info["REF_quadrupole"] = out.quadrupole[0].detach().numpy().ravel()
        write(directory / name, frames, format="extxyz")
    return config


@pytest.mark.parametrize("label", LABELS)
def test_each_label_trains_alone(tmp_path, label):
    """No energy and no force in the loss: a model of charges."""
    config = labeled_run(tmp_path, loss={label: 1}, epochs=12, learning_rate=0.01)
    overrides = {"data.keys": KEYS, "model.charges": {"kind": "split"}}
    directory = train(load_config(config, overrides))
    rows = (directory / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index(f"valid_{label}_rmse")
    first, last = (float(rows[i].split(",")[column]) for i in (1, -1))
    assert last < 0.8 * first
    summary = json.loads((directory / "summary.json").read_text())["tests"]["held_out"]
    predictions = read_predictions(directory / "predictions-held_out.extxyz", KEYS)
    for other in LABELS:
        absolute, squared, count = (v.sum() for v in frame_sums(predictions, other))
        assert summary[f"{other}_mae"] == pytest.approx(absolute / count, rel=1e-5)
        assert summary[f"{other}_rmse"] == pytest.approx((squared / count) ** 0.5, rel=1e-5)


def test_all_labels_train_together_where_they_are(tmp_path):
    """Beside energies and forces, each label on a part of the structures."""
    weights = {"energy": 1, "forces": 1, **dict.fromkeys(LABELS, 1)}
    config = labeled_run(tmp_path, loss=weights, batch={"graphs": 2})
    frames = read(tmp_path / "train.xyz", ":")
    for i, atoms in enumerate(frames):
        key = f"REF_{LABELS[i % 5]}"
        atoms.arrays.pop(key, None)
        atoms.info.pop(key, None)
    write(tmp_path / "train.xyz", frames, format="extxyz")
    keys = {label: f"REF_{label}" for label in LABELS}
    overrides = {"data.keys": keys, "data.partial": list(LABELS), "data.valid": ["test.xyz"]}
    directory = train(load_config(config, overrides))
    summary = json.loads((directory / "summary.json").read_text())
    assert {f"{label}_mae" for label in weights} <= set(summary["tests"]["held_out"])


def test_potentials_need_a_coulomb_head(tmp_path):
    config = labeled_run(tmp_path, loss={"potential": 1})
    with pytest.raises(InputError, match="needs a coulomb head"):
        train(load_config(config, {"model.heads": {}}))


def test_labels_of_charges_need_charges(tmp_path):
    config = labeled_run(tmp_path)
    overrides = {"model.charges": None, "model.heads": {}, "training.loss": {"bec": 1.0}}
    with pytest.raises(InputError, match=r"training\.loss\.bec needs charges"):
        train(load_config(config, overrides))


def test_fixed_charges_have_nothing_to_train(tmp_path):
    config = labeled_run(tmp_path, loss={"charges": 1})
    fixed = {"kind": "fixed", "by_element": {"H": 0.4, "O": -0.8, "Na": 1.0, "Cl": -1.0}}
    overrides = {"model.charges": fixed, "model.heads": {}}
    with pytest.raises(InputError, match="depend on no parameter"):
        train(load_config(config, overrides))


def test_transposed_born_charges_are_suspected_and_read(tmp_path, capsys):
    """Files may have the displacement first."""
    labeled_run(tmp_path)
    path = tmp_path / "train.xyz"
    frames = read(path, ":")
    expected = read_label(frames[0], "bec", "REF_bec")
    for atoms in frames:
        tensors = atoms.arrays["REF_bec"].reshape(-1, 3, 3)
        atoms.arrays["REF_bec"] = tensors.transpose(0, 2, 1).reshape(-1, 9)
    np.testing.assert_allclose(read_label(frames[0], "bec", "REF_bec.T"), expected, atol=1e-8)
    with pytest.raises(InputError, match="only Born charges"):
        read_label(frames[0], "forces", "REF_forces.T")
    main(["data", "check", str(path)])
    assert "transposed: they have the displacement first" not in capsys.readouterr().out
    write(path, frames, format="extxyz")
    main(["data", "check", str(path)])
    assert "add .T to their key" in capsys.readouterr().out
    main(["data", "check", str(path), "--keys", "bec=REF_bec.T"])
    said = capsys.readouterr().out
    assert "add .T to their key" not in said
    assert "do not sum to the total charge" not in said
    frames[0].arrays["REF_bec"][0, 4] += 0.3
    write(path, frames, format="extxyz")
    main(["data", "check", str(path), "--keys", "bec=REF_bec.T"])
    assert "the Born charges do not sum to the total charge: 0.3 e" in capsys.readouterr().out


def test_quadrupoles_are_traceless_or_refused(tmp_path):
    atoms = read(write_run(tmp_path).parent / "train.xyz")
    tensor = np.array([[1.0, 0.2, 0.0], [0.2, -0.4, 0.1], [0.0, 0.1, -0.6]])
    for given in (tensor, tensor.ravel()):
        atoms.info["theta"] = given
        np.testing.assert_array_equal(read_label(atoms, "quadrupole", "theta"), tensor)
    atoms.info["theta"] = tensor + 0.1 * np.eye(3)
    with pytest.raises(InputError, match="traceless"):
        read_label(atoms, "quadrupole", "theta")
    atoms.info["theta"] = np.zeros(6)
    with pytest.raises(InputError, match="shape"):
        read_label(atoms, "quadrupole", "theta")

"""MACE: mace-torch's own numbers, saved files, and what coarse nodes need."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from pydantic import ValidationError
from torch import Tensor, nn

from helpers import HostilePickle, make_graph
from muse_lr.backbones.mace.backbone import MaceBackbone
from muse_lr.backbones.mace.blocks import MaceConfig
from muse_lr.backbones.mace.files import express_in_basis, mace_file_elements, read_mace_file
from muse_lr.backbones.mace.imports import import_mace
from muse_lr.errors import InputError
from muse_lr.math.harmonics import rotation_matrix
from muse_lr.structures.graph import NodeFeatures

pytestmark = [
    pytest.mark.usefixtures("seeded_float64"),
    # mace-torch compiles its models when it builds them.
    pytest.mark.filterwarnings("ignore:The TorchScript type system"),
]

ELEMENTS = ("H", "C", "N", "O", "Na", "Cl")

#: Like the published files, but small.
FILES: dict[str, dict[str, Any]] = {
    "mp-0-small": {"hidden_irreps": "4x0e"},
    "mp-0-medium": {},
    "off23-large": {
        "hidden_irreps": "3x0e+3x1o+3x2e",
        "interaction_cls_first": "RealAgnosticInteractionBlock",
        "max_ell": 3,
    },
    "mp-0b3": {
        "interaction_cls_first": "RealAgnosticDensityInteractionBlock",
        "interaction_cls": "RealAgnosticDensityResidualInteractionBlock",
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
    },
    "mh-1": {
        "interaction_cls_first": "RealAgnosticResidualNonLinearInteractionBlock",
        "interaction_cls": "RealAgnosticResidualNonLinearInteractionBlock",
        "readout_cls": "NonLinearBiasReadoutBlock",
        "edge_irreps": "2x0e+2x1o",
        "use_edge_irreps_first": True,
        "use_agnostic_product": True,
        "apply_cutoff": False,
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
    },
    "soft-gaussian": {"distance_transform": "Soft", "radial_type": "gaussian", "gate": "tanh"},
    "one-layer": {"num_interactions": 1},
    "three-layers": {"num_interactions": 3, "correlation": 2, "keep_last_layer_irreps": True},
    "last-readout": {"use_last_readout_only": True},
    "attention": {"interaction_cls": "RealAgnosticAttResidualInteractionBlock"},
}


@cache
def mace_model(
    name: str = "mp-0-medium", heads: tuple[str, ...] = ("Default",), plain: bool = False
) -> Any:
    """A small model made by mace-torch itself; copy it before you change it."""
    modules = import_mace()
    from e3nn import o3

    options: dict[str, Any] = {
        "r_max": 4.0,
        "num_bessel": 5,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        "interaction_cls": "RealAgnosticResidualInteractionBlock",
        "interaction_cls_first": "RealAgnosticResidualInteractionBlock",
        "num_interactions": 2,
        "hidden_irreps": "4x0e+4x1o",
        "MLP_irreps": "6x0e",
        "avg_num_neighbors": 7.5,
        "correlation": 3,
        "gate": "silu",
        "radial_MLP": [8, 8],
        **FILES[name],
    }
    for key in ("hidden_irreps", "MLP_irreps", "edge_irreps"):
        if key in options:
            options[key] = o3.Irreps(options[key])
    for key in ("interaction_cls", "interaction_cls_first"):
        options[key] = modules.interaction_classes[options[key]]
    if "readout_cls" in options:
        options["readout_cls"] = modules.readout_classes[options["readout_cls"]]
    options["gate"] = modules.gate_dict[options["gate"]]
    numbers = sorted(atomic_numbers[e] for e in ELEMENTS)
    options.update(num_elements=len(numbers), atomic_numbers=numbers, heads=list(heads))
    options["atomic_energies"] = np.arange(1.0, 1 + len(heads) * len(numbers)).reshape(
        len(heads), -1
    )
    if plain:
        return modules.MACE(**options)
    options["atomic_inter_scale"] = np.linspace(0.8, 1.2, len(heads))
    options["atomic_inter_shift"] = np.linspace(0.1, -0.3, len(heads))
    model = modules.ScaleShiftMACE(**options)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad and key.endswith(("bias", "beta")):
                parameter.normal_()
    return model


def structures() -> dict[str, Atoms]:
    rng = np.random.default_rng(3)
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    small = bulk("NaCl", "rocksalt", a=5.6)  # smaller than the cutoff
    ethanol = molecule("CH3CH2OH")
    for atoms in (salt, small, ethanol):
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    return {"crystal": salt, "primitive": small, "molecule": ethanol}


def mace_energy_and_forces(model: Any, atoms: Atoms, head: int = 0) -> tuple[Tensor, Tensor]:
    """mace-torch's own forward, with a neighbor list made here."""
    receiver, sender, shift = neighbor_list("ijS", atoms, float(model.r_max))
    numbers = model.atomic_numbers.tolist()
    species = torch.tensor([numbers.index(z) for z in atoms.numbers])
    data = {
        "positions": torch.tensor(atoms.positions, requires_grad=True),
        "node_attrs": torch.eye(len(numbers))[species],
        "edge_index": torch.tensor(np.stack([sender, receiver])),
        "shifts": torch.tensor(-shift @ atoms.cell.array),
        "unit_shifts": torch.tensor(-shift, dtype=torch.float64),
        "cell": torch.tensor(atoms.cell.array),
        "batch": torch.zeros(len(atoms), dtype=torch.int64),
        "ptr": torch.tensor([0, len(atoms)]),
        "head": torch.tensor([head]),
    }
    out = model(data)
    return out["energy"].detach().squeeze(), out["forces"].detach()


def energy_and_forces(
    backbone: MaceBackbone, atoms: Atoms, elements: tuple[str, ...] = ELEMENTS
) -> tuple[Tensor, Tensor]:
    """With the E0s of the file."""
    positions = torch.tensor(atoms.positions, requires_grad=True)
    graph = make_graph(atoms, backbone.cutoff, elements, positions=positions)
    _, energies = backbone(graph)
    (gradient,) = torch.autograd.grad(energies.sum(), positions)
    assert backbone.atomic_energies is not None
    e0 = sum(backbone.atomic_energies[s] for s in atoms.get_chemical_symbols())
    return energies.detach().sum() + e0, -gradient


def load(path: Path, elements: tuple[str, ...] = ELEMENTS, **keys: Any) -> MaceBackbone:
    return MaceBackbone(MaceConfig(file=str(path), trust=True, **keys), elements)


def small_config(**keys: Any) -> MaceConfig:
    defaults: dict[str, Any] = {
        "cutoff": 4.0,
        "channels": 4,
        "max_ell": 2,
        "correlation": 2,
        "radial_mlp": (8,),
        "readout_channels": 5,
    }
    return MaceConfig(**{**defaults, **keys})


SHORT = ("mp-0-small", "mp-0-medium", "mp-0b3", "mh-1", "one-layer")


@pytest.mark.parametrize(
    "name",
    [n if n in SHORT else pytest.param(n, marks=pytest.mark.slow) for n in FILES],
)
def test_saved_file_gives_the_numbers_of_mace_torch(name: str, tmp_path: Path) -> None:
    model = mace_model(name)
    torch.save(model, tmp_path / "saved.model")
    backbone = load(tmp_path / "saved.model")
    for atoms in structures().values():
        energy, forces = energy_and_forces(backbone, atoms)
        expected_energy, expected_forces = mace_energy_and_forces(model, atoms)
        torch.testing.assert_close(energy, expected_energy, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(forces, expected_forces, atol=1e-11, rtol=1e-11)
        assert forces.abs().max() > 1e-6


def test_model_without_scale_and_shift(tmp_path: Path) -> None:
    model = mace_model(plain=True)
    torch.save(model, tmp_path / "plain.model")
    atoms = structures()["molecule"]
    energy, _ = energy_and_forces(load(tmp_path / "plain.model"), atoms)
    torch.testing.assert_close(energy, mace_energy_and_forces(model, atoms)[0])


@pytest.mark.parametrize(
    "name", ["mp-0b3", "mh-1", pytest.param("one-layer", marks=pytest.mark.slow)]
)
def test_heads(name: str, tmp_path: Path) -> None:
    model = mace_model(name, heads=("pt_head", "mine", "other"))
    torch.save(model, tmp_path / "heads.model")
    atoms = structures()["molecule"]
    energies = []
    for index, head in enumerate((None, "mine", "other")):
        energy, forces = energy_and_forces(load(tmp_path / "heads.model", head=head), atoms)
        expected_energy, expected_forces = mace_energy_and_forces(model, atoms, index)
        torch.testing.assert_close(energy, expected_energy, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(forces, expected_forces, atol=1e-11, rtol=1e-11)
        energies.append(float(energy))
    assert len(set(energies)) == 3
    with pytest.raises(InputError, match=r"no head 'mime' \(did you mean 'mine'"):
        load(tmp_path / "heads.model", head="mime")


@pytest.mark.parametrize(
    "name",
    ["mp-0b3", "mh-1", *(pytest.param(n, marks=pytest.mark.slow) for n in FILES if n not in SHORT)],
)
def test_some_of_the_elements_in_another_order(name: str, tmp_path: Path) -> None:
    model = mace_model(name)
    torch.save(model, tmp_path / "saved.model")
    elements = ("O", "H", "C")
    backbone = load(tmp_path / "saved.model", elements)
    assert backbone.atomic_energies == {"O": 4.0, "H": 1.0, "C": 2.0}
    atoms = structures()["molecule"]
    energy, forces = energy_and_forces(backbone, atoms, elements)
    expected_energy, expected_forces = mace_energy_and_forces(model, atoms)
    torch.testing.assert_close(energy, expected_energy, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(forces, expected_forces, atol=1e-11, rtol=1e-11)
    with pytest.raises(InputError, match="does not know Xe; it knows H, C, N, O, Na, Cl"):
        load(tmp_path / "saved.model", ("H", "Xe"))


def test_file_in_single_precision(tmp_path: Path) -> None:
    model = copy.deepcopy(mace_model("mp-0b3")).float()
    torch.save(model, tmp_path / "single.model")
    backbone = load(tmp_path / "single.model")
    atoms = structures()["molecule"]
    energy, _ = energy_and_forces(backbone, atoms)
    expected, _ = mace_energy_and_forces(model.double(), atoms)
    torch.testing.assert_close(energy, expected, atol=1e-4, rtol=1e-5)


def test_conversion_needs_the_file_only_once(tmp_path: Path) -> None:
    path = tmp_path / "saved.model"
    torch.save(mace_model("mp-0b3"), path)
    backbone = load(path, embed=("total_charge",))
    path.unlink()
    assert backbone.config.file is None
    assert not backbone.config.trust
    torch.save(backbone.state_dict(), tmp_path / "state.pt")
    config = MaceConfig(**backbone.config.model_dump())
    again = MaceBackbone(config, ELEMENTS)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    graph = make_graph(structures()["crystal"], 4.0, ELEMENTS)
    torch.testing.assert_close(again(graph)[1], backbone(graph)[1], rtol=0, atol=0)
    assert not any("U_matrix" in key or "w3j" in key for key in backbone.state_dict())


def test_frozen_weights_are_those_of_the_file(tmp_path: Path) -> None:
    """Only the embedding, which no file has, stays trainable, also in a model read again."""
    torch.save(mace_model(), tmp_path / "saved.model")
    backbone = load(tmp_path / "saved.model", frozen=True, embed=("total_charge",))
    trained = {name.split(".")[0] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"embedding"}
    again = MaceBackbone(MaceConfig(**backbone.config.model_dump()), ELEMENTS)
    assert {n.split(".")[0] for n, p in again.named_parameters() if p.requires_grad} == trained
    assert all(p.requires_grad for p in load(tmp_path / "saved.model").parameters())


def test_read_file_exposes_what_it_holds(tmp_path: Path) -> None:
    torch.save(mace_model(heads=("a", "b")), tmp_path / "saved.model")
    file = read_mace_file(tmp_path / "saved.model", trust=True, head="b")
    assert file.elements == ("H", "C", "N", "O", "Na", "Cl")
    assert file.heads == ("a", "b")
    assert file.atomic_energies == dict(zip(ELEMENTS, range(7, 13), strict=True))
    assert (file.config.layers, file.config.channels, file.config.l_max) == (2, 4, 1)
    assert (file.config.cutoff, file.config.avg_num_neighbors) == (4.0, 7.5)
    assert not file.config.last_layer_tensors
    assert mace_file_elements(tmp_path / "saved.model", trust=True) == file.elements
    config = MaceConfig(file=str(tmp_path / "saved.model"), trust=True)
    assert MaceBackbone.default_elements(config) == file.elements
    assert MaceBackbone.default_elements(MaceConfig()) is None


def test_file_of_an_early_version(tmp_path: Path) -> None:
    """The first published models lack what was added since."""
    model = copy.deepcopy(mace_model())
    added = ("heads", "apply_cutoff", "edge_irreps", "use_agnostic_product", "cueq_config")
    added += ("oeq_config", "radial_MLP", "num_heads", "use_so3", "use_reduced_cg")
    for module in model.modules():
        for name in added:
            vars(module).pop(name, None)
    model.atomic_energies_fn.atomic_energies = model.atomic_energies_fn.atomic_energies[0]
    model.scale_shift.scale = model.scale_shift.scale[0]
    model.scale_shift.shift = model.scale_shift.shift[0]
    torch.save(model, tmp_path / "early.model")
    atoms = structures()["crystal"]
    energy, forces = energy_and_forces(load(tmp_path / "early.model"), atoms)
    expected = mace_energy_and_forces(mace_model(), atoms)
    torch.testing.assert_close((energy, forces), expected, atol=1e-11, rtol=1e-11)


def test_untrusted_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "evil.model").write_bytes(pickle.dumps(HostilePickle(tmp_path / "executed")))
    config = MaceConfig(file=str(tmp_path / "evil.model"))
    with pytest.raises(InputError, match="runs the code in it; set trust: true"):
        MaceBackbone(config, ("H",))
    with pytest.raises(InputError, match="trust"):
        MaceBackbone.default_elements(config)
    assert not (tmp_path / "executed").exists()


class PolarMACE(nn.Module):
    """Only the name of mace-torch's."""


class OtherReadout(nn.Module):
    """A block that nobody knows."""


def test_unsupported_files_are_refused(tmp_path: Path) -> None:
    def refused(saved: object, match: str) -> None:
        torch.save(saved, tmp_path / "x.model")
        with pytest.raises(InputError, match=match):
            load(tmp_path / "x.model", ("H",))

    refused({"model": {}}, "holds a dict, not a model")
    refused(PolarMACE(), "is a PolarMACE, which is not supported: take its short-range part")
    refused(nn.Linear(1, 1), "is a Linear, which is not supported")
    embedding = copy.deepcopy(mace_model())
    embedding.joint_embedding, embedding.embedding_specs = nn.Identity(), {"total_spin": {}}
    refused(embedding, "embedding of total_spin")
    mixed = copy.deepcopy(mace_model())
    mixed.interactions[1].avg_num_neighbors = 3.0
    refused(mixed, "layers with different")
    renamed = copy.deepcopy(mace_model())
    renamed.readouts[1].__class__ = OtherReadout
    refused(renamed, "readout 'OtherReadout' is not supported")
    changed = copy.deepcopy(mace_model())
    changed.readouts[1].non_linearity.acts[0].cst *= 2
    refused(changed, "does not give mace-torch's own energies")
    (tmp_path / "x.model").write_bytes(b"no pickle")
    with pytest.raises(InputError, match="not a readable model"):
        load(tmp_path / "x.model")
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "missing.model")
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), tmp_path / "x.model")
    with pytest.raises(InputError, match="is compiled"):
        load(tmp_path / "x.model")


def test_keys_that_contradict_the_file_are_refused(tmp_path: Path) -> None:
    torch.save(mace_model(), tmp_path / "saved.model")
    with pytest.raises(InputError, match=r"backbone.cutoff is 6.0, but .* has 4.0"):
        load(tmp_path / "saved.model", cutoff=6.0)
    assert load(tmp_path / "saved.model", cutoff=4.0).cutoff == 4.0
    with pytest.raises(ValidationError):
        MaceConfig(cut_off=3.0)
    with pytest.raises(ValidationError, match="harmonics up to max_ell = 1"):
        MaceConfig(l_max=2, max_ell=1)


@pytest.mark.parametrize("name", ["mp-0-medium", "mh-1"])
def test_other_product_basis(name: str, tmp_path: Path) -> None:
    """As saved by cuequivariance: fewer, symmetric U matrices, other weights, same model."""
    model = copy.deepcopy(mace_model(name))
    atoms = structures()["molecule"]
    expected = mace_energy_and_forces(model, atoms)
    for product in model.products:
        for contraction in product.symmetric_contractions.contractions:
            for order in (2, 3):
                _reduce_basis(contraction, order)
    torch.testing.assert_close(mace_energy_and_forces(model, atoms), expected)
    torch.save(model, tmp_path / "reduced.model")
    found = energy_and_forces(load(tmp_path / "reduced.model"), atoms)
    torch.testing.assert_close(found[0], expected[0], atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(found[1], expected[1], atol=1e-10, rtol=1e-10)


def _reduce_basis(contraction: Any, order: int) -> None:
    from muse_lr.backbones.mace.weights import _symmetric_part

    basis = getattr(contraction, f"U_matrix_{order}")
    matrix = _symmetric_part(basis, order)
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    keep = s > 1e-8
    assert order == 2 or keep.sum() < basis.shape[-1]
    setattr(contraction, f"U_matrix_{order}", u[:, keep].reshape(*basis.shape[:-1], -1))
    transform = s[keep, None] * vt[keep]  # (k new, k old)
    weights = contraction.weights_max if order == 3 else contraction.weights[2 - order]
    new = nn.Parameter(torch.einsum("jk,ekc->ejc", transform, weights.detach()))
    if order == 3:
        contraction.weights_max = new
    else:
        contraction.weights[2 - order] = new


def test_foreign_product_basis_is_refused() -> None:
    ours, weights = torch.randn(4, 4, 2), torch.randn(3, 1, 5)
    with pytest.raises(InputError, match="f: U: spans other polynomials"):
        express_in_basis(weights, torch.randn(4, 4, 1), ours, 2, "f: U")
    with pytest.raises(InputError, match="not a MACE product basis"):
        express_in_basis(weights, torch.randn(5, 5, 1), ours, 2, "f: U")


IMPORT_TEST = """
import os, sys, torch
before = dict(os.environ)
state = torch.get_rng_state()
if sys.argv[1] == "e3nn":
    try:
        import e3nn.o3
    except Exception:
        pass
from muse_lr.backbones.mace.backbone import MaceBackbone
from muse_lr.backbones.mace.blocks import MaceConfig
config = MaceConfig(channels=2, max_ell=1, correlation=1, layers=1)
assert "mace.modules" not in sys.modules and "e3nn.o3" not in sys.modules
if sys.argv[1] == "import":
    from muse_lr.backbones.mace.imports import import_mace
    import_mace()
    assert torch.equal(torch.get_rng_state(), state)
MaceBackbone(config, ("H",))
import e3nn, e3nn.o3, mace.modules
assert dict(os.environ) == before, set(os.environ) ^ set(before)
assert torch.get_default_dtype() == torch.float32
assert e3nn.get_optimization_defaults()["jit_script_fx"]
"""


@pytest.mark.parametrize("first", ["import", "e3nn"])
def test_import_leaves_the_process_alone(first: str, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if "WEIGHTS_ONLY" not in k}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_TEST, first],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "Warning" not in done.stderr


def test_building_keeps_the_default_dtype_and_is_seeded() -> None:
    torch.set_default_dtype(torch.float32)
    models = []
    for _ in range(2):
        torch.manual_seed(5)
        models.append(MaceBackbone(small_config(), ELEMENTS))
    assert torch.get_default_dtype() == torch.float32
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


def test_constants_are_exact_in_every_dtype() -> None:
    exact = dict(MaceBackbone(small_config(l_max=2), ELEMENTS).named_buffers())
    torch.set_default_dtype(torch.float32)
    model = MaceBackbone(small_config(l_max=2), ELEMENTS)
    assert all(b.dtype != torch.float64 for b in model.buffers())
    copies = {"cast": model, "copied": copy.deepcopy(model)}
    loaded = MaceBackbone(small_config(l_max=2), ELEMENTS)
    loaded.load_state_dict(model.state_dict())
    copies["loaded"] = loaded
    names = [n for n in exact if "U_matrix" in n or "w3j" in n]
    assert len(names) > 8
    for which, module in copies.items():
        buffers = dict(module.to(torch.float64).named_buffers())
        for name in names:
            assert torch.equal(buffers[name], exact[name]), (which, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    backbone = MaceBackbone(small_config(pair_repulsion=True), ELEMENTS)
    graph = make_graph(structures()["molecule"], 4.0, ELEMENTS)
    _, expected = backbone(graph)
    cast = replace(
        graph,
        composition=graph.composition.to(dtype),
        edge_vectors=graph.edge_vectors.to(dtype),
        edge_lengths=graph.edge_lengths.to(dtype),
    )
    features, energies = copy.deepcopy(backbone).to(dtype)(cast)
    assert energies.dtype == features.scalars.dtype == features.tensors[1].dtype == dtype
    tolerance = 1e-12 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(energies.double(), expected, rtol=tolerance, atol=tolerance)


def random_orthogonal(determinant: float) -> Tensor:
    q, _ = torch.linalg.qr(torch.randn(3, 3))
    return q * torch.linalg.det(q).sign() * determinant


@pytest.mark.parametrize("determinant", [1.0, -1.0])
@pytest.mark.parametrize("layers", [1, 2])
def test_equivariance(layers: int, determinant: float) -> None:
    backbone = MaceBackbone(
        small_config(l_max=2, layers=layers, correlation=3, max_ell=3), ELEMENTS
    )
    assert backbone.scalar_channels == 4 * layers
    assert backbone.tensor_channels == {1: 4 * layers, 2: 4 * layers}
    rotation = random_orthogonal(determinant)
    graph = make_graph(structures()["molecule"], 4.0, ELEMENTS)
    initial = NodeFeatures(
        torch.randn(graph.num_nodes, 4),
        {order: torch.randn(graph.num_nodes, 2 * order + 1, 4) for order in (1, 2)},
    )
    turned_initial = NodeFeatures(
        initial.scalars,
        {
            order: torch.einsum("mk,nkc->nmc", rotation_matrix(order, rotation), tensor)
            for order, tensor in initial.tensors.items()
        },
    )
    features, energies = backbone(graph, initial)
    turned, turned_energies = backbone(
        replace(graph, edge_vectors=graph.edge_vectors @ rotation.T), turned_initial
    )
    torch.testing.assert_close(turned_energies, energies, atol=1e-10, rtol=0)
    torch.testing.assert_close(turned.scalars, features.scalars, atol=1e-10, rtol=0)
    for order, tensor in features.tensors.items():
        assert tensor.shape == (graph.num_nodes, 2 * order + 1, 4 * layers)
        expected = torch.einsum("mk,nkc->nmc", rotation_matrix(order, rotation), tensor)
        torch.testing.assert_close(turned.tensors[order], expected, atol=1e-10, rtol=0)
        assert (tensor[..., -4:].abs() > 1e-6).any()


def test_vector_features_are_ordered_y_z_x() -> None:
    """Two atoms along y: only the first component of l = 1 is not zero."""
    backbone = MaceBackbone(small_config(), ELEMENTS)
    features, _ = backbone(make_graph(Atoms("HO", [[0, 0, 0], [0, 1.2, 0]]), 4.0, ELEMENTS))
    vectors = features.tensors[1]
    assert vectors[:, 0].abs().max() > 1e-3
    torch.testing.assert_close(vectors[:, 1:], torch.zeros_like(vectors[:, 1:]))


def test_initial_features_of_an_order_that_is_not_carried() -> None:
    backbone = MaceBackbone(small_config(), ELEMENTS)
    graph = make_graph(structures()["molecule"], 4.0, ELEMENTS)
    initial = NodeFeatures(torch.zeros(9, 4), {2: torch.zeros(9, 5, 4)})
    with pytest.raises(ValueError, match="initial tensors"):
        backbone(graph, initial)


BLOCKS: dict[str, dict[str, Any]] = {
    name: {"interaction": name, "interaction_first": first, **extra}
    for name, first, extra in (
        ("RealAgnosticResidualInteractionBlock", "RealAgnosticInteractionBlock", {}),
        (
            "RealAgnosticDensityResidualInteractionBlock",
            "RealAgnosticDensityInteractionBlock",
            {"distance_transform": "agnesi", "pair_repulsion": True},
        ),
        (
            "RealAgnosticResidualNonLinearInteractionBlock",
            "RealAgnosticResidualNonLinearInteractionBlock",
            {"apply_cutoff": False, "distance_transform": "soft"},
        ),
    )
}


@cache
def block_backbone(block: str) -> MaceBackbone:
    return MaceBackbone(small_config(**BLOCKS[block]), ELEMENTS)


@pytest.mark.parametrize("block", BLOCKS)
def test_edge_of_weight_zero_leaves_no_trace(block: str) -> None:
    backbone = block_backbone(block)
    graph = make_graph(structures()["molecule"], 4.0, ELEMENTS)
    keep = graph.edge_index[0] != 2
    removed = replace(
        graph,
        edge_index=graph.edge_index[:, keep],
        edge_vectors=graph.edge_vectors[keep],
        edge_lengths=graph.edge_lengths[keep],
    )
    features, energies = backbone(replace(graph, edge_weights=keep.to(torch.float64)))
    expected_features, expected = backbone(removed)
    torch.testing.assert_close(energies, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(features.tensors[1], expected_features.tensors[1])
    _, ones = backbone(replace(graph, edge_weights=torch.ones(len(keep))))
    torch.testing.assert_close(ones, backbone(graph)[1])
    assert (ones - expected).abs().max() > 1e-6


@pytest.mark.parametrize("block", BLOCKS)
def test_smooth_in_composition_and_edge_weights(block: str) -> None:
    backbone = block_backbone(block)
    atoms = Atoms("H4", [[0, 0, 0], [1.3, 0, 0], [0, 1.6, 0.3], [0.4, 1, 1.8]])
    composition = torch.rand(4, len(ELEMENTS)).requires_grad_()
    graph = make_graph(atoms, 4.0, ELEMENTS)
    weights = torch.rand(len(graph.edge_lengths)).requires_grad_()

    def energies(c: Tensor, w: Tensor) -> Tensor:
        return backbone(replace(graph, composition=c, edge_weights=w))[1]

    assert torch.autograd.gradcheck(energies, (composition, weights), atol=1e-5, rtol=1e-4)
    empty = torch.zeros(4, len(ELEMENTS)).requires_grad_()
    gradient = torch.autograd.grad(energies(empty, weights).sum(), empty)[0]
    assert gradient.isfinite().all()


@pytest.mark.parametrize("block", BLOCKS)
def test_second_derivatives(block: str) -> None:
    backbone = block_backbone(block)
    atoms = Atoms("OHC", [[0, 0, 0], [1.0, 0.1, 0], [-0.3, 1.2, 0.4]])

    def energy(positions: Tensor) -> Tensor:
        return backbone(make_graph(atoms, 4.0, ELEMENTS, positions=positions))[1].sum()

    positions = torch.tensor(atoms.positions, requires_grad=True)
    assert torch.autograd.gradcheck(energy, positions)
    assert torch.autograd.gradgradcheck(energy, positions)
    (gradient,) = torch.autograd.grad(energy(positions), positions, create_graph=True)
    weights = [p for p in backbone.parameters() if p.requires_grad]
    force_gradients = torch.autograd.grad(gradient.square().sum(), weights, allow_unused=True)
    used = [g for g in force_gradients if g is not None]
    assert len(used) > len(weights) / 2
    assert all(g.isfinite().all() for g in used)


def parameters_without_gradient(backbone: MaceBackbone, read_tensors: bool) -> set[str]:
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    total = torch.zeros(())
    for atoms in structures().values():
        graph = replace(
            make_graph(atoms, 4.0, ELEMENTS), total_charge=torch.ones(1), spin=2 * torch.ones(1)
        )
        features, energies = backbone(graph)
        total = total + energies.sum()
        if read_tensors:
            total = total + sum(t.square().sum() for t in features.tensors.values())
    total.backward()
    return {
        name
        for name, p in backbone.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)
    }


@pytest.mark.parametrize("block", BLOCKS)
def test_every_parameter_gets_a_gradient(block: str) -> None:
    config = small_config(**BLOCKS[block], embed=("total_charge", "spin"))
    assert parameters_without_gradient(MaceBackbone(config, ELEMENTS), read_tensors=True) == set()
    # What makes only the last layer's tensors is idle when nobody reads them.
    idle = parameters_without_gradient(MaceBackbone(config, ELEMENTS), read_tensors=False)
    assert idle
    assert all(n.startswith("products.1.symmetric_contractions.contractions.1.") for n in idle)
    scalar = config.model_copy(update={"last_layer_tensors": False})
    assert parameters_without_gradient(MaceBackbone(scalar, ELEMENTS), read_tensors=False) == set()


def test_isolated_atoms_and_empty_graphs() -> None:
    backbone = MaceBackbone(small_config(pair_repulsion=True), ELEMENTS)
    far = Atoms("HO", [[0, 0, 0], [0, 0, 30.0]])
    features, energies = backbone(make_graph(far, 4.0, ELEMENTS))
    single = [backbone(make_graph(Atoms(s), 4.0, ELEMENTS))[1] for s in "HO"]
    torch.testing.assert_close(energies, torch.cat(single))
    assert features.tensors[1].shape == (2, 3, 8)
    assert energies.isfinite().all()
    positions = torch.tensor(far.positions, requires_grad=True)
    _, energies = backbone(make_graph(far, 4.0, ELEMENTS, positions=positions))
    (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=True)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))
    gradient.sum().backward()


def test_edges_beyond_the_cutoff_are_ignored() -> None:
    backbone = MaceBackbone(small_config(), ELEMENTS)
    atoms = structures()["crystal"]
    _, energies = backbone(make_graph(atoms, 4.0, ELEMENTS))
    torch.testing.assert_close(backbone(make_graph(atoms, 6.0, ELEMENTS))[1], energies)


def test_total_charge_and_spin() -> None:
    config = small_config(embed=("total_charge", "spin"))
    backbone = MaceBackbone(config, ELEMENTS)
    assert not backbone.size_consistent
    assert MaceBackbone(small_config(), ELEMENTS).size_consistent
    graph = make_graph(structures()["molecule"], 4.0, ELEMENTS)
    neutral = backbone(graph)[1]
    for changed in ({"total_charge": torch.ones(1)}, {"spin": 2 * torch.ones(1)}):
        assert (backbone(replace(graph, **changed))[1] - neutral).abs().max() > 1e-6

"""SO3krates: so3krates-torch's own numbers, saved files, and what coarse nodes need."""

from __future__ import annotations

import copy
import lzma
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read
from ase.neighborlist import neighbor_list
from pydantic import ValidationError
from torch import Tensor, nn

pytest.importorskip("so3krates_torch")

import muse_lr
from helpers import HostilePickle, make_graph
from muse_lr import testing
from muse_lr.backbones.so3krates.backbone import So3kratesBackbone
from muse_lr.backbones.so3krates.config import So3kratesConfig
from muse_lr.backbones.so3krates.imports import import_so3krates
from muse_lr.data.dataset import Dataset
from muse_lr.data.reading import Frame
from muse_lr.errors import InputError
from muse_lr.math.harmonics import rotation_matrix
from muse_lr.math.multipoles import from_standard_order
from muse_lr.structures.graph import NodeFeatures
from muse_lr.train.config import BatchConfig
from muse_lr.train.evaluate import evaluate, write_predictions

pytestmark = pytest.mark.usefixtures("seeded_float64")

ELEMENTS = ("H", "C", "N", "O", "F", "P", "S", "Cl")
LONG_RANGE = {"r_max_lr": 12.0, "dispersion_energy_cutoff_lr_damping": 2.0}

#: Like SO3LR's, but small.
BASE: dict[str, Any] = {
    "r_max": 3.6,
    "num_radial_basis_fn": 6,
    "degrees": [1, 2, 3, 4],
    "num_features": 16,
    "num_heads": 2,
    "num_layers": 2,
    "avg_num_neighbors": 5.5,
    "energy_regression_dim": 12,
    "initialize_ev_to_zeros": True,
    "radial_basis_fn": "bernstein",
    "layer_normalization_1": True,
    "layer_normalization_2": True,
    "residual_mlp_1": True,
    "use_charge_embed": True,
    "use_spin_embed": True,
    "energy_learn_atomic_type_shifts": True,
    "energy_learn_atomic_type_scales": True,
    "cutoff_fn": "phys",
    "dtype": torch.float64,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "so3lr": {},
    "plain": {"layer_normalization_1": False, "layer_normalization_2": False},
    "neighbors": {"initialize_ev_to_zeros": False, "radial_basis_fn": "gaussian"},
    "several": {"degrees": [1, 1, 2, 2], "residual_mlp_1": False, "use_spin_embed": False},
    "neutral": {"use_charge_embed": False, "use_spin_embed": False, "degrees": [1, 2]},
}


def package_model(kind: str = "SO3LR", **options: Any) -> Any:
    """A small model made by so3krates-torch itself, with weights that are not the initial ones."""
    model = getattr(import_so3krates("modules.models"), kind)(**{**BASE, **options})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        # In single precision in the package, so that nothing could be compared beyond 1e-7.
        for module in model.modules():
            if hasattr(module, "cg_rep"):
                sizes = torch.tensor([2 * order + 1 for order in module.degrees])
                module.cg_rep = (1 / sizes.double().sqrt()).repeat_interleave(sizes)
    return model


def structures() -> dict[str, Atoms]:
    rng = np.random.default_rng(3)
    crystal = bulk("CO", "rocksalt", a=3.4)  # smaller than the cutoff
    acid = molecule("CH3COOH")
    for atoms in (crystal, acid):
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    acid.info.update(total_charge=-1, spin=2)
    return {"crystal": crystal, "acid": acid}


def package_output(model: Any, atoms: Atoms, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """so3krates-torch's own forward, with neighbor lists made here."""
    data: dict[str, Any] = {
        "positions": torch.tensor(atoms.positions, dtype=dtype),
        "node_attrs": torch.eye(118, dtype=dtype)[torch.tensor(atoms.numbers) - 1],
        "atomic_numbers": torch.tensor(atoms.numbers),
        "cell": torch.tensor(atoms.cell.array, dtype=dtype),
        "batch": torch.zeros(len(atoms), dtype=torch.int64),
        "ptr": torch.tensor([0, len(atoms)]),
        "head": torch.tensor([0]),
        "total_charge": torch.tensor([atoms.info.get("total_charge", 0)], dtype=dtype),
        "total_spin": torch.tensor([(atoms.info.get("spin", 1) - 1) / 2], dtype=dtype),
    }
    for suffix, cutoff in (("", model.r_max), ("_lr", LONG_RANGE["r_max_lr"])):
        first, second, shift = neighbor_list("ijS", atoms, cutoff)
        data[f"edge_index{suffix}"] = torch.tensor(np.stack([first, second]))
        data[f"shifts{suffix}"] = torch.tensor(shift @ atoms.cell.array, dtype=dtype)
        data[f"unit_shifts{suffix}"] = torch.tensor(shift, dtype=dtype)
    output = model(data, return_descriptors=True, return_eqv_descriptors=True)
    return {k: v.detach() for k, v in output.items() if isinstance(v, Tensor)}


def own_output(backbone: So3kratesBackbone, atoms: Atoms) -> dict[str, Any]:
    """The same by our backbone; the energy with the shifts of the file."""
    dtype = backbone.element_scales.dtype
    positions = torch.tensor(atoms.positions, dtype=dtype, requires_grad=True)
    graph = make_graph(atoms, backbone.cutoff, ELEMENTS, positions=positions)
    graph = replace(graph, composition=graph.composition.to(dtype))
    graph = replace(graph, edge_vectors=graph.edge_vectors.to(dtype))
    graph = replace(graph, edge_lengths=graph.edge_vectors.norm(dim=-1))
    output = backbone.features_and_terms(graph)
    energies = torch.stack(list(output.energies.values())).double().sum(0)
    (gradient,) = torch.autograd.grad(energies.sum(), positions)
    assert backbone.atomic_energies is not None
    shift = sum(backbone.atomic_energies[s] for s in atoms.get_chemical_symbols())
    torch.testing.assert_close(backbone(graph)[1].double(), energies.detach())
    return {"energy": energies.sum() + shift, "forces": -gradient, "output": output}


def load(path: Path, elements: tuple[str, ...] = ELEMENTS, **keys: Any) -> So3kratesBackbone:
    return So3kratesBackbone(So3kratesConfig(file=str(path), trust=True, **keys), elements)


def saved(tmp_path: Path, model: Any) -> Path:
    torch.save(model, tmp_path / "saved.model")
    return tmp_path / "saved.model"


@pytest.mark.parametrize("kind", ["So3krates", "SO3LR"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_saved_file_gives_the_numbers_of_so3krates_torch(
    kind: str, variant: str, tmp_path: Path
) -> None:
    options = VARIANTS[variant] | (LONG_RANGE if kind == "SO3LR" else {})
    model = package_model(kind, **options)
    backbone = load(saved(tmp_path, model))
    for atoms in structures().values():
        expected, actual = package_output(model, atoms), own_output(backbone, atoms)
        output = actual["output"]
        close = {"atol": 1e-9, "rtol": 1e-9}
        torch.testing.assert_close(actual["energy"], expected["energy"][0], **close)
        torch.testing.assert_close(actual["forces"], expected["forces"], **close)
        torch.testing.assert_close(output.features.scalars, expected["inv_features"], **close)
        tensors = [part.transpose(1, 2).flatten(1) for part in output.features.tensors.values()]
        torch.testing.assert_close(torch.cat(tensors, 1), expected["ev_features"], **close)
        assert expected["forces"].abs().max() > 1e-4
        if kind == "SO3LR":
            terms = output.terms
            charges, ratios = expected["partial_charges"], expected["hirshfeld_ratios"]
            torch.testing.assert_close(terms.charges, charges, **close)
            torch.testing.assert_close(terms.hirshfeld_ratios, ratios, **close)
            repulsion = expected["zbl_repulsion"][:, 0]
            torch.testing.assert_close(terms.energies["repulsion"], repulsion, **close)


def pretrained(**keys: Any) -> So3kratesBackbone:
    config = So3kratesConfig(file="so3lr", trust=True, **keys)
    elements = So3kratesBackbone.default_elements(config)
    assert elements == ELEMENTS
    return So3kratesBackbone(config, elements)


def pretrained_in_the_package() -> Any:
    path = Path(sys.modules["so3krates_torch.modules.models"].__file__ or "").parents[1]
    model = torch.load(path / "pretrained/so3lr/so3lr.model", weights_only=False)
    vars(model).update(LONG_RANGE)
    return model.double()


def compare_with_the_package(dimers: list[Atoms]) -> None:
    backbone, model = pretrained().double(), pretrained_in_the_package()
    for atoms in dimers:
        expected, actual = package_output(model, atoms), own_output(backbone, atoms)
        energy = (actual["energy"] - expected["energy"][0]) / len(atoms)
        assert abs(energy) < 1e-5
        assert (actual["forces"] - expected["forces"]).abs().max() < 1e-4
        charges = actual["output"].terms.charges
        assert (charges - expected["partial_charges"]).abs().max() < 1e-6
        assert abs(charges.sum() - atoms.info.get("total_charge", 0)) < 1e-12


def test_the_weights_of_the_wheel() -> None:
    ammonium = molecule("NH3") + Atoms("H", [[0.0, 0.0, 1.1]])
    ammonium.info["total_charge"] = 1
    radical = molecule("CH3")
    radical.info["spin"] = 2
    apart = molecule("H2O")
    apart.positions += [7.0, 1.0, 0.5]
    compare_with_the_package([ammonium, radical, molecule("SO2"), molecule("CH3Cl") + apart])


@pytest.mark.slow
@pytest.mark.skipif("MUSE_LR_DATA" not in os.environ, reason="needs the reference data")
def test_the_weights_of_the_wheel_on_dimers() -> None:
    path = Path(os.environ["MUSE_LR_DATA"]) / "sapt10k_dimers" / "test.xyz.xz"
    with lzma.open(path, "rt") as handle:
        frames = read(handle, ":", format="extxyz")
    frames = [atoms for atoms in frames if {*atoms.get_chemical_symbols()} <= {*ELEMENTS}]
    compare_with_the_package(frames[:: len(frames) // 50][:50])


def small(**keys: Any) -> So3kratesBackbone:
    defaults = {"cutoff": 3.5, "channels": 8, "layers": 2, "num_radial": 5}
    backbone = So3kratesBackbone(So3kratesConfig(**{**defaults, **keys}), ELEMENTS)
    testing.randomize_weights(backbone)
    return backbone


def test_model_with_the_weights_of_the_wheel(tmp_path: Path) -> None:
    """Frozen, named beside other parts, and kept in our files without the pickle."""
    section = {"kind": "so3krates", "file": "so3lr", "trust": True, "so3lr": {"damping": 3.0}}
    model = muse_lr.build_model({"backbone": section, "charges": None, "heads": {}}).eval()
    assert model.elements == ELEMENTS
    assert model.cutoff == 12
    assert not model.size_consistent
    assert not any(parameter.requires_grad for parameter in model.parameters())
    config = model.config.backbone
    assert (config.file, config.trust, config.frozen, config.cutoff) == (None, False, True, 4.5)
    assert config.so3lr.damping == 3.0
    assert config.so3lr.charge_width == 4.0
    acid = structures()["acid"]
    testing.check_save_load(model, [acid])
    testing.check_forces(model.double(), acid, directions=2)
    testing.check_rotation(model, acid)
    muse_lr.save_model(model, tmp_path / "model.pt")
    loaded = muse_lr.load_model(tmp_path / "model.pt")
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_terms_are_named_parts_of_the_energy(tmp_path: Path) -> None:
    """Each is what the package's own block adds to its energy; the local one is the rest."""
    theirs = package_model(**LONG_RANGE)
    section = {"kind": "so3krates", "file": str(saved(tmp_path, theirs)), "trust": True}
    base = {"charges": None, "heads": {"zbl": {"kind": "zbl"}}, "elements": ELEMENTS}
    model = muse_lr.build_model({"backbone": section, **base}).eval()
    blocks = {
        "repulsion": theirs.zbl_repulsion,
        "electrostatics": theirs.electrostatic_potential,
        "dispersion": theirs.dispersion_potential,
    }
    found: dict[str, float] = {}
    for name, block in blocks.items():
        block.register_forward_hook(
            lambda module, inputs, output, name=name: found.update(
                {name: float(output.detach().sum())}
            )
        )
    listed = list(structures().values())
    parts = model(muse_lr.AtomsBatch.from_ase(listed, cutoff=model.cutoff)).energy_parts
    names = ["backbone.local", *(f"backbone.{name}" for name in blocks)]
    assert set(parts) == {"e0", *names, "zbl"}
    assert all(float(parts[name].abs().max()) > 1e-3 for name in names)
    for row, atoms in enumerate(listed):
        energy = float(package_output(theirs, atoms)["energy"][0])
        found["local"] = energy - float(parts["e0"][row]) - sum(found[name] for name in blocks)
        for name, value in found.items():
            assert float(parts[f"backbone.{name}"][row]) == pytest.approx(value, abs=1e-9)


def test_named_parts_reach_the_calculator_and_the_files(tmp_path: Path) -> None:
    section = {"kind": "so3krates", "channels": 8, "layers": 1, "so3lr": {"cutoff": 6.0}}
    model = muse_lr.build_model(
        {"backbone": section, "charges": None, "heads": {}, "elements": ELEMENTS}
    ).double()
    dimer = molecule("H2O") + molecule("CH4")
    dimer.positions[3:] += [4.0, 0.0, 0.0]
    dimer.info["size_first"] = 3
    dimer.calc = muse_lr.Calculator(model)
    energy = dimer.get_potential_energy()
    parts = dimer.calc.energy_parts
    names = {f"backbone.{k}" for k in ("local", "repulsion", "electrostatics", "dispersion")}
    assert set(parts) == {"e0"} | names
    assert sum(parts.values()) == pytest.approx(energy, abs=1e-10)
    dimer.calc = None
    dataset = Dataset.from_frames([Frame(dimer, {}, "dimer")], model.cutoff)
    write_predictions(evaluate(model, dataset, BatchConfig()).frames, tmp_path / "p.extxyz")
    info = read(tmp_path / "p.extxyz").info
    for name, value in parts.items():
        assert info[f"muse_part_{name}"] == pytest.approx(value, abs=1e-6)
    interaction = sum(info[f"muse_interaction_{name}"] for name in names)
    assert interaction == pytest.approx(info["muse_interaction_energy"], abs=1e-6)


def test_its_own_charges_fill_the_density() -> None:
    section = {"kind": "so3krates", "file": "so3lr", "trust": True}
    parts = {"charges": {"kind": "backbone"}, "multiscale": {"kind": "muse"}, "heads": {}}
    model = muse_lr.build_model({"backbone": section, **parts}).double().eval()
    package = pretrained_in_the_package()
    acid, neutral = structures()["acid"], molecule("CH3OH")
    batch = muse_lr.AtomsBatch.from_ase([acid, neutral], cutoff=model.cutoff)
    output = model(batch, ("charges", "dipole", "bec"))
    charges = [package_output(package, atoms)["partial_charges"] for atoms in (acid, neutral)]
    torch.testing.assert_close(output.charges, torch.cat(charges), rtol=0, atol=1e-6)
    dipole = charges[1] @ torch.tensor(neutral.positions)
    torch.testing.assert_close(output.dipole[1], dipole, rtol=0, atol=1e-5)
    # Born charges are the dipole's derivatives: moving all atoms moves the total charge.
    total = output.bec.new_zeros(2, 3, 3).index_add(0, batch.batch, output.bec)
    expected = batch.total_charge[:, None, None] * torch.eye(3).double()
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-8)
    testing.check_total_charge(model, acid)
    testing.check_save_load(model, [acid, neutral])
    output = model.float()(batch, ("charges",))
    torch.testing.assert_close(output.charges.double(), torch.cat(charges), rtol=0, atol=1e-4)
    with pytest.raises(InputError, match="would add the Coulomb energy"):
        muse_lr.build_model({"backbone": section, "charges": {"kind": "backbone"}})
    with pytest.raises(InputError, match="this one has none"):
        muse_lr.build_model({"backbone": {"kind": "painn"}, "elements": ["H"], **parts})


def test_heads_do_not_take_the_names_of_terms() -> None:
    heads = {"backbone.local": {"kind": "zbl"}}
    with pytest.raises(InputError, match="taken by a part of the energy"):
        muse_lr.build_model({"backbone": None, "heads": heads, "elements": ELEMENTS})


def test_untrained_physical_terms_are_a_backbone() -> None:
    section = {"kind": "so3krates", "channels": 8, "layers": 1, "so3lr": {"cutoff": 6.0}}
    heads = {"charges": None, "heads": {}, "elements": ELEMENTS}
    model = muse_lr.build_model({"backbone": section, **heads}).double()
    crystal = structures()["crystal"]
    testing.check_parameters_receive_gradients(model, [crystal, structures()["acid"]])
    testing.check_stress(model, crystal)
    testing.check_batch(model, [crystal, structures()["acid"], molecule("CH4")])
    assert not model.size_consistent
    with pytest.raises(InputError, match="SO3LR do not know Fm"):
        muse_lr.build_model({"backbone": section, **heads, "elements": ["H", "Fm"]})


@pytest.mark.parametrize("keys", [{}, {"embed": ("total_charge", "spin")}])
def test_charge_and_spin_are_embedded_only_if_asked_for(keys: dict[str, Any]) -> None:
    acid = structures()["acid"]
    for state_embedding in ("gated", "attention"):
        backbone = small(state_embedding=state_embedding, **keys)
        graph = make_graph(acid, 3.5, ELEMENTS)
        energies = [
            backbone(replace(graph, **changed))[1].sum()
            for changed in ({}, {"total_charge": torch.ones(1)}, {"spin": torch.tensor([4.0])})
        ]
        differ = [bool((energy - energies[0]).abs() > 1e-9) for energy in energies[1:]]
        assert differ == [bool(keys)] * 2
        assert backbone.size_consistent != bool(keys)


def test_features_turn_with_the_structure() -> None:
    backbone = small(multiplicity=2, l_max=4)
    acid = structures()["acid"]
    rotation, _ = torch.linalg.qr(torch.randn(3, 3))
    if torch.linalg.det(rotation) > 0:
        rotation = -rotation
    turned = acid.copy()
    turned.positions = acid.positions @ rotation.numpy().T
    first, _ = backbone(make_graph(acid, 3.5, ELEMENTS))
    second, _ = backbone(make_graph(turned, 3.5, ELEMENTS))
    torch.testing.assert_close(second.scalars, first.scalars, atol=1e-11, rtol=1e-11)
    assert backbone.tensor_channels == {1: 2, 2: 2, 3: 2, 4: 2}
    for order in (1, 2, 3):
        expected = torch.einsum(
            "mk,nkc->nmc", rotation_matrix(order, rotation), first.tensors[order]
        )
        torch.testing.assert_close(second.tensors[order], expected, atol=1e-11, rtol=1e-11)
        assert expected.abs().max() > 1e-3
    # The first moments of a chiral structure are vectors in x, y, z, here as y, z, x.
    vectors = from_standard_order(first.tensors[1])
    moved = from_standard_order(second.tensors[1])
    torch.testing.assert_close(moved, torch.einsum("xy,nyc->nxc", rotation, vectors))


@pytest.mark.parametrize("normalization", ["bounded", "layer", "none"])
def test_a_node_whose_mass_dies_leaves_no_trace(normalization: str) -> None:
    backbone = small(normalization=normalization)
    atoms = structures()["acid"]
    composition = torch.softmax(torch.randn(len(atoms), len(ELEMENTS)), dim=1)
    last = len(atoms) - 1
    weights = torch.ones(len(atoms))
    weights[last] = 0.0
    graph = make_graph(atoms, 3.5, ELEMENTS, composition=composition, weights=weights)
    features, energies = backbone(graph)
    alone = make_graph(atoms[:last], 3.5, ELEMENTS, composition=composition[:last])
    expected, expected_energies = backbone(alone)
    torch.testing.assert_close(energies[:last], expected_energies)
    torch.testing.assert_close(features.scalars[:last], expected.scalars)
    for order, tensor in expected.tensors.items():
        torch.testing.assert_close(features.tensors[order][:last], tensor)
    full, _ = backbone(make_graph(atoms, 3.5, ELEMENTS, composition=composition))
    assert (full.scalars[:last] - expected.scalars).abs().max() > 1e-6


def test_energies_are_smooth_in_the_composition() -> None:
    backbone = small()
    atoms = structures()["acid"]
    mixed = torch.softmax(torch.randn(len(atoms), len(ELEMENTS)), dim=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c: backbone(make_graph(atoms, 3.5, ELEMENTS, composition=c))[1].sum(), mixed
    )


def test_initial_features_are_added() -> None:
    backbone = small(start="zero", multiplicity=2, l_max=2)
    graph = make_graph(structures()["acid"], 3.5, ELEMENTS)
    count = graph.num_nodes
    plain, _ = backbone(graph)
    none = NodeFeatures(torch.zeros(count, 8), {})
    torch.testing.assert_close(backbone(graph, none)[0].scalars, plain.scalars)
    tensor = torch.randn(count, 5, 2)
    given = NodeFeatures(torch.zeros(count, 8), {2: tensor})
    assert (backbone(graph, given)[0].scalars - plain.scalars).abs().max() > 1e-6
    lonely = replace(graph, edge_index=graph.edge_index[:, :0])
    lonely = replace(lonely, edge_vectors=torch.zeros(0, 3), edge_lengths=torch.zeros(0))
    learned = backbone(lonely, given)[0].tensors
    assert not learned[1].any()
    # Without neighbors an order is only scaled.
    torch.testing.assert_close(learned[2] / tensor, (learned[2] / tensor)[:, :1].expand(-1, 5, -1))
    with pytest.raises(ValueError, match=r"l = \[3\]"):
        backbone(graph, NodeFeatures(torch.zeros(count, 8), {3: torch.zeros(count, 7, 2)}))
    with pytest.raises(ValueError, match="shape"):
        backbone(graph, NodeFeatures(torch.zeros(count, 8), {1: torch.zeros(count, 3, 8)}))


def test_large_initial_features_are_bounded() -> None:
    graph = make_graph(structures()["acid"], 3.5, ELEMENTS)
    large = NodeFeatures(1e4 * torch.randn(graph.num_nodes, 8), {2: 1e4 * torch.randn(8, 5, 1)})
    energies = {
        normalization: small(normalization=normalization)(graph, large)[1].abs().max()
        for normalization in ("bounded", "none")
    }
    assert energies["bounded"] < 1e2
    assert energies["none"] > 1e12


def test_a_single_edge_and_none() -> None:
    for radial_type in ("gaussian", "bernstein"):
        backbone = small(radial_type=radial_type)
        pair = make_graph(Atoms("OH", [[0, 0, 0], [0, 0, 1.0]]), 3.5, ELEMENTS)
        one = replace(
            pair,
            edge_index=pair.edge_index[:, :1],
            edge_vectors=pair.edge_vectors[:1],
            edge_lengths=pair.edge_lengths[:1],
        )
        _, energies = backbone(one)
        _, both = backbone(pair)
        receiver = int(one.edge_index[1, 0])
        assert energies.shape == (2,)
        alone = backbone(make_graph(Atoms("OH", [[0, 0, 0], [0, 0, 9.0]]), 3.5, ELEMENTS))[1]
        torch.testing.assert_close(energies[1 - receiver], alone[1 - receiver])
        assert abs(both[receiver] - alone[receiver]) > 1e-6


def test_constants_survive_single_precision() -> None:
    backbone = small(radial_type="bernstein", so3lr={})
    before = copy.deepcopy(backbone)
    graph = make_graph(structures()["acid"], 12.0, ELEMENTS)
    backbone.float().double()
    for (name, buffer), exact in zip(backbone.named_buffers(), before.buffers(), strict=True):
        assert torch.equal(buffer, exact), name
    assert set(backbone.state_dict()) == {
        *(name for name, _ in backbone.named_parameters(remove_duplicate=False)),
        "element_scales",
    }
    # l = 1: three components of 1 / sqrt(3), all of them exact.
    factors = backbone.transformers[0].interaction_block.so3_conv_invariants.cg_rep
    assert factors[:3].tolist() == pytest.approx([3**-0.5] * 3, rel=1e-15)
    assert before(graph)[1].dtype == torch.float64


def test_the_radial_functions_of_coarse_graphs_resolve_distances() -> None:
    wide = small(cutoff=24.0, num_radial=16)
    lengths = torch.linspace(2.0, 22.0, 40)
    values = wide.radial(lengths)
    assert torch.linalg.matrix_rank(values, rtol=1e-3) == 16


def test_untrusted_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "evil.model").write_bytes(pickle.dumps(HostilePickle(tmp_path / "executed")))
    for file in (tmp_path / "evil.model", "so3lr"):
        config = So3kratesConfig(file=str(file))
        with pytest.raises(InputError, match="runs the code in it; set trust: true"):
            So3kratesBackbone(config, ("H",))
        with pytest.raises(InputError, match="trust"):
            So3kratesBackbone.default_elements(config)
    assert not (tmp_path / "executed").exists()


UNSUPPORTED = {
    "cutoff_fn_name is 'cosine', but only 'phys'": {"cutoff_fn": "cosine"},
    "message_normalization": {"message_normalization": "sqrt_num_features"},
    "residual_mlp_2 is True": {"residual_mlp_2": True},
    "one of the two layer normalizations": {"layer_normalization_2": False},
    r"degrees \[0, 1\]": {"degrees": [0, 1]},
    "zbl_repulsion_bool is False": {"zbl_repulsion_bool": False},
    "radial_type": {"radial_basis_fn": "bessel"},
}


@pytest.mark.parametrize("match", UNSUPPORTED)
def test_unsupported_files_are_refused(match: str, tmp_path: Path) -> None:
    path = saved(tmp_path, package_model(**UNSUPPORTED[match]))
    with pytest.raises(InputError, match=match):
        load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "x.model")
    with pytest.raises(InputError, match="is a Linear, which is not supported"):
        load(tmp_path / "x.model")
    (tmp_path / "x.model").write_bytes(b"no pickle")
    with pytest.raises(InputError, match="not a readable model"):
        load(tmp_path / "x.model")
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "missing.model")


def test_keys_that_contradict_the_file_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, package_model("So3krates"))
    with pytest.raises(InputError, match=r"backbone.cutoff is 6.0, but .* has 3.6"):
        load(path, cutoff=6.0)
    assert load(path, cutoff=3.6).cutoff == 3.6
    assert load(path, avg_num_neighbors=9.0).config.avg_num_neighbors == 5.5
    with pytest.raises(InputError, match="has no physical terms"):
        load(path, so3lr={"cutoff": 9.0})
    assert load(saved(tmp_path, package_model()), so3lr={"cutoff": 9.0}).cutoff == 9.0


def test_widths_that_cannot_be_split_are_refused() -> None:
    with pytest.raises(ValidationError, match="a multiple of 12"):
        So3kratesConfig(channels=64, l_max=3)
    assert So3kratesConfig(channels=48, l_max=3).degrees == [1, 2, 3]


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import_so3krates.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] == "so3krates_torch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "so3krates_torch", None)
    with pytest.raises(InputError, match=r"pip install 'muse_lr\[so3krates\]'"):
        small()
    import_so3krates.cache_clear()


def test_the_import_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    import_so3krates.cache_clear()
    name = "so3krates_torch.blocks.euclidean_transformer"
    monkeypatch.delitem(sys.modules, name, raising=False)
    torch.set_printoptions(precision=5)
    import_so3krates("blocks.euclidean_transformer")
    assert name in sys.modules
    assert repr(torch.tensor([1 / 3])) == "tensor([0.33333])"
    torch.set_printoptions(profile="default")
    import_so3krates.cache_clear()

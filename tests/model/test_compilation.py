"""Compiled models: equal to those that are not, for any sizes; what is refused; the cache."""

from __future__ import annotations

import json
import os
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import given, settings

import muse_lr
from helpers import painn_section, random_model, rattled_salt, run_cli
from muse_lr.errors import InputError
from muse_lr.interfaces.fixed_atoms import FixedAtoms
from muse_lr.model.compilation import cache, compiled_model
from muse_lr.model.compilation.called import call_head, calling
from muse_lr.model.compilation.examples import verify
from muse_lr.model.compilation.inputs import program_inputs
from muse_lr.model.compilation.program import equations
from muse_lr.structures.verlet_list import VerletList
from muse_lr.testing import strategies

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
ELEMENTS = ("Na", "Cl")
COULOMB = {"coulomb": {"kind": "coulomb"}}
TINY = painn_section(
    ELEMENTS,
    charges={"kind": "latent", "width": 0.6},
    heads={**COULOMB, "repulsion": {"kind": "zbl", "range": 1.2}},
)
MACE = {"kind": "mace", "cutoff": 3.5, "channels": 4, "layers": 2, "l_max": 1}
SO3KRATES = {"kind": "so3krates", "cutoff": 3.5, "channels": 16, "layers": 1}
MUSE = {"kind": "muse", "radius": 4.0, "cutoff": 8.0, "channels": 8, "tensor_channels": 4}


def section(charges: str, heads: dict | None = None, **parts: object) -> dict:
    """A model of charges of one kind and the given heads and other parts."""
    return (
        painn_section(ELEMENTS) | {"charges": {"kind": charges}, "heads": heads or COULOMB} | parts
    )


MATRIX = {
    "mace": section("conserved", backbone=MACE),
    "so3krates": section("fukui", {**COULOMB, "c6": {"kind": "c6"}}, backbone=SO3KRATES),
    "dispersion": section("qet", {**COULOMB, "d3": {"kind": "d3"}}),
    "split": section("split"),
    "short range": section(
        "latent", {**COULOMB, "zbl": {"kind": "zbl"}, "barrier": {"kind": "bond_barrier"}}
    ),
}


#: Models that can be traced, but that the compiler of torch does not compile correctly.
TRACED = {
    "muse": section("qet", multiscale=MUSE),
    "muse on mace": section("split", backbone=MACE, multiscale={**MUSE, "levels": 2}),
}


@pytest.fixture(scope="module", autouse=True)
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of this module alone."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("cache")
        patch.setenv("MUSE_LR_CACHE", str(path))
        yield path


@pytest.fixture(scope="module")
def models(directory: Path) -> tuple[muse_lr.EnergyModel, muse_lr.EnergyModel]:
    """A model, and its compiled copy."""
    model = random_model(TINY).requires_grad_(False)
    compiled = deepcopy(model)
    muse_lr.compile_model(compiled)
    return model, compiled


@pytest.fixture
def no_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is compiled fails the test."""

    def compiling(*_: object) -> None:
        raise AssertionError("a program was compiled")

    monkeypatch.setattr(compiled_model, "compile_program", compiling)


def outputs(model: muse_lr.EnergyModel, structures: list[Atoms], skin: float = 0.4) -> dict:
    """Everything that a program gives, of one batch with edges beyond the cutoff."""
    batch = muse_lr.AtomsBatch.from_ase(structures, cutoff=model.cutoff)
    VerletList(model.cutoff, skin).attach(batch)
    found = model(batch, ("forces", "stress", "charges", "dipole", "quadrupole"))
    names = ("energy", "forces", "stress", "charges", "dipole", "quadrupole", "total_charge")
    values = {name: getattr(found, name).detach() for name in names}
    return values | {f"E {name}": e.detach() for name, e in found.energy_parts.items()}


def assert_equal(found: dict, expected: dict, relative: float) -> None:
    """Compare all quantities; differences are relative to the largest, or to 1."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(1.0, float(value.nan_to_num().abs().max()))
        np.testing.assert_allclose(
            found[name].numpy(), value.numpy(), rtol=0, atol=relative * scale, err_msg=name
        )


@needs_compiler
@settings(max_examples=30)  # the slow test draws 100
@given(batch=strategies.mixed_batches(ELEMENTS, min_structures=1, max_structures=6, max_atoms=9))
def test_one_program_gives_the_same_for_all_sizes_and_boundaries(models, batch):
    model, compiled = models
    assert compiled.program is not None
    assert_equal(outputs(compiled, batch), outputs(model, batch), 1e-12)
    assert len(cache.entries()) == 1


@needs_compiler
@pytest.mark.usefixtures("no_compiling")
def test_the_program_is_used_again_by_everything_that_takes_a_model(models):
    model, compiled = models
    atoms = rattled_salt(0.1)
    again = deepcopy(model)
    muse_lr.compile_model(again)
    assert_equal(outputs(again, [atoms]), outputs(compiled, [atoms]), 1e-15)
    plain, fast = muse_lr.Calculator(model), muse_lr.Calculator(model, compile=True)
    for name in ("energy", "forces", "stress", "charges"):
        expected = plain.get_property(name, atoms)
        np.testing.assert_allclose(fast.get_property(name, atoms), expected, atol=1e-12)
    assert fast.model.program is not None
    engine = FixedAtoms(model, atoms, compile=True)
    found = engine(np.stack([atoms.positions, atoms.positions + 0.01]), np.stack([atoms.cell] * 2))
    np.testing.assert_allclose(found.forces[0], plain.get_forces(atoms), atol=1e-12)


@needs_compiler
def test_what_a_program_does_not_give_and_changed_weights_are_computed_without_it(models):
    model, compiled = models
    own = deepcopy(model)
    muse_lr.compile_model(own)
    batch = muse_lr.AtomsBatch.from_ase([rattled_salt(0.1)], cutoff=own.cutoff)
    potential = own(batch, ("forces", "potential")).potential
    torch.testing.assert_close(potential, model(batch, "potential").potential)
    before = own(batch).energy
    with torch.no_grad():
        next(own.parameters()).mul_(1.5)
    assert abs(float(own(batch).energy - before)) > 1e-6
    copy = deepcopy(compiled).float()
    assert copy(batch, "forces").forces is not None


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"charges": {"kind": "qeq"}}, "the charge model .kind qeq.: its charges are found by"),
        ({"multiscale": MUSE}, "the multiscale block .kind muse.: the compiler of torch makes"),
        ({"multiscale": {"kind": "ewald_mp"}}, "the multiscale block .kind ewald_mp.: its equa"),
        ({"backbone": None}, "it has no backbone"),
    ],
)
@pytest.mark.usefixtures("no_compiling")
def test_parts_that_cannot_be_compiled_are_named_before_anything_is_compiled(parts, reason):
    charges = {"kind": "fixed", "by_element": {"Na": 1, "Cl": -1}}
    model = muse_lr.build_model(painn_section(ELEMENTS, charges=charges, heads=COULOMB) | parts)
    with pytest.raises(InputError, match=f"cannot be compiled.*{reason}"):
        muse_lr.compile_model(model)


@pytest.mark.usefixtures("no_compiling")
def test_without_a_compiler_the_message_says_what_to_install(monkeypatch, tmp_path):
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    monkeypatch.setenv("MUSE_LR_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler.*install g"):
        muse_lr.compile_model(random_model(TINY))
    assert list(tmp_path.iterdir()) == []


@needs_compiler
@pytest.mark.usefixtures("no_compiling")
def test_a_program_of_elsewhere_needs_trust_and_must_fit(models, tmp_path):
    model, _ = models
    path = tmp_path / "given"
    shutil.copytree(cache.entries()[0].path, path)
    with pytest.raises(InputError, match=r"runs its code.*trust=True"):
        muse_lr.compile_model(deepcopy(model), path)
    muse_lr.compile_model(deepcopy(model), path, trust=True)
    other = random_model(TINY, seed=5)
    with pytest.raises(InputError, match="from another model"):
        muse_lr.compile_model(other, path, trust=True)
    about = json.loads((path / cache.ABOUT).read_text())
    for key, what in (("torch", "torch"), ("device", "device"), ("processor", "processor")):
        (path / cache.ABOUT).write_text(json.dumps(about | {key: "other"}))
        with pytest.raises(InputError, match=f"compiled for .*{what} 'other'"):
            muse_lr.compile_model(deepcopy(model), path, trust=True)


@needs_compiler
def test_a_program_that_gives_something_else_is_not_used(models):
    model, compiled = models
    verify(model, compiled.program)
    other = random_model(TINY, seed=5)
    with pytest.raises(InputError, match="gives other results than the model"):
        verify(other, compiled.program)


def make_of(megabytes: float):
    """A function that writes a file of this size in place of a program."""

    def make(path: Path) -> dict[str, object]:
        path.write_bytes(b"0" * int(1e6 * megabytes))
        return {"energies": [], "elements": ["H"]}

    return make


def test_the_cache_keeps_what_was_used_last_within_its_limit(monkeypatch, tmp_path):
    monkeypatch.setenv("MUSE_LR_CACHE", str(tmp_path))
    monkeypatch.setenv("MUSE_LR_CACHE_MB", "2.5")
    for age, name in enumerate(("a", "b")):
        entry, new = cache.find_or_make({"name": name}, make_of(1.0))
        assert new
        os.utime(entry.path / cache.ABOUT, (age, age))
    assert not cache.find_or_make({"name": "a"}, make_of(1.0))[1]  # used again: b is the oldest
    cache.find_or_make({"name": "c"}, make_of(1.0))
    assert {entry.about["name"] for entry in cache.entries()} == {"a", "c"}
    cache.find_or_make({"name": "large"}, make_of(5.0))  # what was just made is kept
    assert [entry.about["name"] for entry in cache.entries()] == ["large"]


def test_two_processes_and_a_killed_one_leave_whole_programs(monkeypatch, tmp_path):
    monkeypatch.setenv("MUSE_LR_CACHE", str(tmp_path))
    killed = tmp_path / ".half.1"
    killed.mkdir()
    os.utime(killed, (0, 0))

    def slower(path: Path) -> dict[str, object]:
        assert cache.find_or_make({"name": "a"}, make_of(0.1))[1]  # another process is faster
        return make_of(0.2)(path)

    entry, _ = cache.find_or_make({"name": "a"}, slower)
    assert [e.path for e in cache.entries()] == [entry.path]
    assert entry.megabytes < 0.15  # that of the faster one

    def failing(path: Path) -> dict[str, object]:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.find_or_make({"name": "b"}, failing)
    assert [path for path in tmp_path.iterdir() if path != entry.path] == []


def test_the_command_lists_and_clears(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MUSE_LR_CACHE", str(tmp_path))
    cache.find_or_make({"name": "a", "dtype": "float32"}, make_of(1.5))
    assert run_cli("cache") == 0
    text = capsys.readouterr().out
    assert "1.5 MB" in text
    assert f"1 compiled models, 1.5 of 2000 MB, in {tmp_path}" in text
    assert run_cli("cache", "--clear") == 0
    assert "1 compiled models removed" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("MUSE_LR_CACHE_MB", "none")
    assert run_cli("cache") == 2
    assert "must be a positive number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [*MATRIX, "muse", pytest.param("muse on mace", marks=pytest.mark.slow)],
)
@given(batch=strategies.mixed_batches(ELEMENTS, min_structures=1, max_structures=4))
def test_what_is_traced_needs_only_tables_that_are_made_before(name, batch):
    model = random_model({**MATRIX, **TRACED}[name], scale=0.02).requires_grad_(False)
    own = muse_lr.AtomsBatch.from_ase(batch, cutoff=model.cutoff)
    inputs = program_inputs(model, own)
    template = compiled_model.head_inputs(model, own, inputs)
    with calling(tuple(model.heads.values()), template, virial=True):
        found = equations(model, inputs, call_head, [])(*inputs.named().values())
    expected = model(own, ("forces", "charges"))
    scale = max(1.0, float(expected.forces.abs().max()))
    torch.testing.assert_close(found[0].sum(0), expected.energy.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1], expected.forces, rtol=0, atol=1e-12 * scale)
    torch.testing.assert_close(found[3][:, 0], expected.charges, rtol=0, atol=1e-12)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", MATRIX)
def test_every_part_of_the_matrix_gives_the_same(name, dtype):
    model = random_model(MATRIX[name], scale=0.02).to(dtype).requires_grad_(False)
    compiled = deepcopy(model)
    muse_lr.compile_model(compiled)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5

    @settings(max_examples=100)
    @given(batch=strategies.mixed_batches(ELEMENTS, min_structures=1, max_structures=5))
    def equal(batch: list[Atoms]) -> None:
        assert_equal(outputs(compiled, batch), outputs(model, batch), tolerance)

    equal()

"""Compile a model, and evaluate its program for batches."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.heads.base import HeadInputs
from muse_lr.model.compilation import cache
from muse_lr.model.compilation.called import calling
from muse_lr.model.compilation.examples import example_batch, verify
from muse_lr.model.compilation.inputs import ProgramInputs, program_inputs
from muse_lr.model.compilation.program import FIRST, compile_program
from muse_lr.model.derivatives import stress_of
from muse_lr.model.digest import model_digest
from muse_lr.model.output import ModelOutput
from muse_lr.model.response import compute_responses
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.graph import NodeFeatures

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

#: What a program gives; other quantities are computed without it.
GIVEN = frozenset({"forces", "stress", "charges", "dipole", "quadrupole"})


class CompiledProgram:
    """The compiled energies, forces and virials of one model with its present weights.

    Parameters
    ----------
    model : EnergyModel
    path : Path
        The file of the program, which is executed.
    names : collection of str
        Names of its energies.
    """

    def __init__(self, model: EnergyModel, path: Path, names: Collection[str]) -> None:
        from torch._inductor import aoti_load_package

        self._run = aoti_load_package(str(path))
        self._names = tuple(names)
        self._weights = _weights(model)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # not used by the copy, whose weights are in other places

    def serves(self, model: EnergyModel, batch: AtomsBatch, compute: Collection[str]) -> bool:
        """Whether the program gives these quantities for the present weights of the model."""
        if model.training or not set(compute) <= GIVEN or _weights(model) != self._weights:
            return False
        return not (batch.positions.requires_grad or batch.cell.requires_grad)

    @torch.no_grad()
    def __call__(
        self, model: EnergyModel, batch: AtomsBatch, compute: Collection[str]
    ) -> ModelOutput:
        """Evaluate a batch that the model has checked."""
        inputs = program_inputs(model, batch)
        template = head_inputs(model, batch, inputs)
        heads = tuple(model.heads.values())
        with calling(heads, template, virial="stress" in compute):
            energies, forces, virial, *moments = self._run(*inputs.named().values())
        parts = dict(zip(self._names, energies.unbind(0), strict=True))
        output = ModelOutput(energies.sum(0), parts, total_charge=batch.total_charge)
        geometry = inputs.geometry
        if "forces" in compute:
            output.forces = forces
        if "stress" in compute:
            output.stress = stress_of(virial, geometry)
        if model.charges is None:
            return output
        output.total_charge = model.charges.total_charge(batch)
        output.density = _density(model, batch, moments[0])
        output.density.check()
        responses = set(compute) - {"forces", "stress", "charges"}
        options = geometry, geometry.positions, responses, False
        vars(output).update(compute_responses(output, model.charges, model.heads, *options))
        if "charges" in compute:
            output.charges = output.density.charges
        return output


def _weights(model: EnergyModel) -> tuple[Any, ...]:
    """What identifies the present weights: their places and how often they were changed."""
    tensors = (*model.parameters(), *model.buffers())
    return (model.config.e0, *((t.data_ptr(), t._version) for t in tensors))


def _density(model: EnergyModel, batch: AtomsBatch, moments: Tensor) -> ChargeDensity:
    assert model.charges is not None
    width = model.charges.atom_widths(model.composition(batch))
    return ChargeDensity(moments, width, batch.batch, batch.num_graphs)


def head_inputs(model: EnergyModel, batch: AtomsBatch, inputs: ProgramInputs) -> HeadInputs:
    """Inputs of the heads that a program calls, but for those that come from the program."""
    composition = model.composition(batch)
    nothing = composition.new_zeros((composition.shape[0], 0))
    density = None if model.charges is None else _density(model, batch, nothing)
    return HeadInputs(inputs.geometry, density, NodeFeatures(nothing), composition, FIRST)


def compile_model(
    model: EnergyModel, program: str | Path | None = None, trust: bool = False
) -> None:
    """Compile the energies, forces and virials of a model.

    Afterwards, ``model(batch, compute)`` uses the program for energies, forces, stress, charges,
    dipoles and quadrupoles, for structures of any size. Other quantities, changed weights and
    training use the model as before. Programs are kept in a cache, so that a model is compiled once
    on a machine.

    Parameters
    ----------
    model : EnergyModel
        It is brought into evaluation mode, and its parameters do not require gradients afterwards.
    program : str or Path, optional
        Directory of a program that was compiled elsewhere. Loading it runs its code.
    trust : bool
        Whether ``program`` may be executed.

    Raises
    ------
    InputError
        If a part of the model cannot be compiled, if there is no C++ compiler, or if ``program`` is
        not trusted or belongs to another model, version or machine.
    """
    refuse_parts(model)
    model.eval().requires_grad_(False)
    model.program = None
    if program is not None:
        entry = _of_elsewhere(model, Path(program), trust)
    else:
        about = _about(model)
        entry, _ = cache.find_or_make(about, lambda path: _make(model, path))
    path = entry.path / cache.PROGRAM
    model.program = CompiledProgram(model, path, entry.about["energies"])


def refuse_parts(model: EnergyModel) -> None:
    """Raise an error that names all parts of a model that cannot be compiled, and why."""
    if model.backbone is None:
        raise InputError("the model cannot be compiled: it has no backbone, which is what is slow")
    reasons = {name: part.not_compiled() for name, part in model.parts.named().items()}
    refused = [f"{name} ({_kind(model, name)}): {why}" for name, why in reasons.items() if why]
    if refused:
        raise InputError(f"the model cannot be compiled. {'; '.join(refused)}")


def _kind(model: EnergyModel, name: str) -> str:
    part = model.parts.named()[name]
    return f"kind {part.Config.model_fields['kind'].default}"


def _about(model: EnergyModel) -> dict[str, Any]:
    """All that a program depends on."""
    return {
        "format": 1,
        "model": model_digest(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        **cache.of_process(model.device),
    }


def _make(model: EnergyModel, path: Path) -> dict[str, Any]:
    """Compile the program of a model to a file."""
    _require_compiler()
    start = time.time()
    batch = example_batch(model)
    inputs = program_inputs(model, batch)
    names = compile_program(model, inputs, head_inputs(model, batch, inputs), path)
    verify(model, CompiledProgram(model, path, names))
    return {
        "energies": list(names),
        "elements": list(model.elements),
        "made": time.strftime("%Y-%m-%d %H:%M:%S"),
        "seconds": round(time.time() - start, 1),
    }


def _require_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise InputError(
            "compiling a model needs a C++ compiler, and none was found: install g++ (apt install "
            "g++, dnf install gcc-c++, conda install cxx-compiler), or set CXX to its path"
        ) from error


def _of_elsewhere(model: EnergyModel, path: Path, trust: bool) -> cache.Entry:
    """A program that was compiled elsewhere, if it is trusted and fits."""
    if not trust:
        raise InputError(
            f"{path} is a compiled program, and loading it runs its code: if you trust it, give "
            "trust=True"
        )
    entry = cache.read_entry(path)
    if entry is None or not (path / cache.PROGRAM).is_file():
        raise InputError(
            f"{path} is no compiled program: a directory with {cache.PROGRAM} and {cache.ABOUT} "
            "is needed"
        )
    here = _about(model)
    for key, what in cache.OF_PROCESS.items():
        if entry.about.get(key) != here[key]:
            raise InputError(
                f"{path} was compiled for {what} {entry.about.get(key)!r}, and here it is "
                f"{here[key]!r}: compile the model here"
            )
    if entry.about.get("model") != here["model"]:
        raise InputError(f"{path} was compiled from another model, or for another precision")
    return entry

"""Tracing and compiling the energies, forces and virials of a model as one program.

The program is traced with symbolic sizes from the equations that are evaluated without compilation
(:func:`muse_lr.model.energies.evaluate_energies`), with the derivatives by automatic
differentiation inside. AOTInductor compiles it, with the weights as constants, to a file that is
used for any number of atoms, edges and structures.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from muse_lr.electrostatics.base import Derivative
from muse_lr.heads.base import HeadInputs
from muse_lr.model.compilation.called import call_head, calling
from muse_lr.model.compilation.inputs import ProgramInputs, rebuilt, traced_parts
from muse_lr.model.derivatives import forces_and_virial
from muse_lr.model.energies import evaluate_energies
from muse_lr.model.requests import Selection
from muse_lr.structures.geometry import strained_geometry

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

FIRST: frozenset[Derivative] = frozenset({"forces", "stress"})


def equations(
    model: EnergyModel,
    like: ProgramInputs,
    call: Callable[[int, HeadInputs], Tensor],
    names: list[str],
) -> Callable[..., tuple[Tensor, ...]]:
    """The function that is traced.

    It evaluates the heads that it does not contain by ``call``, from their number and their inputs,
    and puts the names of its energies into ``names``.

    Its arguments are the tensors of :class:`ProgramInputs`. Its results are the (n_terms, n_graphs)
    energies in eV, the (n_atoms, 3) forces in eV/A, the (n_graphs, 3, 3) derivative by the strain
    in eV and, with charges, the moments of the density.
    """

    def evaluate(*tensors: Tensor) -> tuple[Tensor, ...]:
        batch, tables, host = rebuilt(tensors, like)
        positions = batch.positions.detach().requires_grad_(True)
        strain = torch.zeros_like(batch.cell).requires_grad_(True)
        with torch.enable_grad():
            geometry = replace(
                strained_geometry(batch, positions, strain),
                batch_tables=tables,
                reach=like.reach,
                host=host,
            )
            options = FIRST, False, Selection(None), call
            output = evaluate_energies(model, batch, geometry, *options)
            forces, virial = forces_and_virial(output.energy, positions, strain, False)
        assert forces is not None
        assert virial is not None
        names[:] = output.energy_parts
        energies = torch.stack(list(output.energy_parts.values()))
        found = [energies, forces, virial]
        if output.density is not None:
            found.append(output.density.moments)
        return tuple(value.detach() for value in found)

    return evaluate


def compile_program(
    model: EnergyModel, example: ProgramInputs, template: HeadInputs, path: Path
) -> list[str]:
    """Compile the equations of a model to a file.

    Parameters
    ----------
    model : EnergyModel
        In evaluation mode, without parameters that require gradients.
    example : ProgramInputs
        Inputs for a batch that has all kinds of inputs. The sizes of its tensors do not matter.
    template : HeadInputs
        Inputs of the heads for this batch.
    path : Path
        File to write, ``.pt2``.

    Returns
    -------
    list of str
        Names of the energies.

    Raises
    ------
    RuntimeError
        If the equations depend on the sizes of the example.
    """
    from torch._inductor import aoti_compile_and_package

    heads, names = tuple(model.heads.values()), list[str]()
    # Constants that parts make at their first use must not be made, and kept, while tracing.
    equations(model, example, _nothing, names)(*example.named().values())
    with _general_sizes(), calling(heads, template, virial=True), ExitStack() as stack:
        for part in traced_parts(model):
            stack.enter_context(part.tracing())
        exported = _exported(equations(model, example, call_head, names), example)
        aoti_compile_and_package(exported, package_path=str(path))
    return names


def _nothing(number: int, inputs: HeadInputs) -> Tensor:
    return inputs.geometry.cell.sum((1, 2)) * 0


def _exported(function: Callable[..., Any], example: ProgramInputs) -> Any:
    """The program with symbolic sizes."""
    from torch.export import Dim, export
    from torch.fx.experimental.proxy_tensor import make_fx

    arguments, dynamic = _symbolic(example)
    traced = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*arguments)
    shapes = tuple(dict.fromkeys(axes, Dim.AUTO) for axes in dynamic)
    exported = export(traced, tuple(example.named().values()), dynamic_shapes=shapes)
    _refuse_fixed_sizes(exported, example, dynamic)
    return exported


def _symbolic(example: ProgramInputs) -> tuple[list[Tensor], list[list[int]]]:
    """Tensors without data and with symbolic sizes, and the axes of these sizes."""
    from torch._dynamo.source import ConstantSource
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

    environment = ShapeEnv(duck_shape=False)
    mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=environment)
    known: dict[str, Any] = {}

    def size(name: str | int, value: int) -> Any:
        if isinstance(name, int):
            return name
        if name not in known:
            source = ConstantSource(f"size_{len(known)}")
            symbol = environment.create_symbol(
                value, source, DimDynamic.DYNAMIC, do_not_specialize_zero_one=True
            )
            known[name] = environment.create_symintnode(symbol, hint=value, source=source)
        return known[name]

    tensors, axes = [], []
    for tensor, names in zip(example.named().values(), example.sizes().values(), strict=True):
        shape = [size(name, n) for name, n in zip(names, tensor.shape, strict=True)]
        with mode:
            tensors.append(torch.empty(shape, dtype=tensor.dtype, device=tensor.device))
        axes.append([axis for axis, name in enumerate(names) if isinstance(name, str)])
    return tensors, axes


def _refuse_fixed_sizes(
    exported: Any, example: ProgramInputs, dynamic: Sequence[Sequence[int]]
) -> None:
    """Raise an error if the equations are only those of the sizes of the example."""
    places = [node for node in exported.graph.nodes if node.op == "placeholder"]
    inputs = [place for place in places if place.name in exported.graph_signature.user_inputs]
    for place, name, axes in zip(inputs, example.named(), dynamic, strict=True):
        for axis in axes:
            if _is_fixed(place.meta["val"].shape[axis]):
                raise RuntimeError(f"the compiled equations depend on the size {axis} of {name}")


def _is_fixed(size: int | torch.SymInt) -> bool:
    return isinstance(size, int) or size.node.maybe_as_int() is not None


@contextmanager
def _general_sizes() -> Iterator[None]:
    """Equations for sizes of 0 and 1 are those for all sizes; no notes of the compiler."""
    from torch.fx.experimental import _config as config

    patch: Any = config.patch  # type: ignore[attr-defined]

    logger = logging.getLogger("torch._inductor")
    level = logger.level
    logger.setLevel(logging.ERROR)
    settings = {"backed_size_oblivious": True, "use_duck_shape": False}
    try:
        with patch(settings), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

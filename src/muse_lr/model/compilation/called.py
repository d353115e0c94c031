"""Heads that a compiled program calls.

Lattice sums, meshes and sums over all pairs have sizes and branches that depend on the structure,
and take a few percent of the time of a step. A program does not contain them: it calls the head,
with the equations, checks and caches that it has without compilation, and reads its energies and
their gradient.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, library

from muse_lr.density import ChargeDensity
from muse_lr.heads.base import Head, HeadInputs
from muse_lr.structures.graph import NodeFeatures


class _Call(threading.local):
    """Heads and inputs of the evaluation that is going on in this thread."""

    heads: tuple[Head, ...] = ()
    inputs: HeadInputs | None = None
    virial: bool = True
    #: Included and excluded keys of torch's dispatcher.
    keys: tuple[Any, ...] = ()


_CALL = _Call()


@contextmanager
def calling(heads: tuple[Head, ...], inputs: HeadInputs, virial: bool) -> Iterator[None]:
    """Context of a program that calls these heads.

    Parameters
    ----------
    heads : tuple of Head
        In the order of the model.
    inputs : HeadInputs
        Inputs without gradients. Positions, cells, moments and features come from the program.
    virial : bool
        Whether the gradient with respect to the cells is read. It is zero otherwise.
    """
    before = vars(_CALL).copy()
    _CALL.heads, _CALL.inputs, _CALL.virial = heads, inputs, virial
    included = torch._C._dispatch_tls_local_include_set()
    _CALL.keys = included, torch._C._dispatch_tls_local_exclude_set()
    try:
        yield
    finally:
        vars(_CALL).clear()
        vars(_CALL).update(before)


@library.custom_op("muse_lr::head", mutates_args=())
def _head(
    number: int, positions: Tensor, cell: Tensor, moments: Tensor, scalars: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Energies of a head, and the gradient of their sum with respect to the four tensors."""
    # An operator runs without autograd. The state of the caller of the program has it.
    with torch._C._ForceDispatchKeyGuard(*_CALL.keys), torch.enable_grad():
        return _evaluate(number, positions, cell, moments, scalars)


def _evaluate(number: int, *tensors: Tensor) -> Any:
    inputs, head = _CALL.inputs, _CALL.heads[number]
    assert inputs is not None
    positions, cell, moments, scalars = (tensor.detach().clone() for tensor in tensors)
    leaves = [positions, moments, scalars] + [cell] * _CALL.virial
    for leaf in leaves:
        leaf.requires_grad_(True)
    density = None
    if head.reads_density and inputs.density is not None:
        density = replace(inputs.density, moments=moments)
    # Edges are those of the whole geometry, made anew from the positions.
    geometry = replace(inputs.geometry, positions=positions, cell=cell)
    energy = head(
        replace(inputs, geometry=geometry, density=density, features=NodeFeatures(scalars))
    )
    gradients = [torch.zeros_like(leaf) for leaf in leaves]
    if energy.requires_grad:
        found = torch.autograd.grad(energy.sum(), leaves, allow_unused=True, materialize_grads=True)
        gradients = list(found)
    by_positions, by_moments, by_scalars, *by_cell = gradients
    by_cell = by_cell or [torch.zeros_like(cell)]
    return energy.detach(), by_positions, *by_cell, by_moments, by_scalars


@_head.register_fake
def _(
    number: int, positions: Tensor, cell: Tensor, moments: Tensor, scalars: Tensor
) -> tuple[Tensor, ...]:
    energy = cell.new_empty((cell.shape[0],))
    return energy, *(torch.empty_like(each) for each in (positions, cell, moments, scalars))


class _Called(torch.autograd.Function):
    """Energies of a head, whose gradient comes with them."""

    @staticmethod
    def forward(ctx: Any, number: int, graph_index: Tensor, *tensors: Tensor) -> Tensor:
        energy, *gradient = torch.ops.muse_lr.head(number, *tensors)
        ctx.save_for_backward(graph_index, *gradient)
        return energy

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        graph_index, positions, cell, moments, scalars = ctx.saved_tensors
        own = weight.index_select(0, graph_index)[:, None]
        scaled = [own.to(each.dtype) * each for each in (positions, moments, scalars)]
        by_cell = weight[:, None, None] * cell
        return None, None, scaled[0], by_cell, scaled[1], scaled[2]


def call_head(number: int, inputs: HeadInputs) -> Tensor:
    """(n_graphs,) energies of a head that is called, with a first derivative."""
    geometry, features = inputs.geometry, inputs.features.scalars
    nothing = features.new_zeros((features.shape[0], 0))
    head = _CALL.heads[number]
    density: ChargeDensity | None = inputs.density
    moments = density.moments if head.reads_density and density is not None else nothing
    scalars = features if head.reads_features else nothing
    energy: Tensor = _Called.apply(
        number, geometry.graph_index, geometry.positions, geometry.cell, moments, scalars
    )
    return energy

"""Helper functions for autograd functions with analytical first and second derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def hessian_product(
    energy: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Product of the second derivatives with weights.

    If gradients are enabled, the result is differentiable.

    Parameters
    ----------
    energy : callable
        Function of the inputs that returns a tensor of energies, whose sum is differentiated.
    inputs : sequence of Tensor
    weights : sequence of Tensor or None
        Weights of the gradient with respect to each input; None if the weight is zero.
    wanted : sequence of bool
        Whether the product is needed for each input. The result is None for the others.
    """
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases separate the inputs from their own graph, so that they are differentiated once.
        aliases = [value.view_as(value) if keep else value.detach() for value in inputs]
        for alias, each, weight in zip(aliases, wanted, weights, strict=True):
            if (each or weight is not None) and not alias.requires_grad:
                alias.requires_grad_(True)
        read = [i for i, weight in enumerate(weights) if weight is not None]
        total = energy(*aliases).sum()
        gradient = torch.autograd.grad(total, [aliases[i] for i in read], create_graph=True)
    asked = [i for i, each in enumerate(wanted) if each]
    products = torch.autograd.grad(
        gradient,
        [aliases[i] for i in asked],
        [weights[i] for i in read],
        create_graph=keep,
        allow_unused=True,
    )
    found = dict(zip(asked, products, strict=True))
    return tuple(found.get(i) for i in range(len(aliases)))


def wanted_inputs(ctx: Any, count: int) -> list[bool]:
    """Find which of the first inputs need gradients in the current backward pass.

    For example, the gradient of a force loss does not need gradients of the positions, although
    the positions require gradients. torch only skips whole nodes of the graph, so that a function
    with several inputs has to query this.
    """
    return [
        needed and _is_wanted(node)
        for needed, (node, _) in zip(
            ctx.needs_input_grad[:count], ctx.next_functions[:count], strict=True
        )
    ]


def _is_wanted(node: Any) -> bool:
    try:
        wanted: bool = torch._C._will_engine_execute_node(node)
    except RuntimeError:  # not available for leaf tensors
        return True
    return wanted

"""What the sums with written-out derivatives share."""

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
    """Weights times the second derivatives, by the inputs that are wanted.

    With gradients enabled the result can be differentiated on.

    Parameters
    ----------
    energy : callable
        Of the inputs; its elements are summed.
    inputs : sequence of Tensor
    weights : sequence of Tensor or None
        Of the gradient by each input; None for those that nothing depends on.
    wanted : sequence of bool
        By which inputs; None is returned for the others.
    """
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases: what an input itself depends on must not be differentiated twice.
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
    """By which of the first inputs the backward pass that runs wants derivatives.

    A force loss wants none by the positions, although these require gradients. torch leaves out
    whole nodes that are not wanted; a function with several inputs has to ask.
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
    except RuntimeError:  # torch cannot tell it of leaves
        return True
    return wanted

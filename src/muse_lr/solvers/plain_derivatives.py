"""Second derivatives of a plain formula, for sums whose own are written out no further."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
        for alias, each in zip(aliases, wanted, strict=True):
            if each and not alias.requires_grad:
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

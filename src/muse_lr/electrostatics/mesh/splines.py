r"""Assignment of charges to a mesh with B-splines, with an analytical gradient.

A charge at u in units of the mesh spacing contributes :math:`q \prod_a M_p(u_a - m_a)` to the mesh
point m. The gradient with respect to charges and positions is interpolated from the mesh with the
same weights and with their derivatives
:math:`M_p'(x) = M_{p-1}(x) - M_{p-1}(x - 1)` (U. Essmann et al., J. Chem. Phys. 103, 8577 (1995)).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor


def spread(
    charges: Tensor,
    scaled: Tensor,
    row: Tensor,
    n_graphs: int,
    size: tuple[int, int, int],
    order: int,
) -> Tensor:
    """Assign charges to mesh points. Derivatives exist up to an order below that of the splines.

    Parameters
    ----------
    charges : Tensor
        (n,) in e.
    scaled : Tensor
        (n, 3) coordinates in units of the mesh spacing.
    row : Tensor
        (n,) index of the mesh of each charge.
    n_graphs : int
        Number of meshes.
    size : tuple of int
        Mesh points along each cell vector.
    order : int
        Order p of the splines, at least 3.

    Returns
    -------
    Tensor
        (n_graphs, n1, n2, n3) charges in e.
    """
    mesh: Tensor = _Spread.apply(charges, scaled, row, n_graphs, size, order)
    return mesh


class _Spread(torch.autograd.Function):
    """Assignment with an analytical gradient. Higher derivatives use plain torch."""

    @staticmethod
    def forward(
        ctx: Any,
        charges: Tensor,
        scaled: Tensor,
        row: Tensor,
        n_graphs: int,
        size: tuple[int, int, int],
        order: int,
    ) -> Tensor:
        columns = scaled.T.contiguous()
        below = columns.floor()
        weights, slopes = spline_weights(columns - below, order)
        planes, lines = _points(below, row, size, order)
        ctx.save_for_backward(charges, scaled, row)
        ctx.kept = (weights, slopes, planes, lines)
        ctx.options = (n_graphs, size, order)
        return _put(charges, weights, planes, lines, n_graphs, size)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        charges, scaled, row = ctx.saved_tensors
        if torch.is_grad_enabled():
            gradient = _differentiable_gradient(charges, scaled, row, ctx.options, weight)
        else:
            potential, slope = _gather(weight, *ctx.kept)
            gradient = potential, charges[:, None] * slope
        return (*gradient, None, None, None, None)


# The charges are always the last dimension, because p spline points are too few for a fast inner
# loop. The p^3 points of a charge are processed in p layers to limit the memory.


def _points(
    below: Tensor, row: Tensor, size: tuple[int, int, int], order: int
) -> tuple[Tensor, Tensor]:
    """(p^2, n) start of each line of points in the flat mesh, and (p, n) positions on a line."""
    steps = torch.arange(1 - order, 1, device=row.device)[:, None]
    i, j, k = (
        torch.remainder(corner.long() + steps, limit)
        for corner, limit in zip(below, size, strict=True)
    )
    planes = ((row * size[0] + i) * size[1])[:, None] + j
    return (planes * size[2]).flatten(0, 1), k


def _put(
    charges: Tensor,
    weights: Tensor,
    planes: Tensor,
    lines: Tensor,
    n_graphs: int,
    size: tuple[int, int, int],
) -> Tensor:
    """(n_graphs, n1, n2, n3) charges on the mesh points."""
    a, b, c = weights
    shares = ((charges * a)[:, None] * b).flatten(0, 1)  # (p^2, n)
    mesh = charges.new_zeros(n_graphs * size[0] * size[1] * size[2])
    for place, share in zip(lines, c, strict=True):
        mesh = mesh.scatter_add_(0, (planes + place).flatten(), (shares * share).flatten())
    return mesh.unflatten(0, (n_graphs, *size))


def _gather(
    weight: Tensor, weights: Tensor, slopes: Tensor, planes: Tensor, lines: Tensor
) -> tuple[Tensor, Tensor]:
    """(n,) interpolated mesh values at the charges, and their (n, 3) gradients."""
    flat = weight.reshape(-1)
    a, b, c = weights
    slope_a, slope_b, slope_c = slopes
    values = torch.zeros_like(planes, dtype=weight.dtype)
    tilts = torch.zeros_like(values)
    for place, share, slope in zip(lines, c, slope_c, strict=True):
        local = flat.index_select(0, (planes + place).flatten()).view_as(values)
        values.addcmul_(local, share)
        tilts.addcmul_(local, slope)
    values, tilts = values.unflatten(0, a.shape[:1] * 2), tilts.unflatten(0, a.shape[:1] * 2)
    along = (values * b).sum(1)  # (p, n)
    by_a = (along * slope_a).sum(0)
    by_b = ((values * slope_b).sum(1) * a).sum(0)
    by_c = ((tilts * b).sum(1) * a).sum(0)
    return (along * a).sum(0), torch.stack([by_a, by_b, by_c], dim=1)


def _differentiable_gradient(
    charges: Tensor,
    scaled: Tensor,
    row: Tensor,
    options: tuple[int, tuple[int, int, int], int],
    weight: Tensor,
) -> tuple[Tensor | None, ...]:
    """Differentiable gradient in plain torch."""
    n_graphs, size, order = options
    aliases = charges.view_as(charges), scaled.view_as(scaled)
    below = scaled.detach().T.floor()
    weights, _ = spline_weights(aliases[1].T - below, order)
    mesh = _put(aliases[0], weights, *_points(below, row, size, order), n_graphs, size)
    wanted = [alias for alias in aliases if alias.requires_grad]
    found = iter(torch.autograd.grad(mesh, wanted, weight, create_graph=True))
    return tuple(next(found) if alias.requires_grad else None for alias in aliases)


def spline_weights(offset: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Weights M_p(t + p - 1 - j), j = 0 .. p - 1, of p mesh points; the last one is below u.

    Parameters
    ----------
    offset : Tensor
        (3, n) t in [0, 1), distance from the mesh point below u in units of the spacing.
    order : int
        Order p, at least 3.

    Returns
    -------
    weights, slopes : Tensor
        (3, p, n) weights, which sum to 1, and their derivatives with respect to t.
    """
    values = [1 - offset, offset]
    lower = values
    for n in range(3, order + 1):
        lower = values
        # M_n(x) = [x M_{n-1}(x) + (n - x) M_{n-1}(x - 1)] / (n - 1)
        middle = [
            ((offset + (n - 1 - j)) * lower[j - 1] + ((1 + j) - offset) * lower[j]) / (n - 1)
            for j in range(1, n - 1)
        ]
        first, last = (1 - offset) * lower[0] / (n - 1), offset * lower[-1] / (n - 1)
        values = [first, *middle, last]
    slopes = [-lower[0], *(a - b for a, b in pairwise(lower)), lower[-1]]
    return torch.stack(values, 1), torch.stack(slopes, 1)

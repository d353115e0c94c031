"""Scalars, vectors and symmetric traceless matrices on nodes, and their products.

Tensors are Cartesian: vectors (n, 3, C) and matrices (n, 3, 3, C). The matrix of a direction,
Y2(u) = sqrt(3/2) (u u - |u|^2 / 3), has the norm |u|^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn

from muse_lr.math.filtered_sums import AnySums
from muse_lr.math.harmonics import solid_harmonics
from muse_lr.math.pair_sums import PairSums

#: Softening of norms, whose curvature at zero is 1 / sqrt(NORM_EPSILON). Tensors vanish at sites of
#: high symmetry. With a smaller number, force constants would change within 0.01 A of such a site.
NORM_EPSILON = 1.0
#: Upper bound of the norm of a tensor in :func:`shortened`.
LONGEST = 2.0
R, S = sqrt(1 / 2), sqrt(1 / 6)
#: Matrices (xx, xy, .. zz) of the components m = -2..2 of l = 2, as orthonormal columns.
COMPONENTS = torch.tensor(
    [
        [0, 0, -S, 0, R],
        [R, 0, 0, 0, 0],
        [0, 0, 0, R, 0],
        [R, 0, 0, 0, 0],
        [0, 0, -S, 0, -R],
        [0, R, 0, 0, 0],
        [0, 0, 0, R, 0],
        [0, R, 0, 0, 0],
        [0, 0, 2 * S, 0, 0],
    ],
    dtype=torch.float64,
)
#: Largest exponent of Gaussians. exp(-50) and its derivatives are below the rounding of float64.
#: Numbers below 1e-38 are denormal in float32, which makes all arithmetic with them slow.
LARGEST_EXPONENT = 50.0
#: Upper bound of the root mean square of the features of a node.
LARGEST = 4.0
#: Factor of the energies of nodes and atoms and of the features that the atoms read. It makes the
#: start quiet. Small initial weights would do so too, but an optimizer such as Adam changes every
#: weight by about the learning rate in a step: relative to small weights these are large changes,
#: which disturb the start and the moving average of the weights.
OUTPUT_FACTOR = 0.2
#: Initial scale of the weights of the energies of nodes and of the features that the atoms read.
READOUT_INIT_SCALE = 0.2


@dataclass(frozen=True)
class TensorFeatures:
    """Features of n nodes.

    Attributes
    ----------
    scalars : Tensor
        (n, F).
    vectors : Tensor
        (n, 3, C).
    matrices : Tensor
        (n, 3, 3, C), symmetric and traceless.
    """

    scalars: Tensor
    vectors: Tensor
    matrices: Tensor


def bounded(features: TensorFeatures) -> TensorFeatures:
    r"""Scale all features of a node by :math:`1 / \sqrt{1 + \overline{x^2} / B^2}`, B = 4.

    The mean is over channels, summed over the orders. Small features are almost unchanged, and none
    exceeds B. All orders have the same factor, so that their ratios and the derivatives of tensors
    that vanish by symmetry are kept. The map is smooth and equivariant, and zero remains zero.
    """
    parts = (features.scalars, features.vectors, features.matrices)
    square = torch.stack(
        [part.flatten(1).square().sum(1) / max(part.shape[-1], 1) for part in parts]
    ).sum(0)
    factor = torch.rsqrt(1 + square / LARGEST**2)
    scalars, vectors, matrices = (
        part * factor.reshape(-1, *[1] * (part.dim() - 1)) for part in parts
    )
    return TensorFeatures(scalars, vectors, matrices)


def bounded_scalars(scalars: Tensor) -> Tensor:
    """Scale each row as :func:`bounded` does: (n, F) -> (n, F)."""
    return scalars * torch.rsqrt(1 + scalars.square().mean(1, keepdim=True) / LARGEST**2)


def shortened(tensors: Tensor) -> Tensor:
    """Scale the tensor of each channel to a norm below :data:`LONGEST`: (n, ..., C)."""
    factor = torch.rsqrt(1 + inner(tensors, tensors) / LONGEST**2)
    return tensors * factor.reshape(tensors.shape[0], *[1] * (tensors.dim() - 2), -1)


def matrix_of(vectors: Tensor) -> Tensor:
    """Y2 of vectors, (..., 3, C) -> (..., 3, 3, C)."""
    outer = vectors[..., :, None, :] * vectors[..., None, :, :]
    trace = vectors.square().sum(-2)
    identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return sqrt(1.5) * (outer - identity[:, :, None] * trace[..., None, None, :] / 3)


def matrices_from_standard(tensors: Tensor) -> Tensor:
    """Convert (n, 5, C) components m = -2..2 of l = 2 to matrices of the same norm."""
    return (COMPONENTS.to(tensors) @ tensors).unflatten(1, (3, 3))


def matrices_to_standard(matrices: Tensor) -> Tensor:
    """The inverse of :func:`matrices_from_standard`."""
    return COMPONENTS.T.to(matrices) @ matrices.flatten(1, 2)


def inner(first: Tensor, second: Tensor) -> Tensor:
    """Full contraction over the components: (n, ..., C) -> (n, C)."""
    return (first * second).flatten(1, -2).sum(1)


def act(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Matrix times vector for each channel: (n, 3, C)."""
    return (matrices * vectors[:, None]).sum(2)


def soft_norm(tensors: Tensor) -> Tensor:
    """sqrt(|t|^2 + eps) - sqrt(eps), (n, ..., C) -> (n, C)."""
    return (inner(tensors, tensors) + NORM_EPSILON).sqrt() - sqrt(NORM_EPSILON)


class RadialGaussians(nn.Module):
    """A constant and Gaussians of the distance, with evenly spaced centers in [0, cutoff]."""

    #: Approximate sum of their squares at any distance.
    power = 2.0

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        self.count = count
        self.spacing = cutoff / max(count - 1, 1)
        self.size = count + 1

    def forward(self, lengths: Tensor) -> Tensor:
        """(p,) -> (p, count + 1)."""
        centers = torch.arange(self.count, device=lengths.device, dtype=lengths.dtype)
        offset = lengths[:, None] / self.spacing - centers
        gaussians = torch.exp(-offset.square().clamp(max=LARGEST_EXPONENT))
        return torch.cat([torch.ones_like(lengths[:, None]), gaussians], dim=1)


def dense(
    inputs: int, outputs: int, hidden: int, scale: float = 1.0, bias: bool = True
) -> nn.Sequential:
    """A network with one hidden layer, whose initial output is multiplied by ``scale``."""
    last = nn.Linear(hidden, outputs, bias=bias)
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(scale)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), last)


def unit_linear(inputs: int, outputs: int, power: float | None = None) -> nn.Linear:
    """A linear map without bias, initialized so that outputs have the variance of the inputs.

    Information from distant atoms passes through many maps. The default initialization of torch
    reduces the variance in each of them, so that this information would be learned late.

    Parameters
    ----------
    inputs, outputs : int
    power : float, optional
        Sum of squares of the inputs; default: their number.
    """
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=1 / sqrt(inputs if power is None else power))
    return layer


def gather(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum rows of ``values`` into ``size`` rows."""
    return values.new_zeros((size, *values.shape[1:])).index_add(0, index, values)


def gather_filtered(
    sums: AnySums, weights: Tensor, values: Sequence[Tensor], filters: Sequence[Tensor]
) -> list[Tensor]:
    r"""Sums at the targets, with a linear combination of the weights for each channel.

    .. math:: y_{kac} = \sum_{e \to k} \sum_r w_{er} f_{rc} x_{s(e)ac}

    Parameters
    ----------
    sums : AnySums
        Sums over the pairs.
    weights : Tensor
        Padded weights of the pairs (p, r).
    values, filters : sequence of Tensor
        (n_sources, ..., C) and (r, C) of each part.
    """
    flat, factors, shapes = _flattened(values, filters)
    return _parts(sums(weights, flat, factors)[:, 0], shapes)


def spread_filtered(
    pairs: PairSums,
    weights: Tensor,
    values: Sequence[Tensor],
    filters: Sequence[Tensor],
    scales: tuple[Tensor, Tensor],
) -> list[Tensor]:
    """The same from the targets to the sources: values are (n_targets, ..., C).

    The weights (n_blocks, width, r) are padded. The ``scales`` (n_targets,) and (n_sources,)
    multiply the values and the sums.
    """
    flat, factors, shapes = _flattened(values, filters)
    outer = (flat * scales[0][:, None])[:, None] * factors
    return _parts(pairs.spread(weights, outer) * scales[1][:, None], shapes)


def _flattened(
    values: Sequence[Tensor], filters: Sequence[Tensor]
) -> tuple[Tensor, Tensor, list[torch.Size]]:
    """All components side by side, (n, c), their filters, (r, c), and the shapes of the parts."""
    shapes = [part.shape[1:] for part in values]
    repeated = [
        part.repeat(1, shape.numel() // max(shape[-1], 1))
        for part, shape in zip(filters, shapes, strict=True)
    ]
    flat = torch.cat([part.flatten(1) for part in values], dim=1)
    return flat, torch.cat(repeated, dim=1), shapes


def _parts(flat: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    parts = flat.split([shape.numel() for shape in shapes], dim=1)
    return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]


def gather_directed(
    pairs: PairSums,
    weights: Tensor,
    values: Sequence[Tensor],
    filters: Sequence[Tensor],
    directions: Tensor,
) -> list[Tensor]:
    r"""Sums of scalars times harmonics of the directions of the pairs, for l = 1 and 2.

    .. math:: y_{kac} = \sum_{e \to k} \sum_r w_{er} f_{rc} x_{s(e)c} Y_a(\hat u_e)

    Parameters
    ----------
    pairs : PairSums
    weights : Tensor
        (n_blocks, width, r) padded weights.
    values, filters : sequence of Tensor
        (n_sources, C) and (r, C) for each l.
    directions : Tensor
        (p, 3) unit vectors.

    Returns
    -------
    list of Tensor
        (n_targets, 3, C) vectors and (n_targets, 5, C) components m = -2..2.
    """
    # Other than in gather_filtered, the (p, r, 2l + 1) weights would be larger than (p, C).
    strengths = pairs.take(torch.cat(list(values), dim=1)) * (weights @ torch.cat(list(filters), 1))
    orders = strengths.split([part.shape[1] for part in values], dim=2)
    harmonics = [directions, solid_harmonics(2, directions)][: len(orders)]
    return [
        pairs.blocks.sum_outer(pairs.pad(directed), strength)
        for directed, strength in zip(harmonics, orders, strict=True)
    ]

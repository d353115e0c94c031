"""Scalars, vectors and symmetric traceless matrices on nodes, and their products.

Tensors are Cartesian here: vectors (n, 3, C), matrices (n, 3, 3, C). The matrix of a direction,
Y2(u) = sqrt(3/2) (u u - |u|^2 / 3), has the norm |u|^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn

#: Softens norms, whose curvature at zero would be infinite.
NORM_EPSILON = 1e-2
#: Rows of a padded table, at most, for each that is used.
PADDED = 3
R, S = sqrt(1 / 2), sqrt(1 / 6)
#: The matrices (xx, xy, .. zz) of the components m = -2..2 of l = 2: orthonormal columns.
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
#: Root mean square that the features of a node do not exceed.
LARGEST = 8.0
#: What is read out of the hierarchy, energies and updates of the atoms' features, starts this much
#: smaller than what it carries among the nodes: training began with the noise of random weights.
READOUT_INIT_SCALE = 0.1


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
    r"""All features of a node scaled by :math:`1 / \sqrt{1 + \overline{x^2} / B^2}`, B = 8.

    The mean is over channels, summed over the orders. Small features stay as they are, none grows
    beyond B: sums over a dense lattice, all of whose atoms are nodes, would otherwise be products
    of hundreds. One factor for all orders keeps their ratios, and with them the slopes of tensors
    that vanish by symmetry. Zero stays zero; smooth and equivariant.
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


def matrix_of(vectors: Tensor) -> Tensor:
    """Y2 of vectors, (..., 3, C) -> (..., 3, 3, C)."""
    outer = vectors[..., :, None, :] * vectors[..., None, :, :]
    trace = vectors.square().sum(-2)
    identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return sqrt(1.5) * (outer - identity[:, :, None] * trace[..., None, None, :] / 3)


def matrices_from_standard(tensors: Tensor) -> Tensor:
    """(n, 5, C) components of l = 2, m = -2..2, to matrices of the same norm."""
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
    """A constant and Gaussians of the distance, evenly over [0, cutoff]."""

    #: Sum of their squares, roughly, at any distance.
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
        return torch.cat([torch.ones_like(lengths[:, None]), torch.exp(-offset.square())], dim=1)


def dense(inputs: int, outputs: int, hidden: int, scale: float = 1.0) -> nn.Sequential:
    """A network of one hidden layer; its outputs start with ``scale`` times the usual size."""
    last = nn.Linear(hidden, outputs)
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(scale)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), last)


def unit_linear(inputs: int, outputs: int, power: float | None = None) -> nn.Linear:
    """A linear map without bias whose outputs start with the size of single inputs.

    What a node says of far atoms is a product of many maps: if each began by shrinking it, as
    torch's initial weights do, it would stay hidden until late in training.

    Parameters
    ----------
    inputs, outputs : int
    power : float, optional
        Sum of squares of the inputs; default their number.
    """
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=1 / sqrt(inputs if power is None else power))
    return layer


def message(along: Tensor, harmonics: Tensor, carried: Tensor, tensors: Tensor) -> Tensor:
    """The tensors of an edge: ``along`` its harmonics, and what it carries of the sender's.

    Parameters
    ----------
    along, carried : Tensor
        (n_edges, C), gates.
    harmonics : Tensor
        (n_edges, 2l + 1) of the direction.
    tensors : Tensor
        (n_edges, 2l + 1, C) of the sender.
    """
    return along[:, None] * harmonics[:, :, None] + carried[:, None] * tensors


def gather(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum rows of ``values`` into ``size`` rows."""
    return values.new_zeros((size, *values.shape[1:])).index_add(0, index, values)


def sum_outer(first: Tensor, second: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum outer products of rows into ``size`` rows: (size, a, b) from (n, a) and (n, b).

    Where the rows come in order and no row has many more than the others, as edges by their
    receiver do, this is one matrix product for each row: the (n, a, b) products are never written.
    """
    slots = None if index.is_cuda else _slots(index, size)
    if slots is None:
        return gather(first[:, :, None] * second[:, None], index, size)
    place, widest = slots
    padded = (
        values.new_zeros((size * widest, values.shape[1])).index_copy(0, place, values)
        for values in (first, second)
    )
    a, b = (values.unflatten(0, (size, widest)) for values in padded)
    return a.mT @ b


def _slots(index: Tensor, size: int) -> tuple[Tensor, int] | None:
    """A place for each row among ``widest`` of its sum, or None where that would be a waste."""
    if len(index) == 0 or bool((index[1:] < index[:-1]).any()):
        return None
    counts = torch.bincount(index, minlength=size)
    widest = int(counts.max())
    if widest * size > PADDED * len(index):
        return None
    starts = torch.cumsum(counts, 0) - counts
    offset = torch.arange(len(index), device=index.device) - starts.index_select(0, index)
    return index * widest + offset, widest

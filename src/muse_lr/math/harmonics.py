r"""Real solid harmonics and their conversion to the conventions of e3nn.

This package orders the components as m = -l..l, uses z as the polar axis, no Condon-Shortley phase
and Racah normalization, so that :math:`\sum_m R_{lm}(\mathbf r)^2 = r^{2l}`. The components of
l = 1 are (y, z, x).

e3nn uses y as the polar axis. Its component m at (x, y, z) equals the component m of this package
at (z, x, y), so its l = 1 is (x, y, z). The normalizations of e3nn differ by one factor for each l.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from math import sqrt

import torch
from torch import Tensor

#: Highest order that is implemented.
MAX_ORDER = 3


def solid_harmonics(order: int, vectors: Tensor) -> Tensor:
    """Real solid harmonics of one order in Racah normalization.

    Parameters
    ----------
    order : int
        l, from 0 to 3.
    vectors : Tensor
        (..., 3).

    Returns
    -------
    Tensor
        (..., 2l + 1) with m = -l..l. For example, l = 2, m = 0 is (3 z^2 - r^2) / 2.
    """
    x, y, z = vectors.unbind(-1)
    if order == 0:
        values = [torch.ones_like(x)]
    elif order == 1:
        values = [y, z, x]
    elif order == 2:
        s = sqrt(3)
        values = [
            s * x * y,
            s * y * z,
            z * z - (x * x + y * y) / 2,
            s * x * z,
            s * (x * x - y * y) / 2,
        ]
    elif order == 3:
        a, b, c = sqrt(5 / 8), sqrt(15), sqrt(3 / 8)
        xx, yy, zz = x * x, y * y, z * z
        values = [
            a * y * (3 * xx - yy),
            b * x * y * z,
            c * y * (4 * zz - xx - yy),
            z * (2 * zz - 3 * xx - 3 * yy) / 2,
            c * x * (4 * zz - xx - yy),
            b * z * (xx - yy) / 2,
            a * x * (xx - 3 * yy),
        ]
    else:
        raise ValueError(f"solid harmonics of order {order}: known are 0 to {MAX_ORDER}")
    return torch.stack(values, dim=-1)


def rotation_matrix(order: int, rotation: Tensor) -> Tensor:
    """Matrix D with R_l(Q r) = D R_l(r) for a rotation or reflection Q.

    Parameters
    ----------
    order : int
        l, from 0 to 3.
    rotation : Tensor
        (3, 3), orthogonal.

    Returns
    -------
    Tensor
        (2l + 1, 2l + 1), orthogonal, in the dtype of ``rotation``.
    """
    # The points are in general position, so that the matrix of harmonics has full rank.
    points = torch.tensor(
        list(product((-1.0, 0.3, 1.7), (-0.8, 0.1, 1.1), (-1.3, 0.6, 0.9))),
        dtype=torch.float64,
        device=rotation.device,
    )
    before = solid_harmonics(order, points)  # (p, 2l + 1)
    after = solid_harmonics(order, points @ rotation.to(torch.float64).T)
    return torch.linalg.lstsq(before, after).solution.T.to(rotation.dtype)


@cache
def e3nn_to_standard(order: int) -> Tensor:
    """Orthogonal matrix M that converts components of e3nn to those of this package.

    For each l, standard = M e3nn. The inverse of M is its transpose.

    Parameters
    ----------
    order : int
        l, from 0 to 3.

    Returns
    -------
    Tensor
        (2l + 1, 2l + 1), float64.
    """
    # e3nn(r) = standard(P r) with P (x, y, z) = (z, x, y).
    permutation = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    return rotation_matrix(order, permutation).T.contiguous()


def tensors_from_e3nn(features: Tensor, order: int) -> Tensor:
    """Convert flat features of e3nn of one l to the layout of this package.

    Parameters
    ----------
    features : Tensor
        (n, channels * (2l + 1)) with the channel as the slow index, as in e3nn irreps.
    order : int
        l.

    Returns
    -------
    Tensor
        (n, 2l + 1, channels).
    """
    frame = e3nn_to_standard(order).to(features)
    return torch.einsum("mk,nck->nmc", frame, _by_channel(features, order))


def tensors_to_e3nn(tensors: Tensor, order: int) -> Tensor:
    """Inverse of :func:`tensors_from_e3nn`: (n, 2l + 1, channels) to (n, channels (2l + 1))."""
    frame = e3nn_to_standard(order).to(tensors)
    return torch.einsum("mk,nmc->nck", frame, tensors).flatten(1)


def _by_channel(features: Tensor, order: int) -> Tensor:
    size = 2 * order + 1
    return features.reshape(features.shape[0], features.shape[1] // size, size)

"""Frames and orders of real harmonics."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from muse_lr.backbones.mace.imports import import_mace
from muse_lr.math.harmonics import (
    e3nn_to_standard,
    rotation_matrix,
    solid_harmonics,
    tensors_from_e3nn,
    tensors_to_e3nn,
)

ORDERS = (0, 1, 2, 3)


def random_vectors(count: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64)


def random_rotation(seed: int = 2, determinant: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    return q * torch.linalg.det(q).sign() * determinant


@pytest.mark.parametrize("order", ORDERS)
def test_racah_normalization(order: int) -> None:
    vectors = random_vectors()
    values = solid_harmonics(order, vectors)
    assert values.shape == (20, 2 * order + 1)
    torch.testing.assert_close(values.square().sum(-1), vectors.square().sum(-1) ** order)


@pytest.mark.parametrize("order", ORDERS)
def test_z_is_the_polar_axis(order: int) -> None:
    expected = torch.zeros(2 * order + 1)
    expected[order] = 1
    torch.testing.assert_close(solid_harmonics(order, torch.tensor([0.0, 0.0, 1.0])), expected)


@pytest.mark.parametrize("order", ORDERS)
def test_solid_harmonics_are_harmonic(order: int) -> None:
    point = random_vectors(1)[0]
    for component in range(2 * order + 1):
        hessian = torch.autograd.functional.hessian(
            lambda r, m=component: solid_harmonics(order, r)[m] + 0 * r.square().sum(), point
        )
        assert abs(float(hessian.trace())) < 1e-12


def test_known_components() -> None:
    x, y, z = vector = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    torch.testing.assert_close(solid_harmonics(1, vector), torch.stack([y, z, x]))
    second = solid_harmonics(2, vector)
    torch.testing.assert_close(second[2], (3 * z**2 - vector.square().sum()) / 2)
    torch.testing.assert_close(second[0], 3**0.5 * x * y)
    torch.testing.assert_close(second[4], 3**0.5 / 2 * (x**2 - y**2))


@pytest.mark.parametrize("order", [-1, 4])
def test_unknown_order_is_refused(order: int) -> None:
    with pytest.raises(ValueError, match="known are 0 to 3"):
        solid_harmonics(order, random_vectors())


@pytest.mark.parametrize("determinant", [1.0, -1.0])
@pytest.mark.parametrize("order", ORDERS)
def test_rotation_matrix(order: int, determinant: float) -> None:
    rotation, vectors = random_rotation(determinant=determinant), random_vectors()
    matrix = rotation_matrix(order, rotation)
    rotated = solid_harmonics(order, vectors @ rotation.T)
    torch.testing.assert_close(rotated, solid_harmonics(order, vectors) @ matrix.T)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(2 * order + 1).to(matrix))


@pytest.mark.parametrize("order", ORDERS)
def test_e3nn_harmonics_become_standard_ones(order: int) -> None:
    if find_spec("e3nn") is None:
        pytest.skip("needs e3nn, of the extra mace")
    import_mace()
    from e3nn import o3

    vectors = random_vectors()
    theirs = o3.spherical_harmonics(order, vectors, normalize=False, normalization="norm")
    ours = theirs @ e3nn_to_standard(order).T
    torch.testing.assert_close(ours, solid_harmonics(order, vectors), atol=1e-12, rtol=0)


def test_first_order_is_a_reordering_of_xyz() -> None:
    expected = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(e3nn_to_standard(1), expected, atol=1e-14, rtol=0)


def test_dipole_and_quadrupole_turn_as_cartesian_tensors_do() -> None:
    """Rotate e3nn features by e3nn's matrices: converted, they are the rotated moments."""
    if find_spec("e3nn") is None:
        pytest.skip("needs e3nn, of the extra mace")
    import_mace()
    from e3nn import o3

    charges, points = random_vectors()[:, 0], random_vectors(20).flip(0)
    rotation = random_rotation()
    for order in (1, 2, 3):
        moment = solid_harmonics(order, points).T @ charges
        rotated = solid_harmonics(order, points @ rotation.T).T @ charges
        e3nn_moment = e3nn_to_standard(order).T @ moment
        turned = o3.Irrep(order, (-1) ** order).D_from_matrix(rotation) @ e3nn_moment
        torch.testing.assert_close(
            e3nn_to_standard(order) @ turned, rotated, atol=1e-10, rtol=1e-10
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("order", ORDERS)
def test_features_there_and_back(order: int, dtype: torch.dtype) -> None:
    flat = torch.arange(4.0 * 5 * (2 * order + 1), dtype=dtype).reshape(4, -1)
    tensors = tensors_from_e3nn(flat, order)
    assert tensors.shape == (4, 2 * order + 1, 5)
    assert tensors.dtype == dtype
    torch.testing.assert_close(tensors_to_e3nn(tensors, order), flat)
    if order == 1:  # channel by channel (x, y, z) -> (y, z, x) by channels
        torch.testing.assert_close(tensors[0, :, 0], flat[0, [1, 2, 0]])
    assert tensors_from_e3nn(flat[:0], order).shape == (0, 2 * order + 1, 5)

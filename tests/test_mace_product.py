"""Products of features: mace-torch's own contraction is the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from muse_lr.backbones.mace_import import float64_construction, import_mace
from muse_lr.backbones.mace_product import ProductBasis

N_ELEMENTS, CHANNELS = 3, 4


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def contraction(correlation: int, max_l: int, max_ell: int = 2) -> Any:
    """mace-torch's, with weights of its own."""
    with float64_construction():
        modules = import_mace()
        from e3nn import o3

        harmonics = o3.Irreps.spherical_harmonics(max_ell)
        out = o3.Irreps([(CHANNELS, (order, (-1) ** order)) for order in range(max_l + 1)])
        return modules.SymmetricContraction(
            irreps_in=(harmonics * CHANNELS).sort()[0].simplify(),
            irreps_out=out,
            correlation=correlation,
            num_elements=N_ELEMENTS,
        )


def compositions() -> dict[str, Tensor]:
    atoms = torch.nn.functional.one_hot(torch.tensor([2, 0, 2, 2, 0]), N_ELEMENTS).double()
    coarse = torch.rand(5, N_ELEMENTS)
    coarse[1, 0] = 0
    coarse[3] = 0
    return {"atoms": atoms, "coarse": coarse}


@pytest.mark.parametrize("kind", ["atoms", "coarse"])
@pytest.mark.parametrize("max_l", [0, 1, 2])
@pytest.mark.parametrize("correlation", [1, 2, 3, 4])
def test_equals_mace_torch(correlation: int, max_l: int, kind: str) -> None:
    theirs = contraction(correlation, max_l)
    ours = ProductBasis(theirs)
    composition = compositions()[kind]
    x = torch.randn(5, CHANNELS, 9, requires_grad=True)
    found, expected = ours(x, composition), theirs(x, composition)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    seed = torch.randn_like(expected)
    leaves = [x, *theirs.parameters()]
    for one, other in zip(
        torch.autograd.grad((found * seed).sum(), leaves, allow_unused=True),
        torch.autograd.grad((expected * seed).sum(), leaves, allow_unused=True),
        strict=True,
    ):
        if other is None or not other.any():  # a path that selection rules forbid
            assert one is None or not one.any()
        else:
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("correlation", [2, 3, 4])
def test_second_derivatives(correlation: int) -> None:
    ours = ProductBasis(contraction(correlation, 1, max_ell=1))
    composition = (0.1 + torch.rand(2, N_ELEMENTS)).requires_grad_()
    x = torch.randn(2, CHANNELS, 4, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x, composition))
    assert torch.autograd.gradgradcheck(ours, (x, composition))


def test_no_nodes() -> None:
    ours = ProductBasis(contraction(3, 1))
    found = ours(torch.zeros(0, CHANNELS, 9), torch.zeros(0, N_ELEMENTS))
    assert found.shape == (0, CHANNELS * 4)

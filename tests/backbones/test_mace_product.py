"""Products of features: mace-torch's own contraction is the oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from muse_lr.backbones.mace.imports import float64_construction, import_mace
from muse_lr.backbones.mace.product import ProductBasis

N_ELEMENTS, CHANNELS = 3, 4
pytestmark = pytest.mark.usefixtures("float64")


def contraction(correlation: int, max_l: int, max_ell: int = 2) -> Any:
    """mace-torch's, with weights of its own; what is drawn after it is the same in each run."""
    torch.manual_seed(0)
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
    """Values, first derivatives, and of these again those by the weights, as in a force loss."""
    theirs = contraction(correlation, max_l)
    composition = compositions()[kind]
    x = torch.randn(5, CHANNELS, 9, requires_grad=True)
    seed, other_seed = torch.randn(5, CHANNELS * (max_l + 1) ** 2), torch.randn_like(x)
    weights = list(theirs.parameters())
    found: list[list[Tensor]] = []
    for product in (ProductBasis(theirs), theirs):
        # What mixes has all its derivatives; an atom has those of its own element.
        y = composition.clone().requires_grad_(kind == "coarse")
        value = product(x, y)
        leaves = [x, *weights, *([y] if kind == "coarse" else [])]
        first = torch.autograd.grad((value * seed).sum(), leaves, create_graph=True)
        second = torch.autograd.grad((first[0] * other_seed).sum(), weights, allow_unused=True)
        found.append([value, *first, *(s for s in second if s is not None and s.any())])
    assert len(found[0]) == len(found[1])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_an_element_that_comes_and_goes() -> None:
    """Where the only node that has it loses it, twice smoothly, no derivative is missing."""
    theirs = contraction(3, 1)
    ours = ProductBasis(theirs)
    x = torch.randn(2, CHANNELS, 9)
    for t in (-0.2, 0.0, 1e-4, 0.3):
        found = []
        for product in (ours, theirs):
            place = torch.tensor(t, requires_grad=True)
            share = torch.relu(place) ** 3
            mixed = torch.stack([1 - share, torch.zeros(()), share])
            y = torch.stack([mixed, torch.tensor([1.0, 0.0, 0.0])])
            value = product(x, y).square().sum()
            (slope,) = torch.autograd.grad(value, place, create_graph=True)
            (curvature,) = torch.autograd.grad(slope, place)
            found.append(torch.stack([value, slope, curvature]))
        torch.testing.assert_close(found[0], found[1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("correlation", [2, 3, 4])
def test_second_derivatives(correlation: int) -> None:
    ours = ProductBasis(contraction(correlation, 1, max_ell=1))
    composition = (0.1 + torch.rand(2, N_ELEMENTS)).requires_grad_()
    x = torch.randn(2, CHANNELS, 4, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x, composition))
    assert torch.autograd.gradgradcheck(ours, (x, composition))


@pytest.mark.parametrize("nodes", [0, 2])
def test_nothing_there(nodes: int) -> None:
    """No nodes, or nodes without any element."""
    ours = ProductBasis(contraction(3, 1))
    found = ours(torch.ones(nodes, CHANNELS, 9), torch.zeros(nodes, N_ELEMENTS))
    assert found.shape == (nodes, CHANNELS * 4)
    assert not found.any()

"""The checks that need a muse_lr model catch broken ones."""

from __future__ import annotations

import pytest
import torch

from helpers import painn_section, random_model
from muse_lr import testing
from muse_lr.heads.base import Head
from muse_lr.testing import CheckFailed, structures

MOLECULE = structures.molecule(["H", "O", "C", "H"], 3, minimum_distance=1.2)
CRYSTAL = structures.crystal(["Na", "Cl", "O"], 5, minimum_distance=1.6, looseness=0.4)


@pytest.fixture
def model():
    elements = ["H", "C", "O", "Na", "Cl"]
    section = painn_section(elements, charges={"kind": "latent"}, heads={"coulomb": {}})
    section["backbone"]["channels"] = 4
    return random_model(section, weights=0)


def set_head(model, head) -> None:
    """Make ``head`` the model's last one, in the place of an earlier broken one."""
    if "broken" in model.head_names:
        model.head_list[-1] = head
    else:
        model.head_names += ("broken",)
        model.head_list.append(head)


def test_a_parameter_that_nothing_reads_is_named(model):
    testing.check_parameters_receive_gradients(model, [MOLECULE])
    model.backbone.forgotten = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    with pytest.raises(CheckFailed, match=r"backbone\.forgotten"):
        testing.check_parameters_receive_gradients(model, [MOLECULE])


def test_a_setting_that_is_not_saved(model):
    assert testing.check_save_load(model, [MOLECULE, CRYSTAL]).passed
    model.heads["coulomb"].self_interaction = True
    with pytest.raises(CheckFailed, match="after saving and loading"):
        testing.check_save_load(model, [MOLECULE])


class FirstDerivativeOnly(torch.autograd.Function):
    """x^2, whose derivative is right but cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * 2 * x.detach()


class BrokenHead(Head):
    """E = sum over edges of f(parameter * length) with a function that is spoilt."""

    cutoff = 3.5

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.parameter = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, inputs):
        geometry = inputs.geometry
        energy = self.function(self.parameter * geometry.edge_lengths)
        graph = geometry.graph_index[geometry.edge_index[1]]
        return energy.new_zeros(geometry.num_graphs).index_add(0, graph, energy)


def test_derivatives_that_cannot_be_differentiated(model):
    crystals = [CRYSTAL]
    set_head(model, BrokenHead(torch.square))
    assert testing.check_training_gradient(model, crystals).passed
    assert testing.check_second_derivatives(model, MOLECULE).passed
    set_head(model, BrokenHead(FirstDerivativeOnly.apply))
    testing.check_forces(model, MOLECULE)
    with pytest.raises(CheckFailed, match="training_gradient"):
        testing.check_training_gradient(model, crystals)
    with pytest.raises(CheckFailed, match="second_derivatives"):
        testing.check_second_derivatives(model, MOLECULE)


def test_second_derivatives_that_are_not_finite(model):
    # |x|^1.5 at 0: the first derivative is 0, the second infinite.
    set_head(model, BrokenHead(lambda x: (x - x.detach()).abs().pow(1.5)))
    with pytest.raises(CheckFailed, match="not finite"):
        testing.check_training_gradient(model, [CRYSTAL])


def test_checking_does_not_change_the_model(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    testing.check_training_gradient(model, [CRYSTAL])
    testing.check_parameters_receive_gradients(model, [MOLECULE])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

"""Checks for training: gradients of all parameters, and saving and loading of models."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from ase import Atoms
from torch import Tensor, nn

from muse_lr.structures.batch import AtomsBatch
from muse_lr.testing.checks.comparison import compare
from muse_lr.testing.checks.second_derivatives import require_finite
from muse_lr.testing.measurement import Measurement, NotApplicable, judge
from muse_lr.testing.potentials import ModelPotential, Potential, Subject, as_potential

#: Gradients below this fraction of the largest one count as rounding errors.
ROUND_OFF = 1e-14


def randomize_weights(module: nn.Module, seed: int = 0, scale: float = 0.1) -> None:
    """Add normal noise of standard deviation ``scale`` to every parameter, in place.

    This activates parts that are initialized to zero, such as gates and biases.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(scale * noise.to(parameter))


def check_parameters_receive_gradients(
    subject: Subject,
    structures: Sequence[Atoms],
    *,
    labels: Sequence[str] = ("energy", "forces"),
    seed: int = 0,
    noise: float = 0.1,
) -> Measurement:
    r"""Check that every parameter receives a gradient, at randomized weights.

    .. math:: \max |\partial_k L| > 10^{-14} \max_l |\partial_l L|, \quad
              L = \sum_y \sum_n w_n y_n^2

    for each parameter tensor k and the labels y, with random weights w. A gradient at the level of
    rounding errors counts as missing, since its parameter cancels out of the results.

    Parameters
    ----------
    subject : EnergyModel
    structures : sequence of ase.Atoms
        Structures that together contain every element and boundary of the model.
    labels : sequence of str
        Labels in the loss: energy, forces, charges, dipole.
    seed : int
        Seed of the noise and of the loss.
    noise : float
        Standard deviation of the noise that is added to the weights. Deep models need a small
        value, since a few gradients dominate otherwise.

    Raises
    ------
    NotApplicable
        For calculators and models without parameters.
    CheckFailed
        If parameters receive no gradient; the message names them.
    """
    model = copy.deepcopy(as_potential(subject).model)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    if not names:
        raise NotApplicable("the model has no parameters")
    randomize_weights(model, seed, noise)
    batch = AtomsBatch.from_ase(list(structures), cutoff=model.cutoff)
    compute = [label for label in labels if label != "energy"]
    out = model(batch, compute=compute, create_graph=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(
        _squares([getattr(out, label) for label in labels], seed),
        parameters,
        allow_unused=True,
        materialize_grads=True,
    )
    require_finite("parameters_receive_gradients", gradients)
    sizes = [float(g.abs().max()) for g in gradients]
    silent = [
        name for name, size in zip(names, sizes, strict=True) if size <= ROUND_OFF * max(sizes)
    ]
    what = f"parameters without a gradient ({', '.join(silent) or 'none'})"
    return judge("parameters_receive_gradients", len(silent), 0, "", what)


def _squares(values: Sequence[Tensor], seed: int) -> Tensor:
    """Sum of all squared values with random weights, float64."""
    generator = torch.Generator().manual_seed(seed)
    terms = [
        (torch.rand(value.shape, generator=generator).to(value) * value**2).sum()
        for value in values
    ]
    return torch.stack([term.double() for term in terms]).sum()


def check_save_load(
    subject: Subject, structures: Sequence[Atoms], *, tolerance: float = 1e-12
) -> Measurement:
    """Check that a saved and loaded model gives the same results.

    Parameters
    ----------
    subject : EnergyModel
    structures : sequence of ase.Atoms
        Evaluated one by one, so that they may have different properties.
    tolerance : float
        Largest deviation, as a share of max(1, largest value).

    Raises
    ------
    NotApplicable
        For calculators.
    CheckFailed
    """
    from muse_lr.model.serialization import load_model, save_model

    potential = as_potential(subject)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.pt"
        save_model(potential.model, path)
        # The file was written here, so that its parts may be named as package.module:Class.
        loaded = ModelPotential(load_model(path, trust=True))
    return max(
        (_same(potential, loaded, atoms, tolerance) for atoms in structures),
        key=lambda measurement: measurement.value,
    )


def _same(first: Potential, second: Potential, atoms: Atoms, tolerance: float) -> Measurement:
    compute = first.offered(atoms)
    expected, actual = first.evaluate([atoms], compute), second.evaluate([atoms], compute)
    return compare("save_load", expected, actual, tolerance, "after saving and loading")

"""What training needs: gradients for every parameter, and files that keep a model."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from ase import Atoms
from torch import nn

from muse_lr.structures.batch import AtomsBatch
from muse_lr.testing.checks.comparison import compare
from muse_lr.testing.checks.second_derivatives import require_finite
from muse_lr.testing.measurement import Measurement, NotApplicable, judge
from muse_lr.testing.potentials import ModelPotential, Potential, Subject, as_potential

#: Gradients smaller than this share of the largest are round-off.
ROUND_OFF = 1e-14


def randomize_weights(module: nn.Module, seed: int = 0, scale: float = 0.1) -> None:
    """Add normal noise of standard deviation ``scale`` to every parameter, in place.

    Parts that are switched off at first (a zero gate, a zero bias) are switched on by it.
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
    r"""Every parameter receives a gradient, at randomized weights.

    .. math:: \max |\partial_k L| > 10^{-14} \max_l |\partial_l L|, \quad
              L = \sum_y \sum_n w_n y_n^2

    for each parameter tensor k and the labels y, with random weights w. A gradient that is only
    round-off is none: its parameter cancels out of the results.

    Parameters
    ----------
    subject : EnergyModel
    structures : sequence of ase.Atoms
        Together they should have every element and boundary of the model.
    labels : sequence of str
        What the loss is of: energy, forces, charges, dipole.
    seed : int
        For the weights that are added and the loss.
    noise : float
        Standard deviation of what is added to the weights; deep models want little, or a few
        gradients dwarf the others.

    Raises
    ------
    NotApplicable
        For calculators and models without parameters.
    CheckFailed
        With the names of the parameters that receive none.
    """
    model = copy.deepcopy(as_potential(subject).model)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    if not names:
        raise NotApplicable("the model has no parameters")
    randomize_weights(model, seed, noise)
    batch = AtomsBatch.from_ase(list(structures), cutoff=model.cutoff)
    compute = [label for label in labels if label != "energy"]
    out = model(batch, compute=compute, create_graph=True)
    generator = torch.Generator().manual_seed(seed)
    terms = [
        (torch.rand(value.shape, generator=generator).to(value) * value**2).sum()
        for value in (getattr(out, label) for label in labels)
    ]
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(
        torch.stack([term.double() for term in terms]).sum(),
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


def check_save_load(
    subject: Subject, structures: Sequence[Atoms], *, tolerance: float = 1e-12
) -> Measurement:
    """A model that was saved and loaded gives the same numbers.

    Parameters
    ----------
    subject : EnergyModel
    structures : sequence of ase.Atoms
        Evaluated one by one, so that they may differ in what they have.
    tolerance : float
        Largest deviation, as a share of max(1, largest value).

    Raises
    ------
    NotApplicable
        For calculators.
    CheckFailed
    """
    import muse_lr

    potential = as_potential(subject)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.pt"
        muse_lr.save_model(potential.model, path)
        loaded = ModelPotential(muse_lr.load_model(path))
    return max(
        (_same(potential, loaded, atoms, tolerance) for atoms in structures),
        key=lambda measurement: measurement.value,
    )


def _same(first: Potential, second: Potential, atoms: Atoms, tolerance: float) -> Measurement:
    compute = first.offered(atoms)
    expected, actual = first.evaluate([atoms], compute), second.evaluate([atoms], compute)
    return compare("save_load", expected, actual, tolerance, "after saving and loading")

"""Checks of second derivatives by geometry and parameters, for Hessians and force training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from muse_lr.structures.batch import AtomsBatch
from muse_lr.testing.differences import derivative
from muse_lr.testing.measurement import CheckFailed, Measurement, NotApplicable, judge
from muse_lr.testing.potentials import Subject, as_potential

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

Array = NDArray[np.float64]


def check_second_derivatives(
    subject: Subject,
    atoms: Atoms,
    *,
    tolerance: float = 1e-6,
    step: float = 1e-3,
    seed: int = 0,
) -> Measurement:
    r"""Check the derivatives of forces and stress by positions and cell.

    .. math:: L = \sum_i w_i \cdot F_i + W : \sigma, \quad
              \nabla_r L \cdot u + \nabla_C L : U = \frac{d}{dh} L(r + h u, C + h U)

    with random weights w, W and directions u, U. Automatic derivatives are compared with numerical
    ones. They involve the Hessian and the cell derivatives of forces and stress.

    Parameters
    ----------
    subject : EnergyModel
    atoms : ase.Atoms
        Stress and cell are included if three directions are periodic.
    tolerance : float
        Largest deviation as a share of max(1, |derivative|).
    step : float
        Initial step along the direction.
    seed : int
        Seed of weights and directions.

    Raises
    ------
    NotApplicable
        For calculators.
    CheckFailed
    """
    model = as_potential(subject).model
    rng = np.random.default_rng(seed)
    u = rng.uniform(-1, 1, size=(len(atoms), 3))
    cell_change = rng.uniform(-1, 1, size=(3, 3)) * bool(atoms.pbc.all())
    batch = AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    if atoms.pbc.all():
        # The batch can have shorter vectors of the same lattice.
        atoms = atoms.copy()
        atoms.set_cell(batch.cell[0].numpy(), scale_atoms=False)
    batch.positions.requires_grad_(True)
    batch.cell.requires_grad_(True)
    gradients = _loss_gradients(model, batch, [batch.positions, batch.cell], seed)
    require_finite("second_derivatives", gradients)
    by_positions, by_cell = (gradient.numpy() for gradient in gradients)
    analytic = float((by_positions * u).sum() + (by_cell[0] * cell_change).sum())

    def losses(points: Sequence[float]) -> Array:
        moved = []
        for h in points:
            other = atoms.copy()
            other.positions += h * u
            other.set_cell(atoms.cell.array + h * cell_change, scale_atoms=False)
            moved.append(AtomsBatch.from_ase([other], cutoff=model.cutoff))
        return np.array([float(_linear_loss(model, one, seed).detach()) for one in moved])

    return _judge("second_derivatives", losses, analytic, tolerance, step)


def check_training_gradient(
    subject: Subject,
    structures: Sequence[Atoms],
    *,
    tolerance: float = 1e-6,
    step: float = 1e-3,
    seed: int = 0,
) -> Measurement:
    r"""Check the parameter gradient of a loss on forces and stress.

    .. math:: L(\theta) = \sum_i w_i \cdot F_i + \sum_g W_g : \sigma_g, \quad
              \nabla_\theta L \cdot d = \frac{d}{dh} L(\theta + h d)

    with random weights w, W and a random direction d in parameter space. The gradient must be
    finite and correct. It is a second derivative of the energy, by geometry and parameters.

    Parameters
    ----------
    subject : EnergyModel
    structures : sequence of ase.Atoms
        Structures of one batch; the stress is included if all are periodic.
    tolerance : float
        Largest deviation as a share of max(1, |gradient . d|).
    step : float
        Initial step along d.
    seed : int
        Seed of the weights and the direction.

    Raises
    ------
    NotApplicable
        For calculators and models without parameters.
    CheckFailed
    """
    model = copy.deepcopy(as_potential(subject).model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise NotApplicable("the model has no parameters")
    batch = AtomsBatch.from_ase(list(structures), cutoff=model.cutoff)
    gradients = _loss_gradients(model, batch, parameters, seed)
    require_finite("training_gradient", gradients)
    generator = torch.Generator().manual_seed(seed)
    directions = [torch.randn(p.shape, generator=generator).to(p) for p in parameters]
    start = [p.detach().clone() for p in parameters]
    analytic = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))

    def losses(points: Sequence[float]) -> Array:
        values = []
        for h in points:
            _set(parameters, start, directions, h)
            values.append(float(_linear_loss(model, batch, seed).detach()))
        return np.array(values)

    return _judge("training_gradient", losses, analytic, tolerance, step)


def require_finite(name: str, tensors: Sequence[Tensor]) -> None:
    """Raise :class:`CheckFailed` if a gradient is not finite."""
    broken = sum(int((~torch.isfinite(tensor)).sum()) for tensor in tensors)
    if broken:
        raise CheckFailed(Measurement(name, broken, 0, "", "gradients that are not finite"))


def _loss_gradients(
    model: EnergyModel, batch: AtomsBatch, inputs: Sequence[Tensor], seed: int
) -> Sequence[Tensor]:
    """Gradients of :func:`_linear_loss`; zero where the loss does not depend on an input."""
    loss = _linear_loss(model, batch, seed)
    if not loss.requires_grad:  # isolated atoms, whose forces are zero
        return [torch.zeros_like(tensor) for tensor in inputs]
    return torch.autograd.grad(loss, list(inputs), allow_unused=True, materialize_grads=True)


def _linear_loss(model: EnergyModel, batch: AtomsBatch, seed: int) -> Tensor:
    """Sum w.F + sum W:sigma with random weights; values in eV/A and eV/A^3 are simply added."""
    compute = ("forces", "stress") if bool(batch.pbc.all()) else ("forces",)
    out = model(batch, compute=compute, create_graph=True)
    generator = torch.Generator().manual_seed(seed)
    terms = [
        (torch.randn(value.shape, generator=generator).to(value) * value).sum()
        for value in (getattr(out, name) for name in compute)
    ]
    return torch.stack(terms).sum()


def _set(
    parameters: Sequence[Tensor], start: Sequence[Tensor], directions: Sequence[Tensor], h: float
) -> None:
    with torch.no_grad():
        for parameter, value, direction in zip(parameters, start, directions, strict=True):
            parameter.copy_(value + h * direction)


def _judge(
    name: str,
    losses: Callable[[Sequence[float]], Array],
    analytic: float,
    tolerance: float,
    step: float,
) -> Measurement:
    """Compare a directional derivative with converged finite differences."""
    allowed = tolerance * max(1.0, abs(analytic))
    numeric, error = derivative(losses, allowed, step)
    what = "finite differences of a loss on forces and stress do not converge; their error"
    judge(name, error, allowed, "eV/A", what)
    what = "difference between automatic and finite differences of a loss on forces and stress"
    return judge(name, abs(float(numeric) - analytic), allowed, "eV/A", what)

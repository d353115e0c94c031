"""Residuals of the labels and the loss.

Residuals are per component: energies per atom (eV/atom), forces (eV/A), stress (eV/A^3), dipoles,
polarizations, quadrupoles and polarizabilities per atom (e A, e A^2, e A^2/V), charges and Born
charges (e), potentials (V), dielectric tensors (1). Missing labels are NaN and are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.model.output import ModelOutput
from muse_lr.structures.geometry import slab_normals
from muse_lr.structures.lattice import modulo_lattice
from muse_lr.train.config import TrainingConfig

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch

#: Labels of a whole structure whose residual is divided by the number of atoms.
PER_ATOM = ("energy", "dipole", "quadrupole", "polarization", "polarizability")


def computed(labels: Sequence[str]) -> tuple[str, ...]:
    """Properties that the model must compute for ``labels``: all but the energy."""
    return tuple(label for label in labels if label != "energy")


def residuals(output: ModelOutput, batch: AtomsBatch, label: str) -> Tensor:
    """Prediction minus reference of all labeled components, flattened, float64.

    The dipole of a charged structure depends on the origin. Dipoles are therefore compared about
    the center of the positions, those of slabs along the normal only. Polarizations are known up to
    e times a lattice vector, so that the smallest of the possible differences counts.
    """
    reference = getattr(batch, f"label_{label}")
    predicted = getattr(output, label)
    if label == "dipole":
        center = torch.zeros_like(reference).index_add(0, batch.batch, batch.positions)
        center = center / batch.nodes_per_graph[:, None]
        assert output.density is not None  # the model refuses dipoles without charges
        predicted = predicted - output.density.total_charge()[:, None] * center
        assert output.total_charge is not None
        reference = reference - output.total_charge[:, None] * center
    difference = predicted.double() - reference
    if label == "dipole":
        difference = _along_normal(difference, batch)
    if label == "polarization":
        difference = modulo_lattice(difference, batch.cell, batch.pbc)
    if label in PER_ATOM:
        atoms = batch.nodes_per_graph.view(-1, *(1,) * (difference.dim() - 1))
        difference = difference / atoms
    return difference[labeled(batch, label)]


def labeled(batch: AtomsBatch, label: str) -> Tensor:
    """Mask of the components of a label that are compared, in the shape of the label.

    A slab has one component of the dipole, which is the first here, and a crystal has none.
    """
    mask = torch.isfinite(getattr(batch, f"label_{label}"))
    if label == "dipole":
        component = torch.arange(3, device=mask.device)
        periodic = batch.pbc.sum(1)[:, None]
        along = mask.all(1, keepdim=True) & (component == 0)
        mask = torch.where(periodic == 2, along, mask & (periodic == 0))
    return mask


def _along_normal(vectors: Tensor, batch: AtomsBatch) -> Tensor:
    """(n_graphs, 3) vectors, in slabs with the component along the normal first."""
    along = (vectors * slab_normals(batch.cell, batch.pbc)).sum(1, keepdim=True)
    slab = (batch.pbc.sum(1) == 2)[:, None]
    return torch.where(slab, along.expand_as(vectors), vectors)


def penalty(difference: Tensor, config: TrainingConfig) -> Tensor:
    """Squared error, or twice the Huber loss, which is the squared error near zero."""
    if config.loss_function == "mse":
        return difference.square()
    delta = config.huber_delta
    return 2 * torch.nn.functional.huber_loss(
        difference, torch.zeros_like(difference), reduction="none", delta=delta
    )


def label_counts(batch: AtomsBatch, labels: Sequence[str]) -> Tensor:
    """Number of labeled components of each label, (n_labels,), float64."""
    counts = [labeled(batch, label).sum() for label in labels]
    return torch.stack(counts).double()


def weighted_loss(
    output: ModelOutput,
    batch: AtomsBatch,
    config: TrainingConfig,
    counts: Mapping[str, float],
) -> Tensor:
    """Sum over labels of weight x (sum of penalties) / count.

    ``counts`` are the labeled components of the whole step. In a parallel run, ``batch`` is the
    part of one rank.
    """
    total = output.energy.new_zeros(())
    for label, weight in config.loss.items():
        if counts[label] > 0:
            difference = residuals(output, batch, label)
            total = total + weight * penalty(difference, config).sum() / counts[label]
    return total

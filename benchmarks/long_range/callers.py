"""The ways of computing one thing: this package and its peers, each as its user would call it.

All work in float64 on the same neighbor list, and all answer two questions: energy, forces and
dE/dq; and the gradient of a force loss by the charges, through double backward.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.long_range.water import charges_of
from muse_lr import AtomsBatch
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import Derivative
from muse_lr.electrostatics.dispatch import Electrostatics
from muse_lr.structures.geometry import strained_geometry
from muse_lr.units import COULOMB_CONSTANT


class Structures:
    """Periodic structures with point charges and one neighbor list that all callers share.

    Parameters
    ----------
    atoms : list of ase.Atoms
    cutoff : float
        Of the neighbor list, A.
    device : str
    """

    def __init__(self, atoms: list[Atoms], cutoff: float, device: str = "cpu") -> None:
        self.atoms = atoms
        self.cutoff = cutoff
        self.device = device
        self.batch = AtomsBatch.from_ase(atoms, cutoff=cutoff).to(device)
        self.numpy_charges = np.concatenate([charges_of(each) for each in atoms])
        self.charges = torch.tensor(self.numpy_charges, device=device)

    def leaves(self) -> tuple[Tensor, Tensor]:
        """Fresh positions and charges that require gradients."""
        return (
            self.batch.positions.clone().requires_grad_(),
            self.charges.clone().requires_grad_(),
        )


class Caller(ABC):
    """One way of computing the energy of all structures.

    Parameters
    ----------
    structures : Structures
    """

    def __init__(self, structures: Structures) -> None:
        self.structures = structures

    @abstractmethod
    def energy(self, positions: Tensor, charges: Tensor, force_loss: bool) -> Tensor:
        """Sum of the energies in eV; ``force_loss`` says that it will be differentiated twice."""

    def step(self) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, forces and dE/dq."""
        positions, charges = self.structures.leaves()
        energy = self.energy(positions, charges, force_loss=False)
        slope, potential = torch.autograd.grad(energy, (positions, charges))
        return energy.detach(), -slope, potential

    def force_loss_step(self) -> Tensor:
        """The gradient by the charges of the sum of squared forces."""
        positions, charges = self.structures.leaves()
        energy = self.energy(positions, charges, force_loss=True)
        (slope,) = torch.autograd.grad(energy, positions, create_graph=True)
        (gradient,) = torch.autograd.grad(slope.square().sum(), charges)
        return gradient

    def forces(self) -> NDArray[np.float64]:
        """(n, 3) in eV/A."""
        return self.step()[1].cpu().numpy()


class Ours(Caller):
    """This package, by its dispatch or the solver named."""

    def __init__(self, structures: Structures, accuracy: float, solver: str = "auto") -> None:
        super().__init__(structures)
        self.electrostatics = Electrostatics([0.0], 0, accuracy, structures.cutoff, solver)

    def engine(self) -> str:
        """Name of the solver that sums the largest structure."""
        largest = int(self.structures.batch.nodes_per_graph.max())
        return self.electrostatics.choose("TTT", largest, frozenset({"forces"})).name

    def energy(self, positions: Tensor, charges: Tensor, force_loss: bool) -> Tensor:
        """See :meth:`Caller.energy`; the strained geometry is timed too."""
        batch = self.structures.batch
        geometry = strained_geometry(batch, positions, None)
        density = ChargeDensity(
            charges[:, None], torch.zeros_like(charges), batch.batch, batch.num_graphs
        )
        asked: frozenset[Derivative] = frozenset(
            {"forces", "force_loss"} if force_loss else {"forces"}
        )
        return self.electrostatics.energy(density, geometry, asked).sum()


class TorchPME(Caller):
    """torch-pme, one structure after the other, with a half neighbor list (its default).

    Parameters
    ----------
    structures : Structures
    kind : str
        ``P3MCalculator`` or ``EwaldCalculator``.
    smearing : float
        A.
    **options : Any
        ``mesh_spacing`` and ``interpolation_nodes``, or ``lr_wavelength``.
    """

    def __init__(self, structures: Structures, kind: str, smearing: float, **options: Any) -> None:
        super().__init__(structures)
        import torchpme

        potential = torchpme.CoulombPotential(smearing=smearing)
        self.calculator = getattr(torchpme, kind)(potential, **options)
        self.calculator.to(device=structures.device, dtype=torch.float64)
        self.parts = [self._part(graph) for graph in range(structures.batch.num_graphs)]

    @classmethod
    def tuned(cls, structures: Structures, kind: str, accuracy: float) -> tuple[TorchPME, str]:
        """As its documentation says: set up by its own tuning, here on the first structure.

        Returns
        -------
        caller : TorchPME
        text : str
            What the tuning chose.
        """
        from torchpme import tuning

        tune = {"P3MCalculator": tuning.tune_p3m, "EwaldCalculator": tuning.tune_ewald}[kind]
        atoms, cell, pairs, image = cls(
            structures, "EwaldCalculator", 1.0, lr_wavelength=1.0
        ).parts[0]
        positions, charges = structures.batch.positions[atoms], structures.charges[atoms]
        difference = positions[pairs[:, 1]] - positions[pairs[:, 0]] + image
        distances = torch.linalg.vector_norm(difference, dim=1)
        smearing, options, _ = tune(
            charges[:, None],
            cell,
            positions,
            structures.cutoff,
            pairs,
            distances,
            accuracy=accuracy,
        )
        chosen = ", ".join(f"{key} {value:.3g}" for key, value in options.items())
        text = f"{tune.__name__}(accuracy={accuracy:g}): smearing {smearing:.2f}, {chosen}"
        return cls(structures, kind, smearing, **options), text

    def _part(self, graph: int) -> tuple[slice, Tensor, Tensor, Tensor]:
        """Atoms, cell, pairs and their image vectors of one structure."""
        batch = self.structures.batch
        start, stop = int(batch.ptr[graph]), int(batch.ptr[graph + 1])
        sender, receiver = batch.edge_index
        own = (receiver >= start) & (receiver < stop)
        # Of an atom and its own image, the half whose shift is positive in the order of cells.
        order = batch.edge_shift @ torch.tensor([10000, 100, 1], device=batch.batch.device)
        own &= (receiver < sender) | ((receiver == sender) & (order > 0))
        pairs = torch.stack([receiver[own], sender[own]], dim=1) - start
        image = batch.edge_shift[own].double() @ batch.cell[graph]
        return slice(start, stop), batch.cell[graph], pairs, image

    def energy(self, positions: Tensor, charges: Tensor, force_loss: bool) -> Tensor:
        """See :meth:`Caller.energy`."""
        total = positions.new_zeros(())
        for atoms, cell, pairs, image in self.parts:
            own = positions[atoms]
            distance = torch.linalg.vector_norm(own[pairs[:, 1]] - own[pairs[:, 0]] + image, dim=1)
            column = charges[atoms, None]
            potential = self.calculator(
                charges=column,
                cell=cell,
                positions=own,
                neighbor_indices=pairs,
                neighbor_distances=distance,
            )
            total = total + (column * potential).sum()
        return COULOMB_CONSTANT * total


class Nvalchemi(Caller):
    """nvalchemi-toolkit-ops, all structures in one call.

    Parameters
    ----------
    structures : Structures
    smearing : float
        A; their alpha is 1 / (sqrt(2) smearing).
    mesh_dimensions : tuple of int, optional
        PME with this mesh, else Ewald.
    k_cutoff : float, optional
        Of the Ewald sum, 1/A.
    """

    def __init__(
        self,
        structures: Structures,
        smearing: float,
        mesh_dimensions: tuple[int, int, int] | None = None,
        k_cutoff: float | None = None,
    ) -> None:
        super().__init__(structures)
        from nvalchemiops.torch.interactions import electrostatics

        batch = structures.batch
        sender, receiver = batch.edge_index
        order = torch.argsort(receiver, stable=True)
        counts = torch.bincount(receiver, minlength=batch.num_nodes)
        pointer = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        self.options: dict[str, Any] = {
            "alpha": 1 / (math.sqrt(2) * smearing),
            "neighbor_list": torch.stack([receiver, sender])[:, order].int(),
            "neighbor_ptr": pointer.int(),
            "neighbor_shifts": batch.edge_shift[order].int(),
            "batch_idx": batch.batch.int(),
        }
        if mesh_dimensions is not None:
            self.function = electrostatics.particle_mesh_ewald
            self.options["mesh_dimensions"] = mesh_dimensions
        else:
            self.function = electrostatics.ewald_summation
            self.options["k_cutoff"] = k_cutoff

    def energy(self, positions: Tensor, charges: Tensor, force_loss: bool) -> Tensor:
        """See :meth:`Caller.energy`."""
        energy = self.function(positions, charges, self.structures.batch.cell, **self.options)
        return COULOMB_CONSTANT * energy.sum()

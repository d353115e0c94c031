"""Energies and forces of a batch of moving structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.simulate.state import State
from muse_lr.structures.batch import AtomsBatch, AtomsData
from muse_lr.structures.verlet_list import VerletList

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel
    from muse_lr.model.output import ModelOutput


class Potential:
    """A model on a batch of copies, with a neighbor list that is reused.

    Parameters
    ----------
    model : EnergyModel
        In evaluation mode, without parameters that require gradients.
    structures : sequence of AtomsData
        The copies, without edges.
    skin : float
        Skin of the neighbor list, A.
    reach : float
        Smallest cutoff of the neighbor list besides that of the model, A.

    Attributes
    ----------
    builds : int
        How often the neighbor list was built.
    broken : dict of int to str
        Rows of the state without an energy after the last :meth:`update` -> reason.
    """

    def __init__(
        self, model: EnergyModel, structures: Sequence[AtomsData], skin: float, reach: float = 0.0
    ) -> None:
        self.model = model
        self.structures = list(structures)
        self.neighbors = VerletList(max(model.cutoff, reach), skin)
        self.builds = 0
        self.broken: dict[int, str] = {}
        self.batch = AtomsBatch.from_structures(self.structures).to(model.device)

    @property
    def has_charges(self) -> bool:
        """Whether the model has charges, which every evaluation gives."""
        return self.model.charges is not None

    def select(self, keep: Tensor) -> Potential:
        """The potential of the copies in the mask ``keep``, (n_graphs,)."""
        chosen = [s for s, kept in zip(self.structures, keep.tolist(), strict=True) if kept]
        found = Potential(self.model, chosen, self.neighbors.skin, self.neighbors.cutoff)
        found.builds = self.builds
        return found

    def forget(self) -> None:
        """Forget everything that depends on former positions."""
        self.batch = AtomsBatch.from_structures(self.structures).to(self.model.device)
        self.neighbors.forget()

    def update(self, state: State, stress: bool = False) -> None:
        """Compute energies and forces, and the stress if asked, for the positions of a state.

        Copies that the model refuses, or whose energy or forces are not finite, are listed in
        :attr:`broken`. Their energy is NaN and their forces are zero.
        """
        compute = ("forces", *(["stress"] * stress), *(["charges"] * self.has_charges))
        self.broken = {}
        try:
            output = self._evaluate(state, compute)
        except InputError:
            self._update_one_by_one(state, stress)
            return
        assert output.forces is not None
        state.energy = output.energy.detach()
        state.parts = {name: values.detach() for name, values in output.energy_parts.items()}
        state.forces = output.forces.detach()
        state.charges = None if output.charges is None else output.charges.detach()
        state.stress = None if output.stress is None else output.stress.detach()
        if not bool(torch.isfinite(state.forces).all() & torch.isfinite(state.energy).all()):
            atoms = ~torch.isfinite(state.forces).all(1)
            wrong = ~torch.isfinite(state.energy) | (state.per_copy(atoms.double()) > 0)
            reason = "the energy or a force is not finite"
            self.broken = dict.fromkeys(wrong.nonzero()[:, 0].tolist(), reason)
            state.energy = state.energy.masked_fill(wrong, torch.nan)
            state.forces = state.forces.masked_fill(wrong[state.graph, None], 0.0)

    def _evaluate(self, state: State, compute: Sequence[str]) -> ModelOutput:
        self.batch.positions, self.batch.cell = state.positions, state.cell
        self.builds += self.neighbors.attach(self.batch)
        output: ModelOutput = self.model(self.batch, compute, create_graph=False)
        return output

    def _update_one_by_one(self, state: State, stress: bool) -> None:
        """Update each copy alone, because the model refuses one of them."""
        rows = torch.arange(len(state.copy), device=state.copy.device)
        found: list[State] = []
        for row in rows.tolist():
            alone = state.select(rows == row)
            potential = self.select(rows == row)
            try:
                potential._evaluate(alone, ())
            except InputError as error:
                self.broken[row] = str(error)
                alone.energy = torch.full_like(alone.energy, torch.nan)
                alone.forces = torch.zeros_like(alone.forces)
                alone.charges = torch.full_like(alone.forces[:, 0], torch.nan)
            else:
                potential.update(alone, stress)
                if potential.broken:
                    self.broken[row] = potential.broken[0]
            found.append(alone)
        state.energy = torch.cat([alone.energy for alone in found])
        state.forces = torch.cat([alone.forces for alone in found])
        for name in dict.fromkeys(name for alone in found for name in alone.parts):
            terms = [a.parts.get(name, torch.full_like(a.energy, torch.nan)) for a in found]
            state.parts[name] = torch.cat(terms)
        if self.has_charges:
            state.charges = torch.cat([a.charges for a in found if a.charges is not None])
        nothing = torch.full_like(state.cell[:1], torch.nan)
        stresses = [nothing if alone.stress is None else alone.stress for alone in found]
        state.stress = torch.cat(stresses) if stress else None

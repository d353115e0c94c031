"""The state of a batch of copies between two steps."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import torch
from ase import units
from torch import Tensor

#: Conversion of eV/A^3 to bar.
BAR = 1e5 * units.Pascal


@dataclass
class State:
    """Positions, velocities and energies of the copies that still run.

    Units are those of ASE: eV, A and atomic mass units, which imply a time of 10.18 fs.

    Attributes
    ----------
    copy : Tensor
        (n_graphs,) of int64, index of each copy.
    atom : Tensor
        (n_atoms,) of int64, index of each atom among those of all copies at the start.
    graph : Tensor
        (n_atoms,) of int64, row of each atom in ``copy``.
    target : Tensor
        (n_graphs,) target temperature times Boltzmann's constant, eV.
    degrees : Tensor
        (n_graphs,) degrees of freedom.
    masses : Tensor
        (n_atoms, 1).
    positions, velocities, forces : Tensor
        (n_atoms, 3), float64.
    cell : Tensor
        (n_graphs, 3, 3) in A.
    energy : Tensor
        (n_graphs,) potential energy, eV.
    parts : dict of str to Tensor
        Terms of the potential energy, (n_graphs,) each.
    stress : Tensor or None
        (n_graphs, 3, 3) in eV/A^3, if it was computed for these positions.
    bath : Tensor
        (n_graphs,) energy that thermostat and barostat have added so far, eV.
    middle : Tensor or None
        (n_graphs,) kinetic energy in the middle of the last step, eV.
    charges : Tensor or None
        (n_atoms,) charges in e, of a model that has them.
    """

    copy: Tensor
    atom: Tensor
    graph: Tensor
    target: Tensor
    degrees: Tensor
    masses: Tensor
    positions: Tensor
    velocities: Tensor
    cell: Tensor
    bath: Tensor
    forces: Tensor
    energy: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
    stress: Tensor | None = None
    middle: Tensor | None = None
    charges: Tensor | None = None

    @property
    def counts(self) -> Tensor:
        """(n_graphs,) number of atoms of each copy."""
        return torch.bincount(self.graph, minlength=len(self.copy))

    def kinetic(self) -> Tensor:
        """(n_graphs,) kinetic energy, eV."""
        return self.per_copy(0.5 * self.masses[:, 0] * self.velocities.square().sum(1))

    def temperature(self) -> Tensor:
        """(n_graphs,) kinetic temperature, K; of the middle of the step if it is known.

        The velocities in the middle of a step of the Langevin dynamics have the exact distribution
        for harmonic forces. Those at its end are colder by a share of the time step squared.
        """
        kinetic = self.kinetic() if self.middle is None else self.middle
        return 2 * kinetic / (self.degrees * units.kB)

    def volume(self) -> Tensor:
        """(n_graphs,) |det cell| in A^3."""
        return torch.linalg.det(self.cell).abs()

    def pressure(self) -> Tensor:
        """(n_graphs,) 2K / 3V - tr(stress) / 3 in eV/A^3; needs the stress."""
        assert self.stress is not None
        kinetic = self.kinetic() if self.middle is None else self.middle
        virial = self.stress.diagonal(dim1=1, dim2=2).sum(1) / 3
        return 2 * kinetic / (3 * self.volume()) - virial

    def conserved(self) -> Tensor:
        """(n_graphs,) total energy minus what the baths have added, eV."""
        return self.energy + self.kinetic() - self.bath

    def per_copy(self, values: Tensor) -> Tensor:
        """Sum (n_atoms, ...) values over the atoms of each copy."""
        out = values.new_zeros((len(self.copy), *values.shape[1:]))
        return out.index_add(0, self.graph, values)

    def select(self, keep: Tensor) -> State:
        """The state of the copies in the mask ``keep``, (n_graphs,)."""
        atoms, rows = keep[self.graph], torch.cumsum(keep, 0) - 1
        changed: dict[str, object] = {"graph": rows[self.graph[atoms]]}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name == "graph" or value is None:
                continue
            if entry.name == "parts":
                changed["parts"] = {name: terms[keep] for name, terms in value.items()}
            elif entry.name in PER_ATOM:
                changed[entry.name] = value[atoms]
            else:
                changed[entry.name] = value[keep]
        return replace(self, **changed)  # type: ignore[arg-type]


#: Attributes of a state with one row per atom.
PER_ATOM = ("atom", "masses", "positions", "velocities", "forces", "charges")

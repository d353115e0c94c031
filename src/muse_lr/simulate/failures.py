"""Failures of copies: what is checked during a run, and what is remembered."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from ase import units
from ase.data import chemical_symbols, covalent_radii
from torch import Tensor

from muse_lr.simulate.potential import Potential
from muse_lr.simulate.settings import FailureCriteria
from muse_lr.simulate.state import State

#: Probability that the temperature of a copy in equilibrium exceeds the limit in one check.
CHANCE = 1e-15


@dataclass(frozen=True)
class Failure:
    """The end of a copy.

    Attributes
    ----------
    copy : int
        Index of the copy.
    step : int
        Step at which the failure was found.
    time_ps : float
        Its time, ps.
    reason : str
    """

    copy: int
    step: int
    time_ps: float
    reason: str


class FailureCheck:
    """Checks temperature, distances and energy of all copies.

    Parameters
    ----------
    criteria : FailureCriteria
    state : State
        The copies at the start.
    numbers : Tensor
        (n_atoms,) atomic numbers.
    """

    def __init__(self, criteria: FailureCriteria, state: State, numbers: Tensor) -> None:
        self.criteria = criteria
        self._numbers = numbers
        self._radii = torch.from_numpy(covalent_radii).to(numbers.device)
        self._limits = temperature_limits(criteria.temperature_ratio, state)
        self._counts = state.counts
        #: Conserved energy at the last check, of all copies.
        self.last = torch.full_like(state.target, torch.nan)

    @property
    def reach(self) -> float:
        """Distance up to which the neighbor list must be complete, A."""
        return 2 * self.criteria.distance_fraction * float(self._radii[self._numbers].max())

    def check(self, state: State, potential: Potential) -> dict[int, str]:
        """Rows of the copies that have failed -> reason."""
        found = self._hot(state) | self._jumped(state) | self.close(state, potential)
        # A copy without an energy has no temperature or distance either.
        return found | potential.broken

    def _hot(self, state: State) -> dict[int, str]:
        temperature = state.temperature()
        limits = self._limits[state.copy]
        return {
            row: f"temperature {float(temperature[row]):.0f} K, limit {float(limits[row]):.0f} K"
            for row in (temperature > limits).nonzero()[:, 0].tolist()
        }

    def _jumped(self, state: State) -> dict[int, str]:
        conserved = state.conserved()
        counts = self._counts[state.copy]
        jump = (conserved - self.last[state.copy]) / counts
        self.last[state.copy] = conserved
        return {
            row: f"conserved energy changed by {float(jump[row]):.3g} eV/atom between two checks"
            for row in (jump.abs() > self.criteria.energy_jump).nonzero()[:, 0].tolist()
        }

    def close(self, state: State, potential: Potential) -> dict[int, str]:
        """Rows of the copies with two atoms that are too close -> reason."""
        batch = potential.batch
        sender, receiver = batch.edge_index
        if not len(sender) or self.criteria.distance_fraction == 0:
            return {}
        images = batch.tables.images
        shifts = images.vectors(state.cell).index_select(0, images.row_of_edge)
        positions = state.positions
        vectors = positions.index_select(0, sender) - positions.index_select(0, receiver) + shifts
        numbers = self._numbers.index_select(0, state.atom)
        radii = self._radii.index_select(0, numbers)
        limit = self.criteria.distance_fraction * (radii[sender] + radii[receiver])
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        found: dict[int, str] = {}
        first = batch.ptr
        for edge in (lengths < limit).nonzero()[:, 0].tolist():
            row = int(state.graph[receiver[edge]])
            if row in found:
                continue
            names = " and ".join(
                f"{int(atom - first[row])} ({chemical_symbols[int(numbers[atom])]})"
                for atom in sorted((receiver[edge], sender[edge]))
            )
            found[row] = (
                f"atoms {names} are {float(lengths[edge]):.2f} Å apart, limit "
                f"{float(limit[edge]):.2f} Å"
            )
        return found


def temperature_limits(ratio: float, state: State) -> Tensor:
    """(n_graphs,) temperature above which a copy has failed, K.

    The kinetic energy of f degrees of freedom follows a gamma distribution. The limit is the larger
    of ``ratio`` times the target and the temperature that a copy in equilibrium exceeds with the
    probability ``CHANCE``.
    """
    from scipy.special import gammainccinv

    half = state.degrees.cpu().numpy() / 2
    rare = torch.from_numpy(gammainccinv(half, CHANCE) / half).to(state.target.device)
    return rare.clamp(min=ratio) * state.target / units.kB

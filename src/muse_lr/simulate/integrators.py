r"""Integrators of a batch of copies.

``nve``: velocity Verlet. The center of mass is at rest, so that a copy of N > 1 atoms has 3N - 3
degrees of freedom.

``langevin``: the splitting BAOAB (B. Leimkuhler, C. Matthews, Appl. Math. Res. Express 2013, 34),
whose error of averages over positions is small. All 3N degrees of freedom are coupled to the
thermostat, and the center of mass diffuses.

``npt``: Langevin dynamics, and isotropic stochastic cell rescaling (M. Bernetti, G. Bussi, J. Chem.
Phys. 153, 114107 (2020)). With :math:`\lambda = \sqrt{V}`,

.. math:: d\lambda = \frac{\beta_T \lambda}{2 \tau} \Big(P_{int} - P_0 + \frac{k_B T}{2 V}\Big) dt
          + \sqrt{\frac{k_B T \beta_T}{2 \tau}}\, dW,

positions are scaled with the cell and velocities inversely. Their distribution is that of the
isothermal-isobaric ensemble. It is defined for crystals and liquids, with three periodic
directions.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from ase import units
from torch import Tensor

from muse_lr.simulate.potential import Potential
from muse_lr.simulate.settings import Settings
from muse_lr.simulate.state import BAR, State

PICOSECOND = 1000 * units.fs


class Integrator(Protocol):
    """Advances a state by one time step."""

    def step(self, state: State, potential: Potential, number: int, stress: bool) -> None:
        """Advance to the step ``number``, and compute the stress there if asked."""


class Noise:
    """Normal random numbers for the copies that still run.

    The numbers are drawn for all copies, so that those of one copy do not depend on the failure of
    another. They are drawn on the CPU, so that they do not depend on the device.

    Parameters
    ----------
    seed : int
    atoms, copies : int
        Numbers of all atoms and copies at the start.
    """

    def __init__(self, seed: int, atoms: int, copies: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._atoms, self._copies = atoms, copies

    def atoms(self, state: State) -> Tensor:
        """(n_atoms, 3)."""
        drawn = torch.randn((self._atoms, 3), generator=self.generator, dtype=torch.float64)
        return drawn.to(state.positions.device).index_select(0, state.atom)

    def copies(self, state: State) -> Tensor:
        """(n_graphs,)."""
        drawn = torch.randn(self._copies, generator=self.generator, dtype=torch.float64)
        return drawn.to(state.positions.device).index_select(0, state.copy)


class VelocityVerlet:
    """Velocity Verlet at constant energy; time step in fs."""

    def __init__(self, time_step: float) -> None:
        self.time = time_step * units.fs

    def step(self, state: State, potential: Potential, number: int, stress: bool) -> None:
        """See :class:`Integrator`."""
        half = 0.5 * self.time / state.masses
        state.velocities = state.velocities + half * state.forces
        state.positions = state.positions + self.time * state.velocities
        potential.update(state, stress)
        state.velocities = state.velocities + half * state.forces


class Langevin:
    """Langevin dynamics; time step in fs, friction in 1/ps."""

    def __init__(self, time_step: float, friction: float, noise: Noise) -> None:
        self.time = time_step * units.fs
        self.kept = math.exp(-friction / PICOSECOND * self.time)
        self.noise = noise

    def step(self, state: State, potential: Potential, number: int, stress: bool) -> None:
        """See :class:`Integrator`."""
        half = 0.5 * self.time / state.masses
        state.velocities = state.velocities + half * state.forces
        state.positions = state.positions + 0.5 * self.time * state.velocities
        before = state.kinetic()
        width = ((1 - self.kept**2) * state.target[state.graph, None] / state.masses).sqrt()
        state.velocities = self.kept * state.velocities + width * self.noise.atoms(state)
        state.middle = state.kinetic()
        state.bath = state.bath + state.middle - before
        state.positions = state.positions + 0.5 * self.time * state.velocities
        potential.update(state, stress)
        state.velocities = state.velocities + half * state.forces


class StochasticCell:
    """Langevin dynamics with stochastic cell rescaling every few steps."""

    def __init__(self, settings: Settings, noise: Noise) -> None:
        self.langevin = Langevin(settings.time_step, settings.friction, noise)
        self.noise = noise
        self.every = settings.barostat_every
        self.time = settings.time_step * units.fs * self.every
        self.rate = settings.compressibility / BAR / (settings.pressure_time * PICOSECOND)
        self.pressure = settings.pressure * BAR

    def step(self, state: State, potential: Potential, number: int, stress: bool) -> None:
        """See :class:`Integrator`."""
        due = number % self.every == 0
        self.langevin.step(state, potential, number, stress or due)
        if not due or potential.broken:
            return
        before = state.energy + state.kinetic()
        volume = state.volume()
        root, kt = volume.sqrt(), state.target
        push = state.pressure() - self.pressure + 0.5 * kt / volume
        change = 0.5 * self.rate * self.time * root * push
        change = change + (0.5 * self.rate * self.time * kt).sqrt() * self.noise.copies(state)
        scale = (1 + change / root).abs() ** (2 / 3)
        state.positions = state.positions * scale[state.graph, None]
        state.velocities = state.velocities / scale[state.graph, None]
        state.cell = state.cell * scale[:, None, None]
        if state.middle is not None:
            state.middle = state.middle / scale.square()
        potential.update(state, stress)
        state.bath = state.bath + state.energy + state.kinetic() - before


def make_integrator(settings: Settings, noise: Noise) -> Integrator:
    """The integrator of an ensemble."""
    if settings.ensemble == "nve":
        return VelocityVerlet(settings.time_step)
    if settings.ensemble == "langevin":
        return Langevin(settings.time_step, settings.friction, noise)
    return StochasticCell(settings, noise)


def draw_velocities(state: State, noise: Noise, ensemble: str) -> None:
    """Draw velocities from the Maxwell-Boltzmann distribution of the target temperature.

    With ``nve``, the center of mass of a copy of several atoms is brought to rest.
    """
    width = (state.target[state.graph, None] / state.masses).sqrt()
    velocities = width * noise.atoms(state)
    if ensemble == "nve":
        momentum = state.per_copy(state.masses * velocities)
        drift = momentum / state.per_copy(state.masses)
        drift = torch.where((state.counts > 1)[:, None], drift, torch.zeros_like(drift))
        velocities = velocities - drift[state.graph]
    state.velocities = velocities


def degrees_of_freedom(counts: Tensor, ensemble: str) -> Tensor:
    """(n_graphs,) 3N, or 3N - 3 for several atoms whose center of mass is at rest."""
    degrees = 3.0 * counts.double()
    return torch.where(counts > 1, degrees - 3, degrees) if ensemble == "nve" else degrees

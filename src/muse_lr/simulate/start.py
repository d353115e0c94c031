"""The copies at the start of a simulation, and checks before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms, units

from muse_lr.errors import InputError
from muse_lr.simulate.failures import FailureCheck
from muse_lr.simulate.integrators import (
    Integrator,
    Noise,
    degrees_of_freedom,
    draw_velocities,
    make_integrator,
)
from muse_lr.simulate.potential import Potential
from muse_lr.simulate.settings import Settings
from muse_lr.simulate.state import State
from muse_lr.structures.batch import AtomsData, atoms_to_data

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel


@dataclass
class Simulation:
    """Everything that moves a batch of copies.

    Attributes
    ----------
    copies : list of ase.Atoms
        The structure of each copy at the start.
    temperatures : list of float
        Target temperature of each copy, K.
    """

    settings: Settings
    copies: list[Atoms]
    temperatures: list[float]
    state: State
    potential: Potential
    integrator: Integrator
    noise: Noise
    check: FailureCheck
    step: int = 0


def prepare(
    model: EnergyModel, structures: Sequence[Atoms], sources: Sequence[str], settings: Settings
) -> Simulation:
    """Make the copies of all structures and compute their energies.

    Parameters
    ----------
    model : EnergyModel
        It is brought into evaluation mode, and its parameters do not require gradients afterwards.
    structures : sequence of ase.Atoms
        Each is copied for every temperature.
    sources : sequence of str
        Description of each structure for messages.
    settings : Settings

    Raises
    ------
    InputError
        If the model does not support a structure, if its atoms are too close, or if the ensemble is
        not defined for its boundaries.
    """
    model.eval().requires_grad_(False)
    if settings.compile:
        from muse_lr.model.compilation.compiled_model import compile_model

        compile_model(model)
    for atoms, source in zip(structures, sources, strict=True):
        _check_boundary(atoms, source, settings)
    converted = [_convert(atoms, source) for atoms, source in zip(structures, sources, strict=True)]
    temperatures, chosen = [], []
    for temperature in settings.temperatures:
        for index in range(len(structures)):
            chosen += [index] * settings.copies
            temperatures += [temperature] * settings.copies
    copies, origins = [structures[i] for i in chosen], [sources[i] for i in chosen]
    data = [converted[i] for i in chosen]
    noise = Noise(settings.seed, sum(map(len, copies)), len(copies))
    state = _first_state(copies, temperatures, settings, model.device)
    numbers = torch.cat([d.numbers for d in data]).to(model.device)
    check = FailureCheck(settings.failure, state, numbers)
    potential = Potential(model, data, settings.skin, check.reach)
    state.cell = potential.batch.cell
    draw_velocities(state, noise, settings.ensemble)
    _first_energies(state, potential, origins)
    for row, reason in check.close(state, potential).items():
        raise InputError(
            f"{origins[row]}: {reason}: this copy would fail at once; correct the structure, or "
            "lower --min-distance"
        )
    return Simulation(
        settings,
        copies,
        temperatures,
        state,
        potential,
        make_integrator(settings, noise),
        noise,
        check,
    )


def _convert(atoms: Atoms, source: str) -> AtomsData:
    try:
        return atoms_to_data(atoms, None)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def _first_state(
    copies: Sequence[Atoms],
    temperatures: Sequence[float],
    settings: Settings,
    device: torch.device,
) -> State:
    counts = torch.tensor([len(atoms) for atoms in copies])
    positions = torch.from_numpy(np.concatenate([atoms.positions for atoms in copies]))
    masses = np.concatenate([atoms.get_masses() for atoms in copies])[:, None]
    empty = torch.zeros(len(copies), dtype=torch.float64, device=device)
    return State(
        copy=torch.arange(len(copies), device=device),
        atom=torch.arange(len(positions), device=device),
        graph=torch.repeat_interleave(torch.arange(len(copies)), counts).to(device),
        target=torch.tensor(temperatures, dtype=torch.float64, device=device) * units.kB,
        degrees=degrees_of_freedom(counts, settings.ensemble).to(device),
        masses=torch.from_numpy(masses).to(device),
        positions=positions.double().to(device),
        velocities=torch.zeros_like(positions).to(device),
        cell=torch.zeros((len(copies), 3, 3), dtype=torch.float64, device=device),
        bath=empty,
        forces=torch.zeros_like(positions).to(device),
        energy=empty,
    )


def _first_energies(state: State, potential: Potential, origins: Sequence[str]) -> None:
    potential.update(state, stress=True)
    for row, reason in potential.broken.items():
        # The model numbers the structures of its batch; here there is one, whose source is named.
        raise InputError(f"{origins[row]}: {reason.replace('structure 0 ', 'the structure ')}")


def _check_boundary(atoms: Atoms, source: str, settings: Settings) -> None:
    if not len(atoms):
        raise InputError(f"{source}: the structure has no atoms")
    if not (atoms.get_masses() > 0).all():
        atom = int(np.flatnonzero(~(atoms.get_masses() > 0))[0])
        raise InputError(f"{source}: atom {atom} has no mass")
    if settings.ensemble == "npt" and not atoms.pbc.all():
        what = "a molecule" if not atoms.pbc.any() else "a slab"
        raise InputError(
            f"{source} is {what}: npt changes the volume isotropically, which is defined for three "
            "periodic directions only; use langevin or nve"
        )

"""Functions that several test files use: small models, their outputs, graphs, commands."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from torch import Tensor

import muse_lr
from muse_lr import testing
from muse_lr.cli.main import main
from muse_lr.model.output import ModelOutput
from muse_lr.structures.geometry import Geometry, strained_geometry
from muse_lr.structures.graph import Graph

# --- Models ---------------------------------------------------------------------------------------


def painn_section(elements: Sequence[str], cutoff: float = 3.5, **sections: Any) -> dict[str, Any]:
    """Return the configuration of a model with one PaiNN layer of 8 channels."""
    backbone = {"kind": "painn", "cutoff": cutoff, "channels": 8, "layers": 1, "num_radial": 20}
    return {"elements": list(elements), "backbone": backbone, **sections}


def random_model(
    section: dict[str, Any], *, seed: int = 0, weights: int | None = 1, scale: float = 0.1
) -> muse_lr.EnergyModel:
    """Build a float64 model in evaluation mode; torch's random state is not changed.

    Parameters
    ----------
    section : dict
        Configuration of the model.
    seed : int
        Seed of the initial weights.
    weights : int, optional
        Seed of the noise on the weights; None keeps the initial ones.
    scale : float
        Standard deviation of that noise.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = muse_lr.build_model(section).to(torch.float64).eval()
    if weights is not None:
        testing.randomize_weights(model, seed=weights, scale=scale)
    return model


def fixed_charge_model(
    charges: dict[str, float], width: float = 0.0, **heads: Any
) -> muse_lr.EnergyModel:
    """Build a float64 model of fixed charges (e) with the given heads and no backbone."""
    return muse_lr.build_model(
        {
            "elements": list(charges),
            "backbone": None,
            "charges": {"kind": "fixed", "by_element": charges, "width": width},
            "heads": heads,
        }
    ).to(torch.float64)


def head_model(kind: str, elements: Sequence[str], **keys: Any) -> muse_lr.EnergyModel:
    """Build a float64 model of one head, without backbone and charges."""
    heads = {"head": {"kind": kind, **keys}}
    section = {"elements": list(elements), "backbone": None, "charges": None, "heads": heads}
    return muse_lr.build_model(section).double().eval()


# --- Outputs and graphs ---------------------------------------------------------------------------


def evaluate(model: muse_lr.EnergyModel, structures: Sequence[Atoms], *compute: str) -> ModelOutput:
    """Return the output of the model on one batch."""
    return model(muse_lr.AtomsBatch.from_ase(structures, cutoff=model.cutoff), compute)


def energies_of(model: muse_lr.EnergyModel, structures: Sequence[Atoms]) -> np.ndarray:
    """Return the energies in eV, shape (n_structures,)."""
    with torch.no_grad():
        return evaluate(model, structures).energy.numpy()


def geometry_of(structures: Sequence[Atoms], cutoff: float = 6.0) -> Geometry:
    """Return the geometry of one batch, with pairs within ``cutoff`` (A)."""
    batch = muse_lr.AtomsBatch.from_ase(structures, cutoff=cutoff)
    return strained_geometry(batch, batch.positions, None)


def make_graph(
    atoms: Atoms,
    cutoff: float,
    elements: Sequence[str],
    *,
    positions: Tensor | None = None,
    composition: Tensor | None = None,
    weights: Tensor | None = None,
) -> Graph:
    """Return the graph of one structure, with the neighbor list of ASE.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure; ``info`` may hold ``total_charge`` and ``spin``.
    cutoff : float
        A.
    elements : sequence of str
        Elements of the model, in order.
    positions : Tensor, optional
        (n_atoms, 3) positions that replace those of ``atoms``, A.
    composition : Tensor, optional
        (n_atoms, n_elements) composition that replaces the one-hot one.
    weights : Tensor, optional
        (n_atoms,) weights of the atoms as senders.
    """
    if positions is None:
        positions = torch.tensor(atoms.positions)
    receiver, sender, shift = neighbor_list("ijS", atoms, cutoff)
    edge_index = torch.tensor(np.stack([sender, receiver]))
    offsets = torch.tensor(shift @ atoms.cell.array)
    vectors = positions[edge_index[0]] + offsets - positions[edge_index[1]]
    if composition is None:
        species = torch.tensor([elements.index(s) for s in atoms.get_chemical_symbols()])
        composition = torch.eye(len(elements))[species]
    return Graph(
        composition=composition,
        edge_index=edge_index,
        edge_vectors=vectors,
        edge_lengths=vectors.norm(dim=-1),
        graph_index=torch.zeros(len(atoms), dtype=torch.int64),
        num_graphs=1,
        total_charge=torch.tensor([float(atoms.info.get("total_charge", 0))]),
        spin=torch.tensor([float(atoms.info.get("spin", 1))]),
        edge_weights=None if weights is None else weights[edge_index[0]],
    )


# --- Structures -----------------------------------------------------------------------------------


def rattled_salt(stdev: float, *, seed: int = 1, repeat: Sequence[int] = (1, 1, 1)) -> Atoms:
    """Return cubic cells of NaCl with normal displacements (A)."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(repeat)
    atoms.rattle(stdev, seed=seed)
    return atoms


def skewed_salt(repeat: Sequence[int] = (1, 1, 1)) -> Atoms:
    """Return NaCl in a triclinic cell, with displaced atoms."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(repeat)
    rng = np.random.default_rng(3)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.12 * rng.normal(size=(3, 3))), True)
    atoms.positions += 0.2 * rng.normal(size=atoms.positions.shape)
    return atoms


# --- Files and commands ---------------------------------------------------------------------------


class HostilePickle:
    """An object whose unpickling makes a directory, as malicious code in a model file would."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def run_command(command: ModuleType, *arguments: str) -> int:
    """Run one subcommand, given by its module, and return its exit code."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def run_cli(*arguments: object) -> int:
    """Run ``muse-lr`` and return its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as exit_:  # argparse
        return int(exit_.code or 0)


def refused(capsys: Any, *arguments: object) -> str:
    """Return the one line that a refused command prints; assert its form and the exit code."""
    capsys.readouterr()
    assert run_cli(*arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert error.startswith("muse-lr: ")
    assert "Traceback" not in error
    return error

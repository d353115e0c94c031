"""Predictions and errors of a model for a data set."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from muse_lr.data.dataset import Dataset
from muse_lr.data.labels import LABELS, OF_CHARGES
from muse_lr.model.born_charges import defines_born_charges
from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.output import ModelOutput
from muse_lr.model.response import coulomb_heads
from muse_lr.structures.batch import COARSE_INDEX, AtomsBatch
from muse_lr.train.config import BatchConfig, TrainingConfig
from muse_lr.train.losses import computed
from muse_lr.train.metrics import Metrics
from muse_lr.train.ranks import Ranks
from muse_lr.utils.files import atomic_write


@dataclass
class Evaluation:
    """Predictions and errors of a model for a data set.

    Attributes
    ----------
    metrics : dict of str to float
        ``{label}_mae`` and ``{label}_rmse``.
    frames : list of ase.Atoms
        The structures with their info and arrays, and the predictions under keys ``muse_...``.
    node_share : tuple of float
        Fraction of all atoms that carry a coarse node, for each level of the model.
    """

    metrics: dict[str, float]
    frames: list[Atoms]
    node_share: tuple[float, ...] = ()


def measurable(model: EnergyModel, dataset: Dataset) -> tuple[str, ...]:
    """Labels that the data contains and the model can predict."""
    carried = {label for frame in dataset.frames for label in frame.labels}
    if model.charges is None:
        carried -= set(OF_CHARGES)
    elif not defines_born_charges(model.charges, torch.cat([s.pbc for s in dataset.structures])):
        carried -= {"bec"}
    if not coulomb_heads(model.heads):
        carried -= {"potential"}
    return tuple(label for label in LABELS if label in carried)


def measure(
    model: EnergyModel,
    dataset: Dataset,
    labels: Sequence[str],
    config: TrainingConfig,
    ranks: Ranks | None = None,
) -> Metrics:
    """Compute the errors over a data set; ``ranks`` divide the work if given."""
    metrics = Metrics(labels, config)
    indices = list(range(len(dataset)))
    if ranks is not None:
        indices = ranks.share(indices)
    batch_config = config.batch
    for chosen in dataset.batches(indices, batch_config.graphs, batch_config.edges):
        batch = dataset.batch(chosen).to(model.device)
        metrics.add(model(batch, computed(labels), create_graph=False), batch)
    if ranks is not None:
        metrics.sums = ranks.sum(metrics.sums)
    return metrics


def evaluate(model: EnergyModel, dataset: Dataset, batch_config: BatchConfig) -> Evaluation:
    """Predict every structure of a data set and compare the results with its labels."""
    model.eval()
    labels = measurable(model, dataset)
    metrics = Metrics(labels, TrainingConfig(batch=batch_config))
    compute = ["forces"]
    if bool(torch.cat([s.pbc for s in dataset.structures]).any()):
        compute.append("stress")
    if model.charges is not None:
        compute += ["dipole", "charges"]
        compute += [label for label in ("quadrupole", "potential", "bec") if label in labels]
    frames: list[Atoms] = []
    counts: list[Tensor] = []
    order = range(len(dataset))
    for chosen in dataset.batches(order, batch_config.graphs, batch_config.edges):
        batch = dataset.batch(chosen).to(model.device)
        output = model(batch, compute, create_graph=False)
        metrics.add(output, batch)
        counts.append(node_counts(output, batch))
        pointers = batch.ptr.tolist()
        for row, index in enumerate(chosen):
            atoms = dataset.frames[index].atoms.copy()
            atoms.calc = dataset.frames[index].atoms.calc  # ASE's reader puts labels there
            span = slice(pointers[row], pointers[row + 1])
            atoms.info["muse_energy"] = float(output.energy[row].detach())
            for name, values in output.energy_parts.items():
                atoms.info[f"muse_part_{name}"] = float(values[row].detach())
            if output.levels:
                atoms.info["muse_node_share"] = counts[-1][row].numpy() / len(atoms)
            assert output.forces is not None
            atoms.arrays["muse_forces"] = output.forces[span].detach().cpu().numpy()
            if output.stress is not None and atoms.pbc.any():
                atoms.info["muse_stress"] = output.stress[row].detach().cpu().numpy()
            if output.charges is not None and output.dipole is not None:
                atoms.arrays["muse_charges"] = (
                    output.charges[span].detach().cpu().numpy().astype(np.float64)
                )
                atoms.info["muse_dipole"] = output.dipole[row].detach().cpu().numpy()
            if output.quadrupole is not None:
                atoms.info["muse_quadrupole"] = output.quadrupole[row].detach().cpu().numpy()
            if output.potential is not None:
                atoms.arrays["muse_potential"] = output.potential[span].detach().cpu().numpy()
            if output.bec is not None and output.bec_error is not None:
                atoms.arrays["muse_bec"] = output.bec[span].detach().cpu().numpy()
                atoms.info["muse_bec_error"] = float(output.bec_error[row])
            frames.append(atoms)
    add_interaction_energies(model, frames, batch_config.graphs)
    kept = torch.cat(counts).sum(0) / sum(map(len, frames))
    return Evaluation(metrics.results(), frames, tuple(kept.tolist()))


def node_counts(output: ModelOutput, batch: AtomsBatch) -> Tensor:
    """Number of atoms of each structure with a coarse node, (n_graphs, n_levels)."""
    counts = [
        torch.bincount(nodes.graph_index, minlength=batch.num_graphs).cpu()
        for nodes, _ in output.levels
    ]
    if not counts:
        return torch.zeros((batch.num_graphs, 0), dtype=torch.int64)
    return torch.stack(counts, dim=1)


@torch.no_grad()
def add_interaction_energies(model: EnergyModel, frames: Sequence[Atoms], graphs: int) -> None:
    """Store E(dimer) - E(first) - E(second), in total and by part, in the info of each dimer.

    A frame is a dimer if it has ``info["size_first"]``, the number of atoms of the first fragment.
    ``info["fragment_total_charges"]`` has the total charges of the fragments, if not neutral.
    """
    dimers = [atoms for atoms in frames if "size_first" in atoms.info]
    if not dimers:
        return
    monomers = [part for atoms in dimers for part in fragments(atoms)]
    parts: list[dict[str, float]] = []
    for start in range(0, len(monomers), graphs):
        chunk = monomers[start : start + graphs]
        batch = AtomsBatch.from_ase(chunk, cutoff=model.cutoff).to(model.device)
        found = {name: v.tolist() for name, v in model(batch).energy_parts.items()}
        parts += [{name: v[i] for name, v in found.items()} for i in range(len(chunk))]
    for i, atoms in enumerate(dimers):
        total = 0.0
        for name in parts[2 * i]:
            alone = parts[2 * i][name] + parts[2 * i + 1][name]
            difference = atoms.info[f"muse_part_{name}"] - alone
            atoms.info[f"muse_interaction_{name}"] = difference
            total += difference
        atoms.info["muse_interaction_energy"] = total


def fragments(atoms: Atoms) -> list[Atoms]:
    """Split a dimer into its two fragments, with their total charges if given."""
    size = int(atoms.info["size_first"])
    parts = []
    for index, part in enumerate((slice(0, size), slice(size, None))):
        fragment = Atoms(atoms.numbers[part], atoms.positions[part], cell=atoms.cell, pbc=atoms.pbc)
        if COARSE_INDEX in atoms.arrays:
            fragment.arrays[COARSE_INDEX] = atoms.arrays[COARSE_INDEX][part]
        if "fragment_total_charges" in atoms.info:
            charges = atoms.info["fragment_total_charges"]
            fragment.info["total_charge"] = float(charges[index])
        parts.append(fragment)
    return parts


def _writable(atoms: Atoms) -> Atoms:
    """Copy for extended XYZ: arrays of at most two axes, info values of numbers and text."""
    copy = atoms.copy()
    copy.calc = atoms.calc
    for name, values in atoms.arrays.items():
        if values.ndim > 2:
            copy.set_array(name, None)
            copy.set_array(name, values.reshape(len(values), -1))
    for key, value in atoms.info.items():
        if isinstance(value, str):
            copy.info[key] = " ".join(value.split())
        elif not isinstance(value, (bool, int, float, np.generic, np.ndarray)):
            copy.info[key] = json.dumps(value, default=str)
    return copy


def write_predictions(frames: Sequence[Atoms], path: Path) -> None:
    """Write structures with their predictions as extended XYZ, atomically."""
    from ase.io import write

    text = io.StringIO()
    write(text, [_writable(atoms) for atoms in frames], format="extxyz")
    with atomic_write(path) as handle:
        handle.write(text.getvalue())

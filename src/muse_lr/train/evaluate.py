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
from numpy.typing import NDArray
from torch import Tensor

from muse_lr.data.dataset import Dataset, divide, sizes_of
from muse_lr.data.dimers import fragments, has_fragments
from muse_lr.data.labels import LABELS, applies
from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.output import ModelOutput
from muse_lr.model.response import RESPONSES
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.geometry import open_projection
from muse_lr.structures.neighbors import has_volume
from muse_lr.train.config import BatchConfig, MicroBatchConfig, TrainingConfig
from muse_lr.train.losses import computed
from muse_lr.train.metrics import Metrics
from muse_lr.train.possible import impossible_labels
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
    carried -= set(impossible_labels(model, dataset.frames))
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
    for chosen in portions(dataset, indices, config.batch, config.micro_batch):
        batch = dataset.batch(chosen).to(model.device)
        metrics.add(model(batch, computed(labels), create_graph=False), batch)
    if ranks is not None:
        metrics.sums = ranks.sum(metrics.sums)
    return metrics


def portions(
    dataset: Dataset, indices: Sequence[int], batch: BatchConfig, micro_batch: MicroBatchConfig
) -> list[list[int]]:
    """Divide indices into portions within the limits of a batch and of a micro-batch."""
    sizes = sizes_of([dataset.frames[i] for i in indices])
    return [
        part
        for whole in divide(indices, sizes, batch.graphs, batch.atoms)
        for part in dataset.micro_batches(whole, micro_batch.graphs, micro_batch.edges)
    ]


def evaluate(
    model: EnergyModel,
    dataset: Dataset,
    batch: BatchConfig,
    micro_batch: MicroBatchConfig | None = None,
) -> Evaluation:
    """Predict every structure of a data set and compare the results with its labels.

    ``batch`` and ``micro_batch`` limit what is computed at once. They do not change the result.
    """
    model.eval()
    labels = measurable(model, dataset)
    metrics = Metrics(labels, TrainingConfig())
    compute = ["forces"]
    if bool(torch.cat([s.pbc for s in dataset.structures]).any()):
        compute.append("stress")
    if model.charges is not None:
        compute += ["dipole", "charges"]
        compute += [label for label in RESPONSES if label in labels and label not in compute]
    frames: list[Atoms] = []
    counts: list[Tensor] = []
    limits = micro_batch or MicroBatchConfig()
    for chosen in portions(dataset, range(len(dataset)), batch, limits):
        part = dataset.batch(chosen).to(model.device)
        output = model(part, compute, create_graph=False)
        metrics.add(output, part)
        counts.append(node_counts(output, part))
        predicted = [dataset.frames[index].atoms.copy() for index in chosen]
        for row, (index, atoms) in enumerate(zip(chosen, predicted, strict=True)):
            atoms.calc = dataset.frames[index].atoms.calc  # ASE's reader puts labels there
            if output.levels:
                atoms.info["muse_node_share"] = counts[-1][row].numpy() / len(atoms)
            _store(output, row, slice(*part.ptr[row : row + 2].tolist()), atoms)
        # The fragments of these structures need no more memory than the structures themselves.
        add_interaction_energies(model, predicted)
        frames += predicted
    kept = torch.cat(counts).sum(0) / sum(map(len, frames))
    return Evaluation(metrics.results(), frames, tuple(kept.tolist()))


def _store(output: ModelOutput, row: int, span: slice, atoms: Atoms) -> None:
    """Store the predictions for one structure; ``span`` are its atoms in the batch."""
    atoms.info["muse_energy"] = float(output.energy[row].detach())
    for name, values in output.energy_parts.items():
        atoms.info[f"muse_part_{name}"] = float(values[row].detach())
    assert output.forces is not None
    atoms.arrays["muse_forces"] = output.forces[span].detach().cpu().numpy()
    if output.stress is not None and has_volume(atoms.cell.array, atoms.pbc):
        atoms.info["muse_stress"] = output.stress[row].detach().cpu().numpy()
    if output.charges is not None and output.dipole is not None:
        atoms.arrays["muse_charges"] = (
            output.charges[span].detach().cpu().numpy().astype(np.float64)
        )
        if applies("dipole", atoms):
            atoms.info["muse_dipole"] = _open_dipole(output.dipole[row], atoms)
    for name in ("polarizability", "dielectric"):
        tensor = getattr(output, name)
        if tensor is not None and bool(torch.isfinite(tensor[row]).all()):
            atoms.info[f"muse_{name}"] = tensor[row].detach().cpu().numpy()
    if output.polarization is not None and atoms.pbc.any():
        atoms.info["muse_polarization"] = output.polarization[row].detach().cpu().numpy()
    if output.quadrupole is not None and applies("quadrupole", atoms):
        atoms.info["muse_quadrupole"] = output.quadrupole[row].detach().cpu().numpy()
    if output.potential is not None:
        atoms.arrays["muse_potential"] = output.potential[span].detach().cpu().numpy()
    if output.bec is not None and output.bec_error is not None:
        atoms.arrays["muse_bec"] = output.bec[span].detach().cpu().numpy()
        atoms.info["muse_bec_error"] = float(output.bec_error[row])


def _open_dipole(dipole: Tensor, atoms: Atoms) -> NDArray[np.float64]:
    """(3,) dipole along the open directions, e A."""
    cell, pbc = torch.from_numpy(np.array(atoms.cell.array)), torch.from_numpy(atoms.pbc.copy())
    projection = open_projection(cell[None], pbc[None])[0].numpy()
    found: NDArray[np.float64] = projection @ dipole.detach().cpu().double().numpy()
    return found


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
def add_interaction_energies(model: EnergyModel, frames: Sequence[Atoms]) -> None:
    """Store E(dimer) - E(first) - E(second), in total and by part, in the info of each dimer.

    A frame is a dimer if it has ``info["size_first"]``, the number of atoms of the first fragment.
    ``info["fragment_total_charges"]`` has the total charges of the fragments. Without it, both are
    neutral, and a charged dimer is left out with a warning.
    """
    dimers = [atoms for atoms in frames if has_fragments(atoms)]
    if not dimers:
        return
    monomers = [part for atoms in dimers for part in fragments(atoms)]
    batch = AtomsBatch.from_ase(monomers, cutoff=model.cutoff).to(model.device)
    found = {name: values.tolist() for name, values in model(batch).energy_parts.items()}
    parts = [{name: v[i] for name, v in found.items()} for i in range(len(monomers))]
    for i, atoms in enumerate(dimers):
        total = 0.0
        for name in parts[2 * i]:
            alone = parts[2 * i][name] + parts[2 * i + 1][name]
            difference = atoms.info[f"muse_part_{name}"] - alone
            atoms.info[f"muse_interaction_{name}"] = difference
            total += difference
        atoms.info["muse_interaction_energy"] = total


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

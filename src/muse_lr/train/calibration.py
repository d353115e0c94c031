"""Constants of the multiscale block that come from the training data."""

from __future__ import annotations

import numpy as np

from muse_lr.data.dataset import Dataset
from muse_lr.model.energy_model import EnergyModel
from muse_lr.structures.geometry import strained_geometry

#: Largest number of structures, and number of atoms that are computed at once.
SAMPLE, ATOMS_AT_ONCE = 100, 2000


def calibrate(model: EnergyModel, train: Dataset) -> None:
    """Set the constants of the multiscale block from a sample of the training structures."""
    if model.multiscale is None or model.multiscale.level_count == 0:
        return
    chosen = np.random.default_rng(0).permutation(len(train))[:SAMPLE].tolist()
    geometries, portion, atoms = [], [], 0
    for index in chosen:
        portion.append(index)
        atoms += train.structures[index].num_nodes
        if atoms >= ATOMS_AT_ONCE or index == chosen[-1]:
            batch = train.batch(portion)
            geometries.append(strained_geometry(batch, batch.positions, None))
            portion, atoms = [], 0
    model.multiscale.calibrate(geometries)

"""Energy terms that keep atoms away from distances that the training data do not have."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from muse_lr.data.distances import PairDistances, pair_distances
from muse_lr.data.reading import Frame
from muse_lr.model.config import ModelConfig
from muse_lr.train.bond_barrier import fill_bond_barrier
from muse_lr.train.repulsion import fill_repulsion

#: Labels that determine the energy surface.
OF_ENERGY = ("energy", "forces", "stress")
#: Distances are searched up to the backbone's cutoff, or this, A.
LONGEST = 6.0


def fill_unsampled(
    section: ModelConfig,
    frames: Sequence[Frame],
    labels: Sequence[str],
    notes: list[str],
    measure: bool = True,
) -> ModelConfig:
    """Add a repulsion and a bond barrier to a model, or complete its own from the data.

    They act only at distances without training structures: below the shortest ones, and in gaps
    behind bonds. The function adds them neither to models without a backbone or with one from a
    file, nor where a head of their name is null or of another kind, nor without a loss on energies.

    Parameters
    ----------
    section : ModelConfig
    frames : sequence of Frame
        Training and validation frames.
    labels : sequence of str
        Labels of the loss.
    notes : list of str
        Notes for the report, which this function appends to.
    measure : bool
        Whether to measure the distances. Otherwise those of the repulsion stay open, and no barrier
        is added, because it depends on the data whether there is one.

    Returns
    -------
    ModelConfig
    """
    backbone = section.backbone
    default = backbone is not None and backbone.weights_file is None
    default &= bool(set(OF_ENERGY) & set(labels))
    cutoff = LONGEST if backbone is None else backbone.cutoff

    @cache
    def distances() -> dict[str, PairDistances]:
        return pair_distances((frame.atoms for frame in frames), cutoff)

    heads = fill_repulsion(section.heads, distances if measure else None, notes, default)
    if measure:
        heads = fill_bond_barrier(heads, distances, cutoff, notes, default)
    return section.model_copy(update={"heads": heads})

"""The repulsion below the shortest distances of the training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from muse_lr.data.distances import shortest_distances
from muse_lr.data.reading import Frame
from muse_lr.heads.zbl import ZBLConfig
from muse_lr.model.config import ModelConfig

#: Name of the head. ``model.heads.repulsion: null`` switches it off.
NAME = "repulsion"
#: Labels that determine the energy surface.
OF_ENERGY = ("energy", "forces", "stress")
#: Distances are searched up to the backbone's cutoff, or this, A.
LONGEST = 6.0
#: The repulsion ends at this fraction of the shortest distance. Structures outside the data by a
#: few percent, as some test sets have, keep the learned energy.
END = 0.95
#: Largest number of pairs that a note lists.
LISTED = 8
#: Decimals of the distances, A.
DECIMALS = 4


def fill_repulsion(
    section: ModelConfig,
    frames: Sequence[Frame],
    labels: Sequence[str],
    notes: list[str],
    measure: bool = True,
) -> ModelConfig:
    """Add a short-range repulsion to a model, or fill in the distances of its own.

    A learned energy is not determined where atoms are closer than in any training structure. It
    often falls there, so that atoms collapse in molecular dynamics although all errors are small.
    The head ``repulsion`` of kind ``zbl`` acts only below :data:`END` times the shortest distance
    of each pair of elements. It is zero for the training structures. The function leaves models
    alone that have no backbone or one from a file, and those whose head ``repulsion`` is null or of
    another kind.

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
        Whether to measure the distances; otherwise they stay open.

    Returns
    -------
    ModelConfig
    """
    heads: dict[str, Any] = dict(section.heads)
    own = [name for name, head in heads.items() if isinstance(head, ZBLConfig)]
    if not own:
        backbone = section.backbone
        if NAME in heads or backbone is None or backbone.weights_file is not None:
            return section
        if not set(OF_ENERGY) & set(labels):
            return section
        heads[NAME] = ZBLConfig()
        own = [NAME]
    incomplete = {n: heads[n] for n in own if heads[n].distances is None}
    if incomplete and measure:
        cutoff = LONGEST if section.backbone is None else section.backbone.cutoff
        shortest = shortest_distances((frame.atoms for frame in frames), cutoff)
        ends = {pair: round(END * distance, DECIMALS) for pair, distance in shortest.items()}
        for name, head in incomplete.items():
            heads[name] = head.model_copy(update={"distances": ends})
            notes.append(_note(name, ends))
    return section.model_copy(update={"heads": heads})


def _note(name: str, distances: Mapping[str, float]) -> str:
    shortest = sorted(distances.items(), key=lambda item: item[1])
    listed = ", ".join(f"{pair} {distance:.2f} A" for pair, distance in shortest[:LISTED])
    more = f" and {len(shortest) - LISTED} more" * (len(shortest) > LISTED)
    return (
        f"model.heads.{name}: repulsion below {END} of the shortest distances of the training "
        f"data, {listed}{more}; model.heads.{name}: null switches it off"
    )

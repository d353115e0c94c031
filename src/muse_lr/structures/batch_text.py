"""Summary of a batch on one line."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch


def batch_text(batch: AtomsBatch) -> str:
    """Sizes, boundaries, total charges, labels, precision and device of a batch."""
    keys = set(batch.keys())
    if not {"positions", "pbc", "edge_index", "cutoff", "total_charge", "ptr"} <= keys:
        return f"AtomsBatch(incomplete: {', '.join(sorted(keys)) or 'empty'})"
    sizes = (
        _count(batch.num_graphs, "graph"),
        _count(len(batch.positions), "atom"),
        _count(batch.edge_index.shape[1], "edge"),
    )
    if batch.positions.device.type == "meta":  # without values
        return f"AtomsBatch({', '.join(sizes)}; meta)"
    directions = Counter(int(n) for n in batch.pbc.sum(1).tolist())
    boundaries = ", ".join(
        f"{count} {'T' * n}{'F' * (3 - n)}" for n, count in sorted(directions.items())
    )
    low, high = float(batch.total_charge.min()), float(batch.total_charge.max())
    charges = f"total charge {low:g}" if low == high else f"total charges {low:g} to {high:g}"
    labels = sorted(key.removeprefix("label_") for key in keys if key.startswith("label_"))
    dtype = str(batch.positions.dtype).removeprefix("torch.")
    parts = (
        f"{', '.join(sizes)} within {float(batch.cutoff.min()):g} A",
        f"boundaries {boundaries}",
        charges,
        f"labels {', '.join(labels)}" if labels else "no labels",
        f"{dtype}, {batch.positions.device}",
    )
    return f"AtomsBatch({'; '.join(parts)})"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"

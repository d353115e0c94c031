"""Results of a comparison as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from muse_lr.analysis.hessian.blocks import BlockSums, PairBlocks
from muse_lr.analysis.hessian.comparison import Comparison, FrameComparison
from muse_lr.analysis.hessian.references import ALL

#: Where a range of distance lies relative to the reach of the backbone.
INSIDE, BEYOND, ACROSS = "inside", "beyond", "across"
#: Columns of :func:`table_rows`.
COLUMNS = (
    *("model", "set", "pairs_of", "from_A", "to_A", "from_reach", "to_reach", "region"),
    *("pairs", "norm", "model_norm", "error", "relative_error", "cosine", "noise"),
)


def region(low: float, high: float, reach: float) -> str:
    """Whether a range of distance is inside or beyond the reach of a backbone, or across it."""
    if high <= reach:
        return INSIDE
    return BEYOND if low >= reach else ACROSS


def frequency_values(frames: Sequence[FrameComparison]) -> dict[str, float]:
    """Errors of the frequencies (1/cm) and mean overlap over all modes of the frames."""
    model = np.concatenate([frame.modes.model for frame in frames])
    reference = np.concatenate([frame.modes.reference for frame in frames])
    overlap = np.concatenate([frame.modes.overlap for frame in frames])
    if not len(model):
        return {"modes": 0}
    return {
        "modes": len(model),
        "mae": float(np.abs(model - reference).mean()),
        "zero_mae": float(np.abs(reference).mean()),
        "overlap": float(overlap.mean()),
    }


def group_summary(
    comparison: Comparison, members: Sequence[int], edges: Sequence[float]
) -> dict[str, Any]:
    """Blocks and frequencies of a group of frames.

    Parameters
    ----------
    comparison : Comparison
    members : sequence of int
        Indices of the frames of the group.
    edges : sequence of float
        Edges of the ranges of distance, A.
    """
    pairs, reach = comparison.pairs.of_frames(members), comparison.reach
    return {
        "frames": len(members),
        "blocks": {
            "same_atom": pairs.same_atom().values(),
            "within_reach": pairs.within(reach).values(),
            "beyond_reach": pairs.beyond(reach).values(),
        },
        "by_distance": [
            {"from": low, "to": high, "region": region(low, high, reach), **sums.values()}
            for low, high, sums in pairs.by_distance(edges)
        ],
        "by_elements": _by_elements(pairs),
        "by_elements_beyond_reach": _by_elements(pairs.farther_than(reach)),
        "frequencies": frequency_values([comparison.frames[i] for i in members]),
    }


def summary(
    comparisons: Sequence[Comparison],
    groups: Mapping[str, Sequence[int]],
    edges: Sequence[float],
) -> dict[str, Any]:
    """Everything that was measured, for ``hessian.json``; NaN is None."""
    content = {
        "units": {"blocks": "eV/A^2", "distance": "A", "frequencies": "1/cm"},
        "edges": list(edges),
        "models": [
            {
                "name": comparison.name,
                "reach": comparison.reach,
                "parts": comparison.parts,
                "sets": {
                    name: group_summary(comparison, members, edges)
                    for name, members in groups.items()
                },
                "frames": [_frame(frame) for frame in comparison.frames],
            }
            for comparison in comparisons
        ],
    }
    return {key: without_nan(value) for key, value in content.items()}


def table_rows(
    comparisons: Sequence[Comparison],
    groups: Mapping[str, Sequence[int]],
    edges: Sequence[float],
) -> list[list[Any]]:
    """Rows of ``hessian.csv``: each model by distance and by elements.

    The norm is the error of the zero model.
    """
    rows: list[list[Any]] = []

    def add(comparison: Comparison, group: str, where: list[Any], sums: BlockSums) -> None:
        values = without_nan(list(sums.values().values()))
        rows.append([comparison.name, group, *where, *("" if v is None else v for v in values)])

    for comparison in comparisons:
        for group, members in groups.items():
            pairs = comparison.pairs.of_frames(members)
            reach = comparison.reach
            for low, high, sums in pairs.by_distance(edges):
                scaled = [edge / reach if reach else "" for edge in (low, high)]
                where = ["all", low, high, *scaled, region(low, high, reach)]
                add(comparison, group, where, sums)
            add(comparison, group, ["same atom", *[""] * 5], pairs.same_atom())
            for name, sums in pairs.by_elements():
                add(comparison, group, [name, *[""] * 5], sums)
            for name, sums in pairs.farther_than(reach).by_elements():
                add(comparison, group, [name, *[""] * 4, BEYOND], sums)
    return rows


def flat_values(
    comparison: Comparison,
    groups: Mapping[str, Sequence[int]],
    edges: Sequence[float],
    beyond: float,
) -> dict[str, float]:
    """Numbers by name for ``results.csv``; what is not defined is left out.

    Parameters
    ----------
    beyond : float
        Distance that divides near and far blocks, A.
    """
    found: dict[str, float] = {"reach_A": comparison.reach, "beyond_A": beyond}
    for group, members in groups.items():
        pairs = comparison.pairs.of_frames(members)
        named = {"within": pairs.within(beyond), "beyond": pairs.beyond(beyond)}
        named |= {f"{low:g}_{high:g}A": sums for low, high, sums in pairs.by_distance(edges)}
        frequencies = frequency_values([comparison.frames[i] for i in members])
        values = {
            f"{measure}_{place}": getattr(sums, measure)
            for place, sums in named.items()
            for measure in ("error", "norm", "cosine", "noise")
        }
        values |= {f"frequencies_{name}": value for name, value in frequencies.items()}
        prefix = "" if group == ALL else f"{group}/"
        found |= {f"{prefix}{name}": value for name, value in values.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def without_nan(value: Any) -> Any:
    """The same plain data with None for NaN."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _by_elements(pairs: PairBlocks) -> list[dict[str, Any]]:
    return [{"elements": name, **sums.values()} for name, sums in pairs.by_elements()]


def _frame(frame: FrameComparison) -> dict[str, Any]:
    return {
        "source": frame.source,
        "atoms": frame.atoms,
        "asymmetry": frame.asymmetry,
        "sum_rule": frame.sum_rule,
        "reference_asymmetry": frame.reference_asymmetry,
        "reference_sum_rule": frame.reference_sum_rule,
        "frequencies": frequency_values([frame]),
        "reference_frequencies": frame.modes.reference.tolist(),
        "model_frequencies": frame.modes.model.tolist(),
        "overlaps": frame.modes.overlap.tolist(),
    }

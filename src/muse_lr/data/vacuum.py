"""Empty gaps along periodic axes, which suggest that the structure is open there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

#: Widest gap between neighboring planes of atoms along an axis without a question, A.
VACUUM = 8.0
AXES = "abc"


@dataclass(frozen=True)
class GapQuestion:
    """Question about empty gaps of a structure.

    Attributes
    ----------
    text : str
    boundary : str
        ``pbc`` without the axes that have a gap, such as ``"T T F"``.
    width : float
        Widest gap, A.
    """

    text: str
    boundary: str
    width: float


def gap_question(atoms: Atoms) -> GapQuestion | None:
    """Question about empty gaps along the periodic axes, or None if there are none.

    The gap along an axis is the largest distance, normal to the other two cell vectors, between
    neighboring atoms of the wrapped structure. It does not depend on how the atoms are wrapped.
    """
    if not len(atoms) or atoms.pbc.sum() < 2:  # a single periodic axis is refused anyway
        return None
    empty = {axis: gap for axis, gap in _gaps(atoms).items() if gap > VACUUM}
    if not empty:
        return None
    left = [bool(p) and axis not in empty for axis, p in enumerate(atoms.pbc)]
    stated, written = (" ".join("FT"[int(p)] for p in pbc) for pbc in (atoms.pbc, left))
    names = enumerated([AXES[axis] for axis in empty])
    sizes = enumerated([f"{gap:.1f}" for gap in empty.values()])
    text = f'pbc is "{stated}", but the cell is empty over {sizes} A along {names}'
    if sum(left) == 1:
        text += ": is it a wire? Models support FFF, TTF and TTT only, so that it stays as it is"
    else:
        shape = "slab" if any(left) else "molecule"
        text += (
            f': is it a {shape}? Then write pbc="{written}", or its images interact in the model. '
            f"Keep pbc if they do in the labels too (a polar {shape} without dipole correction)"
        )
    return GapQuestion(text, written, max(empty.values()))


def enumerated(words: Sequence[str]) -> str:
    """Words as in "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _gaps(atoms: Atoms) -> dict[int, float]:
    """Gap along each periodic axis, A."""
    from muse_lr.structures.neighbors import complete_cell

    inverse = np.linalg.inv(complete_cell(atoms.cell.array, atoms.pbc))  # columns: reciprocal
    heights = 1 / np.linalg.norm(inverse, axis=0)
    gaps = {}
    for axis in np.flatnonzero(atoms.pbc):
        places = np.sort((atoms.positions @ inverse[:, axis]) % 1.0)
        steps = np.diff(places, append=places[0] + 1.0)
        gaps[int(axis)] = float(steps.max() * heights[axis])
    return gaps

"""Comparison of a model's Hessian with a reference.

:mod:`.blocks` compares 3 x 3 blocks by distance and by pair of elements, :mod:`.modes` frequencies
and eigenvectors. :mod:`.reach` says how far the parts of a model reach. :mod:`.comparison` compares
all frames of a file, and continues where it was interrupted. The Hessians of a model are those of
:func:`muse_lr.model.hessian.hessian`.
"""

from muse_lr.analysis.hessian.blocks import BlockSums, PairBlocks, pair_blocks
from muse_lr.analysis.hessian.comparison import Comparison, compare
from muse_lr.analysis.hessian.modes import Modes, compare_modes, normal_modes
from muse_lr.analysis.hessian.reach import backbone_reach, reach_lines

__all__ = [
    "BlockSums",
    "Comparison",
    "Modes",
    "PairBlocks",
    "backbone_reach",
    "compare",
    "compare_modes",
    "normal_modes",
    "pair_blocks",
    "reach_lines",
]

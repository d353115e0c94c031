"""Compare the Hessians of a model with a reference, frame by frame."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.analysis.hessian.blocks import PairBlocks, joined, pair_blocks
from muse_lr.analysis.hessian.modes import ModeComparison, compare_modes
from muse_lr.analysis.hessian.reach import backbone_reach, reach_lines
from muse_lr.data.hessians import HessianFrame
from muse_lr.errors import InputError
from muse_lr.model.digest import model_digest, structure_digest
from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.hessian import MEMORY, exact_copy, hessian
from muse_lr.utils.files import atomic_write

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FrameComparison:
    """What is known of one frame beside its blocks.

    Attributes
    ----------
    source : str
    atoms : int
        Number of atoms.
    modes : ModeComparison
    asymmetry, sum_rule : float
        Largest difference of the model's Hessian and its transpose, and of a sum over a row of its
        blocks from zero, eV/A^2: both are rounding errors.
    reference_asymmetry, reference_sum_rule : float
        The same of the reference: both are noise.
    """

    source: str
    atoms: int
    modes: ModeComparison
    asymmetry: float
    sum_rule: float
    reference_asymmetry: float
    reference_sum_rule: float


@dataclass(frozen=True)
class Comparison:
    """A model beside the reference.

    Attributes
    ----------
    name : str
        Name of the model.
    reach : float
        Distance beyond which the Hessian of its backbone vanishes, A.
    parts : dict of str to str
        Reach of each part in words.
    pairs : PairBlocks
        Blocks of all frames.
    frames : list of FrameComparison
    """

    name: str
    reach: float
    parts: dict[str, str]
    pairs: PairBlocks
    frames: list[FrameComparison]


def compare(
    model: EnergyModel,
    frames: Sequence[HessianFrame],
    name: str = "model",
    directory: Path | None = None,
    memory: float = MEMORY,
    report: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Compute the Hessians of a model in float64 and compare them with the reference.

    Parameters
    ----------
    model : EnergyModel
    frames : sequence of HessianFrame
        With at least one frame.
    name : str
    directory : Path, optional
        Each Hessian is written there once it is computed. One of the same model and structure that
        is there already is read instead, so that an interrupted comparison continues.
    memory : float
        Bound of the memory of the tensors, GB.
    report : callable
        Receives a line after each frame.

    Raises
    ------
    InputError
        If the model does not support a structure or has no Hessian, or if a file cannot be written.
    """
    exact = exact_copy(model)
    digest = "" if directory is None else model_digest(exact)
    pairs, compared = [], []
    for index, frame in enumerate(frames):
        start = time.perf_counter()
        try:
            if directory is None:
                matrix = hessian(exact, frame.atoms, memory=memory)
            else:
                path = directory / f"{index:04d}.npz"
                matrix = _stored(path, exact, digest, frame.atoms, memory)
        except InputError as error:
            raise InputError(f"{name}: {frame.source}: {error}") from error
        pairs.append(pair_blocks(frame.atoms, matrix, frame.hessian, index))
        compared.append(_frame_comparison(frame, matrix))
        report(
            f"{name}: Hessian {index + 1} of {len(frames)}, {len(frame.atoms)} atoms, "
            f"{time.perf_counter() - start:.1f} s"
        )
    return Comparison(name, backbone_reach(model), reach_lines(model), joined(pairs), compared)


def _frame_comparison(frame: HessianFrame, matrix: Array) -> FrameComparison:
    reference = frame.hessian
    return FrameComparison(
        frame.source,
        len(frame.atoms),
        compare_modes(frame.atoms, matrix, reference),
        float(np.abs(matrix - matrix.T).max()),
        _sum_rule(matrix),
        float(np.abs(reference - reference.T).max()),
        _sum_rule(reference),
    )


def _sum_rule(matrix: Array) -> float:
    """Largest force on an atom per distance of a translation, eV/A^2."""
    n = len(matrix) // 3
    return float(np.abs(matrix.reshape(3 * n, n, 3).sum(1)).max())


def _stored(path: Path, model: EnergyModel, digest: str, atoms: Atoms, memory: float) -> Array:
    """Read the Hessian from a file, or compute and write it."""
    key = f"{digest} {structure_digest([atoms])}"
    found = _read(path, key)
    if found is not None:
        return found
    matrix = hessian(model, atoms, memory=memory)
    with atomic_write(path, "wb") as handle:
        np.savez(handle, hessian=matrix, key=np.array(key))
    return matrix


def _read(path: Path, key: str) -> Array | None:
    """The Hessian of a file with this key; None for any other file."""
    try:
        with np.load(path, allow_pickle=False) as content:
            if str(content["key"]) != key:
                return None
            matrix: Array = content["hessian"]
            return matrix
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None

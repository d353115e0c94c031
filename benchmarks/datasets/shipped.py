"""The frames that ship already, so that a computation goes on where they end."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms

from muse_lr.data.reading import read_atoms

DATASETS = Path(__file__).resolve().parents[2] / "src/muse_lr/datasets"


def shipped_frames(name: str) -> list[Atoms]:
    """All frames of a set such as ``ion_pairs``, whatever their split."""
    return [a for path in sorted(DATASETS.glob(f"{name}_*.xyz.xz")) for a in read_atoms(path)]


def shipped_names(name: str) -> set[str]:
    """Their names."""
    return {atoms.info["name"] for atoms in shipped_frames(name)}

"""Coarse nodes of one structure, as arrays and as structures to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.errors import InputError
from muse_lr.math.switching import switch_off
from muse_lr.model.energy_model import EnergyModel
from muse_lr.multiscale.base import Assignment, CoarseNodes
from muse_lr.multiscale.muse.hierarchy import Muse
from muse_lr.multiscale.muse.level import Level
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.state import COARSE_INDEX, STATE_KEYS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Keys of info that are kept; labels are not.


@dataclass(frozen=True)
class LevelSummary:
    """Coarse nodes of one level in a structure of n atoms, and the shares of the atoms.

    Attributes
    ----------
    radius : float
        Radius of a node, A.
    atoms : ndarray
        (n_nodes,) index of the atom at the position of each node.
    mass : ndarray
        (n_nodes,) mass in (0, 1].
    pairs : ndarray
        (p, 2) sorted pairs of atom and node with a nonzero share.
    shares : ndarray
        (p,) share S_iK of each pair, summed over the periodic images of the node.
    coverage : ndarray
        (n,) sum over the nodes and their images of mass times the window at their distance.
    bound : float or None
        Proven lower bound of the coverage of every atom; None if an atom can be uncovered.
    """

    radius: float
    atoms: Integers
    mass: Floats
    pairs: Integers
    shares: Floats
    coverage: Floats
    bound: float | None

    @property
    def kept(self) -> float:
        """Number of nodes divided by the number of atoms."""
        return len(self.atoms) / len(self.coverage)

    @property
    def census(self) -> str:
        """Number of nodes and atoms as text."""
        nodes, atoms = len(self.atoms), len(self.coverage)
        plural = "" if nodes == 1 else "s"
        return f"{nodes} node{plural} for {atoms} atoms ({100 * self.kept:.1f} %)"

    @property
    def held(self) -> Floats:
        """Sum of the shares of each node, (n_nodes,)."""
        held = np.zeros(len(self.atoms))
        np.add.at(held, self.pairs[:, 1], self.shares)
        return held

    @property
    def largest(self) -> tuple[Integers, Floats]:
        """Node with the largest share of each atom (-1: none) and this share, both (n,)."""
        node = np.full(len(self.coverage), -1, dtype=np.int64)
        share = np.zeros(len(self.coverage))
        order = np.argsort(self.shares, kind="stable")
        # Later assignments overwrite earlier ones, so that the largest share is written last.
        node[self.pairs[order, 0]] = self.pairs[order, 1]
        share[self.pairs[order, 0]] = self.shares[order]
        return node, share


def summarize(model: EnergyModel, atoms: Atoms) -> list[LevelSummary]:
    """Compute the coarse nodes of a model for one structure, level by level.

    Raises
    ------
    InputError
        If the model has no coarse nodes, or cannot describe the structure.
    """
    hierarchy = model.multiscale
    if hierarchy is None or hierarchy.level_count == 0:
        section = model.config.multiscale
        what = "null" if section is None else f"of the kind {section.kind}"
        raise InputError(
            f"the model has no coarse nodes, because model.multiscale is {what}: train a model "
            "with model.multiscale: {kind: muse}"
        )
    batch = AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    with torch.no_grad():
        levels = model(batch).levels
    parts = [cast("Level", level) for level in cast("Muse", hierarchy).levels]
    return [
        _summary(part, nodes, assignment, len(atoms))
        for part, (nodes, assignment) in zip(parts, levels, strict=True)
    ]


def _summary(
    level: Level, nodes: CoarseNodes, assignment: Assignment, n_atoms: int
) -> LevelSummary:
    size, choice = level.size, level.choice
    window = switch_off(assignment.lengths, size.inner, size.radius)
    covered = window.new_zeros(n_atoms)
    covered = covered.index_add(0, assignment.atom, nodes.mass[assignment.node] * window)
    pairs, image = torch.stack([assignment.atom, assignment.node], 1).unique(
        dim=0, return_inverse=True
    )
    shares = window.new_zeros(len(pairs)).index_add(0, image, assignment.share)
    shared = shares > 0
    return LevelSummary(
        radius=size.radius,
        atoms=nodes.atoms.cpu().numpy(),
        mass=_floats(nodes.mass),
        pairs=pairs[shared].cpu().numpy(),
        shares=_floats(shares[shared]),
        coverage=_floats(covered),
        bound=choice.coverage,
    )


def _floats(values: torch.Tensor) -> Floats:
    array: Floats = values.double().cpu().numpy()
    return array


def described_atoms(atoms: Atoms, levels: Sequence[LevelSummary]) -> Atoms:
    """Copy of the atoms with arrays level<l>_mass, _node, _share and _coverage per level."""
    described = _bare(atoms)
    for number, level in enumerate(levels, 1):
        mass = np.zeros(len(atoms))
        mass[level.atoms] = level.mass
        node, share = level.largest
        described.arrays[f"level{number}_mass"] = mass
        described.arrays[f"level{number}_node"] = node
        described.arrays[f"level{number}_share"] = share
        described.arrays[f"level{number}_coverage"] = level.coverage
    return described


def node_structures(atoms: Atoms, levels: Sequence[LevelSummary]) -> list[Atoms]:
    """Nodes of each level as atoms X with the arrays node_mass, atom and held."""
    structures = []
    for number, level in enumerate(levels, 1):
        nodes = Atoms(
            np.zeros(len(level.atoms), dtype=np.int64),
            positions=atoms.positions[level.atoms],
            cell=atoms.cell,
            pbc=atoms.pbc,
            info={"level": number, "radius": level.radius},
        )
        nodes.arrays["node_mass"] = level.mass
        nodes.arrays["atom"] = level.atoms
        nodes.arrays["held"] = level.held
        structures.append(nodes)
    return structures


def _bare(atoms: Atoms) -> Atoms:
    info = {key: atoms.info[key] for key in STATE_KEYS if key in atoms.info}
    bare = Atoms(
        atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=info
    )
    if COARSE_INDEX in atoms.arrays:
        bare.arrays[COARSE_INDEX] = atoms.arrays[COARSE_INDEX].copy()
    return bare

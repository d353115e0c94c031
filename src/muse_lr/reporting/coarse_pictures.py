"""Figures of coarse nodes: atoms colored by node, node areas proportional to their mass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from muse_lr.reporting.coarse_summary import LevelSummary
from muse_lr.reporting.style import COLORS, MUTED, REFERENCE, grid, styled
from muse_lr.structures.neighbors import neighbor_list

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

#: Radius of a node of mass 1, A.
NODE_RADIUS = 0.9
#: Radius of an atom in the figure, relative to its covalent radius.
ATOM_SCALE = 0.5
#: Largest bond length, relative to the sum of the covalent radii.
BOND = 1.2
#: Font sizes of the node numbers, points; smaller nodes have no number.
LARGEST_NUMBER, SMALLEST_NUMBER = 6.5, 3.5
#: Color of an atom without a node.
NOBODY = "#bbbbbb"
#: Width of a panel and height of its captions, inches.
WIDTH, CAPTIONS = 4.6, 0.7
#: Empty margin around the atoms, A.
MARGIN = 0.4
EXPLANATION = (
    "Circles with edges: nodes with their number; area proportional to mass.\n"
    "Atoms: color of the node with the largest share of the atom,\n"
    "paler if that share is small."
)


@dataclass(frozen=True)
class View:
    """A projection: ``positions @ axes`` are x, y and depth, which points toward the viewer."""

    name: str
    axes: Array


@styled
def coarse_picture(atoms: Atoms, levels: Sequence[LevelSummary], title: str = "") -> Figure:
    """Draw the coarse nodes: one row per level, one column per view."""
    seen = views(atoms)
    frames = [_frame(atoms, view) for view in seen]
    tallest = max((high[1] - low[1]) / (high[0] - low[0]) for low, high in frames)
    height = WIDTH * float(np.clip(tallest, 0.4, 1.5)) + CAPTIONS
    figure, axes = grid(len(levels) * len(seen), len(seen), WIDTH, height)
    if title:
        figure.suptitle(title, fontsize=10, fontweight="bold")
    for row, level in enumerate(levels):
        colors = node_colors(atoms, level)
        for column, (view, frame) in enumerate(zip(seen, frames, strict=True)):
            ax = axes[row * len(seen) + column]
            _prepare(ax, frame)
            _draw_lines(ax, atoms, view)
            _draw_atoms(ax, atoms, level, view, colors)
            _draw_nodes(ax, atoms, level, view, colors)
            ax.set_title(_caption(row + 1, level) if column == 0 else "", loc="left")
            ax.set_xlabel(view.name)
    figure.supxlabel(EXPLANATION, fontsize=8, color=MUTED)
    return figure


def views(atoms: Atoms) -> list[View]:
    """Views: a molecule along its shortest extent, a lattice from above and from the side."""
    if not atoms.pbc.any():
        centered = atoms.positions - atoms.positions.mean(0)
        rows = np.linalg.svd(np.vstack([centered, np.zeros((3, 3))]))[2]
        return [View("along its shortest extent", _right_handed(rows.T))]
    # The open vector of a slab comes last; otherwise the third one.
    open_axes = np.flatnonzero(~atoms.pbc)
    last = int(open_axes[0]) if len(open_axes) else 2
    first, second = atoms.cell.array[(last + 1) % 3], atoms.cell.array[(last + 2) % 3]
    x = first / np.linalg.norm(first)
    z = np.cross(first, second)
    z /= np.linalg.norm(z)
    y = np.cross(z, x)
    side = np.stack([x, z, -y], axis=1)
    return [View("from above", np.stack([x, y, z], axis=1)), View("from the side", side)]


def _right_handed(axes: Array) -> Array:
    # Signs of singular vectors are arbitrary; the largest component is made positive.
    largest = np.abs(axes).argmax(0)
    axes = axes * np.sign(axes[largest, range(3)])
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    return axes


def node_colors(atoms: Atoms, level: LevelSummary) -> list[str]:
    """Choose a color for each node, such that nodes of the same color are far apart.

    In order of decreasing mass, each node gets the color whose nearest node, periodic images
    included, is farthest away.
    """
    order = np.argsort(-level.mass, kind="stable")
    chosen: list[int] = []
    for place, node in enumerate(order):
        room = np.full(len(COLORS), np.inf)
        if chosen:
            before = level.atoms[order[:place]]
            np.minimum.at(room, chosen, _distances(atoms, level.atoms[node], before))
        chosen.append(int(room.argmax()))
    colors = dict(zip(order.tolist(), chosen, strict=True))
    return [COLORS[colors[node]] for node in range(len(order))]


def _distances(atoms: Atoms, center: int, others: NDArray[np.int64]) -> Array:
    distances: Array = atoms.get_distances(center, others, mic=bool(atoms.pbc.any()))
    return distances


def _frame(atoms: Atoms, view: View) -> tuple[Array, Array]:
    """Lower left and upper right corner of the figure."""
    placed = (atoms.positions @ view.axes)[:, :2]
    low, high = placed.min(0) - NODE_RADIUS, placed.max(0) + NODE_RADIUS
    if atoms.pbc.any():
        corners = (_corners(atoms) @ view.axes)[:, :2]
        low, high = np.minimum(low, corners.min(0)), np.maximum(high, corners.max(0))
    return low - MARGIN, high + MARGIN


def _prepare(ax: Axes, frame: tuple[Array, Array]) -> None:
    low, high = frame
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], aspect="equal")
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)


def _draw_lines(ax: Axes, atoms: Atoms, view: View) -> None:
    """Draw the cell edges, and the bonds that do not cross the boundary of the cell."""
    reach = BOND * covalent_radii[atoms.numbers]
    # Without periodic directions, no bond crosses the boundary.
    open_box = np.eye(3), np.zeros(3, dtype=bool)
    (first, second), _ = neighbor_list(atoms.positions, *open_box, 2 * float(reach.max(initial=0)))
    length = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
    drawn = (length < reach[first] + reach[second]) & (first < second)
    placed = (atoms.positions @ view.axes)[:, :2]
    bonds = np.stack([placed[first], placed[second]], axis=1)[drawn]
    ax.add_collection(LineCollection(list(bonds), colors="#aaaaaa", linewidths=1.2, zorder=1))
    if atoms.pbc.any():
        corners, edges = (_corners(atoms) @ view.axes)[:, :2], _cell_edges()
        lines = [corners[[i, j]] for i, j in edges]
        ax.add_collection(LineCollection(lines, colors=MUTED, linewidths=0.7, zorder=0))


def _draw_atoms(
    ax: Axes, atoms: Atoms, level: LevelSummary, view: View, colors: Sequence[str]
) -> None:
    """Draw atoms as circles in units of the axes, the farthest first."""
    placed = atoms.positions @ view.axes
    order = np.argsort(placed[:, 2])
    size = 2 * ATOM_SCALE * covalent_radii[atoms.numbers[order]]
    faces = _atom_colors(level, colors)
    ax.add_collection(
        EllipseCollection(
            size,
            size,
            np.zeros(len(size)),
            units="xy",
            offsets=placed[order, :2],
            offset_transform=ax.transData,
            facecolors=[faces[i] for i in order],
            edgecolors="#555555",
            linewidths=0.4,
            zorder=2,
        )
    )


def _draw_nodes(
    ax: Axes, atoms: Atoms, level: LevelSummary, view: View, colors: Sequence[str]
) -> None:
    """Draw nodes as circles with numbers above all atoms, the farthest first."""
    placed = atoms.positions[level.atoms] @ view.axes
    left, right = ax.get_xlim()
    scale = 72 * WIDTH / (right - left)  # points per A
    for layer, node in enumerate(np.argsort(placed[:, 2]).tolist()):
        x, y, _ = placed[node]
        radius = NODE_RADIUS * float(level.mass[node]) ** 0.5
        zorder = 3 + layer / len(placed)
        circle = Circle((x, y), radius, zorder=zorder)
        circle.set(facecolor=colors[node], edgecolor=REFERENCE, linewidth=1.4)
        ax.add_patch(circle)
        number = min(LARGEST_NUMBER, radius * scale)
        if number >= SMALLEST_NUMBER:
            label = ax.text(x, y, str(node), zorder=zorder, fontsize=number, color="white")
            label.set(ha="center", va="center")


def _atom_colors(level: LevelSummary, colors: Sequence[str]) -> list[tuple[float, ...]]:
    """Color of the node with the largest share of each atom, paler for a small share."""
    nodes, shares = level.largest
    found = []
    for node, share in zip(nodes, shares, strict=True):
        own = np.array(to_rgb(colors[node] if node >= 0 else NOBODY))
        strength = 0.15 + 0.75 * share if node >= 0 else 0.5
        found.append(tuple(1 - strength * (1 - own)))
    return found


def _corners(atoms: Atoms) -> Array:
    """Corners of the cell, (8, 3); open vectors count as zero."""
    vectors = atoms.cell.array * atoms.pbc[:, None]
    return np.array(list(product((0, 1), repeat=3))) @ vectors


def _cell_edges() -> list[tuple[int, int]]:
    """Pairs of indices of :func:`_corners` that differ by one cell vector."""
    # The bits of an index give the cell vectors of the corner.
    return [(i, j) for i in range(8) for j in range(i) if (i ^ j).bit_count() == 1]


def _caption(number: int, level: LevelSummary) -> str:
    return f"level {number}, radius {level.radius:g} A: {level.census}"

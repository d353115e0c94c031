"""Figures of coarse nodes: atoms with their element, colored by node; node areas by mass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.patheffects import Normal, Stroke
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
#: Font sizes of the element symbols, points; smaller atoms have none. Size of the node numbers.
LARGEST_SYMBOL, SMALLEST_SYMBOL, NODE_NUMBER = 7.0, 3.5, 7.0
#: Colors of nodes: the palette of all figures and eight colors of Tol's muted scheme.
NODE_COLORS = (
    *COLORS,
    *("#882255", "#999933", "#332288", "#44AA99", "#661100", "#117733", "#DDCC77", "#AA4499"),
)
#: Color of an atom without a node, and of the legend.
NOBODY, LEGEND = (1.0, 1.0, 1.0), "#8a8a8a"
#: Opacity of the area of a node.
NODE_ALPHA = 0.28
#: Width of a panel and height of its captions, inches; share of the width inside of the axes.
WIDTH, CAPTIONS, INSIDE = 5.0, 1.15, 0.85
#: Empty margin around the atoms, A.
MARGIN = 0.4


@dataclass(frozen=True)
class View:
    """A projection: ``positions @ axes`` are x, y and depth, which points toward the viewer.

    ``labels`` say what the directions x and y are.
    """

    name: str
    axes: Array
    labels: tuple[str, str]


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
            scale = _prepare(ax, view, frame)
            _draw_lines(ax, atoms, view)
            _draw_atoms(ax, atoms, level, view, colors)
            _draw_symbols(ax, atoms, level, view, colors, scale)
            _draw_nodes(ax, atoms, level, view, colors)
            ax.set_title(_caption(row + 1, level) if column == 0 else "", loc="left")
    _add_legend(figure, atoms, levels, scale, 4 if len(seen) > 1 else 1)
    return figure


def views(atoms: Atoms) -> list[View]:
    """Views: a molecule along its shortest extent, a lattice from above and from the side."""
    if not atoms.pbc.any():
        centered = atoms.positions - atoms.positions.mean(0)
        rows = np.linalg.svd(np.vstack([centered, np.zeros((3, 3))]))[2]
        labels = ("longest extent (Å)", "second extent (Å)")
        return [View("seen along the shortest extent", _right_handed(rows.T), labels)]
    # The open vector of a slab comes last; otherwise the third one.
    open_axes = np.flatnonzero(~atoms.pbc)
    last = int(open_axes[0]) if len(open_axes) else 2
    chosen = (last + 1) % 3
    first, second = atoms.cell.array[chosen], atoms.cell.array[(last + 2) % 3]
    x = first / np.linalg.norm(first)
    z = np.cross(first, second)
    z /= np.linalg.norm(z)
    y = np.cross(z, x)
    side = np.stack([x, z, -y], axis=1)
    along, normal = f"along cell vector {'abc'[chosen]} (Å)", "perpendicular to it (Å)"
    return [
        View("seen from above", np.stack([x, y, z], axis=1), (along, normal)),
        View("seen from the side", side, (along, "height (Å)")),
    ]


def _right_handed(axes: Array) -> Array:
    # Signs of singular vectors are arbitrary; the largest component is made positive.
    largest = np.abs(axes).argmax(0)
    axes = axes * np.sign(axes[largest, range(3)])
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    return axes


def node_colors(atoms: Atoms, level: LevelSummary) -> list[str]:
    """Choose a color for each node: all different for up to 15 nodes, else alike far apart.

    In order of decreasing mass, each node gets the color whose nearest node, periodic images
    included, is farthest away.
    """
    order = np.argsort(-level.mass, kind="stable")
    chosen: list[int] = []
    for place, node in enumerate(order):
        room = np.full(len(NODE_COLORS), np.inf)
        if chosen:
            before = level.atoms[order[:place]]
            np.minimum.at(room, chosen, _distances(atoms, level.atoms[node], before))
        chosen.append(int(room.argmax()))
    colors = dict(zip(order.tolist(), chosen, strict=True))
    return [NODE_COLORS[colors[node]] for node in range(len(order))]


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


def _prepare(ax: Axes, view: View, frame: tuple[Array, Array]) -> float:
    """Set limits, ticks and labels; return the number of points per A."""
    low, high = frame
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    ax.set(xlabel=f"{view.labels[0]}\n{view.name}", ylabel=view.labels[1])
    ax.grid(False)
    ax.locator_params(nbins=6)
    return float(72 * INSIDE * WIDTH / (high[0] - low[0]))


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


def _draw_symbols(
    ax: Axes, atoms: Atoms, level: LevelSummary, view: View, colors: Sequence[str], scale: float
) -> None:
    """Write the element into each visible atom that is large enough; ``scale``: points per A."""
    placed = atoms.positions @ view.axes
    radius, faces = ATOM_SCALE * covalent_radii[atoms.numbers], _atom_colors(level, colors)
    for i, (x, y, depth) in enumerate(placed):
        size = _symbol_size(int(atoms.numbers[i]), scale)
        apart = np.hypot(placed[:, 0] - x, placed[:, 1] - y)
        if size < SMALLEST_SYMBOL or (apart < radius)[placed[:, 2] > depth].any():
            continue
        dark = np.dot(faces[i], (0.30, 0.59, 0.11)) < 0.5  # luminance
        label = ax.text(x, y, atoms.symbols[i], fontsize=size, zorder=3, clip_on=True)
        label.set(ha="center", va="center_baseline", color="white" if dark else REFERENCE)


def _symbol_size(z: int, scale: float) -> float:
    """Font size of a symbol that fits into the circle of its atom, points."""
    return float(min(LARGEST_SYMBOL, 1.4 * ATOM_SCALE * covalent_radii[z] * scale))


def _draw_nodes(
    ax: Axes, atoms: Atoms, level: LevelSummary, view: View, colors: Sequence[str]
) -> None:
    """Draw nodes as areas below the atoms with an edge above them, numbered at the edge."""
    placed = atoms.positions[level.atoms] @ view.axes
    for node, (x, y, _) in enumerate(placed):
        radius = NODE_RADIUS * float(level.mass[node]) ** 0.5
        area = Circle((x, y), radius, facecolor=colors[node], alpha=NODE_ALPHA, zorder=0.5)
        edge = Circle((x, y), radius, fill=False, edgecolor=colors[node], linewidth=2, zorder=4)
        ax.add_patch(area)
        ax.add_patch(edge)
        shift = 0.71 * radius
        label = ax.text(x + shift, y + shift, str(node), fontsize=NODE_NUMBER, fontweight="bold")
        label.set(ha="left", va="bottom", color=REFERENCE, zorder=5)
        label.set_path_effects([Stroke(linewidth=2, foreground="white"), Normal()])


def _add_legend(
    figure: Figure, atoms: Atoms, levels: Sequence[LevelSummary], scale: float, columns: int
) -> None:
    """Explain nodes, shares, lines, and elements whose atoms are too small for a symbol."""
    handles: dict[str, Line2D] = {}
    if any(len(level.atoms) for level in levels):
        node = _circle((*to_rgb(LEGEND), NODE_ALPHA), 13.0)
        node.set(markeredgecolor=LEGEND, markeredgewidth=2)
        handles["node with its number (area: mass)"] = node
        handles["atom (color: node of the largest share)"] = _circle(_paler(LEGEND, 1.0))
        handles["atom with a largest share of 0.2"] = _circle(_paler(LEGEND, 0.2))
    if any((level.largest[0] < 0).any() for level in levels):
        handles["atom without a node"] = _circle(NOBODY)
    for z in np.unique(atoms.numbers).tolist():
        if _symbol_size(z, scale) < SMALLEST_SYMBOL:
            size = 16 * float(covalent_radii[z])
            handles[f"{chemical_symbols[z]} (size)"] = _circle(_paler(LEGEND, 0.2), size)
    if atoms.pbc.any():
        handles["cell"] = Line2D([], [], color=MUTED, linewidth=0.7)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)


def _circle(face: tuple[float, ...], size: float = 8.0) -> Line2D:
    circle = Line2D([], [], marker="o", linestyle="none", markersize=size)
    circle.set(markerfacecolor=face, markeredgecolor="#555555")
    return circle


def _atom_colors(level: LevelSummary, colors: Sequence[str]) -> list[tuple[float, ...]]:
    """Color of the node with the largest share of each atom, paler for a small share."""
    nodes, shares = level.largest
    found = []
    for node, share in zip(nodes, shares, strict=True):
        found.append(_paler(colors[node], share) if node >= 0 else NOBODY)
    return found


def _paler(color: str, share: float) -> tuple[float, ...]:
    """Mix a color with white, the more the smaller the share is."""
    strength = 0.15 + 0.75 * share
    return tuple(1 - strength * (1 - value) for value in to_rgb(color))


def _corners(atoms: Atoms) -> Array:
    """Corners of the cell, (8, 3); open vectors count as zero."""
    vectors = atoms.cell.array * atoms.pbc[:, None]
    return np.array(list(product((0, 1), repeat=3))) @ vectors


def _cell_edges() -> list[tuple[int, int]]:
    """Pairs of indices of :func:`_corners` that differ by one cell vector."""
    # The bits of an index give the cell vectors of the corner.
    return [(i, j) for i in range(8) for j in range(i) if (i ^ j).bit_count() == 1]


def _caption(number: int, level: LevelSummary) -> str:
    return f"level {number}, radius {level.radius:g} Å: {level.census}"

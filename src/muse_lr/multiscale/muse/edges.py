"""Neighbor lists of coarse nodes, computed in every evaluation since the nodes change."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from muse_lr.math.filtered_sums import FilteredSums, dense_sums
from muse_lr.math.pair_sums import arrange_pairs, pair_sums
from muse_lr.math.switching import smoothstep, switch_off
from muse_lr.multiscale.base import CoarseNodes
from muse_lr.multiscale.muse.coarse import CoarseEdges
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.host_tables import HostTables
from muse_lr.structures.neighbor_tables import ImageTable, NeighborTables, image_table
from muse_lr.structures.neighbors import neighbor_list

#: Graphs with more candidates (pairs times images) use a cell list, one graph at a time. A cell
#: list takes about 0.2 ms, as do 5000 candidates on a CPU. On other devices it also needs a
#: transfer to the host.
MOST_CANDIDATES, MOST_CANDIDATES_ELSEWHERE = 10_000, 2_000_000
#: Approximate number of candidates that are processed at once; each needs about 150 bytes.
AT_ONCE = 4_000_000


@dataclass(frozen=True)
class MessageWindow:
    """Window of the distance between two nodes, A.

    It rises from 0 at ``near`` / 2 to 1 at ``near`` and decays from ``far`` / 2 to 0 at ``far``.
    Nodes within ``near`` of each other stand for the same atoms, whose surroundings the features of
    both contain. Without the rise, the sum of the messages would change as atoms move from one of
    them to the other, and a node would have to send a message to itself.
    """

    near: float
    far: float

    def __call__(self, lengths: Tensor) -> Tensor:
        """(n_edges,) between 0 and 1."""
        rise = smoothstep((2 * lengths - self.near) / self.near)
        return rise * switch_off(lengths, self.far / 2, self.far)


def coarse_edges(
    nodes: CoarseNodes,
    content: Tensor,
    geometry: Geometry,
    window: MessageWindow,
    mean_content: Tensor,
    tables: HostTables | None = None,
) -> CoarseEdges:
    r"""Edges between the nodes of each graph and their quadrature weights, differentiable.

    .. math:: W_{KL} = \frac{M_L w(R_{KL})}{M_0 + \sum_{L'} M_{L'} w(R_{KL'})}

    A sum over the edges of a node approximates a sum over the atoms within the window, divided by
    their number. It is of order 1 in molecules and in dense matter.

    Parameters
    ----------
    nodes : CoarseNodes
    content : Tensor
        (n_nodes,) contents M_K.
    geometry : Geometry
    window : MessageWindow
        Window w.
    mean_content : Tensor
        M_0, a number.
    tables : HostTables, optional
        Tables of these nodes.
    """
    tables = tables or HostTables()
    coarse = coarse_geometry(nodes, geometry, window.far, tables)
    lengths = coarse.edge_lengths.to(content.dtype)
    sender, receiver = coarse.edge_index
    weights = window(lengths) * content.index_select(0, sender)
    total = torch.zeros_like(content).index_add(0, receiver, weights) + mean_content
    weights = weights / total.index_select(0, receiver)
    vectors = coarse.edge_vectors.to(content.dtype)
    size = content.shape[0]
    general = tables.general
    arranged = tables.get("pairs of nodes", lambda: arrange_pairs(sender, receiver, size, general))
    pairs = pair_sums(arranged, size, size)
    # In small boxes most nodes are neighbors, often in several images.
    dense = None if general else dense_sums(coarse.edge_index, size)
    sums = dense or FilteredSums(pairs)
    return CoarseEdges(coarse.edge_index, vectors, lengths, weights, pairs, sums)


def coarse_geometry(
    nodes: CoarseNodes, geometry: Geometry, cutoff: float, tables: HostTables | None = None
) -> Geometry:
    """A geometry with the nodes as sites and with edges up to ``cutoff`` (A; 0 for no edges)."""
    positions = geometry.positions[nodes.atoms]

    def make() -> tuple[Tensor, ...]:
        """Edges, the distinct images with their graphs, the image of each edge, and ``ptr``."""
        index = torch.zeros((2, 0), dtype=torch.int64, device=positions.device)
        shift = positions.new_zeros((0, 3))
        if cutoff > 0:
            index, shift = _search(positions.detach(), nodes.graph_index, geometry, cutoff)
        graphs = nodes.graph_index.index_select(0, index[1])
        images = image_table(shift, graphs, geometry.num_graphs)
        counts = torch.bincount(nodes.graph_index, minlength=geometry.num_graphs)
        ptr = torch.cat([counts.new_zeros(1), torch.cumsum(counts, 0)])
        return index, images.shifts, images.graph, images.row_of_edge, ptr

    tables = tables or HostTables()
    index, shifts, graphs, rows, ptr = tables.get("coarse edges", make)
    where = nodes.graph_index, geometry.num_graphs
    edges = NeighborTables.with_images(index, ImageTable(shifts, graphs, rows), *where)
    return replace(
        geometry,
        positions=positions,
        edge_index=index,
        edge_shift=edges.edge_shift,
        batch_tables=edges,
        reach=cutoff,
        host=tables,
        numbers=geometry.numbers[nodes.atoms],
        coarse_index=geometry.coarse_index[nodes.atoms],
        graph_index=nodes.graph_index,
        ptr=ptr,
    )


@torch.no_grad()
def _search(
    positions: Tensor, graph_index: Tensor, geometry: Geometry, cutoff: float
) -> tuple[Tensor, Tensor]:
    """(2, n_edges) sender, receiver and (n_edges, 3) images, in the dtype of the positions."""
    cell = geometry.cell.detach()
    inverse = torch.linalg.inv(cell)
    # Atoms may lie outside the cell. They are wrapped into it first.
    fractional = torch.einsum("na,nab->nb", positions, inverse[graph_index])
    cells = fractional.floor() * geometry.pbc[graph_index]
    wrapped = positions - torch.einsum("na,nab->nb", cells, cell[graph_index])
    counts = torch.bincount(graph_index, minlength=geometry.num_graphs)
    heights = 1 / torch.linalg.vector_norm(inverse, dim=1)
    reach = torch.ceil(cutoff / heights).long() * geometry.pbc
    on_host = positions.device.type == "cpu"
    most = MOST_CANDIDATES if on_host else MOST_CANDIDATES_ELSEWHERE
    candidates = counts**2 * (2 * reach + 1).prod(1)
    large = candidates > most
    candidates = candidates * ~large
    portion = torch.cumsum(candidates, 0) // AT_ONCE
    found = [
        _brute_force(wrapped, counts, reach, cell, candidates * (portion == i), cutoff)
        for i in range(int(portion[-1]) + 1)
    ]
    for graph in large.nonzero()[:, 0].tolist():
        found.append(_cell_list(wrapped, graph, counts, geometry, cutoff))
    index = torch.cat([pairs for pairs, _ in found], dim=1)
    shift = torch.cat([images for _, images in found]).to(positions.dtype)
    return index, shift - cells[index[0]] + cells[index[1]]


def _brute_force(
    positions: Tensor,
    counts: Tensor,
    reach: Tensor,
    cell: Tensor,
    candidates: Tensor,
    cutoff: float,
) -> tuple[Tensor, Tensor]:
    """All pairs and images within the cutoff, for the graphs with candidates, without a loop."""
    graph = torch.repeat_interleave(candidates)
    offset = torch.cumsum(candidates, 0) - candidates
    flat = torch.arange(len(graph), device=graph.device) - offset[graph]
    count, start = counts[graph], (torch.cumsum(counts, 0) - counts)[graph]
    span = 2 * reach[graph] + 1
    digits = []
    for axis in range(3):
        digits.append(flat % span[:, axis])
        flat = flat // span[:, axis]
    shift = torch.stack(digits, dim=1) - reach[graph]
    sender, receiver = flat % count, flat // count  # sorted by receiver, as in a cell list
    sender, receiver = sender + start, receiver + start
    image = torch.einsum("ea,eab->eb", shift.to(cell.dtype), cell[graph])
    vectors = positions[sender] - positions[receiver] + image
    own = (sender == receiver) & (shift == 0).all(1)
    near = (vectors.square().sum(1) < cutoff**2) & ~own
    return torch.stack([sender, receiver])[:, near], shift[near]


def _cell_list(
    positions: Tensor, graph: int, counts: Tensor, geometry: Geometry, cutoff: float
) -> tuple[Tensor, Tensor]:
    """All pairs and images of one large graph. The search runs on the CPU on any device."""
    start = int(counts[:graph].sum())
    own = positions[start : start + int(counts[graph])].cpu().numpy()
    index, shift = neighbor_list(
        np.ascontiguousarray(own),
        geometry.cell[graph].detach().cpu().numpy(),
        geometry.pbc[graph].cpu().numpy(),
        cutoff,
    )
    device = positions.device
    return torch.from_numpy(index).to(device) + start, torch.from_numpy(shift).to(device)

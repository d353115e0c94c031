r"""Fractional assignment of atoms to coarse nodes.

.. math:: S_{iK} = \frac{m_K w(r_{iK}) b_{iK}}{\sum_L m_L w(r_{iL}) b_{iL}}

with the masses m of :mod:`muse_lr.multiscale.muse.thinning`, the window w and a bounded affinity b.
The shares of each atom sum to 1 exactly. The denominator is bounded from below by the coverage. The
position of a node is that of its atom. Weighted centers of two nodes could coincide, so that their
direction would be undefined.

The nodes are the points of a quadrature of the atoms: a node stands for

.. math:: M_K = \sum_i S_{iK}, \qquad \sum_K M_K = N

atoms, and everything that leaves a node is weighted by this content. Then a node that appears or
vanishes changes the error of a quadrature, not the size of a sum. The features of a node are means
over the atoms around it with the weights

.. math:: G_{iK} = \frac{w(r_{iK}) b_{iK}}{\sum_j w(r_{jK}) b_{jK}},

which do not depend on the other nodes. Vectors and matrices of many atoms mostly cancel in a mean.
They are summed with the weights

.. math:: \frac{w(r_{iK}) b_{iK}}{\sqrt{\sum_j w(r_{jK}) b_{jK}}},

so that they are of order 1 for any number of atoms. Charges are summed with the shares S, so that
the total charge is exact. The sum of the contents is smaller than N where atoms belong to no node:
atoms without a group for given groups, and atoms far from all nodes for nodes of some elements.
"""

from __future__ import annotations

import torch
from torch import Tensor

from muse_lr.math.pair_sums import arrange_pairs, pair_sums
from muse_lr.math.switching import smoothstep, switch_off
from muse_lr.multiscale.base import Assignment, CoarseNodes
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.host_tables import HostTables

#: Atoms with a smaller sum of weights are not covered. Affinities are at least exp(-1).
UNCOVERED = 0.1


def kept_nodes(mass: Tensor, geometry: Geometry, tables: HostTables | None = None) -> CoarseNodes:
    """The nodes: all atoms with nonzero mass."""
    atoms = (tables or HostTables()).get("nodes", lambda: (mass > 0).nonzero()[:, 0])
    return CoarseNodes(atoms, mass.index_select(0, atoms), geometry.graph_index[atoms])


def pairs_with_nodes(
    nodes: CoarseNodes,
    geometry: Geometry,
    radius: float,
    allowed: Tensor | None = None,
    tables: HostTables | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Atom, node, vector and length of all pairs within ``radius``.

    The pairs of each node with its own atom come first. The others are the edges of the geometry
    whose receiver is a node, restricted to ``allowed`` edges, (n_edges,) of bool.
    """
    count = nodes.atoms.shape[0]
    own = torch.arange(count, device=nodes.atoms.device)
    row = torch.full_like(geometry.numbers, -1).index_copy(0, nodes.atoms, own)
    sender, receiver = geometry.edge_index

    def make() -> Tensor:
        near = (row[receiver] >= 0) & (geometry.edge_lengths < radius)
        return (near if allowed is None else near & allowed).nonzero()[:, 0]

    edges = (tables or HostTables()).get("edges to nodes", make)
    nothing = geometry.edge_vectors.new_zeros((count, 3))
    return (
        torch.cat([nodes.atoms, sender[edges]]),
        torch.cat([own, row[receiver[edges]]]),
        torch.cat([nothing, geometry.edge_vectors.index_select(0, edges)]),
        torch.cat([nothing[:, 0], geometry.edge_lengths.index_select(0, edges)]),
    )


def assign(
    nodes: CoarseNodes,
    found: tuple[Tensor, Tensor, Tensor, Tensor],
    affinity: Tensor | None,
    inner: float,
    radius: float,
    n_atoms: int,
    tables: HostTables | None = None,
) -> Assignment:
    """Compute the assignment for the pairs of :func:`pairs_with_nodes`.

    Parameters
    ----------
    nodes : CoarseNodes
    found : tuple
        Atom, node, vector, length.
    affinity : Tensor or None
        (p,) affinity b, positive and bounded; None for 1.
    inner, radius : float
        Distances at which the window starts to decay and ends, A.
    n_atoms : int
        Number of atoms. If the weights of an atom sum to less than :data:`UNCOVERED`, its shares
        decay to 0 instead of summing to 1. With thinning this does not occur, with other choices of
        nodes it can.
    tables : HostTables, optional
        Tables of these nodes.
    """
    atom, node, vectors, lengths = found
    reach = switch_off(lengths, inner, radius)
    if affinity is not None:
        reach = reach * affinity
    weight = reach * nodes.mass.index_select(0, node)
    total = weight.new_zeros(n_atoms).index_add(0, atom, weight)
    divisor = _bounded(total)
    share = weight / divisor.index_select(0, atom)
    count = nodes.atoms.shape[0]
    none = reach.new_zeros(count)
    near = none.index_add(0, node, reach)  # positive, since each node is at an atom
    content = none.index_add(0, node, share)
    tables = tables or HostTables()
    general = tables.general
    arranged = tables.get("pairs with nodes", lambda: arrange_pairs(atom, node, count, general))
    pairs = pair_sums(arranged, n_atoms, count)
    about = reach, near, divisor, content, pairs
    return Assignment(atom, node, vectors, lengths, share, *about)


def _bounded(total: Tensor) -> Tensor:
    """The identity above :data:`UNCOVERED`, positive below, twice continuously differentiable."""
    return total + UNCOVERED / 2 * (1 - smoothstep(total / UNCOVERED))

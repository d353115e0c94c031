r"""Fractional assignment of atoms to coarse nodes.

.. math:: S_{iK} = \frac{m_K w(r_{iK}) b_{iK}}{\sum_L m_L w(r_{iL}) b_{iL}}

with the masses of :mod:`muse_lr.multiscale.muse.thinning` and a bounded affinity b: an exact
partition of unity over the nodes of each atom. The denominator is bounded from below by the
coverage. A node sits at its own atom; a center of weights could coincide with another's and leave
no direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from muse_lr.math.switching import smoothstep, switch_off
from muse_lr.structures.geometry import Geometry

#: Below this sum of weights an atom counts as uncovered; the affinities are at least exp(-1).
UNCOVERED = 0.1


@dataclass(frozen=True)
class CoarseNodes:
    """The nodes of one level.

    Attributes
    ----------
    atoms : Tensor
        (n_nodes,) the atom at which each node sits.
    mass : Tensor
        (n_nodes,) m_K in (0, 1].
    graph_index : Tensor
        (n_nodes,).
    """

    atoms: Tensor
    mass: Tensor
    graph_index: Tensor


@dataclass(frozen=True)
class Assignment:
    """Which shares of which atoms belong to which nodes.

    Attributes
    ----------
    atom, node : Tensor
        (p,) of int64; an atom can meet several images of a node.
    vectors : Tensor
        (p, 3) from the node to the atom's image, A.
    lengths : Tensor
        (p,) in A; 0 for an atom and the node that sits on it.
    share : Tensor
        (p,) S_iK; sums to 1 for each atom.
    normalized_share : Tensor
        (p,) S_iK / m_K, which stays finite where a node dies.
    """

    atom: Tensor
    node: Tensor
    vectors: Tensor
    lengths: Tensor
    share: Tensor
    normalized_share: Tensor


def kept_nodes(mass: Tensor, geometry: Geometry) -> CoarseNodes:
    """The atoms of nonzero mass."""
    atoms = (mass.detach() > 0).nonzero()[:, 0]
    return CoarseNodes(atoms, mass.index_select(0, atoms), geometry.graph_index[atoms])


def pairs_with_nodes(
    nodes: CoarseNodes, geometry: Geometry, radius: float, allowed: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Atom, node, vector and length of all pairs within ``radius``, each node's own atom first.

    From the edges of the geometry whose sender is a node, and of those the ``allowed`` ones,
    (n_edges,) of bool.
    """
    row = torch.full_like(geometry.numbers, -1)
    row[nodes.atoms] = torch.arange(len(nodes.atoms), device=row.device)
    sender, receiver = geometry.edge_index
    near = (row[sender] >= 0) & (geometry.edge_lengths < radius)
    if allowed is not None:
        near = near & allowed
    edges = near.nonzero()[:, 0]
    own = torch.arange(len(nodes.atoms), device=row.device)
    nothing = geometry.edge_vectors.new_zeros((len(own), 3))
    return (
        torch.cat([nodes.atoms, receiver[edges]]),
        torch.cat([own, row[sender[edges]]]),
        torch.cat([nothing, -geometry.edge_vectors.index_select(0, edges)]),
        torch.cat([nothing[:, 0], geometry.edge_lengths.index_select(0, edges)]),
    )


def assign(
    nodes: CoarseNodes,
    pairs: tuple[Tensor, Tensor, Tensor, Tensor],
    affinity: Tensor | None,
    inner: float,
    radius: float,
    n_atoms: int,
) -> Assignment:
    """The assignment over the pairs of :func:`pairs_with_nodes`.

    Parameters
    ----------
    nodes : CoarseNodes
    pairs : tuple
        Atom, node, vector, length.
    affinity : Tensor or None
        (p,) b, positive and bounded; None means 1.
    inner, radius : float
        Where the window starts to fall and where it ends, A.
    n_atoms : int
        Atoms whose nodes weigh less than :data:`UNCOVERED` in sum, which thinning excludes and
        chosen nodes do not, have shares that fade to 0 instead of a sum of 1.
    """
    atom, node, vectors, lengths = pairs
    reach = switch_off(lengths, inner, radius)
    if affinity is not None:
        reach = reach * affinity
    mass = nodes.mass.index_select(0, node)
    weight = reach * mass
    total = weight.new_zeros(n_atoms).index_add(0, atom, weight)
    normalized = reach / _bounded(total).index_select(0, atom)
    return Assignment(atom, node, vectors, lengths, normalized * mass, normalized)


def _bounded(total: Tensor) -> Tensor:
    """The identity from :data:`UNCOVERED` on, and positive below, twice continuous."""
    return total + UNCOVERED / 2 * (1 - smoothstep(total / UNCOVERED))

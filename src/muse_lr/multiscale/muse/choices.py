"""Choices of the atoms that are coarse nodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from ase.data import atomic_numbers
from torch import Tensor, nn

from muse_lr.math.switching import switch_off
from muse_lr.multiscale.muse.thinning import CROWDING, coverage_bound, crowding, masses
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.state import NO_GROUP


@dataclass(frozen=True)
class WindowedEdges:
    """Edges of the atoms within the radius of a level.

    Attributes
    ----------
    index : Tensor
        (2, n) sender and receiver.
    lengths : Tensor
        (n,) distance in A.
    window : Tensor
        (n,) window of the distance.
    """

    index: Tensor
    lengths: Tensor
    window: Tensor


class NodeChoice(nn.Module, ABC):
    """Selects the atoms that are coarse nodes and computes their masses.

    Attributes
    ----------
    coverage : float or None
        Lower bound of the sum of masses times windows at every atom; None if an atom may not be
        covered.
    """

    coverage: float | None = None

    def label(self, radius: float) -> str:
        """Name of the tables of nodes with a radius (A), different for different choices."""
        return f"{type(self).__name__} within {radius!r}"

    def allowed(self, geometry: Geometry) -> Tensor | None:
        """(n_edges,) of bool: whether the receiver may belong to a node at the sender.

        None if this depends only on distances.
        """
        return None

    def edges(self, geometry: Geometry, inner: float, radius: float) -> WindowedEdges:
        """Edges within ``radius`` whose receiver may belong to a node at the sender.

        Parameters
        ----------
        geometry : Geometry
            With edges up to ``radius``.
        inner, radius : float
            Distances at which the window starts to decay and ends, A.
        """
        index, lengths = geometry.edge_index, geometry.edge_lengths
        tables = geometry.host

        def make() -> Tensor | None:
            near, allowed = lengths < radius, self.allowed(geometry)
            if allowed is not None:
                near = near & allowed
            return None if not tables.general and bool(near.all()) else near.nonzero()[:, 0]

        kept = tables.get(f"{self.label(radius)}, edges", make)
        if kept is not None:
            index, lengths = index.index_select(1, kept), lengths.index_select(0, kept)
        return WindowedEdges(index, lengths, switch_off(lengths, inner, radius))

    def forward(self, geometry: Geometry, inner: float, radius: float) -> Tensor:
        """(n_atoms,) masses in [0, 1], float64, for the arguments of :meth:`edges`."""
        return self.masses(geometry, self.edges(geometry, inner, radius), radius)

    @abstractmethod
    def masses(self, geometry: Geometry, edges: WindowedEdges, radius: float) -> Tensor:
        """(n_atoms,) masses in [0, 1], float64."""


class ThinnedNodes(NodeChoice):
    """Smooth thinning of all atoms: symmetric, smooth and extensive; every atom is covered.

    Parameters
    ----------
    delta, kappa : float
        Parameters of :func:`masses`.
    softening : float
        Time scale tau, fs; 0 for a constant delta.
    crowding : float
        Cutoff of :func:`crowding`, as a fraction of the radius of the nodes.
    """

    def __init__(
        self, delta: float, kappa: float, softening: float, crowding: float = CROWDING
    ) -> None:
        super().__init__()
        self.delta, self.kappa = delta, kappa
        self.softening, self.crowding = softening, crowding
        self.coverage = coverage_bound(kappa)

    def label(self, radius: float) -> str:
        """See :meth:`NodeChoice.label`."""
        values = self.delta, self.kappa, self.softening, self.crowding
        return f"{super().label(radius)} {values}"

    def masses(self, geometry: Geometry, edges: WindowedEdges, radius: float) -> Tensor:
        """See :meth:`NodeChoice.masses`."""
        crowded, tables = self.crowding * radius, geometry.host.child(self.label(radius))
        about = geometry.numbers, edges.index, edges.lengths
        priority, rate = crowding(*about, crowded, tables)
        spread = self.softening**2 * rate if self.softening else None
        options = self.delta, self.kappa, spread, tables
        return masses(priority, edges.index, edges.window, *options)


class GivenNodes(ThinnedNodes):
    """Thinning within given groups of atoms, such as residues or molecules.

    Priorities and suppression include only atoms of the same group, and an atom belongs only to
    nodes of its group. Thinning has the same properties within groups, including the bound on the
    coverage, but not the same number of nodes. Each group has at least one node, near its center.
    It has more if it is wider than the radius or if its atoms have equal or almost equal
    priorities. An atom without a group is not a node and belongs to no node.

    All images of a cell use the same indices, as in ``atoms.repeat``. Two groups with the same
    index within the radius of each other act as one group. Energies depend on the grouping, so that
    groups must not change while atoms move.
    """

    def __init__(
        self, delta: float, kappa: float, softening: float, crowding: float = CROWDING
    ) -> None:
        super().__init__(delta, kappa, softening, crowding)
        self.coverage = None

    def allowed(self, geometry: Geometry) -> Tensor:
        """Whether both atoms of an edge are in the same group."""
        sender, receiver = geometry.coarse_index[geometry.edge_index]
        return sender == receiver

    def masses(self, geometry: Geometry, edges: WindowedEdges, radius: float) -> Tensor:
        """See :meth:`NodeChoice.masses`."""
        mass = super().masses(geometry, edges, radius)
        return mass * (geometry.coarse_index != NO_GROUP)


class SpeciesNodes(NodeChoice):
    """Every atom of the given elements is a node.

    The choice is symmetric and extensive, and it reduces the number of nodes for any symmetry. An
    atom may be far from all nodes. It then does not contribute to the coarse graph.
    """

    def __init__(self, species: tuple[str, ...]) -> None:
        super().__init__()
        self.numbers = tuple(atomic_numbers[symbol] for symbol in species)

    def label(self, radius: float) -> str:
        """See :meth:`NodeChoice.label`."""
        return f"{super().label(radius)} {self.numbers}"

    def masses(self, geometry: Geometry, edges: WindowedEdges, radius: float) -> Tensor:
        """See :meth:`NodeChoice.masses`."""
        chosen = torch.isin(geometry.numbers, geometry.numbers.new_tensor(self.numbers))
        return chosen.to(geometry.positions.dtype)


class EveryAtom(NodeChoice):
    """Every atom is a node, a control without coarse-graining."""

    def masses(self, geometry: Geometry, edges: WindowedEdges, radius: float) -> Tensor:
        """See :meth:`NodeChoice.masses`."""
        return torch.ones_like(geometry.positions[:, 0])

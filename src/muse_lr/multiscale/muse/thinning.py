r"""Smooth thinning: the choice of the atoms that are coarse nodes, and their masses.

The idea of soft coarse-graining is that of the Multiscale Structural Ensemble (A. Sole et al.,
arXiv:2605.25710). The construction is independent, and the equations are not those of the paper.
With the quintic smoothstep S and the window :math:`w(r) = 1 - S((r - R_{in}) / (R_{out} -
R_{in}))`:

1. a priority :math:`p_i` of the neighborhood, smooth and slowly varying, and its thermal rate of
   change :math:`\nu_i` from the motion of the neighbors at 300 K;
2. suppression :math:`k_{ij} = w(r_{ij}) S((p_j - p_i) / \delta_{ij})` of i by neighbors j of
   higher priority, over all periodic images, with
   :math:`\delta_{ij}^2 = \delta^2 + \tau^2 (\nu_i^2 + \nu_j^2)`; ties do not suppress;
3. masses :math:`m^0 = 1`, :math:`m_i^{t+1} = S(1 - \kappa \sum_j m_j^t k_{ij})`, stopped
   at an even t.

With many light atoms, as in water, priorities change fast. With a small constant delta, a node then
moves from one atom to another within a fraction of a femtosecond. The energy is smooth, but too
stiff for the time step of an integrator. With a large constant delta, most atoms of a crystal
remain nodes, since their neighborhoods are similar. With the rate in delta, a single suppression
changes over about :math:`\tau`. Masses, which sum and iterate suppressions, change faster, but the
fraction of the total mass that moves between nodes changes gradually. The disadvantage is a larger
number of nodes where light atoms have similar neighborhoods, as in graphene and alkanes.

The map is antitone, so that even iterates are upper bounds of odd ones, and every atom is covered:

.. math:: c_i = \sum_K m_K w(r_{iK}) \ge \min_u [S(u) + (1 - u) / \kappa],

which is 0.853 for kappa = 1 and 0.590 for kappa = 1.5. A mass is exactly 0 if the sum is at least
1 / kappa. Such nodes are removed without any change of the energy. In a perfect monoatomic lattice
all priorities are equal and all atoms are nodes, since a choice of some of them would break the
symmetry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

import torch
from ase import units
from ase.data import atomic_masses, atomic_numbers
from torch import Tensor, nn

from muse_lr.math.switching import smoothstep, switch_off
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.state import NO_GROUP

#: Number of iterations of the masses, even for the bound on the coverage. With the default
#: softening, eight iterations reduced the nodes by at most 1 to 2 % of the atoms in tests of
#: liquids, crystals and slabs with radii of 7 to 14 A.
ITERATIONS = 4
#: Added to the priority of atoms other than hydrogen.
HEAVY_BONUS = 1.0
#: Default cutoff of the crowding, as a fraction of the radius.
CROWDING = 2 / 3
#: k_B T at 300 K over one atomic mass unit, (A/fs)^2.
THERMAL = 300 * units.kB * units.fs**2


def crowding(
    numbers: Tensor, edge_index: Tensor, edge_lengths: Tensor, radius: float
) -> tuple[Tensor, Tensor]:
    r"""Priorities and their thermal rates.

    .. math:: p_i = \sum_j f(r_{ij}) + [Z_i > 1], \qquad
              \nu_i^2 = \sum_j f'(r_{ij})^2 k_B T / m_j, \qquad f(r) = 1 - S(r / radius)

    The priority is the number of neighbors, with smooth weights. It varies slowly, so that masses
    have small gradients. The rate is the root mean square of :math:`dp_i/dt` for neighbors with
    standard atomic masses :math:`m_j` that move independently at 300 K, with atom i at rest. Every
    image counts as a separate atom, so that a cell and its supercells have the same rates.

    Parameters
    ----------
    numbers : Tensor
        (n_atoms,) atomic numbers.
    edge_index, edge_lengths : Tensor
        (2, n_edges) sender and receiver, and (n_edges,) distances in A. Edges longer than
        ``radius`` are ignored.
    radius : float
        Cutoff of the neighbors, A.

    Returns
    -------
    priority : Tensor
        (n_atoms,) priorities, of which only differences matter.
    squared_rate : Tensor
        (n_atoms,) squared rates in fs^-2.
    """
    near = (edge_lengths < radius).nonzero()[:, 0]
    sender, receiver = edge_index.index_select(1, near)
    x = edge_lengths.index_select(0, near) / radius
    slope = 30 * (x * (1 - x)).square() / radius
    mobility = mobilities(x.device, x.dtype).index_select(0, numbers.index_select(0, sender))
    squared = slope.square() * mobility
    sums = torch.stack((1 - smoothstep(x), squared), dim=1)
    total = x.new_zeros((len(numbers), 2)).index_add(0, receiver, sums)
    return total[:, 0] + HEAVY_BONUS * (numbers > 1), total[:, 1]


@cache
def mobilities(device: torch.device, dtype: torch.dtype) -> Tensor:
    """(119,) k_B T / m in (A/fs)^2 by atomic number, at 300 K."""
    with torch.inference_mode(False):  # the cached tensor is also used with gradients
        return THERMAL / torch.tensor(atomic_masses, device=device, dtype=dtype)


def masses(
    priority: Tensor,
    edge_index: Tensor,
    window: Tensor,
    delta: float,
    kappa: float,
    spread: Tensor | None = None,
) -> Tensor:
    """Compute the masses of the nodes, steps 2 and 3.

    Parameters
    ----------
    priority : Tensor
        (n_atoms,) priorities p_i.
    edge_index : Tensor
        (2, n_edges) sender and receiver, including periodic images.
    window : Tensor
        (n_edges,) window w(r_ij).
    delta : float
        Smallest difference of priorities at which suppression is complete.
    kappa : float
        Strength of the suppression.
    spread : Tensor, optional
        (n_atoms,) (tau nu_i)^2, added to delta^2 for both atoms of an edge.

    Returns
    -------
    Tensor
        (n_atoms,) in [0, 1], twice continuously differentiable.
    """
    sender, receiver = edge_index
    excess = priority.index_select(0, sender) - priority.index_select(0, receiver)
    scale: Tensor | float = delta
    if spread is not None:
        wider = spread.index_select(0, sender) + spread.index_select(0, receiver)
        scale = (delta**2 + wider).sqrt()
    suppression = window * smoothstep(excess / scale)
    mass = torch.ones_like(priority)
    for _ in range(ITERATIONS):
        pressure = mass.index_select(0, sender) * suppression
        total = torch.zeros_like(mass).index_add(0, receiver, pressure)
        mass = smoothstep(1 - kappa * total)
    return mass


@cache
def coverage_bound(kappa: float) -> float:
    """Lower bound of the coverage of any atom, min over u in [0, 1] of S(u) + (1 - u) / kappa."""
    u = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    return float((smoothstep(u) + (1 - u) / kappa).min())


class NodeChoice(nn.Module, ABC):
    """Selects the atoms that are coarse nodes and computes their masses.

    Attributes
    ----------
    coverage : float or None
        Lower bound of the sum of masses times windows at every atom; None if an atom may not be
        covered.
    """

    coverage: float | None = None

    def allowed(self, geometry: Geometry) -> Tensor | None:
        """(n_edges,) of bool: whether the receiver may belong to a node at the sender.

        None if this depends only on distances.
        """
        return None

    @abstractmethod
    def forward(self, geometry: Geometry, inner: float, radius: float) -> Tensor:
        """(n_atoms,) masses in [0, 1], float64.

        Parameters
        ----------
        geometry : Geometry
            With edges up to ``radius``.
        inner, radius : float
            Distances at which the window starts to decay and ends, A.
        """


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

    def forward(self, geometry: Geometry, inner: float, radius: float) -> Tensor:
        """See :meth:`NodeChoice.forward`."""
        near = geometry.edge_lengths.detach() < radius
        allowed = self.allowed(geometry)
        if allowed is not None:
            near = near & allowed
        edges = near.nonzero()[:, 0]
        index = geometry.edge_index.index_select(1, edges)
        lengths = geometry.edge_lengths.index_select(0, edges)
        priority, rate = crowding(geometry.numbers, index, lengths, self.crowding * radius)
        spread = self.softening**2 * rate if self.softening else None
        # Neighbors of lower priority, at least half of all pairs, do not suppress.
        sender, receiver = index
        order = priority.detach()
        higher = order.index_select(0, sender) > order.index_select(0, receiver)
        edges = higher.nonzero()[:, 0]
        index, lengths = index.index_select(1, edges), lengths.index_select(0, edges)
        window = switch_off(lengths, inner, radius)
        return masses(priority, index, window, self.delta, self.kappa, spread)


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

    def forward(self, geometry: Geometry, inner: float, radius: float) -> Tensor:
        """See :meth:`NodeChoice.forward`."""
        mass = super().forward(geometry, inner, radius)
        return mass * (geometry.coarse_index != NO_GROUP)


class SpeciesNodes(NodeChoice):
    """Every atom of the given elements is a node.

    The choice is symmetric and extensive, and it reduces the number of nodes for any symmetry. An
    atom may be far from all nodes. It then does not contribute to the coarse graph.
    """

    def __init__(self, species: tuple[str, ...]) -> None:
        super().__init__()
        self.numbers = tuple(atomic_numbers[symbol] for symbol in species)

    def forward(self, geometry: Geometry, inner: float, radius: float) -> Tensor:
        """See :meth:`NodeChoice.forward`."""
        chosen = torch.isin(geometry.numbers, geometry.numbers.new_tensor(self.numbers))
        return chosen.to(geometry.positions.dtype)


class EveryAtom(NodeChoice):
    """Every atom is a node, a control without coarse-graining."""

    def forward(self, geometry: Geometry, inner: float, radius: float) -> Tensor:
        """See :meth:`NodeChoice.forward`."""
        return torch.ones_like(geometry.positions[:, 0])

r"""Smooth thinning: which atoms carry a coarse node, and how much of one.

An independent construction of soft coarse-graining, after the idea of the Multiscale Structural
Ensemble (A. Sole et al., arXiv:2605.25710); the equations here are not those of that paper. With
the quintic smoothstep S and the window :math:`w(r) = 1 - S((r - R_{in}) / (R_{out} - R_{in}))`:

1. a priority :math:`p_i` from the neighborhood, smooth and slowly varying, and its thermal rate
   :math:`\nu_i`, how fast the neighbors change it at 300 K;
2. suppression :math:`k_{ij} = w(r_{ij}) S((p_j - p_i) / \delta_{ij})` of i by neighbors j of
   higher priority, over all periodic images, with
   :math:`\delta_{ij}^2 = \delta^2 + \tau^2 (\nu_i^2 + \nu_j^2)`; ties do not suppress;
3. masses :math:`m^0 = 1`, :math:`m_i^{t+1} = S(1 - \kappa \sum_j m_j^t k_{ij})`, stopped
   at an even t.

Where light atoms are many, as in water, priorities change fast, and with a fixed narrow delta nodes
change hands within a fraction of a femtosecond: the energy is smooth, but stiffer than an
integrator's step. A fixed wide one keeps most atoms of a crystal, whose surroundings are alike.
With the rate in it a single suppression changes over about :math:`\tau`; masses, which sum and
iterate suppressions, change faster, but a node's share of the whole is handed over gradually. The
price are more nodes where light atoms have much the same surroundings: graphene, alkanes.

The map is antitone, so that even iterates bound odd ones from above, and every atom is covered:

.. math:: c_i = \sum_K m_K w(r_{iK}) \ge \min_u [S(u) + (1 - u) / \kappa],

which is 0.853 for kappa 1 and 0.590 for 1.5. A mass is exactly 0 where the sum is at least
1 / kappa: such nodes are pruned, and nothing changes. In a perfect monoatomic lattice all
priorities tie and all atoms are nodes: exact symmetry and strict reduction exclude each other
there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

import torch
from ase import units
from ase.data import atomic_masses, atomic_numbers
from torch import Tensor, nn

from muse_lr.math.switching import smoothstep, switch_off
from muse_lr.structures.batch import NO_GROUP
from muse_lr.structures.geometry import Geometry

#: Iterations of the masses; even, for the bound on the coverage. At the default softening eight
#: leave at most a hundredth to two of the atoms less of the liquids, crystals and slabs that were
#: tried, at 7 to 14 A.
ITERATIONS = 4
#: Head start of atoms other than hydrogen.
HEAVY_BONUS = 1.0
#: Share of the radius within which crowding is measured.
CROWDING = 2 / 3
#: k_B T at 300 K over one atomic mass unit, (A/fs)^2.
THERMAL = 300 * units.kB * units.fs**2


def crowding(
    numbers: Tensor, edge_index: Tensor, edge_lengths: Tensor, radius: float
) -> tuple[Tensor, Tensor]:
    r"""Priorities and their thermal rates.

    .. math:: p_i = \sum_j f(r_{ij}) + [Z_i > 1], \qquad
              \nu_i^2 = \sum_j f'(r_{ij})^2 k_B T / m_j, \qquad f(r) = 1 - S(r / radius)

    How crowded the surroundings are varies slowly, so that masses have small gradients. The rate is
    the root mean square of :math:`dp_i/dt` when the neighbors, of the standard atomic masses
    :math:`m_j`, move independently at 300 K and atom i rests; every image counts as an atom of its
    own, so that a cell and its supercells agree.

    Parameters
    ----------
    numbers : Tensor
        (n_atoms,) atomic numbers.
    edge_index, edge_lengths : Tensor
        (2, n_edges) sender, receiver, and (n_edges,) in A; edges beyond ``radius`` do not count.
    radius : float
        A.

    Returns
    -------
    priority : Tensor
        (n_atoms,); only differences matter.
    squared_rate : Tensor
        (n_atoms,) in fs^-2.
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
    with torch.inference_mode(False):  # it is kept for calls that differentiate
        return THERMAL / torch.tensor(atomic_masses, device=device, dtype=dtype)


def masses(
    priority: Tensor,
    edge_index: Tensor,
    window: Tensor,
    delta: float,
    kappa: float,
    spread: Tensor | None = None,
) -> Tensor:
    """Masses of the nodes, steps 2 and 3.

    Parameters
    ----------
    priority : Tensor
        (n_atoms,).
    edge_index : Tensor
        (2, n_edges), sender and receiver, periodic images included.
    window : Tensor
        (n_edges,) w(r_ij).
    delta : float
        Difference of priorities that suppresses fully, at least.
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
    """min over u in [0, 1] of S(u) + (1 - u) / kappa: no atom is covered less than this."""
    u = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    return float((smoothstep(u) + (1 - u) / kappa).min())


class NodeChoice(nn.Module, ABC):
    """Which atoms carry a coarse node, and with what mass.

    Attributes
    ----------
    coverage : float or None
        What the nodes' masses times their windows add up to at every atom, at least; None where an
        atom may be left out.
    """

    coverage: float | None = None

    def allowed(self, geometry: Geometry) -> Tensor | None:
        """(n_edges,) of bool: whether the receiver may belong to a node on the sender.

        None where distances alone decide.
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
            Where the window starts to fall and where it ends, A.
        """


class ThinnedNodes(NodeChoice):
    """Smooth thinning of all atoms: symmetric, smooth, extensive, covers every atom.

    Parameters
    ----------
    delta, kappa : float
        Of :func:`masses`.
    softening : float
        The time tau, fs; 0 for the same delta everywhere.
    crowding : float
        Radius of :func:`crowding`, as a share of the node's.
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
        # Neighbors of lower priority, half of them at least, do not suppress at all.
        sender, receiver = index
        order = priority.detach()
        higher = order.index_select(0, sender) > order.index_select(0, receiver)
        edges = higher.nonzero()[:, 0]
        index, lengths = index.index_select(1, edges), lengths.index_select(0, edges)
        window = switch_off(lengths, inner, radius)
        return masses(priority, index, window, self.delta, self.kappa, spread)


class GivenNodes(ThinnedNodes):
    """Thinning within given groups of atoms, such as residues or molecules.

    Only atoms of one group crowd and suppress each other, and an atom belongs to nodes of its own
    group alone. All of thinning but its share of nodes is kept: the proof of the coverage holds for
    the edges within groups, and each group has at least one node, near its middle; more where it is
    wider than the radius or its atoms tie, or nearly. An atom of no group carries no node and
    belongs to none.

    An index means one group in all images of a cell, as it does in ``atoms.repeat``; two groups of
    one index that come within the radius are one group there. Energies depend on how the atoms
    are grouped, so that a group must not change while atoms move.
    """

    def __init__(
        self, delta: float, kappa: float, softening: float, crowding: float = CROWDING
    ) -> None:
        super().__init__(delta, kappa, softening, crowding)
        self.coverage = None

    def allowed(self, geometry: Geometry) -> Tensor:
        """Whether both atoms of an edge are of one group."""
        sender, receiver = geometry.coarse_index[geometry.edge_index]
        return sender == receiver

    def forward(self, geometry: Geometry, inner: float, radius: float) -> Tensor:
        """See :meth:`NodeChoice.forward`."""
        mass = super().forward(geometry, inner, radius)
        return mass * (geometry.coarse_index != NO_GROUP)


class SpeciesNodes(NodeChoice):
    """Every atom of the given elements is a node.

    Symmetric and extensive, and it thins whatever the symmetry; but an atom may be far from all
    nodes, and then no share of it reaches the coarse graph.
    """

    def __init__(self, species: tuple[str, ...]) -> None:
        super().__init__()
        self.numbers = tuple(atomic_numbers[symbol] for symbol in species)

    def forward(self, geometry: Geometry, inner: float, radius: float) -> Tensor:
        """See :meth:`NodeChoice.forward`."""
        chosen = torch.isin(geometry.numbers, geometry.numbers.new_tensor(self.numbers))
        return chosen.to(geometry.positions.dtype)


class EveryAtom(NodeChoice):
    """Every atom is a node: nothing is coarse; a control."""

    def forward(self, geometry: Geometry, inner: float, radius: float) -> Tensor:
        """See :meth:`NodeChoice.forward`."""
        return torch.ones_like(geometry.positions[:, 0])

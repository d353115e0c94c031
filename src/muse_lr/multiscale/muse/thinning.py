r"""Smooth thinning: the choice of the atoms that are coarse nodes, and their masses.

The idea of soft coarse-graining is that of the Multiscale Structural Ensemble (A. Sole et al.,
arXiv:2605.25710). The construction is independent, and the equations are not those of the paper.
With the quintic smoothstep S and the window :math:`w(r) = 1 - S((r - R_{in}) / (R_{out} -
R_{in}))`:

1. a priority :math:`p_i` of the neighborhood, smooth and slowly varying, and its thermal rate of
   change :math:`\nu_i` from the motion of the neighbors at 300 K;
2. for neighbors within the window, over all periodic images, the difference
   :math:`s_{ij} = (p_j - p_i) / \delta_{ij}` with
   :math:`\delta_{ij}^2 = \delta^2 + \tau^2 (\nu_i^2 + \nu_j^2)`, the suppression
   :math:`k_{ij} = w(r_{ij}) S(s_{ij})` by higher priorities and the rivalry
   :math:`n_{ij} = w(r_{ij}) [1 - S(|s_{ij}|)]` of priorities that are nearly equal;
3. :math:`m^0 = 1`, :math:`u_i = \sum_j m_j k_{ij} / (1 + \sum_j m_j n_{ij})`,
   :math:`m_i \leftarrow S(1 - \kappa u_i)`, T times;
4. the mass :math:`m = 1 - (1 - m^T) (1 - m^{T-1})`.

Where priorities nearly tie, as in a rattled crystal, an atom has many rivals, and each of them
suppresses it only by its share. Without the denominator the suppressions of a hundred neighbors add
up long before one difference reaches :math:`\delta`, so that nodes vanish within a hundredth of an
Angstrom. Ties do not suppress at all: in a perfect monoatomic lattice all atoms are nodes, since a
choice of some of them would break the symmetry.

Every atom is covered. The last step gives :math:`m_i \ge m_i^{T-1}` and
:math:`m_i \ge S(1 - \kappa u_i)` with the suppression u of the last iteration. The denominator is
at least 1 and :math:`k_{ij} \le w_{ij}`, so that
:math:`u_i \le \sum_j m_j^{T-1} w_{ij} \le \sum_j m_j w_{ij}`. With the atom itself,

.. math:: c_i = m_i + \sum_j m_j w(r_{ij}) \ge S(1 - \kappa u_i) + u_i
              \ge \min_u [S(u) + (1 - u) / \kappa],

which is 0.853 for kappa = 1 and 0.590 for kappa = 1.5, for any number of iterations. A mass is
exactly 0 if :math:`\kappa u_i \ge 1` in the last two iterations. Such nodes are removed without
any change of the energy. All functions are twice continuously differentiable, also at a tie, where
the slope and the curvature of :math:`S(|s|)` vanish.

With many light atoms, as in water, priorities change fast. With a small constant delta, a node then
moves from one atom to another within a fraction of a femtosecond. The energy is smooth, but too
stiff for the time step of an integrator. With a large constant delta, most atoms of a crystal
remain nodes, since their neighborhoods are similar. With the rate in delta, a single suppression
changes over about :math:`\tau`.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from ase import units
from ase.data import atomic_masses
from torch import Tensor

from muse_lr.math.pair_sums import arrange_pairs, pair_sums
from muse_lr.math.switching import smoothstep
from muse_lr.structures.host_tables import HostTables, edges_within

#: Number of iterations of the masses.
ITERATIONS = 4
#: Factor of log2(Z) in the priority: a difference of one proton is more than a difference of
#: crowding for all but the heaviest elements.
ELEMENT_WEIGHT = 30.0
#: Default cutoff of the crowding, as a fraction of the radius.
CROWDING = 1.0
#: k_B T at 300 K over one atomic mass unit, (A/fs)^2.
THERMAL = 300 * units.kB * units.fs**2


def crowding(
    numbers: Tensor,
    edge_index: Tensor,
    edge_lengths: Tensor,
    radius: float,
    tables: HostTables | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Priorities and their thermal rates.

    .. math:: p_i = \sum_j f(r_{ij}) + 30 \log_2 Z_i, \qquad
              \nu_i^2 = \sum_j f'(r_{ij})^2 k_B T / m_j, \qquad f(r) = 1 - S(r / radius)

    The priority is first that of the element, and for equal elements the number of neighbors, with
    smooth weights, which varies slowly. The order of the elements does not change as atoms move, so
    that most nodes of a molecule or a compound stay where they are. Heavy elements come first,
    since they move slowly and are the less frequent ones in many materials. The rate is the root
    mean square of :math:`dp_i/dt` for neighbors with standard atomic masses :math:`m_j` that move
    independently at 300 K, with atom i at rest. Every image counts as a separate atom, so that a
    cell and its supercells have the same rates.

    Parameters
    ----------
    numbers : Tensor
        (n_atoms,) atomic numbers.
    edge_index, edge_lengths : Tensor
        (2, n_edges) sender and receiver, and (n_edges,) distances in A. Edges longer than
        ``radius`` are ignored.
    radius : float
        Cutoff of the neighbors, A.
    tables : HostTables, optional
        Tables of these edges.

    Returns
    -------
    priority : Tensor
        (n_atoms,) priorities, of which only differences matter.
    squared_rate : Tensor
        (n_atoms,) squared rates in fs^-2.
    """
    edges = edges_within(tables or HostTables(), edge_lengths, radius, math.inf)
    if edges is not None:
        edge_index = edge_index.index_select(1, edges)
        edge_lengths = edge_lengths.index_select(0, edges)
    sender, receiver = edge_index
    x = edge_lengths / radius
    slope = 30 * (x * (1 - x)).square() / radius
    mobility = mobilities(x.device, x.dtype).index_select(0, numbers.index_select(0, sender))
    nothing = x.new_zeros(numbers.shape[0])
    count = nothing.index_add(0, receiver, 1 - smoothstep(x))
    squared_rate = nothing.index_add(0, receiver, slope.square() * mobility)
    return count + ELEMENT_WEIGHT * numbers.to(x.dtype).log2(), squared_rate


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
    tables: HostTables | None = None,
) -> Tensor:
    """Compute the masses of the nodes, steps 2 to 4.

    Parameters
    ----------
    priority : Tensor
        (n_atoms,) priorities p_i.
    edge_index : Tensor
        (2, n_edges) sender and receiver, in both directions and including periodic images.
    window : Tensor
        (n_edges,) window w(r_ij).
    delta : float
        Smallest difference of priorities at which suppression is complete.
    kappa : float
        Strength of the suppression.
    spread : Tensor, optional
        (n_atoms,) (tau nu_i)^2, added to delta^2 for both atoms of an edge.
    tables : HostTables, optional
        Tables of these edges.

    Returns
    -------
    Tensor
        (n_atoms,) in [0, 1], twice continuously differentiable.
    """
    sender, receiver = edge_index
    difference = priority.index_select(0, sender) - priority.index_select(0, receiver)
    if spread is None:
        difference = difference / delta
    else:
        wider = spread.index_select(0, sender) + spread.index_select(0, receiver)
        difference = difference * (delta**2 + wider).rsqrt()
    # The others, nearly half of all pairs where priorities differ, neither suppress nor share.
    tables = tables or HostTables()
    kept = tables.get("suppressing edges", lambda: (difference > -1).nonzero()[:, 0])
    sender, receiver = sender.index_select(0, kept), receiver.index_select(0, kept)
    difference, window = difference.index_select(0, kept), window.index_select(0, kept)
    size = priority.shape[0]
    general = tables.general
    arranged = tables.get("pairs of rivals", lambda: arrange_pairs(sender, receiver, size, general))
    pairs = pair_sums(arranged, size, size)
    suppression = pairs.pad(window * smoothstep(difference))
    rivalry = pairs.pad(window * (1 - smoothstep(difference.abs())))
    before = mass = torch.ones_like(priority)
    for _ in range(ITERATIONS):
        others = pairs.take(mass)
        suppressed = pairs.blocks.sum_blocks((others * suppression).sum(1))
        rivals = pairs.blocks.sum_blocks((others * rivalry).sum(1))
        before, mass = mass, smoothstep(1 - kappa * suppressed / (1 + rivals))
    # As 1 - (1 - mass) (1 - before), which would round small masses to 0 where they still curve.
    return mass + before * (1 - mass)


@cache
def coverage_bound(kappa: float) -> float:
    """Lower bound of the coverage of any atom, min over u in [0, 1] of S(u) + (1 - u) / kappa."""
    u = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    return float((smoothstep(u) + (1 - u) / kappa).min())

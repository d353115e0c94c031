"""Two-body D3 dispersion with Becke-Johnson damping."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from muse_lr.config.schema import Strict
from muse_lr.electrostatics.base import REAL_TAPER
from muse_lr.electrostatics.edge_sums import sum_over_edges
from muse_lr.electrostatics.pair_sums import sum_over_pairs
from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs
from muse_lr.heads.dispersion.d3_data import D3Parameters, load_data, load_parameters
from muse_lr.heads.dispersion.lattice_sum import PowerSplit, smooth_energy
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.structures.sparse import rungs_of, with_pairs

#: Steepness of the counting function and of the weights of the reference systems.
COUNTING, WEIGHTING = 16.0, 4.0


class D3Damping(Strict):
    """Parameters of the Becke-Johnson damping, as they are published."""

    s6: float = Field(1.0, ge=0, description="Scale of the term in r^-6.")
    s8: float = Field(ge=0, description="Scale of the term in r^-8.")
    a1: float = Field(ge=0, description="Damping radius in units of that of the pair.")
    a2: float = Field(ge=0, description="Constant part of the damping radius, Bohr.")


class D3Config(HeadConfig):
    """Keys of the D3 head."""

    kind: Literal["d3"] = "d3"
    functional: str = Field(
        "pbe", description="Density functional whose damping parameters are used."
    )
    damping: D3Damping | None = Field(
        None,
        description="Damping parameters in place of those of the functional, for example "
        "{s8: 2.7, a1: 0.52, a2: 5.0}, with a2 in Bohr as published.",
    )
    cutoff: float = Field(
        12.0,
        gt=0,
        le=40,
        description="Cutoff of the coordination numbers, and of the damping in periodic "
        "structures, A. The dispersion itself has no cutoff.",
    )
    accuracy: float = Field(
        1e-6, ge=1e-12, le=1e-2, description="Relative truncation error of the lattice sum."
    )


class D3Head(Head):
    r"""The two-body part of D3(BJ), without trainable parameters.

    .. math:: E = -\sum_{i<j} C_{6,ij} \Bigl[\frac{s_6}{r^6 + f^6}
              + \frac{3 s_8 Q_i Q_j}{r^8 + f^8}\Bigr], \qquad f = a_1 \sqrt{3 Q_i Q_j} + a_2,

    where C6 is interpolated between reference molecules by Gaussian weights of the coordination
    numbers. S. Grimme, J. Antony, S. Ehrlich, H. Krieg, J. Chem. Phys. 132, 154104 (2010);
    S. Grimme, S. Ehrlich, L. Goerigk, J. Comput. Chem. 32, 1456 (2011).

    Open systems use all pairs. In periodic systems both terms are summed to infinity, which is
    possible because C6 is a product of weights. Use this head for labels without dispersion. With
    labels of a functional that includes dispersion, the energy would be counted twice.
    """

    Config: ClassVar[type[HeadConfig]] = D3Config
    reads_density: bool = False
    reads_features: bool = False
    long_range: ClassVar[bool] = True

    def __init__(self, config: D3Config, context: HeadContext) -> None:
        super().__init__()
        self.cutoff = config.cutoff
        self.splits = (
            PowerSplit.within(config.cutoff, config.accuracy, 6),
            PowerSplit.within(config.cutoff, config.accuracy, 8),
        )
        self.data = load_data(context.elements)
        if config.damping is None:
            self.damping = load_parameters(config.functional)
        else:
            self.damping = D3Parameters.from_published(**config.damping.model_dump())

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        geometry, composition = inputs.geometry, inputs.composition.double()
        weights = self._weights(geometry, composition)
        root = composition @ self.data.c8_root.to(composition.device)
        coupling = self.data.c6.to(composition.device)

        def open_energy(
            first: Tensor, second: Tensor, positions: Tensor, weights: Tensor, root: Tensor
        ) -> Tensor:
            distance = torch.linalg.vector_norm(positions[first] - positions[second], dim=1)
            c6 = ((weights @ coupling)[first] * weights[second]).sum(1)
            pairs = -c6 * self._damped(distance, root[first] * root[second])
            return sum_nodes(pairs, geometry.graph_index[first], geometry.num_graphs)

        tensors = geometry.positions, weights, root
        energy = sum_over_pairs(
            open_energy, geometry.nodes_per_graph, geometry.open_graphs, tensors
        )
        periodic = ~geometry.open_graphs
        if not bool(periodic.any()):
            return energy
        near = torch.zeros_like(energy)
        for rung, graphs in rungs_of(geometry, periodic):
            wide = with_pairs(geometry, rung, 2**rung * self.cutoff)
            near = near + self._near(wide, graphs, rung, weights, coupling, root)
        sixth, eighth = self.splits
        tail = smooth_energy(weights, coupling, geometry, periodic, sixth)
        energy = energy + near + self.damping.s6 * tail
        tail = smooth_energy(weights * root[:, None], coupling, geometry, periodic, eighth)
        return energy + 3 * self.damping.s8 * tail

    def coordination_numbers(self, geometry: Geometry, composition: Tensor) -> Tensor:
        """(n_atoms,) coordination numbers; ``composition`` is (n_atoms, n_elements), one-hot."""
        sender, receiver = geometry.edge_index
        near = geometry.edge_lengths < self.cutoff
        sender, receiver = sender[near], receiver[near]
        distance = geometry.edge_lengths[near]
        radius = composition @ self.data.covalent_radius.to(composition.device)
        bond = radius[sender] + radius[receiver]
        count = torch.sigmoid(COUNTING * (bond / distance - 1)) * self._window(distance)
        return count.new_zeros(len(geometry.numbers)).index_add(0, receiver, count)

    def _weights(self, geometry: Geometry, composition: Tensor) -> Tensor:
        """(n_atoms, n_elements * references) weights of the reference molecules."""
        number = self.coordination_numbers(geometry, composition)
        device = composition.device
        reference = composition @ self.data.coordination.to(device)
        valid = (composition @ self.data.valid.to(device, torch.float64)) > 0.5
        exponent = -WEIGHTING * (number[:, None] - reference).square()
        shares = torch.softmax(exponent.masked_fill(~valid, -torch.inf), dim=1)
        return (composition[:, :, None] * shares[:, None]).flatten(1)

    def _damped(self, distance: Tensor, roots: Tensor) -> Tensor:
        """(p,) bracket of the energy expression, A^-6."""
        damping = self.damping
        end = damping.a1 * (3 * roots).sqrt() + damping.a2
        second = damping.s6 / (distance**6 + end**6)
        return second + 3 * damping.s8 * roots / (distance**8 + end**8)

    def _near(
        self,
        geometry: Geometry,
        periodic: Tensor,
        rung: int,
        weights: Tensor,
        coupling: Tensor,
        root: Tensor,
    ) -> Tensor:
        """(n_graphs,) energy of periodic graphs of one rung without the smooth parts, eV."""
        cutoff = 2**rung * self.cutoff
        sender, receiver = geometry.edge_index
        near = (geometry.edge_lengths < cutoff) & periodic[geometry.graph_index[receiver]]
        # The neighbor list contains each pair twice.
        near = near & (sender <= receiver)

        def energy(
            first: Tensor, second: Tensor, distance: Tensor, _: Tensor, *tensors: Tensor
        ) -> Tensor:
            weights, root = tensors
            bracket = self._bracket(distance, root[first] * root[second], rung)
            c6 = ((weights @ coupling)[first] * weights[second]).sum(1)
            pairs = -torch.where(first == second, 0.5, 1.0) * c6 * bracket
            return sum_nodes(pairs, geometry.graph_index[second], geometry.num_graphs)

        return sum_over_edges(energy, geometry, near.nonzero()[:, 0], rung, (weights, root))

    def _bracket(self, distance: Tensor, roots: Tensor, rung: int) -> Tensor:
        """(p,) bracket of the energy expression without the smooth parts, A^-6."""
        cutoff = 2**rung * self.cutoff
        bare = self.damping.s6 / distance**6, 3 * self.damping.s8 * roots / distance**8
        short = [
            value * split.on_rung(rung).short_range(distance)
            for value, split in zip(bare, self.splits, strict=True)
        ]
        # The damping ends at the cutoff on every rung.
        bracket = (self._damped(distance, roots) - bare[0] - bare[1]) * self._window(distance)
        window = switch_off(distance, REAL_TAPER * cutoff, cutoff)
        return bracket + (short[0] + short[1]) * window

    def _window(self, distance: Tensor) -> Tensor:
        return switch_off(distance, REAL_TAPER * self.cutoff, self.cutoff)

"""Split charges: charge is transferred between neighbors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.charges.base import ChargeInputs, ChargesConfig, ChargesContext
from muse_lr.charges.constraint import spread
from muse_lr.charges.learned import LearnedCharges, initial_charges
from muse_lr.config.schema import ByElement
from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.math.radial import BesselBasis
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import Graph, NodeFeatures, sum_nodes

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch

#: Number of radial functions of the distance.
RADIAL = 8
#: Initial transfer along an edge, as a fraction of the difference of the elements' initial charges.
INITIAL_SHARE = 0.125
#: Allowed difference between a total charge and the sum of the constant charges, e.
TOLERANCE = 1e-6


class SplitConfig(ChargesConfig):
    """Configuration of the split charges."""

    kind: Literal["split"] = "split"
    by_element: ByElement = Field(
        {},
        description="Constant charge of each element, e, to which the transfers are added; 0 for "
        "elements that are not listed.",
    )
    net_charge: Literal["spread", "refuse"] = Field(
        "spread",
        description="Treatment of structures whose total charge is not the sum of the constant "
        "charges: `spread` distributes the difference evenly over the atoms, which is not "
        "size-consistent; `refuse` raises an error.",
    )


class SplitCharges(LearnedCharges):
    r"""Charges from transfers between neighbors, which conserve the charge exactly and locally.

    .. math::
       q_i = q^0_i + \sum_j (p_{ij} - p_{ji}), \qquad
       p_{ij} = \phi(r_{ij}) \left[ w \cdot \mathrm{silu}(A h_i + B h_j + C g(r_{ij}))
                + b(Z_i) - b(Z_j) \right],

    for the edges of the backbone, with a twice continuously differentiable envelope :math:`\phi`
    that vanishes at its cutoff. The charges :math:`q^0_i` do not depend on positions. They are the
    constants of the elements, plus an equal fraction of the remaining total charge. If nothing
    remains (a neutral structure without constants, or ions whose formal charges sum to the total),
    the charges are size-consistent. With ``net_charge: refuse`` this is required, and
    ``size_consistent`` is True.

    The dipole of the transfers depends only on differences of positions, so that the polarization
    is defined in every boundary,

    .. math:: P = \sum_i (\mu_i + q^0_i r_i) + \sum_{(i, j)} p_{ij} (r_i - r_j),

    with the image vectors of the edges (arXiv:2603.14700).
    """

    Config: ClassVar[type[ChargesConfig]] = SplitConfig
    exact_total_charge: ClassVar[bool] = True
    has_polarization: bool = True

    def __init__(self, config: SplitConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        assert context.cutoff is not None  # needs_features requires a backbone
        self.cutoff = context.cutoff
        self.size_consistent = config.net_charge == "refuse"
        unknown = [symbol for symbol in config.by_element if symbol not in context.elements]
        if unknown:
            raise InputError(
                f"model.charges.by_element names {unknown[0]}, which is not in model.elements"
            )
        # Not a buffer, since a cast of the model must not round the charges.
        self._constants = tuple(config.by_element.get(symbol, 0.0) for symbol in context.elements)
        scalars = context.features.scalars
        hidden = max(scalars // 2, 1)
        self.receiver = nn.Linear(scalars, hidden)
        self.sender = nn.Linear(scalars, hidden, bias=False)
        self.radial = BesselBasis(RADIAL, context.cutoff)
        self.filter = nn.Linear(RADIAL, hidden, bias=False)
        self.transfer = nn.Linear(hidden, 1, bias=False)
        self.offsets = initial_charges(context.elements, scale=INITIAL_SHARE)

    def prepare(self, geometry: Geometry, graph: Graph) -> None:
        """See :meth:`Part.prepare`."""
        geometry.within(self.cutoff)

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        features, composition = inputs.features, inputs.composition
        geometry, batch = inputs.geometry, inputs.batch
        sender, receiver, vectors, lengths = geometry.within(self.cutoff)
        lengths = lengths.to(composition.dtype)
        transfers = self._transfers(features, composition, sender, receiver, lengths)  # (E, 1)
        constant = self._constant_charges(composition, geometry, batch)  # (N, 1)
        charges = constant.to(composition.dtype).index_add(0, receiver, transfers)
        charges = charges.index_add(0, sender, -transfers)
        density = self.density(charges, features, composition, geometry)
        # The edge vector points from the receiver to the sender.
        moved = -transfers.to(torch.float64) * vectors
        moved = sum_nodes(moved, geometry.graph_index[receiver], geometry.num_graphs)
        fixed = torch.cat([constant, density.moments[:, 1:].to(torch.float64)], dim=1)
        resting = replace(density, moments=fixed).dipole(geometry.positions)
        return replace(density, polarization=resting + moved)

    def _transfers(
        self,
        features: NodeFeatures,
        composition: Tensor,
        sender: Tensor,
        receiver: Tensor,
        lengths: Tensor,
    ) -> Tensor:
        """(E, 1) charge that is transferred to the receiver of each edge, e."""
        hidden = self.receiver(features.scalars)[receiver] + self.sender(features.scalars)[sender]
        hidden = hidden + self.filter(self.radial(lengths))
        offsets = composition @ self.offsets
        learned: Tensor = self.transfer(nn.functional.silu(hidden))
        envelope = switch_off(lengths, 0.0, self.cutoff)[:, None]
        return envelope * (learned + offsets[receiver] - offsets[sender])

    def _constant_charges(
        self, composition: Tensor, geometry: Geometry, batch: AtomsBatch
    ) -> Tensor:
        """(n_atoms, 1) charges without transfers, e, float64."""
        double = composition.to(torch.float64)
        constants = (double @ double.new_tensor(self._constants))[:, None]
        totals = batch.total_charge[:, None]
        return spread(constants, torch.ones_like(constants), totals, geometry.graph_index)

    def _constants_of(self, batch: AtomsBatch) -> Tensor:
        """(n_atoms,) constant charges of the elements, e, float64."""
        from ase.data import atomic_numbers

        table = torch.zeros(len(atomic_numbers), dtype=torch.float64, device=batch.numbers.device)
        for symbol, charge in zip(self.elements, self._constants, strict=True):
            table[atomic_numbers[symbol]] = charge
        return table[batch.numbers]

    def resting_charges(self, batch: AtomsBatch) -> Tensor:
        """See :meth:`ChargeModel.resting_charges`."""
        constants = self._constants_of(batch)[:, None]
        totals = batch.total_charge[:, None]
        return spread(constants, torch.ones_like(constants), totals, batch.batch)[:, 0]

    def check(self, batch: AtomsBatch) -> None:
        """With ``net_charge: refuse``, refuse total charges that differ from the constants."""
        if not self.size_consistent:
            return
        total = sum_nodes(self._constants_of(batch), batch.batch, batch.num_graphs)
        wrong = (total - batch.total_charge).abs() > TOLERANCE
        if bool(wrong.any()):
            graph = int(wrong.nonzero()[0])
            raise InputError(
                f"structure {graph} has the total charge {float(batch.total_charge[graph]):g} but "
                f"the constant charges of its elements sum to {float(total[graph]):g} e; correct "
                "atoms.info['total_charge'] or model.charges.by_element, or set "
                "model.charges.net_charge to spread"
            )

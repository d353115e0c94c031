"""Charge equilibration without Coulomb interactions, in closed form."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from muse_lr.charges.base import ChargeInputs, ChargesConfig, ChargesContext
from muse_lr.charges.constraint import spread
from muse_lr.charges.learned import (
    LearnedCharges,
    element_offsets,
    initial_charges,
    scalar_readout,
)
from muse_lr.density import ChargeDensity

#: Smallest hardness. It bounds the charge of an atom.
MIN_HARDNESS = 0.05


class QETConfig(ChargesConfig):
    """Configuration of the charge equilibration in closed form."""

    kind: Literal["qet"] = "qet"


class QETCharges(LearnedCharges):
    r"""Charges that minimize :math:`\sum_i \chi_i q_i + \tfrac12 \eta_i q_i^2` at the total Q.

    .. math::
       q_i = -\frac{\chi_i}{\eta_i}
             + \frac{1}{\eta_i} \frac{Q + \sum_j \chi_j / \eta_j}{\sum_j 1 / \eta_j},

    with learned electronegativities :math:`\chi` and hardnesses :math:`\eta > 0`. The cost is
    linear in the number of atoms (the QET layer of matgl). Only the ratios of :math:`\chi` and
    :math:`\eta` matter, so that they have no unit. The initial hardness is 1 plus the smallest one.
    The minimized function is not part of the energy. The constraint couples all atoms of a
    structure, so that the model is not size-consistent.
    """

    Config: ClassVar[type[ChargesConfig]] = QETConfig
    exact_total_charge: ClassVar[bool] = True
    size_consistent = False

    def __init__(self, config: QETConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        self.electronegativity = scalar_readout(context.features.scalars)
        self.offsets = initial_charges(context.elements, scale=-1.0)
        self.hardness = scalar_readout(context.features.scalars)
        self.hardness_offsets = element_offsets(context.elements)

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        features, composition = inputs.features, inputs.composition
        geometry, batch = inputs.geometry, inputs.batch
        chi = self.electronegativity(features.scalars) + composition @ self.offsets  # (N, 1)
        raw = self.hardness(features.scalars) + composition @ self.hardness_offsets
        charges = equilibrated(
            chi,
            nn.functional.softplus(raw) + MIN_HARDNESS,
            batch.total_charge[:, None],
            geometry.graph_index,
        )
        return self.density(charges, features, composition, geometry)


def equilibrated(chi: Tensor, eta: Tensor, totals: Tensor, graph_index: Tensor) -> Tensor:
    r"""Charges with equal :math:`\chi_i + \eta_i q_i` within each graph.

    Parameters
    ----------
    chi, eta : Tensor
        (n_atoms, ...) electronegativities and hardnesses.
    totals : Tensor
        (n_graphs, ...) total charges, e.
    graph_index : Tensor
        (n_atoms,) graph of each atom.
    """
    return spread(-chi / eta, 1 / eta, totals, graph_index)

"""The physical terms of SO3LR, built from the blocks of so3krates-torch.

A. Kabylda, J. T. Frank, S. Suarez-Dou, A. Khabibrakhmanov, L. Medrano Sandonas, O. T. Unke,
S. Chmiela, K.-R. Mueller, A. Tkatchenko, Molecular simulations with a pretrained neural network
and universal pairwise force fields, J. Am. Chem. Soc. 147, 33723 (2025). The electrostatic energy
and its forces are continuous at the cutoff, but its second derivatives are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from ase.data import atomic_numbers
from torch import Tensor, nn

from muse_lr.backbones.so3krates.config import So3kratesConfig, So3lrConfig
from muse_lr.backbones.so3krates.imports import import_so3krates
from muse_lr.errors import InputError
from muse_lr.math.switching import switch_off
from muse_lr.structures.graph import Graph

#: Largest atomic number in the tables of the blocks.
MAX_ATOMIC_NUMBER = 99


@dataclass(frozen=True)
class PhysicalTerms:
    """Energies and atomic properties from the physical terms.

    Attributes
    ----------
    energies : dict of str to Tensor
        ``repulsion``, ``electrostatics`` and ``dispersion``, each (n_nodes,) in eV.
    charges : Tensor
        (n_nodes,) partial charges in e, which sum to the total charge of each graph.
    hirshfeld_ratios : Tensor
        (n_nodes,) ratio of the volume of each atom to that of the free atom.
    """

    energies: dict[str, Tensor]
    charges: Tensor
    hirshfeld_ratios: Tensor


class So3lrTerms(nn.Module):
    r"""Repulsion, electrostatics and dispersion between atoms.

    .. math::
       E = \tfrac12 \sum_{i \neq j} \left[ E^\mathrm{ZBL}(r_{ij})
           + k q_i q_j \frac{\mathrm{erf}(r_{ij} / \sigma)}{r_{ij}}
           - \sum_{n = 3}^{5} \frac{C_{2n}}{r_{ij}^{2n} + R^{2n}} \right]

    The repulsion has the ZBL form with learned coefficients. The Coulomb law is shifted, so that
    energy and force vanish at the cutoff. The dispersion is that of coupled oscillators, with
    coefficients from the Hirshfeld ratios. Charges and ratios are read out from the features.

    Parameters
    ----------
    config : So3kratesConfig
        Its ``so3lr`` must not be None.
    elements : tuple of str
    """

    numbers: Tensor

    def __init__(self, config: So3kratesConfig, elements: tuple[str, ...]) -> None:
        super().__init__()
        assert config.so3lr is not None
        self.config: So3lrConfig = config.so3lr
        self.local_cutoff = config.cutoff
        numbers = [atomic_numbers[element] for element in elements]
        heavy = [e for e, z in zip(elements, numbers, strict=True) if z > MAX_ATOMIC_NUMBER]
        if heavy:
            raise InputError(
                f"the terms of SO3LR do not know {', '.join(heavy)}; the largest "
                f"atomic number is {MAX_ATOMIC_NUMBER}"
            )
        self.register_buffer("numbers", torch.tensor(numbers))
        outputs = import_so3krates("blocks.output_block")
        potentials = import_so3krates("blocks.physical_potentials")
        options = {
            "num_features": config.channels,
            "regression_dim": config.readout_channels or config.channels,
            "activation_fn": nn.SiLU,
        }
        self.charges = outputs.PartialChargesOutputHead(**options)
        # The bias cancels in the shift to the total charge.
        self.charges.transform_inv_features[-1].bias.requires_grad_(False)
        self.hirshfeld_ratios = outputs.HirshfeldOutputHead(**options)
        self.repulsion = potentials.ZBLRepulsion()
        self.electrostatics = potentials.ElectrostaticInteraction()
        self.dispersion = potentials.DispersionInteraction()

    def prepare(self, graph: Graph) -> None:
        """Make the tables of the edges within both cutoffs."""
        for cutoff in (self.local_cutoff, self.config.cutoff):
            graph.within(cutoff)

    def forward(self, graph: Graph, scalars: Tensor) -> PhysicalTerms:
        """Compute the terms. The graph must have all edges within the long-range cutoff."""
        if graph.edge_weights is not None:
            raise ValueError("the terms of SO3LR describe atoms, not coarse nodes")
        numbers = self.numbers[graph.composition.argmax(1)]
        charges = self._charges(graph, scalars, numbers)
        ratios = self.hirshfeld_ratios(scalars, numbers)
        energies = {
            "repulsion": self._repulsion(graph.within(self.local_cutoff), numbers),
            **self._long_range(graph.within(self.config.cutoff), charges, ratios, numbers),
        }
        return PhysicalTerms(energies, charges, ratios)

    def _charges(self, graph: Graph, scalars: Tensor, numbers: Tensor) -> Tensor:
        """Charges of the readout, shifted uniformly to the total charge.

        The shift of the block itself is always in single precision.
        """
        own = self.charges.transform_inv_features(scalars)[:, 0]
        own = own + self.charges.atomic_embedding(numbers)[:, 0]
        sums = own.new_zeros((2, graph.num_graphs))
        sums = sums.index_add(1, graph.graph_index, torch.stack([own, torch.ones_like(own)]))
        shift = (graph.total_charge.to(own) - sums[0]) / sums[1].clamp(min=1)
        charges: Tensor = own + shift[graph.graph_index]
        return charges

    def _repulsion(self, graph: Graph, numbers: Tensor) -> Tensor:
        senders, receivers = graph.edge_index
        envelope = switch_off(graph.edge_lengths, 0.0, self.local_cutoff)
        energies: Tensor = self.repulsion(
            numbers,
            envelope[:, None],
            senders,
            receivers,
            graph.edge_lengths[:, None],
            graph.num_nodes,
        )
        return energies[:, 0]

    def _long_range(
        self, graph: Graph, charges: Tensor, ratios: Tensor, numbers: Tensor
    ) -> dict[str, Tensor]:
        edges = (*graph.edge_index, graph.edge_lengths, graph.num_nodes)
        electrostatics = self.electrostatics(
            charges,
            *edges,
            cutoff_lr=self.config.cutoff,
            electrostatic_energy_scale=self.config.charge_width,
        )
        dispersion = self.dispersion(
            ratios,
            numbers,
            *edges,
            cutoff_lr=self.config.cutoff,
            cutoff_lr_damping=self.config.damping,
            dispersion_energy_scale=self.config.dispersion_scale,
        )
        return {"electrostatics": electrostatics[:, 0], "dispersion": dispersion[:, 0]}

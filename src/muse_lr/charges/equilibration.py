"""Charge equilibration of Gaussian charges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from muse_lr.charges.base import ChargeInputs, ChargeModel, ChargesConfig, ChargesContext
from muse_lr.charges.learned import element_offsets, initial_charges, scalar_readout
from muse_lr.charges.solve.interaction import InteractingCharges
from muse_lr.charges.solve.linear_solve import minimum
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.dispatch import Electrostatics
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.fields import refuse_periodic_field
from muse_lr.electrostatics.mesh.pme import PMESolver
from muse_lr.errors import InputError
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import NodeFeatures, sum_nodes
from muse_lr.units import COULOMB_CONSTANT

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch

#: Factor from the initial charge of an element to its initial electronegativity, in eV per e. It
#: corresponds to Mulliken's scale, 2.98 eV per unit of Pauling's scale (R. S. Mulliken, J. Chem.
#: Phys. 2, 782 (1934); linear fit by S. G. Bratsch, J. Chem. Educ. 65, 34 (1988)).
ELECTRONEGATIVITY_UNIT = 7.45
#: Initial hardness of each element, eV/e^2, without the self-interaction of its Gaussian.
HARDNESS_UNIT = 5.0


class EquilibrationConfig(ChargesConfig):
    """Configuration of the charge equilibration."""

    kind: Literal["qeq"] = "qeq"
    accuracy: float = Field(
        1e-6,
        ge=1e-12,
        le=1e-2,
        description="Accuracy of the periodic sums, as in the coulomb head; use the same value "
        "for both.",
    )


class EquilibratedCharges(ChargeModel):
    r"""Charges that minimize a quadratic energy at the total charge Q.

    .. math::
       E(q) = \sum_i \chi_i q_i
              + \tfrac12 \sum_i \Bigl(J_i + \frac{k}{\sqrt\pi \sigma_i}\Bigr) q_i^2
              + \tfrac12 \sum_{ij} q_i A_{ij} q_j - F \cdot \sum_i q_i r_i,
       \qquad \sum_i q_i = Q

    with learned electronegativities :math:`\chi_i`, learned hardnesses :math:`J_i > 0`, the
    interaction A of Gaussians of widths :math:`\sigma_i` in the boundary of each structure, and the
    external field F. E is strictly convex for charges of fixed total, so that the minimum is unique
    (S. A. Ghasemi et al., Phys. Rev. B 92, 045131 (2015); A. K. Rappe, W. A. Goddard, J. Phys.
    Chem. 95, 3358 (1991)).

    The charge model adds the first two sums to the energy, as the term ``charges``. The coulomb
    head adds the interaction. Its ``self_interaction`` must be off, since it is part of the second
    sum. In a field, the external_field head adds the last term. With these heads the energy of the
    model is E, and it is stationary in the charges. The constraint couples all atoms of a
    structure, so that the model is not size-consistent.

    The charges are computed in float64 for any precision of the model.

    Raises
    ------
    InputError
        If a width is 0, since the energy of point charges has no minimum.
    """

    Config: ClassVar[type[ChargesConfig]] = EquilibrationConfig
    exact_total_charge: ClassVar[bool] = True
    size_consistent = False
    reads_field: ClassVar[bool] = True
    minimizes_coulomb: ClassVar[bool] = True

    def __init__(self, config: EquilibrationConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        if min(self.widths) == 0:
            raise InputError(
                "charges kind 'qeq' needs Gaussians; set model.charges.width to a positive value"
            )
        assert context.cutoff is not None  # needs_features requires a backbone
        self.electronegativity = scalar_readout(context.features.scalars)
        self.offsets = initial_charges(context.elements, scale=-1.0)
        self.hardness = scalar_readout(context.features.scalars)
        self.hardness_offsets = element_offsets(context.elements)
        options = (config.accuracy, context.cutoff)
        self.electrostatics = Electrostatics(self.widths, 0, *options)
        self.solver = ReferenceSolver(self.widths, *options)
        fine = config.accuracy < PMESolver.best_accuracy
        self.mesh = None if fine else PMESolver(self.widths, *options)
        self.cutoff = self.electrostatics.cutoff

    def check(self, batch: AtomsBatch) -> None:
        """Refuse fields along periodic directions, where the energy has no minimum."""
        refuse_periodic_field(batch)

    def parameters_of(self, features: NodeFeatures, composition: Tensor) -> tuple[Tensor, Tensor]:
        """(n_atoms,) electronegativities, eV/e, and hardnesses, eV/e^2, in float64."""
        chi = self.electronegativity(features.scalars) + composition @ self.offsets
        hardness = self.hardness(features.scalars) + composition @ self.hardness_offsets
        hardness = nn.functional.softplus(hardness.double())
        return ELECTRONEGATIVITY_UNIT * chi[:, 0].double(), HARDNESS_UNIT * hardness[:, 0]

    def not_compiled(self) -> str:
        """See :meth:`Part.not_compiled`."""
        return "its charges are found by iterations, whose number depends on the structure"

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        features, composition = inputs.features, inputs.composition
        geometry, batch = inputs.geometry, inputs.batch
        chi, hardness = self.parameters_of(features, composition)
        width = self.atom_widths(composition.double())
        charges, energy = self.equilibrate(chi, hardness, width, geometry, batch.total_charge)
        return ChargeDensity(
            charges[:, None].to(composition.dtype),
            self.atom_widths(composition),
            geometry.graph_index,
            geometry.num_graphs,
            energy=energy,
        )

    def equilibrate(
        self,
        chi: Tensor,
        hardness: Tensor,
        width: Tensor,
        geometry: Geometry,
        totals: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Equilibrate charges with given electronegativities and hardnesses.

        Parameters
        ----------
        chi, hardness : Tensor
            (n_atoms,) in eV/e and eV/e^2, float64.
        width : Tensor
            (n_atoms,) Gaussian standard deviations, A. Each must be one of ``widths``.
        geometry : Geometry
        totals : Tensor
            (n_graphs,) total charges, e.

        Returns
        -------
        charges : Tensor
            (n_atoms,) in e, float64.
        energy : Tensor
            (n_graphs,) energy of electronegativity and hardness, eV.
        """
        diagonal = hardness + COULOMB_CONSTANT / (math.sqrt(math.pi) * width)
        system = InteractingCharges(
            self.electrostatics, self.solver, self.mesh, width, geometry, diagonal
        )
        field = geometry.field.to(chi.dtype)[geometry.graph_index]
        force = (field * geometry.positions).sum(1) - chi
        charges = minimum(
            system, force, totals.to(chi.dtype), (diagonal, geometry.positions, geometry.cell)
        )
        own = chi * charges + diagonal * charges**2 / 2
        return charges, sum_nodes(own, geometry.graph_index, geometry.num_graphs)

"""A learned energy of the electrostatic potential around each atom."""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import sqrt
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.errors import InputError
from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs
from muse_lr.heads.field_features.projection import ProjectedPotential
from muse_lr.structures.graph import NodeFeatures, sum_nodes

ProbeWidth = Annotated[float, Field(ge=0.3, le=10)]
#: Smallest charge width for the r^-6 potential, A. Point charges have no finite average.
MIN_SMEARING = 0.3


class FieldFeaturesConfig(HeadConfig):
    """Keys of the field-feature head."""

    kind: Literal["field_features"] = "field_features"
    widths: tuple[ProbeWidth, ...] = Field(
        (1.5, 3.0),
        min_length=1,
        max_length=8,
        description="Gaussian standard deviations on which the potential is projected, A, each "
        "from 0.3 to 10. The cost of periodic sums grows as the inverse cube.",
    )
    exponent: Literal[1, 6] = Field(
        1,
        description="Exponent p of the potential 1/r^p of the density: 1 for Coulomb, or 6 for a "
        "potential smeared by the widths of the charges.",
    )
    l_max: int = Field(2, ge=0, le=2, description="Highest order of the projections.")
    channels: int = Field(
        16, ge=1, description="Local channels of each order that are contracted with the potential."
    )
    accuracy: float = Field(
        1e-6,
        ge=1e-12,
        le=1e-2,
        description="Accuracy of the periodic sums for the potential, as in the coulomb head.",
    )


class FieldFeaturesHead(Head):
    r"""E = g sum_i [f(h_i, x_i) - f(h_i, 0)] with invariants x_i of the potential at atom i.

    The invariants are built from the projections :math:`u_{\sigma lm}` of the potential of all
    other atoms (:class:`~muse_lr.heads.field_features.projection.ProjectedPotential`) and from the
    channels c of the local features. They are

    .. math::
       p_{c \sigma l} = \frac{1}{\sqrt{2l + 1}} \sum_m \rho_{clm} u_{\sigma lm}, \qquad
       p_{\sigma \sigma' l} = \frac{1}{\sqrt{2l + 1}} \sum_m u_{\sigma lm} u_{\sigma' lm}

    and the potentials :math:`u_{\sigma 00}` themselves. These are the (1, 1) and (0, 2)
    contractions of multi-scale LODE (arXiv:2008.12122). A linear function of the first kind is a
    learned multipole expansion in the far field. If the features do not have an order l, only the
    second kind contains it. The energy is zero without a potential. It is also zero at
    initialization, because g starts at 0. The head does not change the density.

    Raises
    ------
    InputError
        For exponent 6 with charges whose width is below :data:`MIN_SMEARING`.
    """

    Config: ClassVar[type[HeadConfig]] = FieldFeaturesConfig
    reads_potential: ClassVar[bool] = True
    needs_density: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True
    long_range: ClassVar[bool] = True

    def __init__(self, config: FieldFeaturesConfig, context: HeadContext) -> None:
        super().__init__()
        if config.exponent == 6 and min(context.widths) < MIN_SMEARING:
            raise InputError(
                f"field_features of the exponent 6 needs charges of a width of at least "
                f"{MIN_SMEARING} Å to smear 1/r^6: increase model.charges.width, which is "
                f"{min(context.widths):g} Å"
            )
        self.projection = ProjectedPotential(
            config.widths, context.widths, config.l_max, config.accuracy, config.exponent
        )
        self.l_max, self.cutoff = config.l_max, 0.0
        known = {0: context.features.scalars, **context.features.tensors}
        self.orders = [order for order in range(config.l_max + 1) if order in known]
        self.reads_tensors = len(self.orders) > 1
        self.mixes = nn.ModuleList(
            nn.Linear(known[order], config.channels, bias=False) for order in self.orders
        )
        count = len(config.widths)
        pairs = list(combinations_with_replacement(range(count), 2))
        self._first, self._second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        invariants = count * (1 + config.channels * len(self.orders))
        invariants += len(pairs) * (config.l_max + 1)
        hidden = context.features.scalars
        self.local = nn.Linear(context.features.scalars, hidden)
        self.field = nn.Linear(invariants, hidden, bias=False)
        self.readout = nn.Linear(hidden, 1, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def invariants(self, projected: Tensor, features: NodeFeatures) -> Tensor:
        """(n_atoms, n_invariants) of (n_atoms, n_widths, (l_max + 1)^2) projections."""
        found = [projected[:, :, 0]]
        for order in range(self.l_max + 1):
            u = projected[:, :, order**2 : (order + 1) ** 2]
            scaled = u / sqrt(2 * order + 1)
            found.append((scaled[:, self._first] * u[:, self._second]).sum(2))
            if order in self.orders:
                local = features.tensors[order] if order > 0 else features.scalars[:, None]
                local = self.mixes[self.orders.index(order)](local)  # (N, 2l + 1, C)
                found.append((scaled @ local).flatten(1))
        return torch.cat(found, dim=1)

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        density, features, geometry = inputs.density, inputs.features, inputs.geometry
        assert density is not None  # guaranteed by needs_density when the model is built
        projected = self.projection(density, geometry, inputs.composition)
        field = self.field(self.invariants(projected.to(features.scalars.dtype), features))
        local = self.local(features.scalars)
        silu = nn.functional.silu
        energy = self.gate * self.readout(silu(local + field) - silu(local))[:, 0]
        return sum_nodes(energy, geometry.graph_index, geometry.num_graphs)

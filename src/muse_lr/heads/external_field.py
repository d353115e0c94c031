"""The energy of the charge density in a uniform electric field."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor

from muse_lr.electrostatics.fields import refuse_periodic_field
from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch


class ExternalFieldConfig(HeadConfig):
    """Keys of the external field head."""

    kind: Literal["external_field"] = "external_field"


class ExternalFieldHead(Head):
    """E = -mu.F with the dipole mu about the coordinate origin.

    The field F in V/A is read from ``atoms.info["electric_field"]`` and is zero if the key is
    absent. Positive charges are pushed along F. In open systems the field may have any direction;
    in slabs it must be along the normal. Along a periodic direction the dipole is not well defined
    (wrapping an atom changes the energy by q L.F), so such a field raises an error. Charged systems
    experience a net force, and their energy depends on the origin.
    """

    Config: ClassVar[type[HeadConfig]] = ExternalFieldConfig
    needs_density: ClassVar[bool] = True
    reads_features: bool = False
    long_range: ClassVar[bool] = True
    reads_field: ClassVar[bool] = True

    def __init__(self, config: ExternalFieldConfig, context: HeadContext) -> None:
        super().__init__()
        self.cutoff = 0.0

    def check(self, batch: AtomsBatch) -> None:
        """Raise an error for fields with a component along a periodic direction."""
        refuse_periodic_field(batch)

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        assert inputs.density is not None  # guaranteed by needs_density when the model is built
        dipole = inputs.density.dipole(inputs.geometry.positions)
        return -(dipole * inputs.geometry.field).sum(1)

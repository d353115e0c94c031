"""Configuration of a SO3krates and of the physical terms of an SO3LR."""

from __future__ import annotations

from math import lcm
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from muse_lr.backbones.base import BackboneConfig
from muse_lr.config.schema import Strict

#: Mean number of neighbors where neither a file nor training data says it.
DEFAULT_NEIGHBORS = 16.0


class So3lrConfig(Strict):
    """Physical terms of SO3LR: repulsion, electrostatics and dispersion."""

    cutoff: float = Field(
        12.0, gt=0, le=100, description="Cutoff of electrostatics and dispersion, A."
    )
    damping: float = Field(
        2.0, gt=0, description="Width over which dispersion is switched off at its cutoff, A."
    )
    charge_width: float = Field(
        4.0, gt=0, description="Length sigma of the damped Coulomb law erf(r / sigma) / r, A."
    )
    dispersion_scale: float = Field(
        1.2, gt=0, description="Factor of the van der Waals radii at which dispersion is damped."
    )


class So3kratesConfig(BackboneConfig):
    """SO3krates from hyperparameters, or from a model saved by so3krates-torch (``file``)."""

    renamed: ClassVar[dict[str, str]] = {"max_l": "l_max"}

    kind: Literal["so3krates"] = "so3krates"
    file: str | None = Field(
        None,
        description="A model saved by so3krates-torch, or so3lr for the weights that its wheel "
        "carries. All other keys but so3lr.cutoff and so3lr.damping then come from the file, and "
        "its weights stay as they are.",
    )
    trust: bool = Field(
        False,
        description="Whether `file` may be loaded: it is a pickle, and loading it runs its code.",
    )
    l_max: int = Field(4, ge=1, le=4, description="Highest order of the Euclidean variables.")
    multiplicity: int = Field(
        1, ge=1, description="Euclidean variables of each order; one in the paper."
    )
    heads: int = Field(4, ge=1, description="Attention heads of the invariant features.")
    num_radial: int = Field(32, ge=2, description="Number of radial basis functions.")
    radial_type: Literal["gaussian", "bernstein"] = Field(
        "gaussian",
        description="Radial basis. Bernstein's, in exp(-0.94 r / A), resolves no distances beyond "
        "some 8 A.",
    )
    avg_num_neighbors: float | None = Field(
        None,
        gt=0,
        description="Mean number of neighbors, by which attention is divided; default: that of "
        "the training data, or 16 for a model that is built without data.",
    )
    start: Literal["neighbors", "zero"] = Field(
        "neighbors", description="Euclidean variables before the first layer: eq. 11, or zero."
    )
    residual_mlp: bool = Field(
        True, description="Whether each layer has a residual network after the attention."
    )
    normalization: Literal["bounded", "layer", "none"] = Field(
        "bounded",
        description="What keeps attention, which is cubic in the features, from growing: layer is "
        "SO3LR's normalization of the invariant features within each layer, bounded the same after "
        "a smooth bound on what enters the first, none is the paper's.",
    )
    readout_channels: int | None = Field(
        None, ge=1, description="Hidden width of the readout; default: channels."
    )
    state_embedding: Literal["gated", "attention"] = Field(
        "gated",
        description="How what `embed` names enters: gated by the element, or shared out among the "
        "atoms by attention as in SpookyNet and SO3LR.",
    )
    so3lr: So3lrConfig | None = Field(
        None,
        description="Physical terms of SO3LR, whose energies join the backbone's: {cutoff: 12, "
        "damping: 2, charge_width: 4, dispersion_scale: 1.2}, lengths in A.",
    )
    frozen: bool = Field(
        False, description="Whether the weights stay as they are; those of a file always do."
    )

    @property
    def weights_file(self) -> str | None:
        """See :attr:`BackboneConfig.weights_file`."""
        return self.file

    @property
    def needs_neighbor_count(self) -> bool:
        """See :attr:`BackboneConfig.needs_neighbor_count`."""
        return self.avg_num_neighbors is None and self.file is None

    @property
    def degrees(self) -> list[int]:
        """The order of each Euclidean variable, ascending."""
        return [order for order in range(1, self.l_max + 1) for _ in range(self.multiplicity)]

    @model_validator(mode="after")
    def _channels_can_be_split(self) -> Self:
        parts = lcm(4, self.heads, len(self.degrees))
        if self.file is None and self.channels % parts:
            raise ValueError(
                f"channels is {self.channels}, but must be a multiple of 4, of heads and of "
                f"l_max * multiplicity: a multiple of {parts}"
            )
        return self

"""Configuration of the SO3krates backbone and of the physical terms of SO3LR."""

from __future__ import annotations

from math import lcm
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from muse_lr.backbones.base import BackboneConfig
from muse_lr.config.schema import Strict

#: Mean number of neighbors without a file and without training data.
DEFAULT_NEIGHBORS = 16.0


class So3lrConfig(Strict):
    """Physical terms of SO3LR: repulsion, electrostatics and dispersion."""

    cutoff: float = Field(
        12.0, gt=0, le=100, description="Cutoff of electrostatics and dispersion, Å."
    )
    damping: float = Field(
        2.0,
        gt=0,
        description="Width of the interval below the cutoff in which dispersion is switched "
        "off, Å.",
    )
    charge_width: float = Field(
        4.0, gt=0, description="Length sigma of the damped Coulomb law erf(r / sigma) / r, Å."
    )
    dispersion_scale: float = Field(
        1.2, gt=0, description="Scale of the van der Waals radii in the damping of dispersion."
    )


class So3kratesConfig(BackboneConfig):
    """Configuration of the SO3krates backbone: hyperparameters, or a saved model (``file``)."""

    renamed: ClassVar[dict[str, str]] = {"max_l": "l_max"}

    kind: Literal["so3krates"] = "so3krates"
    file: str | None = Field(
        None,
        description="A model saved by so3krates-torch, or `so3lr` for the weights that are "
        "installed with so3krates-torch. The hyperparameters are then read from the file, except "
        "so3lr.cutoff and so3lr.damping, and the weights are not trained.",
    )
    trust: bool = Field(
        False,
        description="Whether `file` may be loaded. It is a pickle, and loading it runs its code.",
    )
    l_max: int = Field(4, ge=1, le=4, description="Highest order of the Euclidean variables.")
    multiplicity: int = Field(
        1, ge=1, description="Number of Euclidean variables of each order; 1 in the paper."
    )
    heads: int = Field(4, ge=1, description="Number of attention heads of the invariant features.")
    num_radial: int = Field(32, ge=2, description="Number of radial basis functions.")
    radial_type: Literal["gaussian", "bernstein"] = Field(
        "gaussian",
        description="Radial basis. Bernstein polynomials of exp(-0.94 r / Å) do not resolve "
        "distances beyond about 8 Å.",
    )
    avg_num_neighbors: float | None = Field(
        None,
        gt=0,
        description="Mean number of neighbors, by which attention is divided; default: computed "
        "from the training data, or 16 if the model is built without data.",
    )
    start: Literal["neighbors", "zero"] = Field(
        "neighbors",
        description="Initial Euclidean variables: `neighbors` is eq. 11 of the paper, `zero` is "
        "zero.",
    )
    residual_mlp: bool = Field(
        True, description="Whether each layer has a residual network after the attention."
    )
    normalization: Literal["bounded", "layer", "none"] = Field(
        "bounded",
        description="Normalization of the features. Attention is cubic in the features, so that "
        "they can grow from layer to layer. `layer` normalizes the invariant features within each "
        "layer, as SO3LR does. `bounded` adds a smooth bound on the input of the first layer. "
        "`none` is the method of the paper.",
    )
    readout_channels: int | None = Field(
        None, ge=1, description="Hidden width of the readout; default: channels."
    )
    state_embedding: Literal["gated", "attention"] = Field(
        "gated",
        description="Embedding of the properties in `embed`: `gated` by the element, or "
        "distributed over the atoms by `attention`, as in SpookyNet and SO3LR.",
    )
    so3lr: So3lrConfig | None = Field(
        None,
        description="Physical terms of SO3LR, which are added to the energy of the backbone: "
        "{cutoff: 12, damping: 2, charge_width: 4, dispersion_scale: 1.2}, lengths in Å.",
    )
    frozen: bool = Field(
        False,
        description="Whether the weights are kept fixed in training; those of a file always are.",
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
                f"channels is {self.channels}, but must be a multiple of 4, heads and "
                f"l_max * multiplicity, that is, a multiple of {parts}"
            )
        return self

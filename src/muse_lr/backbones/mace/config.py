"""Configuration of the MACE backbone."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from muse_lr.backbones.base import BackboneConfig

Interaction = Literal[
    "RealAgnosticInteractionBlock",
    "RealAgnosticResidualInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
    "RealAgnosticAttResidualInteractionBlock",
    "RealAgnosticResidualNonLinearInteractionBlock",
]

#: Mean number of neighbors without a file and without training data.
DEFAULT_NEIGHBORS = 16.0


class MaceConfig(BackboneConfig):
    """Configuration of the MACE backbone: hyperparameters, or a saved model (``file``)."""

    renamed: ClassVar[dict[str, str]] = {"max_l": "l_max"}

    kind: Literal["mace"] = "mace"
    layers: int = Field(2, ge=1, description="Number of message-passing layers.")
    file: str | None = Field(
        None,
        description="A model saved by mace-torch, such as a pre-trained one. All hyperparameters "
        "except embed and frozen are then read from the file.",
    )
    trust: bool = Field(
        False,
        description="Whether `file` may be loaded. It is a pickle, and loading it runs its code.",
    )
    head: str | None = Field(None, description="Head of a multi-head `file`; default: the first.")
    l_max: int = Field(1, ge=0, le=3, description="Highest order of the node features.")
    max_ell: int = Field(3, ge=0, le=6, description="Highest spherical harmonic of the edges.")
    correlation: int = Field(
        3, ge=1, le=4, description="Correlation order: the body order of a layer minus one."
    )
    num_radial: int = Field(8, ge=1, description="Number of radial basis functions.")
    num_polynomial_cutoff: int = Field(
        5,
        ge=2,
        description="Power p of the cutoff polynomial. For any p it is twice continuously "
        "differentiable.",
    )
    radial_type: Literal["bessel", "gaussian"] = Field("bessel", description="Radial basis.")
    distance_transform: Literal["agnesi", "soft"] | None = Field(
        None,
        description="Transform of the distances that depends on the covalent radii of the pair.",
    )
    radial_mlp: tuple[int, ...] = Field(
        (64, 64, 64), description="Hidden widths of the network that computes the radial weights."
    )
    apply_cutoff: bool = Field(
        True, description="Whether the cutoff multiplies the radial basis; otherwise the messages."
    )
    interaction_first: Interaction = Field(
        "RealAgnosticResidualInteractionBlock", description="Interaction block of the first layer."
    )
    interaction: Interaction = Field(
        "RealAgnosticResidualInteractionBlock", description="Interaction block of the other layers."
    )
    edge_irreps_first: str | None = Field(
        None,
        description="Irreps of the messages in the first layer; default: those of the features.",
    )
    edge_irreps: str | None = Field(
        None,
        description="Irreps of the messages in the other layers; default: those of the features.",
    )
    avg_num_neighbors: float | None = Field(
        None,
        gt=0,
        description="Mean number of neighbors, by which messages are divided; default: computed "
        "from the training data, or 16 if the model is built without data.",
    )
    agnostic_product: bool = Field(
        False, description="Whether all elements share the weights of the product basis."
    )
    last_layer_tensors: bool = Field(
        True, description="Whether the last layer has features with l > 0."
    )
    readout: Literal["NonLinearReadoutBlock", "NonLinearBiasReadoutBlock"] = Field(
        "NonLinearReadoutBlock",
        description="Readout block of the last layer; the other readouts are linear.",
    )
    readout_channels: int = Field(
        16, ge=1, description="Hidden width of the readout of the last layer."
    )
    last_readout_only: bool = Field(
        False, description="Whether only the last layer contributes to the energy."
    )
    gate: Literal["silu", "tanh", "abs", "none"] = Field(
        "silu", description="Activation in the readout of the last layer."
    )
    pair_repulsion: bool = Field(
        False, description="Whether the ZBL pair repulsion of mace-torch is added to the energy."
    )
    frozen: bool = Field(
        False,
        description="Whether the weights are kept fixed in training. Those of embed are always "
        "trained, since no file has them.",
    )

    @property
    def weights_file(self) -> str | None:
        """See :attr:`BackboneConfig.weights_file`."""
        return self.file

    @property
    def needs_neighbor_count(self) -> bool:
        """See :attr:`BackboneConfig.needs_neighbor_count`."""
        return self.avg_num_neighbors is None and self.file is None

    @model_validator(mode="after")
    def _orders_can_be_made(self) -> Self:
        if self.l_max > self.max_ell:
            raise ValueError(
                f"l_max is {self.l_max}, but edges have harmonics up to max_ell = {self.max_ell}"
            )
        return self

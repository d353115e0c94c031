"""The protocol of the models that fill the charge density."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from muse_lr.batch import AtomsBatch
from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.geometry import Geometry
from muse_lr.graph import NodeFeatures
from muse_lr.schema import Strict


class ChargesConfig(Strict):
    """Keys that all charge models share."""

    kind: str
    l_max: int = Field(0, ge=0, le=2, description="Highest order of the atomic multipoles.")
    width: float = Field(
        1.0, ge=0, le=10, description="Gaussian standard deviation of the charges, A; 0: points."
    )
    input: Literal["backbone", "multiscale"] = Field(
        "multiscale",
        description="Whose features the charges read; without a multiscale part both are the "
        "backbone's.",
    )


@dataclass(frozen=True)
class FeatureSize:
    """Channels of the features that a part reads; scalars = 0 without a backbone."""

    scalars: int
    tensors: dict[int, int]


class ChargeModel(nn.Module, ABC):
    """Fills the one charge density of the model.

    Attributes
    ----------
    Config : type
        Schema of its section in the configuration.
    exact_total_charge : bool
        Whether the charges sum to the total charge of the structure.
    size_consistent : bool
        Whether the charges of a fragment are those it has alone.
    needs_features : bool
        Whether it reads features of a backbone.
    reads_tensors : bool
        Whether it reads those of l > 0.
    """

    Config: ClassVar[type[ChargesConfig]]
    exact_total_charge: ClassVar[bool]
    size_consistent: ClassVar[bool]
    needs_features: ClassVar[bool] = True
    reads_tensors: ClassVar[bool] = False

    def __init__(self, config: ChargesConfig, elements: tuple[str, ...]) -> None:
        super().__init__()
        if config.l_max > 0:
            raise InputError(
                f"charges kind {config.kind!r} with l_max {config.l_max}: multipoles are not "
                "supported yet; set model.charges.l_max to 0"
            )
        self.width = config.width
        self.elements = elements

    @abstractmethod
    def forward(
        self,
        features: NodeFeatures | None,
        composition: Tensor,
        geometry: Geometry,
        batch: AtomsBatch,
    ) -> ChargeDensity:
        """The charge density of the batch.

        Parameters
        ----------
        features : NodeFeatures or None
            None without a backbone.
        composition : Tensor
            (n_atoms, n_elements), one-hot.
        geometry : Geometry
        batch : AtomsBatch
            For the total charges.
        """

    def total_charge(self, batch: AtomsBatch) -> Tensor:
        """(n_graphs,) total charge of each structure, e: 0 where it is not stated."""
        return batch.total_charge

    def check(self, batch: AtomsBatch) -> None:
        """Refuse structures that the model cannot describe, with an InputError."""

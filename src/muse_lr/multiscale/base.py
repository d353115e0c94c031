"""The protocol of the parts that carry information across scales."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

from torch import Tensor

from muse_lr.backbones.base import BackboneConfig
from muse_lr.config.part import Part
from muse_lr.config.schema import Strict
from muse_lr.multiscale.muse.assignment import Assignment, CoarseNodes
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import FeatureSize, Graph, NodeFeatures


class MultiscaleConfig(Strict):
    """Keys that all multiscale parts share."""

    kind: str


@dataclass(frozen=True)
class MultiscaleContext:
    """What a multiscale part is told when it is built.

    Attributes
    ----------
    elements : tuple of str
    backbone : BackboneConfig
        Of the atoms.
    features : FeatureSize
        Of the backbone.
    """

    elements: tuple[str, ...]
    backbone: BackboneConfig
    features: FeatureSize


@dataclass(frozen=True)
class MultiscaleOutput:
    """What a multiscale part gives.

    Attributes
    ----------
    features : NodeFeatures
        Of the atoms, updated.
    energy : Tensor
        (n_graphs,) in eV, float64.
    levels : tuple
        The nodes and the assignment of each level, where there are nodes.
    """

    features: NodeFeatures
    energy: Tensor
    levels: tuple[tuple[CoarseNodes, Assignment], ...] = field(default=())


@dataclass(frozen=True)
class MultiscaleInputs:
    """What a multiscale block may read.

    Attributes
    ----------
    features : NodeFeatures
        Of the backbone.
    graph : Graph
        Of the atoms, as the backbone reads it.
    geometry : Geometry
    """

    features: NodeFeatures
    graph: Graph
    geometry: Geometry


class Multiscale(Part):
    """Reads the backbone's features of the atoms, and updates them.

    Attributes
    ----------
    features : FeatureSize
        Of its output.
    level_count : int
        Levels of coarse nodes in its output.
    """

    features: FeatureSize
    level_count: int = 0

    @abstractmethod
    def forward(self, inputs: MultiscaleInputs) -> MultiscaleOutput:
        """Updated features and an energy."""

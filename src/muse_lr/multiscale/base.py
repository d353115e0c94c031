"""The base class of all multiscale blocks, and the records of coarse nodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from muse_lr.backbones.base import BackboneConfig
from muse_lr.config.part import Part
from muse_lr.config.schema import Strict
from muse_lr.math.pair_sums import PairSums
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import FeatureSize, Graph, NodeFeatures


class MultiscaleConfig(Strict):
    """Keys that all multiscale blocks share."""

    kind: str


@dataclass(frozen=True)
class MultiscaleContext:
    """Properties of the model that a multiscale block needs at construction.

    Attributes
    ----------
    elements : tuple of str
    backbone : BackboneConfig
        Configuration of the backbone of the atoms.
    features : FeatureSize
        Sizes of the features of the backbone.
    """

    elements: tuple[str, ...]
    backbone: BackboneConfig
    features: FeatureSize


@dataclass(frozen=True)
class CoarseNodes:
    """The nodes of one level.

    Attributes
    ----------
    atoms : Tensor
        (n_nodes,) atom at whose position each node is.
    mass : Tensor
        (n_nodes,) masses m_K in (0, 1].
    graph_index : Tensor
        (n_nodes,) graph of each node.
    """

    atoms: Tensor
    mass: Tensor
    graph_index: Tensor


@dataclass(frozen=True)
class Assignment:
    """Fractional assignment of atoms to nodes, as p pairs of an atom and a node.

    Attributes
    ----------
    atom, node : Tensor
        (p,) of int64. A pair occurs once for each image of the node within the radius.
    vectors : Tensor
        (p, 3) vector from the node to the image of the atom, A.
    lengths : Tensor
        (p,) distance in A; 0 for an atom and the node at its position.
    share : Tensor
        (p,) S_iK, which sums to 1 for each atom.
    reach : Tensor
        (p,) window of the distance times affinity.
    near : Tensor
        (n_nodes,) sum of ``reach`` over the atoms around a node.
    divisor : Tensor
        (n_atoms,) divisor of the shares: S_iK is the mass of the node times ``reach`` over it.
    content : Tensor
        (n_nodes,) M_K = sum_i S_iK, the number of atoms for which a node stands.
    pairs : PairSums
        Sums over the pairs, with atoms as sources and nodes as targets.
    """

    atom: Tensor
    node: Tensor
    vectors: Tensor
    lengths: Tensor
    share: Tensor
    reach: Tensor
    near: Tensor
    divisor: Tensor
    content: Tensor
    pairs: PairSums

    @property
    def mean_weight(self) -> Tensor:
        """(p,) weights of the mean over the atoms around a node; they sum to 1 for each node."""
        return self.reach / self.near.index_select(0, self.node)

    @property
    def tensor_weight(self) -> Tensor:
        """(p,) weights of the sum of vectors and matrices over the atoms around a node."""
        return self.reach * self.near.rsqrt().index_select(0, self.node)


@dataclass(frozen=True)
class MultiscaleOutput:
    """Outputs of a multiscale block.

    Attributes
    ----------
    features : NodeFeatures
        Updated features of the atoms.
    energy : Tensor
        (n_graphs,) energy in eV, float64.
    levels : tuple
        Nodes and assignment of each level of coarse nodes; empty without coarse nodes.
    """

    features: NodeFeatures
    energy: Tensor
    levels: tuple[tuple[CoarseNodes, Assignment], ...] = field(default=())


@dataclass(frozen=True)
class MultiscaleInputs:
    """Inputs of a multiscale block.

    Attributes
    ----------
    features : NodeFeatures
        Features of the backbone.
    graph : Graph
        Graph of the atoms, as in the backbone.
    geometry : Geometry
    """

    features: NodeFeatures
    graph: Graph
    geometry: Geometry


class Multiscale(Part):
    """Updates the features of the atoms that the backbone computes.

    Attributes
    ----------
    config : MultiscaleConfig
        Complete configuration, from which the same block can be built again.
    features : FeatureSize
        Sizes of its output features.
    level_count : int
        Number of levels of coarse nodes in its output.
    """

    config: MultiscaleConfig
    features: FeatureSize
    level_count: int = 0

    def calibrate(self, geometries: Sequence[Geometry]) -> None:
        """Set the constants of the block that come from the training data.

        They are buffers, which a model file keeps.

        Parameters
        ----------
        geometries : sequence of Geometry
            Batches of training structures, with edges up to the cutoff of the block.
        """

    @abstractmethod
    def forward(self, inputs: MultiscaleInputs) -> MultiscaleOutput:
        """Compute updated features and an energy."""

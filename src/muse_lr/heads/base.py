"""The base class of the heads. Each head adds one named energy term."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from muse_lr.config.part import Part
from muse_lr.config.schema import Strict
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import Derivative
from muse_lr.multiscale.base import Assignment, CoarseNodes
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import FeatureSize, NodeFeatures


class HeadConfig(Strict):
    """Keys that all heads share."""

    kind: str


@dataclass(frozen=True)
class HeadContext:
    """Properties of the model that are needed to build a head.

    Attributes
    ----------
    elements : tuple of str
    cutoff : float or None
        Cutoff of the backbone, A; None without a backbone.
    widths : tuple of float
        Gaussian widths of the charges of each element, A; empty without charges.
    l_max : int
        Highest order of the atomic multipoles.
    levels : int
        Number of levels of coarse nodes; 0 without a hierarchy.
    features : FeatureSize
        Size of the atomic features; empty without a backbone.
    """

    elements: tuple[str, ...]
    cutoff: float | None
    widths: tuple[float, ...]
    l_max: int
    levels: int
    features: FeatureSize


@dataclass(frozen=True)
class HeadInputs:
    """Inputs of a head.

    Attributes
    ----------
    geometry : Geometry
    density : ChargeDensity or None
    features : NodeFeatures
        Atomic features, with zero channels if the model has no backbone.
    composition : Tensor
        (n_atoms, n_elements), one-hot.
    derivatives : frozenset of str
        Derivatives of the energy that will be computed.
    levels : tuple
        Coarse nodes and atom-to-node assignment of each level of the hierarchy.
    """

    geometry: Geometry
    density: ChargeDensity | None
    features: NodeFeatures
    composition: Tensor
    derivatives: frozenset[Derivative]
    levels: tuple[tuple[CoarseNodes, Assignment], ...] = ()


class Head(Part):
    """Base class of the energy heads.

    Attributes
    ----------
    needs_density, needs_features : bool
        Required inputs. They are checked when the model is built.
    reads_density, reads_features : bool
        Whether the energy can depend on the density, and on the features or coarse nodes, where the
        model has them. Where one is False, ``model(batch, only=...)`` does not evaluate the parts
        that this input comes from, and the head gets None or features without channels.
    long_range : bool
        Whether the energy has an infinite range.
    excludes_near_pairs : bool
        Whether the head omits near pairs because another energy term describes them.
    altered_by : tuple of str
        Options of a head with ``sums_coulomb`` that make its energy differ from the Coulomb energy
        of the density, as the charge model knows it.
    reads_potential : bool
        Whether the head uses the electrostatic potential as an input feature. The non-analytic term
        of phonons then differs from that of the Coulomb energy.
    traced : bool
        Whether a compiled model contains the equations of the head. Otherwise it calls the head,
        which is evaluated as without compilation.
    """

    needs_density: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    reads_density: bool = True
    reads_features: bool = True
    long_range: ClassVar[bool] = False
    excludes_near_pairs: bool = False
    altered_by: tuple[str, ...] = ()
    reads_potential: ClassVar[bool] = False
    traced: ClassVar[bool] = False

    def not_compiled(self) -> str | None:
        """See :meth:`Part.not_compiled`. A head that is called only gets scalar features."""
        return "it reads features of l > 0" if self.reads_tensors and not self.traced else None

    @abstractmethod
    def forward(self, inputs: HeadInputs) -> Tensor:
        """(n_graphs,) energies in eV, float64."""

    def describe(self) -> list[str]:
        """See :meth:`Part.describe`."""
        reach = "long-ranged" if self.long_range else f"range {self.cutoff:g} A"
        return [f"{reach}, boundaries {', '.join(sorted(self.boundaries))}"]

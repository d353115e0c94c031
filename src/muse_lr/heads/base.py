"""The protocol of the heads: each adds one named energy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from muse_lr.density import ChargeDensity
from muse_lr.geometry import Geometry
from muse_lr.graph import NodeFeatures
from muse_lr.schema import Strict

Boundary = Literal["FFF", "TTF", "TTT"]
ALL_BOUNDARIES: frozenset[Boundary] = frozenset({"FFF", "TTF", "TTT"})


class HeadConfig(Strict):
    """Keys that all heads share."""

    kind: str


@dataclass(frozen=True)
class HeadContext:
    """What a head is told when it is built.

    Attributes
    ----------
    elements : tuple of str
    cutoff : float or None
        The backbone's cutoff, A; None without a backbone.
    width : float or None
        Gaussian width of the charges, A; None without charges.
    """

    elements: tuple[str, ...]
    cutoff: float | None
    width: float | None


@dataclass(frozen=True)
class HeadInputs:
    """What a head may read."""

    geometry: Geometry
    density: ChargeDensity | None
    features: NodeFeatures | None
    composition: Tensor


class Head(nn.Module, ABC):
    """One energy term.

    Attributes
    ----------
    Config : type
        Schema of its section in the configuration.
    needs_density, needs_features : bool
        What must be there; checked when the model is built.
    reads_tensors : bool
        Whether it reads features of l > 0.
    boundaries : frozenset of str
        The boundaries in which it is right; others are refused.
    long_range : bool
    size_consistent : bool
    cutoff : float
        Edges it needs, A; 0 for none.
    """

    Config: ClassVar[type[HeadConfig]]
    needs_density: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    reads_tensors: ClassVar[bool] = False
    boundaries: ClassVar[frozenset[Boundary]] = ALL_BOUNDARIES
    long_range: ClassVar[bool] = False
    size_consistent: ClassVar[bool] = True
    cutoff: float

    @abstractmethod
    def forward(self, inputs: HeadInputs) -> Tensor:
        """(n_graphs,) energies in eV, float64."""

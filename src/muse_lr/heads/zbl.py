"""Screened nuclear repulsion at short distance."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from ase.data import atomic_numbers, covalent_radii
from pydantic import Field, field_validator
from torch import Tensor

from muse_lr.config.schema import by_pair
from muse_lr.errors import InputError
from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import Graph, sum_nodes
from muse_lr.units import BOHR, COULOMB_CONSTANT

#: phi(x) = sum_k c_k exp(-d_k x) of Ziegler, Biersack and Littmark.
COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
DECAYS = (3.19980, 0.94229, 0.40290, 0.20162)
#: Screening length a = 0.88534 a0 / (Z_i^0.23 + Z_j^0.23).
SCREENING_LENGTH = 0.88534 * BOHR
SCREENING_EXPONENT = 0.23
#: Without given distances, the switch starts at this fraction of the range.
TAPER = 0.5


class ZBLConfig(HeadConfig):
    """Keys of the ZBL repulsion."""

    kind: Literal["zbl"] = "zbl"
    range: float = Field(
        1.0,
        gt=0,
        le=3,
        description="Range of the repulsion for pairs that `distances` does not list, in units of "
        "the sum of the two covalent radii.",
    )
    distances: dict[str, float] | None = Field(
        None,
        description="Distance at which the repulsion ends for pairs of elements, A, e.g. {H-H: "
        "1.3, H-O: 0.85}. Default: a training fills in 0.95 of the shortest distances of its data.",
    )
    inner_fraction: float = Field(
        0.65,
        gt=0,
        lt=1,
        description="Fraction of a distance of `distances` below which the repulsion is complete.",
    )
    wall: float | None = Field(
        None,
        ge=0,
        description="Strength of a further repulsion wall (1 - r / d)^3 within each distance d of "
        "`distances`, eV. Default: none; a training that fills in the distances takes 500.",
    )

    @field_validator("distances")
    @classmethod
    def _pairs(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for name, distance in (value or {}).items():
            if not 0 < distance < float("inf"):
                raise InputError(f"the distance of {name} is {distance}: it must be positive")
        return None if value is None else by_pair(value)


class ZBLHead(Head):
    r"""The universal repulsion of Ziegler, Biersack and Littmark at short distance.

    .. math::
       E = \sum_{i<j} k \frac{Z_i Z_j}{r_{ij}} \phi(r_{ij} / a_{ij}) w_{ij}(r_{ij})

    The C2 switch w is 1 below ``inner_fraction`` times the distance of the pair of elements in
    ``distances`` and 0 beyond this distance. A training fills in 0.95 of the shortest distances of
    its data. The repulsion then vanishes for all of them, and keeps atoms from coming much closer
    than the data show, where learned energies are not determined. For other pairs, w ends at
    ``range`` times the sum of the covalent radii, so that bonds of usual length are not affected
    with the default of 1.

    The screened repulsion is weak at distances of contacts, such as 2.2 A between oxygen atoms. For
    the pairs in ``distances``, the energy ``wall`` (1 - r / d)^3 below the distance d of each pair
    is added. With 500 eV it is 0.5 eV at 0.9 d and 4 eV at 0.8 d.

    J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Solids (1985).
    """

    Config: ClassVar[type[HeadConfig]] = ZBLConfig
    reads_density: bool = False
    reads_features: bool = False
    traced: ClassVar[bool] = True

    def __init__(self, config: ZBLConfig, context: HeadContext) -> None:
        super().__init__()
        # Not a buffer, because casting the model would round it.
        self._switches = torch.stack(_switches(config, context.elements))
        self.cutoff = float(self._switches[1].max())
        self.distances, self.wall = dict(config.distances or {}), config.wall

    def prepare(self, geometry: Geometry, graph: Graph) -> None:
        """See :meth:`Part.prepare`."""
        geometry.within(self.cutoff)

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        geometry = inputs.geometry
        dtype = inputs.composition.dtype
        sender, receiver, _, lengths = geometry.within(self.cutoff)
        distance = lengths.to(dtype)
        kind = inputs.composition.argmax(dim=1)
        if self._switches.device != distance.device:  # once, not in every evaluation
            self._switches = self._switches.to(distance.device)
        inner, outer, wall = self._switches.to(dtype)[:, kind[sender], kind[receiver]]
        window = switch_off(distance, inner, outer)
        z_sender, z_receiver = geometry.numbers[sender], geometry.numbers[receiver]
        energy = window * screened_repulsion(distance, z_sender.to(dtype), z_receiver.to(dtype))
        energy = energy + wall * torch.relu(1 - distance / outer) ** 3
        return sum_nodes(energy / 2, geometry.graph_index[receiver], geometry.num_graphs)

    def describe(self) -> list[str]:
        """See :meth:`Part.describe`."""
        if not self.distances:
            return super().describe()
        ordered = sorted(self.distances.items(), key=lambda item: item[1])
        ends = ", ".join(f"{pair} {distance:.2f}" for pair, distance in ordered)
        lines = [*super().describe(), f"  ends at (A)          {ends}"]
        return [*lines, f"  wall (eV)            {self.wall:g}"] if self.wall else lines


def _switches(config: ZBLConfig, elements: tuple[str, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Start and end of the switch (A) and wall (eV), each (n_elements, n_elements)."""
    numbers = [atomic_numbers[element] for element in elements]
    radii = torch.as_tensor(covalent_radii[numbers], dtype=torch.float64)
    outer = config.range * (radii[:, None] + radii[None, :])
    inner, wall = TAPER * outer, torch.zeros_like(outer)
    for name, distance in (config.distances or {}).items():
        first, second = name.split("-")
        if first in elements and second in elements:
            i, j = elements.index(first), elements.index(second)
            outer[i, j] = outer[j, i] = distance
            inner[i, j] = inner[j, i] = config.inner_fraction * distance
            wall[i, j] = wall[j, i] = config.wall or 0.0
    return inner, outer, wall


def screened_repulsion(distance: Tensor, z_first: Tensor, z_second: Tensor) -> Tensor:
    """k Z Z' phi(r / a) / r in eV for distances in A, without a cutoff."""
    length = SCREENING_LENGTH / (z_first.pow(SCREENING_EXPONENT) + z_second.pow(SCREENING_EXPONENT))
    x = distance / length
    phi = torch.zeros_like(x)
    for coefficient, decay in zip(COEFFICIENTS, DECAYS, strict=True):
        phi = phi + coefficient * torch.exp(-decay * x)
    return COULOMB_CONSTANT * z_first * z_second * phi / distance

"""Energy barrier between the lengths of bonds to hydrogen and other distances."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from ase.data import atomic_numbers, covalent_radii
from pydantic import Field, field_validator
from torch import Tensor

from muse_lr.config.schema import by_pair
from muse_lr.errors import InputError
from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import Graph, sum_nodes

#: Elements whose bond to hydrogen has much the same length in all molecules. Other bonds have not:
#: they are single or multiple, and small rings have distances shortly beyond.
PARTNERS = ("B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "As", "Se", "Br", "I")
#: Between these multiples of the sum of the covalent radii, two atoms are neither bonded nor apart.
#: Vibrations at 300 K reach the first, strong hydrogen bonds the second.
INNER, OUTER = 1.15, 1.45
#: Largest second derivative of (1 - x^2)^3, at x^2 = 3/5.
CURVATURE = 4.8
#: Pairs without a barrier have no width. This avoids a division by zero, A.
SMALLEST = 1e-6

Ranges = dict[str, tuple[float, float]]


class BondBarrierConfig(HeadConfig):
    """Keys of the bond barrier."""

    kind: Literal["bond_barrier"] = "bond_barrier"
    gaps: Ranges | None = Field(
        None,
        description="Range of the barrier for pairs of elements, A, e.g. {H-O: [1.13, 1.39]}. "
        "Other pairs have none. Default: a training fills in the gaps of its data; without a "
        f"training, {INNER} to {OUTER} times the sum of the covalent radii of hydrogen and a "
        "nonmetal.",
    )
    stiffness: float = Field(
        300.0,
        gt=0,
        description="Largest second derivative of the barrier, eV/A^2. The height of a gap of "
        "width w is stiffness w^2 / 19.2. A stiffer barrier needs a shorter time step.",
    )

    @field_validator("gaps")
    @classmethod
    def _ascending(cls, value: Ranges | None) -> Ranges | None:
        for name, (start, end) in (value or {}).items():
            if not 0 < start < end < float("inf"):
                raise InputError(f"the gap of {name} is [{start}, {end}]: it must ascend from 0")
        return None if value is None else by_pair(value)


class BondBarrierHead(Head):
    r"""A barrier between bonded and other distances, where the training data have none.

    .. math::
       E = \sum_{i<j} h_{ij} (1 - x_{ij}^2)^3, \quad x_{ij} = \frac{2 r_{ij} - a - b}{b - a},
       \quad h = \frac{k (b - a)^2}{19.2}

    The sum is over pairs with a distance between a and b of ``gaps``, which depend on the two
    elements. The second derivative is continuous and at most k (``stiffness``). A training fills in
    ranges in which its data have no distance. The barrier is then zero for all of them, and keeps
    bonds from breaking through distances at which the learned energy is not determined.
    """

    Config: ClassVar[type[HeadConfig]] = BondBarrierConfig
    reads_density: bool = False
    reads_features: bool = False
    traced: ClassVar[bool] = True

    def __init__(self, config: BondBarrierConfig, context: HeadContext) -> None:
        super().__init__()
        self.gaps = _usual_gaps(context.elements) if config.gaps is None else dict(config.gaps)
        self.stiffness = config.stiffness
        # Not a buffer, because casting the model would round it.
        self._barriers = _barriers(self.gaps, config.stiffness, context.elements)
        self.cutoff = max((end for _, end in self.gaps.values()), default=0.0)

    def prepare(self, geometry: Geometry, graph: Graph) -> None:
        """See :meth:`Part.prepare`."""
        geometry.within(self.cutoff)

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        geometry = inputs.geometry
        sender, receiver, _, lengths = geometry.within(self.cutoff)
        distance = lengths.to(inputs.composition.dtype)
        kind = inputs.composition.argmax(dim=1)
        if self._barriers.device != distance.device:  # once, not in every evaluation
            self._barriers = self._barriers.to(distance.device)
        center, half, height = self._barriers.to(distance.dtype)[:, kind[sender], kind[receiver]]
        # Beyond the gap x^2 is 1, where the barrier and its first two derivatives vanish.
        x = ((distance - center) / half.clamp(min=SMALLEST)).clamp(-1, 1)
        energy = height * (1 - x * x) ** 3
        graph = geometry.graph_index[receiver]
        return sum_nodes(energy / 2, graph, geometry.num_graphs)

    def describe(self) -> list[str]:
        """See :meth:`Part.describe`."""
        gaps = [
            f"{pair} {start:.2f}-{end:.2f} ({barrier_height(self.stiffness, end - start):.2f} eV)"
            for pair, (start, end) in self.gaps.items()
        ]
        return [*super().describe(), f"  acts between (A)     {', '.join(gaps) or 'none'}"]


def barrier_height(stiffness: float, width: float) -> float:
    """Height of the barrier in a gap, eV, for its width in A and the stiffness in eV/A^2."""
    return stiffness * width**2 / (4 * CURVATURE)


def usual_gap(pair: str) -> tuple[float, float] | None:
    """Range between bonded and other distances of hydrogen and a nonmetal, A; None for others."""
    elements = pair.split("-")
    if "H" not in elements or not set(elements) & set(PARTNERS):
        return None
    bond = float(sum(covalent_radii[atomic_numbers[element]] for element in elements))
    return INNER * bond, OUTER * bond


def _usual_gaps(elements: tuple[str, ...]) -> Ranges:
    pairs = ["-".join(sorted(("H", other))) for other in elements if "H" in elements]
    return {pair: gap for pair in pairs if (gap := usual_gap(pair)) is not None}


def _barriers(gaps: Ranges, stiffness: float, elements: tuple[str, ...]) -> Tensor:
    """(3, n_elements, n_elements) center, half the width and height; 0 for pairs without a gap."""
    barriers = torch.zeros(3, len(elements), len(elements), dtype=torch.float64)
    for pair, (start, end) in gaps.items():
        first, second = pair.split("-")
        if first in elements and second in elements:
            i, j = elements.index(first), elements.index(second)
            height = barrier_height(stiffness, end - start)
            values = (start + end) / 2, (end - start) / 2, height
            barriers[:, i, j] = barriers[:, j, i] = torch.tensor(values, dtype=torch.float64)
    return barriers

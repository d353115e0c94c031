"""The base class of all charge models."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator
from torch import Tensor

from muse_lr.config.part import Part
from muse_lr.config.schema import Strict, element_keys
from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import FeatureSize, NodeFeatures

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch

Width = Annotated[float, Field(ge=0, le=10)]


class ChargesConfig(Strict):
    """Keys that all charge models share."""

    kind: str
    l_max: int = Field(0, ge=0, le=2, description="Highest order of the atomic multipoles.")
    width: Width | dict[str, Width] = Field(
        1.0,
        description="Gaussian standard deviation of the charges, Å: one number, or one for each "
        "element; 0 for point charges.",
    )
    input: Literal["backbone", "multiscale"] = Field(
        "multiscale",
        description="Source of the features from which charges are predicted. Without a "
        "multiscale block both values select the backbone.",
    )

    @field_validator("width", mode="before")
    @classmethod
    def _by_element(cls, value: Any) -> Any:
        return element_keys(value)


@dataclass(frozen=True)
class ChargesContext:
    """Properties of the model that a charge model needs at construction.

    Attributes
    ----------
    elements : tuple of str
    features : FeatureSize
        Sizes of its input features; empty without a backbone.
    cutoff : float or None
        The backbone's cutoff, A; None without a backbone.
    """

    elements: tuple[str, ...]
    features: FeatureSize
    cutoff: float | None


@dataclass(frozen=True)
class ChargeInputs:
    """Inputs of a charge model.

    Attributes
    ----------
    features : NodeFeatures
        Features of the backbone or of the multiscale block; no channels without a backbone.
    composition : Tensor
        (n_atoms, n_elements), one-hot.
    geometry : Geometry
    batch : AtomsBatch
        The structures, with their total charges.
    """

    features: NodeFeatures
    composition: Tensor
    geometry: Geometry
    batch: AtomsBatch


class ChargeModel(Part):
    """Predicts the charge density of the model.

    Attributes
    ----------
    exact_total_charge : bool
        Whether the charges sum to the total charge of the structure.
    size_consistent : bool
        Whether the charges of a fragment are the same as in isolation, for any total charge.
    needs_features : bool
        Whether it needs features of a backbone.
    reads_features : bool
        Whether the charges can depend on features where the model has them. Where it is False,
        ``model(batch, only=...)`` does not evaluate the backbone for the charges.
    needs_charges : bool
        Whether it reads charges that the backbone predicts.
    has_multipoles : bool
        Whether it supports moments with l > 0.
    periodic_response : bool
        Whether its response to a field is also defined along periodic directions. There, the field
        may induce dipoles, but must not move charge between atoms.
    converged_response : bool
        Whether the charges in a field minimize their energy, so that a dielectric tensor describes
        their response.
    minimizes_coulomb : bool
        Whether that energy includes the Coulomb interaction of the charges, as the coulomb head
        sums it.
    has_polarization : bool
        Whether its densities include the polarization, so that Born charges are exact in periodic
        structures.
    l_max : int
        Highest order of its moments.
    input : str
        Source of its features, backbone or multiscale.
    widths : tuple of float
        Gaussian standard deviation of each element, A.
    """

    Config: ClassVar[type[ChargesConfig]]
    exact_total_charge: ClassVar[bool]
    size_consistent: bool
    needs_features: ClassVar[bool] = True
    reads_features: bool = True
    needs_charges: ClassVar[bool] = False
    has_multipoles: ClassVar[bool] = False
    periodic_response: bool = False
    converged_response: ClassVar[bool] = True
    minimizes_coulomb: ClassVar[bool] = False
    has_polarization: bool = False

    def __init__(self, config: ChargesConfig, context: ChargesContext) -> None:
        super().__init__()
        if config.l_max > 0 and not self.has_multipoles:
            raise InputError(
                f"charges kind {config.kind!r} has charges only; set model.charges.l_max to 0 "
                f"instead of {config.l_max}"
            )
        self.l_max = config.l_max
        self.input = config.input
        self.elements = context.elements
        self.widths = _widths(config.width, context.elements)

    def atom_widths(self, composition: Tensor) -> Tensor:
        """(n_atoms,) Gaussian widths, A."""
        return composition @ composition.new_tensor(self.widths)

    @abstractmethod
    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """Compute the charge density of the batch."""

    def total_charge(self, batch: AtomsBatch) -> Tensor:
        """(n_graphs,) total charge of each structure, e; 0 where the structure does not set it."""
        return batch.total_charge

    def resting_charges(self, batch: AtomsBatch) -> Tensor | None:
        """(n_atoms,) constant charges, e, float64, that move with the atoms; None if not known.

        Wrapping an atom by a lattice vector changes the polarization by its charge times the
        vector. A polarization can be compared with a reference only if these charges are whole
        numbers.
        """
        return None

    def describe(self) -> list[str]:
        """See :meth:`Part.describe`."""
        widths = " ".join(f"{width:g}" for width in sorted(set(self.widths)))
        total = "exact" if self.exact_total_charge else "free"
        return [f"l up to {self.l_max}, width {widths} A, total charge {total}"]


def _widths(width: float | dict[str, float], elements: tuple[str, ...]) -> tuple[float, ...]:
    """One width for each element."""
    if not isinstance(width, dict):
        return (width,) * len(elements)
    missing = [element for element in elements if element not in width]
    if missing:
        raise InputError(
            f"model.charges.width has no width for {', '.join(missing)}, listed in model.elements"
        )
    return tuple(width[element] for element in elements)

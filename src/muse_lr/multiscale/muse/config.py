"""Configuration of the hierarchy of coarse nodes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from muse_lr.config.schema import check_elements
from muse_lr.errors import InputError
from muse_lr.multiscale.base import MultiscaleConfig
from muse_lr.multiscale.muse.thinning import CROWDING


class MuseConfig(MultiscaleConfig):
    """Configuration of the hierarchy of coarse nodes."""

    renamed: ClassVar[dict[str, str]] = {
        "inner": "inner_fraction",
        "crowding": "crowding_fraction",
    }

    kind: Literal["muse"] = "muse"
    levels: int = Field(
        1, ge=1, le=3, description="Number of coarse levels; radii double from level to level."
    )
    radius: float = Field(
        7.0,
        gt=0,
        le=20,
        description="Largest distance between a node of the first level and its atoms, Å.",
    )
    inner_fraction: float = Field(
        0.8,
        gt=0,
        lt=1,
        description="Fraction of the radius at which the window of a node starts to decay.",
    )
    cutoff: float = Field(
        12.0,
        gt=0,
        le=40,
        description="Cutoff of the edges between nodes of the first level, Å. Neighboring nodes "
        "are about one radius apart, at most two.",
    )
    channels: int | None = Field(
        None, ge=1, description="Width of the node features; default: channels of the backbone."
    )
    tensor_channels: int = Field(
        16, ge=1, description="Width of the vectors and matrices of the nodes."
    )
    l_max: int = Field(2, ge=0, le=2, description="Highest order of the node features.")
    layers: int = Field(
        1, ge=1, description="Number of message-passing layers on each coarse graph."
    )
    backbone: str | dict[str, Any] | None = Field(
        None,
        description="Backbone that is also applied to the coarse graphs, after the tensor "
        "messages: a kind, a section such as {kind: mace, channels: 32, l_max: 2}, `atoms` for the "
        "kind and the keys of the backbone of the atoms, or `none`. Default: the kind of the "
        "backbone of the atoms, with a quarter of the channels of the nodes and otherwise its "
        "defaults.",
    )
    pooling: Literal["tensors", "moments"] = Field(
        "tensors",
        description="Inputs of the nodes: `tensors` are features and local tensors with learned "
        "radial functions; `moments`, a control, are the moments r^l Y_l of the scalar features.",
    )
    nodes: Literal["thinning", "species", "given", "all"] = Field(
        "thinning",
        description="Choice of the atoms that are nodes: by smooth `thinning`, all atoms of "
        "some `species`, by thinning within each group in the array coarse_index of the "
        "structures (`given`), or `all` atoms. With `species` and `given` the contents of the "
        "nodes do not sum to the number of atoms where atoms belong to no node.",
    )
    species: tuple[str, ...] = Field((), description="Elements of the nodes with nodes: species.")
    kappa: float = Field(1.5, gt=0, le=3, description="Strength of the thinning.")
    delta: float = Field(
        0.1, gt=0, description="Smallest difference of priorities at which suppression is complete."
    )
    softening: float = Field(
        45.0,
        ge=0,
        description="Time scale of suppression at 300 K, fs: delta grows with the rate of change "
        "of the priorities. Smaller values give fewer nodes and stiffer energies; 0 for a "
        "constant delta.",
    )
    crowding_fraction: float = Field(
        CROWDING,
        gt=0,
        le=1,
        description="Cutoff of the neighbors in the priority, divided by the radius.",
    )

    @field_validator("species", mode="before")
    @classmethod
    def _are_elements(cls, species: Any) -> Any:
        if isinstance(species, (list, tuple)):
            check_elements(species)
        return species

    @model_validator(mode="after")
    def _fits(self) -> MuseConfig:
        if self.species and self.nodes != "species":
            raise InputError(
                f"species is used with nodes: species alone, but nodes is {self.nodes}"
            )
        if self.nodes == "species" and not self.species:
            raise InputError(
                "nodes is species, but no elements are given; say which in species: [O, ...]"
            )
        if self.cutoff <= self.radius:
            raise InputError(
                f"a cutoff of {self.cutoff:g} Å does not reach from node to node; neighboring "
                f"nodes can be two radii ({self.radius:g} Å each) apart, and edges decay from half "
                "of the cutoff on"
            )
        return self

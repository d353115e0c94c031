"""Settings of a comparison of Hessians."""

from __future__ import annotations

import itertools

from pydantic import Field, field_validator

from muse_lr.analysis.hessian.blocks import BINS
from muse_lr.config.schema import Strict, check_name
from muse_lr.errors import InputError
from muse_lr.model.hessian import MEMORY


class CompareConfig(Strict):
    """How Hessians are compared."""

    bins: tuple[float, ...] = Field(
        BINS, min_length=2, description="Bounds of the ranges of distance, ascending, Å."
    )
    max_frames: int | None = Field(
        None,
        ge=1,
        description="Largest number of frames of a file, spread evenly over it. Default: all.",
    )
    memory: float = Field(
        MEMORY,
        gt=0,
        description="Bound of the memory of the tensors of a Hessian, GB. It determines how many "
        "rows are computed at once.",
    )

    @field_validator("bins")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if value[0] < 0 or any(a >= b for a, b in itertools.pairwise(value)):
            raise InputError(f"bins must ascend from 0 or more, got {list(value)}")
        return value


class HessianConfig(CompareConfig):
    """Hessians of the model of every run of a study, beside references."""

    references: dict[str, str] = Field(
        ...,
        min_length=1,
        description="Name -> file of structures with Hessians, `hessians.xyz@:10` with a selection "
        "of frames.",
    )
    beyond: float | None = Field(
        None,
        ge=0,
        description="Distance that divides near and far blocks, the same for all variants, Å. "
        "Default: the reach of each variant's backbone, 2 × layers × cutoff.",
    )

    @field_validator("references")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            check_name(name, "reference")
        return value

"""Settings of energy profiles."""

from __future__ import annotations

import math

from pydantic import Field, field_validator

from muse_lr.config.schema import Strict, check_name
from muse_lr.errors import InputError

#: Values of ``zero`` besides a value of the coordinate.
ZEROS = ("first", "last", "min", "none")
#: Coordinates that need no info key.
FRAME, LENGTH = "frame", "path"


class ProfileOptions(Strict):
    """How energies along a path are compared."""

    coordinate: str | None = Field(
        None,
        description="Info key of the coordinate, such as `distance`; `frame` for the index of the "
        "frame, or `path` for the length of the path, Å. Default: the only info key whose number "
        "varies, else `frame`.",
    )
    by: tuple[str, ...] | None = Field(
        None,
        description="Info keys whose values divide the frames into paths. Default: `scan`, where "
        "the frames have it.",
    )
    zero: str | float | None = Field(
        None,
        description="Frame whose energy is subtracted: `first` or `last` along the coordinate, "
        "`min` for the lowest one of the reference, a value of the coordinate, or `none`. Default: "
        "`last`, or `none` with `fragments`.",
    )
    fragments: bool = Field(
        False,
        description="Whether the energies of the two fragments of each frame (`size_first`) are "
        "subtracted.",
    )
    keys: dict[str, str] = Field(
        default_factory=dict,
        description="Label -> key in the files, `{energy: dft_energy}`. Default: the usual keys.",
    )

    @field_validator("zero")
    @classmethod
    def _zero(cls, value: str | float | None) -> str | float | None:
        if value is None or value in ZEROS:
            return value
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{value!r}: give {', '.join(ZEROS)}, or a value of the coordinate")
        return number

    @property
    def chosen_zero(self) -> str | float:
        """The zero of the energies, with its default."""
        if self.zero is not None:
            return self.zero
        return "none" if self.fragments else "last"


class ProfileConfig(ProfileOptions):
    """Energies of the model of every run of a study along paths."""

    files: dict[str, str] = Field(
        ...,
        min_length=1,
        description="Name -> file of a path, `scans.xyz@scan=water` with a selection of frames.",
    )

    @field_validator("files")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            check_name(name, "path")
        return value

"""Names of the fixtures that were written under other names, for the regression test only."""

from __future__ import annotations

from typing import Any

#: kind of a section -> old key -> new key.
KEYS: dict[str, dict[str, str]] = {
    "painn": {"radial": "num_radial"},
    "ewald_mp": {"radial": "num_radial"},
    "mace": {"max_l": "l_max"},
    "so3krates": {"max_l": "l_max"},
    "muse": {"inner": "inner_fraction", "crowding": "crowding_fraction"},
    "coulomb": {"omit_within": "exclusion_radius"},
}


def renamed_config(section: Any) -> Any:
    """The configuration under the names of today."""
    if isinstance(section, list):
        return [renamed_config(value) for value in section]
    if not isinstance(section, dict):
        return section
    names = KEYS.get(str(section.get("kind")), {})
    return {names.get(key, key): renamed_config(value) for key, value in section.items()}

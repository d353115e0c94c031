"""Errors along paths as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muse_lr.analysis.profile.energies import TOTAL, Profile
from muse_lr.analysis.profile.extremes import Extreme, barrier, well

Array = NDArray[np.float64]

#: Columns of :func:`table_rows`.
COLUMNS = ("path", "coordinate", "value", "frame", "curve", "term", "energy_eV")
#: Name of the curve of the labels.
REFERENCE = "reference"
MEV = 1000.0


def errors(profile: Profile) -> Array:
    """(n,) energy of the model minus the reference, eV.

    NaN where there is no label, and at the zero, whose error vanishes by definition.
    """
    difference = profile.energies[TOTAL] - profile.reference
    if profile.zero is not None:
        difference = difference.copy()
        difference[profile.zero] = np.nan
    return difference


def path_summary(profile: Profile) -> dict[str, Any]:
    """Errors of one model along one path, its well and its barrier; None for what is not known."""
    x, found = profile.path.values, errors(profile)
    known = np.isfinite(found)
    summary: dict[str, Any] = {"labels": int(known.sum())}
    if known.any():
        worst = int(np.nanargmax(np.abs(found)))
        summary |= {
            "mae_meV": float(MEV * np.abs(found[known]).mean()),
            "rmse_meV": float(MEV * np.sqrt(np.mean(found[known] ** 2))),
            "largest_error_meV": float(MEV * found[worst]),
            "largest_error_at": float(x[worst]),
        }
    searches: dict[str, Callable[[Array, Array], Extreme | None]] = {
        "well": well,
        "barrier": barrier,
    }
    for name, search in searches.items():
        summary[name] = {
            "model": _plain(search(x, profile.energies[TOTAL])),
            REFERENCE: _plain(search(x, profile.reference)),
        }
    return summary


def summary(models: Mapping[str, Sequence[Profile]]) -> dict[str, Any]:
    """Everything that was found, for ``profile.json``.

    Parameters
    ----------
    models : mapping
        Name of a model -> its profiles, along the same paths.
    """
    first = next(iter(models.values()))
    return {
        "units": {"energies": "eV", "errors": "meV"},
        "paths": [
            {
                "name": profile.path.name,
                "coordinate": profile.path.coordinate,
                "frames": len(profile.path.frames),
                "atoms": len(profile.path.frames[0]),
                "zero": None if profile.zero is None else float(profile.path.values[profile.zero]),
            }
            for profile in first
        ],
        "models": [
            {
                "name": name,
                "mae_meV": overall_error(profiles),
                "paths": {profile.path.name: path_summary(profile) for profile in profiles},
            }
            for name, profiles in models.items()
        ],
    }


def overall_error(profiles: Sequence[Profile]) -> float | None:
    """Mean absolute error of all frames of all paths, meV; None without labels."""
    found = np.concatenate([errors(profile) for profile in profiles])
    found = found[np.isfinite(found)]
    return float(MEV * np.abs(found).mean()) if len(found) else None


def flat_values(profiles: Sequence[Profile]) -> dict[str, float]:
    """Numbers by name for ``results.csv``, meV; what is not known is left out.

    ``mae`` over all paths; for each path ``NAME/mae``, ``NAME/largest``, ``NAME/well`` and
    ``NAME/barrier``, of which the last two are errors of energies, and ``NAME/well_position`` and
    ``NAME/barrier_position``, errors of the positions in the unit of the coordinate.
    """
    found: dict[str, float] = {}
    overall = overall_error(profiles)
    if overall is not None:
        found["mae"] = overall
    for profile in profiles:
        name, values = profile.path.name, path_summary(profile)
        if "mae_meV" in values:
            found[f"{name}/mae"] = values["mae_meV"]
            found[f"{name}/largest"] = abs(values["largest_error_meV"])
        for kind in ("well", "barrier"):
            ours, theirs = values[kind]["model"], values[kind][REFERENCE]
            if ours is not None and theirs is not None:
                found[f"{name}/{kind}"] = MEV * (ours["energy_eV"] - theirs["energy_eV"])
                found[f"{name}/{kind}_position"] = ours["at"] - theirs["at"]
    return found


def table_rows(models: Mapping[str, Sequence[Profile]]) -> list[list[Any]]:
    """Rows of ``profile.csv``: the reference, then the total and the terms of each model."""
    rows: list[list[Any]] = []
    for index, profile in enumerate(next(iter(models.values()))):
        path = profile.path
        curves = {(REFERENCE, TOTAL): profile.reference}
        for model, profiles in models.items():
            curves |= {(model, term): y for term, y in profiles[index].energies.items()}
        for (curve, term), energies in curves.items():
            for i, energy in enumerate(energies):
                if np.isfinite(energy):
                    row = [path.name, path.coordinate, f"{path.values[i]:.10g}", path.sources[i]]
                    rows.append([*row, curve, term, f"{energy:.9g}"])
    return rows


def _plain(found: Extreme | None) -> dict[str, float] | None:
    return None if found is None else {"energy_eV": found.energy, "at": found.position}

"""The menu of variants of ``muse-lr study``. A new line here is a new choice of ``--variants``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from muse_lr.errors import InputError, nearest

DEFAULT = ("short_range", "charges", "muse", "both")


@dataclass(frozen=True)
class Variant:
    """What a variant adds to the short-range backbone.

    Attributes
    ----------
    text : str
        The question that it answers.
    charges : bool
        Whether it has charges and the Coulomb head.
    multiscale : str or None
        Kind of ``model.multiscale``.
    changes : dict
        Other dotted keys and their values.
    """

    text: str
    charges: bool = False
    multiscale: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "short_range": Variant("the backbone alone"),
    "charges": Variant("charges and their Coulomb energy", charges=True),
    "muse": Variant("a learned coarse hierarchy", multiscale="muse"),
    "both": Variant("charges that read the features of the hierarchy", True, "muse"),
    "both_local_charges": Variant(
        "hierarchy and charges that read the features of the backbone",
        True,
        "muse",
        {"model.charges.input": "backbone"},
    ),
    "ewald_mp": Variant("Ewald message passing", multiscale="ewald_mp"),
    "virtual_nodes": Variant("virtual nodes", multiscale="virtual_nodes"),
    "cutoff_10": Variant(
        "a larger cutoff",
        changes={"model.backbone.cutoff": 10.0},
    ),
    "layers_4": Variant("more layers", changes={"model.backbone.layers": 4}),
    "dispersion": Variant(
        "learned C6 coefficients", changes={"model.heads.dispersion": {"kind": "c6"}}
    ),
}


def choose_variants(names: Sequence[str]) -> list[str]:
    """Names of the variants of a study, each once.

    Raises
    ------
    InputError
        For an unknown name, a repeated one, or a single variant.
    """
    for name in names:
        if name not in VARIANTS:
            known = ", ".join(VARIANTS)
            raise InputError(f"--variants: {name!r} is unknown{nearest(name, VARIANTS)}: {known}")
    if len(set(names)) < len(names):
        raise InputError("--variants: each name can be given once")
    if len(names) < 2:
        raise InputError("--variants: a comparison needs at least two variants")
    return list(names)


def reference_of(names: Sequence[str]) -> str:
    """Variant that all others are compared with: short_range, or the first."""
    return "short_range" if "short_range" in names else names[0]


def base_multiscale(names: Sequence[str]) -> str | None:
    """Kind of ``model.multiscale`` of the base: that of the first variant with one."""
    kinds = [VARIANTS[name].multiscale for name in names]
    return next((kind for kind in kinds if kind is not None), None)


def overrides(name: str, multiscale: str | None) -> dict[str, Any]:
    """Dotted keys in which a variant differs from the base, and their values.

    Parameters
    ----------
    name : str
    multiscale : str or None
        Kind of ``model.multiscale`` of the base. The base has charges and a Coulomb head.
    """
    variant = VARIANTS[name]
    changes: dict[str, Any] = {}
    if variant.multiscale != multiscale:
        kind = variant.multiscale
        changes["model.multiscale"] = None if kind is None else {"kind": kind}
    if not variant.charges:
        changes |= {"model.charges": None, "model.heads.coulomb": None}
    return changes | variant.changes

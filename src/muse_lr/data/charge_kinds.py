"""What models do with what a data set states: total charge and spin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from muse_lr.config.registry import kinds, lookup
from muse_lr.errors import InputError


def charge_hint() -> str:
    """What models do with net charges, from what the classes of charges declare."""
    free = [
        kind
        for kind, model in _classes("charges")
        if not model.exact_total_charge and not model.needs_charges
    ]
    return (
        "there are net charges: the atomic charges of a model sum to them, with every kind of "
        f"model.charges but {_list(free)}. muse-lr init and study choose a kind. A model without "
        "charges sees the net charge only through model.backbone.embed: [total_charge]"
    )


def spin_hint() -> str:
    """Parts that use the spin multiplicity, from the keys of their configurations."""
    charges = [k for k, model in _classes("charges") if "spin" in model.Config.model_fields]
    backbones = [k for k, part in _classes("backbone") if "embed" in part.Config.model_fields]
    return (
        f"there are multiplicities above 2: they are used by charges of {_list(charges)} with "
        f"spin: true, and by {_list(backbones)} with embed: [spin]; other models ignore them"
    )


def _classes(slot: str) -> Iterator[tuple[str, Any]]:
    for kind in kinds(slot):
        try:
            yield kind, lookup(slot, kind)
        except (InputError, ImportError):  # a broken plugin, or an extra that is not installed
            continue


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"

"""Kinds of charge models and backbones that use what a data set states: total charge and spin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from muse_lr.config.registry import kinds, lookup
from muse_lr.errors import InputError


def charge_hint() -> str:
    """Charge models for structures with a net charge, from what their classes declare."""
    exact, given, free, local = [], [], [], []
    for kind, model in _classes("charges"):
        if model.needs_charges:
            continue  # the charges of a trained backbone
        if not model.exact_total_charge:
            free.append(kind)
        elif not model.needs_features:
            given.append(kind)
        else:
            exact.append(kind)
            if model.size_consistent:
                local.append(kind)
    return (
        f"there are net charges: the charges of {_list(exact)} sum to the stated total; of these, "
        f"{_list(local)} can keep an ion's charge local (size-consistent), and the others share it "
        f"out over the structure. {_list(given)}: constants, which are local and must sum to the "
        f"total. {_list(free)}: no constraint"
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

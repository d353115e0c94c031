"""Quantities and energies that a user requests from a model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from muse_lr.errors import InputError, described, nearest
from muse_lr.model.assembly import Parts
from muse_lr.model.response import RESPONSES, coulomb_heads

#: Quantities that can be requested beside the energy.
COMPUTE = ("forces", "stress", "parts", "charges", *RESPONSES)
FORM = "compute=('forces', 'stress')"


def requested(compute: Any, create_graph: Any, has_charges: bool) -> tuple[str, ...]:
    """Names of the quantities to compute, from the arguments of a model.

    Parameters
    ----------
    compute : collection of str, or str
        Members of :data:`COMPUTE`, or one of them.
    create_graph : bool or None
        The argument after it, which takes the second name where both are not in one tuple.
    has_charges : bool
        Whether the model has charges.

    Raises
    ------
    InputError
        If a name is unknown, or if the model cannot compute the quantity.
    """
    if not (create_graph is None or isinstance(create_graph, bool)):
        raise InputError(
            f"create_graph is {described(create_graph)}, not True or False; give all quantities in "
            f"one tuple, {FORM}"
        )
    names = (compute,) if isinstance(compute, str) else compute
    if not isinstance(names, Collection):
        raise InputError(f"compute takes names, {FORM}, not {described(compute)}")
    for name in names:
        if name == "energy":
            raise InputError("the energy is always computed: leave it out of compute")
        if name not in COMPUTE:
            hint = nearest(name, COMPUTE) if isinstance(name, str) else ""
            raise InputError(f"cannot compute {name!r}{hint}; known: {', '.join(COMPUTE)}")
        if name == "parts" and not {"forces", "stress"} & set(names):
            raise InputError("parts needs forces or stress: compute one of them too")
        if name in ("charges", *RESPONSES) and not has_charges:
            raise InputError(f"cannot compute {name!r}: the model has no charges")
    return tuple(names)


@dataclass(frozen=True)
class Selection:
    """Named energies to evaluate, and the parts that are evaluated for them.

    Attributes
    ----------
    names : frozenset of str or None
        Names of the energies; None for all.
    backbone, multiscale, charges : bool
        Whether the part of this slot is evaluated, if the model has one.
    """

    names: frozenset[str] | None
    backbone: bool = True
    multiscale: bool = True
    charges: bool = True

    def has(self, name: str) -> bool:
        """Whether an energy is among the chosen ones."""
        return self.names is None or name in self.names


def selected(only: Any, parts: Parts, compute: Collection[str]) -> Selection:
    """The energies to evaluate, from the argument ``only`` of a model.

    Parameters
    ----------
    only : collection of str, str or None
        Names of energies, or one name; None for all.
    parts : Parts
        The parts of the model. What a head or the charges read is declared by ``reads_density``
        and ``reads_features``.
    compute : collection of str
        The requested quantities. Those of the charges need the charge model.

    Raises
    ------
    InputError
        If a name is unknown or none is given, or if the potential is requested without the Coulomb
        energies that it is the derivative of.
    """
    if only is None:
        return Selection(None)
    names = (only,) if isinstance(only, str) else only
    slots = {"backbone": parts.backbone, "multiscale": parts.multiscale, "charges": parts.charges}
    known = ["e0", *(name for name, part in slots.items() if part is not None), *parts.heads]
    form = f"energies of this model: {', '.join(known)}"
    if not isinstance(names, Collection) or not names:
        what = described(only) if names is None or not isinstance(names, Collection) else "empty"
        raise InputError(f"only is {what}: it takes names of {form}")
    for name in names:
        if name not in known:
            hint = nearest(name, known) if isinstance(name, str) else ""
            raise InputError(f"only: {name!r} is no energy of this model{hint}; {form}")
    missing = [name for name in coulomb_heads(parts.heads) if name not in names]
    if "potential" in compute and missing:
        raise InputError(
            f"the potential is the derivative of the Coulomb energy: add {missing[0]!r} to only"
        )
    heads = [head for name, head in parts.heads.items() if name in names]
    of_charges = bool({"charges", *RESPONSES} & set(compute))
    charges = "charges" in names or of_charges or any(head.reads_density for head in heads)
    by_charges = charges and parts.charges is not None and parts.charges.reads_features
    by_heads = any(head.reads_features for head in heads)
    wide = by_charges and parts.charges is not None and parts.charges.input == "multiscale"
    multiscale = "multiscale" in names or by_heads or wide
    backbone = "backbone" in names or "multiscale" in names or by_heads or by_charges
    return Selection(frozenset(names), backbone, multiscale, charges)

"""Quantities that a user requests from a model."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from muse_lr.errors import InputError, described, nearest
from muse_lr.model.response import RESPONSES

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

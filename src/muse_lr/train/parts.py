"""Names of the parts of a model in ``training.learning_rates``."""

from __future__ import annotations

from collections.abc import Mapping

from muse_lr.errors import InputError

#: Parts of a model whose learning rate can differ.
PARTS = ("backbone", "multiscale", "charges", "heads")


def check_factors(factors: Mapping[str, float]) -> None:
    """Check the factors of the learning rates of the parts.

    Raises
    ------
    InputError
        If a part does not exist, or if a factor is not positive and finite.
    """
    for part, factor in factors.items():
        if part not in PARTS and not part.startswith("heads."):
            raise InputError(f"{part!r} is no part of a model: use {', '.join(PARTS)}, heads.NAME")
        if not 0 < factor < float("inf"):
            raise InputError(f"the factor of {part} must be positive and finite, not {factor:g}")

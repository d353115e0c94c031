"""Build the parts of a model in the order in which data flows through them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from muse_lr.backbones.base import Backbone
from muse_lr.charges.base import ChargeModel, ChargesContext
from muse_lr.config.part import Part
from muse_lr.config.registry import lookup
from muse_lr.errors import InputError
from muse_lr.heads.base import Head, HeadContext
from muse_lr.model.config import ModelConfig
from muse_lr.multiscale.base import Multiscale, MultiscaleContext
from muse_lr.structures.graph import FeatureSize


@dataclass(frozen=True)
class Parts:
    """The parts of a model; None for a part that is null in the configuration."""

    backbone: Backbone | None
    multiscale: Multiscale | None
    charges: ChargeModel | None
    heads: dict[str, Head]

    def named(self) -> dict[str, Part]:
        """All parts by the name used in messages."""
        slots: dict[str, Part | None] = {
            "the backbone": self.backbone,
            "the multiscale block": self.multiscale,
            "the charge model": self.charges,
            **{f"head {name!r}": head for name, head in self.heads.items()},
        }
        return {name: part for name, part in slots.items() if part is not None}


def build_parts(config: ModelConfig, elements: tuple[str, ...]) -> Parts:
    """Build the parts of a configuration.

    The initial weights of a part depend on the state of torch's random generator, on the slot of
    the part (for heads, the name), on its own configuration and on the size of the features that
    it reads. They do not depend on the other parts otherwise, so that variants of a model start
    with equal weights where they have equal parts.

    Raises
    ------
    InputError
        If a part needs another part that is missing.
    """
    seed = int(torch.randint(2**62, ()))
    backbone: Backbone | None = None
    if config.backbone is not None:
        with _seeded(seed, "backbone"):
            backbone = lookup("backbone", config.backbone.kind)(config.backbone, elements)
    with _seeded(seed, "multiscale"):
        multiscale = _build_multiscale(config, elements, backbone)
    local = FeatureSize(0, {}) if backbone is None else backbone.features
    wide = local if multiscale is None else multiscale.features
    with _seeded(seed, "charges"):
        charges = _build_charges(config, elements, backbone, local, wide)
    context = HeadContext(
        elements=elements,
        cutoff=None if backbone is None else backbone.cutoff,
        widths=() if charges is None else charges.widths,
        l_max=0 if charges is None else charges.l_max,
        levels=0 if multiscale is None else multiscale.level_count,
        features=wide,
    )
    return Parts(backbone, multiscale, charges, _build_heads(config, context, seed))


@contextmanager
def _seeded(seed: int, slot: str) -> Iterator[None]:
    """Context with a random generator of its own for one slot; the outer state is kept."""
    digest = hashlib.sha256(f"{seed} {slot}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int.from_bytes(digest[:7], "big"))
        yield


def _build_multiscale(
    config: ModelConfig, elements: tuple[str, ...], backbone: Backbone | None
) -> Multiscale | None:
    if config.multiscale is None:
        return None
    if backbone is None:
        raise InputError(
            f"multiscale kind {config.multiscale.kind!r} reads features, but model.backbone is "
            "null: set model.multiscale to null or use a backbone"
        )
    context = MultiscaleContext(elements, backbone.config, backbone.features)
    part: Multiscale = lookup("multiscale", config.multiscale.kind)(config.multiscale, context)
    return part


def _build_charges(
    config: ModelConfig,
    elements: tuple[str, ...],
    backbone: Backbone | None,
    local: FeatureSize,
    wide: FeatureSize,
) -> ChargeModel | None:
    if config.charges is None:
        return None
    kind = lookup("charges", config.charges.kind)
    if kind.needs_features and backbone is None:
        raise InputError(
            f"charges kind {config.charges.kind!r} reads features, but model.backbone is null: "
            "use kind fixed or a backbone"
        )
    size = wide if config.charges.input == "multiscale" else local
    cutoff = None if backbone is None else backbone.cutoff
    part: ChargeModel = kind(config.charges, ChargesContext(elements, size, cutoff))
    return part


def _check_coulomb_energy(name: str, config: ModelConfig) -> None:
    """Raise an error if the backbone already includes the Coulomb energy of the charges."""
    if config.charges is not None and lookup("charges", config.charges.kind).needs_charges:
        raise InputError(
            f"head {name!r} would add the Coulomb energy of charges that the backbone's energy "
            f"already includes: set model.heads.{name}: null, or set its exclusion_radius to the "
            "range of the backbone's charges"
        )


def _build_heads(config: ModelConfig, context: HeadContext, seed: int) -> dict[str, Head]:
    heads: dict[str, Head] = {}
    for name, section in config.heads.items():
        if section is None:
            continue
        head = lookup("head", section.kind)
        if head.needs_density and config.charges is None:
            raise InputError(
                f"head {name!r} needs charges but model.charges is null: set model.charges, "
                f"or set model.heads.{name}: null"
            )
        if head.needs_features and config.backbone is None:
            raise InputError(f"head {name!r} needs features but model.backbone is null")
        with _seeded(seed, f"heads.{name}"):
            heads[name] = head(section, context)
        if heads[name].sums_coulomb and not heads[name].excludes_near_pairs:
            _check_coulomb_energy(name, config)
    return heads

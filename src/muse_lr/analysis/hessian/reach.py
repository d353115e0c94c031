"""How far the Hessian of a model reaches."""

from __future__ import annotations

from muse_lr.model.energy_model import EnergyModel


def backbone_reach(model: EnergyModel) -> float:
    """Distance beyond which the Hessian of the backbone alone vanishes, A; 0 without a backbone.

    The energy of an atom depends on all atoms within ``layers * cutoff``, and two of them can be
    twice this far apart. Closer than that, a model without any long-range part can learn the
    Hessian.
    """
    backbone = model.parts.backbone
    return 0.0 if backbone is None else 2 * backbone.layers * backbone.cutoff


def reach_lines(model: EnergyModel) -> dict[str, str]:
    """The reach of the backbone, the multiscale block and each head in words, by their names."""
    parts = model.parts
    found = {}
    if parts.backbone is not None:
        layers, cutoff = parts.backbone.layers, parts.backbone.cutoff
        found["backbone"] = (
            f"2 x {layers} layers x {cutoff:g} Å = {backbone_reach(model):g} Å between two atoms"
        )
    if parts.multiscale is not None:
        found["multiscale"] = "; ".join(parts.multiscale.describe())
    for name, head in parts.heads.items():
        found[f"head {name}"] = "long-ranged" if head.long_range else f"range {head.cutoff:g} Å"
    return found

"""Text summary of a model for the terminal."""

from __future__ import annotations

from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.text import count_parameters


def describe(model: EnergyModel) -> list[str]:
    """Lines on the parts, their sizes, the receptive field and the solver of each boundary."""
    config, parts = model.config, model.parts
    lines = [f"elements         {' '.join(model.elements)}"]
    lines.append(f"parameters       {count_parameters(model)}")
    slots = (
        ("backbone", config.backbone, parts.backbone),
        ("multiscale", config.multiscale, parts.multiscale),
        ("charges", config.charges, parts.charges),
    )
    for name, section, part in slots:
        if part is not None and section is not None:
            first, *more = part.describe()
            lines += [
                f"{name:<17}{section.kind}, {count_parameters(part)} parameters, {first}",
                *more,
            ]
    for name, head in parts.heads.items():
        chosen = config.heads[name]
        assert chosen is not None
        first, *more = head.describe()
        lines += [f"head {name:<11} {chosen.kind}, {first}", *more]
    if isinstance(config.e0, dict):
        values = " ".join(f"{symbol} {value:.8g}" for symbol, value in config.e0.items())
        lines.append(f"E0s              {values} eV")
    lines.append(f"neighbor list    {model.cutoff:g} A")
    lines.append(f"size-consistent  {'yes' if model.size_consistent else 'no'}")
    lines.append(f"precision        {str(model.dtype).removeprefix('torch.')}")
    return lines

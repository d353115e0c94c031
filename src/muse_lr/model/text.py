"""Summary of a model: its parts, sizes and precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel


def count_parameters(module: nn.Module) -> int:
    """Number of parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def model_text(model: EnergyModel) -> str:
    """Elements, parts, number of parameters, precision and device of a model, one a line."""
    config = model.config
    slots = (
        ("backbone", config.backbone, model.backbone),
        ("multiscale", config.multiscale, model.multiscale),
        ("charges", config.charges, model.charges),
    )
    lines = [("elements", ", ".join(model.elements))]
    for name, section, part in slots:
        text = "none"
        if section is not None and part is not None:
            text = f"{section.kind}, {count_parameters(part):,} parameters"
            if part.cutoff:
                text += f", edges up to {part.cutoff:g} A"
        lines.append((name, text))
    kinds = {name: section.kind for name, section in config.heads.items() if section is not None}
    heads = [name if name == kind else f"{name} ({kind})" for name, kind in kinds.items()]
    dtype = str(model.dtype).removeprefix("torch.")
    lines += [
        ("heads", ", ".join(heads) or "none"),
        ("cutoff", f"{model.cutoff:g} A"),
        ("parameters", f"{count_parameters(model):,}, {dtype}, {model.device}"),
    ]
    body = "\n".join(f"  {name:<11} {text}" for name, text in lines)
    return f"EnergyModel(\n{body}\n)"


def short_text(model: EnergyModel) -> str:
    """The kinds of the parts, for use inside another summary."""
    config = model.config
    sections = [config.backbone, config.multiscale, config.charges, *config.heads.values()]
    kinds = [section.kind for section in sections if section is not None]
    return " + ".join(kinds) or "no parts"

"""A model in words."""

from __future__ import annotations

from torch import nn

from muse_lr.electrostatics.dispatch import MESH_SIZE
from muse_lr.heads.base import Head
from muse_lr.heads.coulomb import CoulombHead
from muse_lr.model.energy_model import EnergyModel


def describe(model: EnergyModel) -> list[str]:
    """Lines that name the parts, their size, the receptive field and who sums what."""
    lines = [f"elements         {' '.join(model.elements)}"]
    lines.append(f"parameters       {_count(model)}")
    if model.backbone is not None:
        backbone = model.backbone
        lines.append(
            f"backbone         {backbone.config.kind}, {_count(backbone)} parameters, receptive "
            f"field {backbone.layers} x {backbone.cutoff:g} = "
            f"{backbone.layers * backbone.cutoff:g} A"
        )
    if model.multiscale is not None:
        part = model.multiscale
        assert model.config.multiscale is not None
        lines.append(
            f"multiscale       {model.config.multiscale.kind}, {_count(part)} parameters, "
            f"{part.reach()}"
        )
    if model.charges is not None:
        charges = model.charges
        assert model.config.charges is not None
        widths = " ".join(f"{width:g}" for width in sorted(set(charges.widths)))
        exact = "exact" if charges.exact_total_charge else "free"
        lines.append(
            f"charges          {model.config.charges.kind}, l up to {charges.l_max}, "
            f"{_count(charges)} parameters, width {widths} A, total charge {exact}"
        )
    for name, head in model.heads.items():
        section = model.config.heads[name]
        assert section is not None
        assert isinstance(head, Head)
        reach = "long-ranged" if head.long_range else f"range {head.cutoff:g} A"
        boundaries = ", ".join(sorted(head.boundaries))
        lines.append(f"head {name:<12}{section.kind}, {reach}, boundaries {boundaries}")
        if isinstance(head, CoulombHead):
            lines += _solver_lines(head)
    lines.append(f"neighbour list   {model.cutoff:g} A")
    lines.append(f"size-consistent  {'yes' if model.size_consistent else 'no'}")
    lines.append(f"precision        {str(model.dtype).removeprefix('torch.')}")
    return lines


def _solver_lines(head: CoulombHead) -> list[str]:
    sums = head.electrostatics
    lines = [
        f"  accuracy             {sums.accuracy:g}",
        f"  FFF                  {sums.explain('FFF', 0)}",
    ]
    for boundary in ("TTF", "TTT"):
        for n_atoms, size in ((0, f"< {MESH_SIZE} atoms"), (MESH_SIZE, "larger")):
            lines.append(f"  {boundary} {size:<15} {sums.explain(boundary, n_atoms)}")
    return lines


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

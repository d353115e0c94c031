"""A model in words."""

from __future__ import annotations

from torch import nn

from muse_lr.heads.base import Head
from muse_lr.heads.coulomb import CoulombHead
from muse_lr.model import EnergyModel


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
    if model.charges is not None:
        charges = model.charges
        assert model.config.charges is not None
        exact = "exact" if charges.exact_total_charge else "free"
        lines.append(
            f"charges          {model.config.charges.kind}, {_count(charges)} parameters, width "
            f"{charges.width:g} A, total charge {exact}"
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
    ewald = head.solver.ewald
    real = f"real space to {ewald.cutoff:g} A" if ewald.cutoff else "no real-space sum"
    return [
        "  FFF            exact sum over all pairs, O(N^2)",
        f"  TTT            {type(head.solver).__name__}: Ewald, splitting {ewald.splitting:.3g} A, "
        f"{real}, |k| to {ewald.reciprocal_cutoff:.3g}/A, accuracy {head.solver.accuracy:g}",
    ]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

"""The one place where energies are differentiated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.geometry import Geometry

if TYPE_CHECKING:
    from muse_lr.output import ModelOutput


def differentiate(
    output: ModelOutput,
    geometry: Geometry,
    positions: Tensor | None,
    strain: Tensor | None,
    create_graph: bool,
) -> None:
    """Fill forces and stress of ``output`` from one derivative of the summed energy.

    F = -dE/dr and stress = dE/dstrain / V, positive under tension (ASE's sign).

    Parameters
    ----------
    output : ModelOutput
        Its energies depend on the leaves below.
    geometry : Geometry
        For the volume.
    positions, strain : Tensor or None
        The leaves; None where the derivative is not wanted.
    create_graph : bool
        Whether the derivatives can be differentiated again.
    """
    leaves = [leaf for leaf in (positions, strain) if leaf is not None]
    energy = output.energy.sum()
    if energy.requires_grad:
        gradients = torch.autograd.grad(
            energy, leaves, create_graph=create_graph, allow_unused=True, materialize_grads=True
        )
    else:  # nothing in the model depends on the geometry
        gradients = tuple(torch.zeros_like(leaf) for leaf in leaves)
    found = list(gradients)
    if positions is not None:
        output.forces = -found.pop(0)
    if strain is not None:
        virial = found.pop(0)
        volume = geometry.volume[:, None, None]
        open_graph = geometry.open_graphs[:, None, None]
        output.stress = torch.where(open_graph, torch.nan, virial / volume)

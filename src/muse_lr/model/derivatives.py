"""The one place where energies are differentiated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.structures.geometry import Geometry

if TYPE_CHECKING:
    from muse_lr.model.output import ModelOutput


def differentiate(
    output: ModelOutput,
    geometry: Geometry,
    positions: Tensor | None,
    strain: Tensor | None,
    create_graph: bool,
    by_part: bool = False,
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
    by_part : bool
        Whether to fill those of each named energy too, by a derivative of each.
    """
    if by_part:
        for name, energies in output.energy_parts.items():
            forces, stress = _derivatives(
                energies, geometry, positions, strain, create_graph, keep_graph=True
            )
            if forces is not None:
                output.force_parts[name] = forces
            if stress is not None:
                output.stress_parts[name] = stress
    output.forces, output.stress = _derivatives(
        output.energy, geometry, positions, strain, create_graph
    )


def _derivatives(
    energies: Tensor,
    geometry: Geometry,
    positions: Tensor | None,
    strain: Tensor | None,
    create_graph: bool,
    keep_graph: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """Forces and stress of (n_graphs,) energies, None where their leaf is."""
    leaves = [leaf for leaf in (positions, strain) if leaf is not None]
    energy = energies.sum()
    if energy.requires_grad:
        gradients = torch.autograd.grad(
            energy,
            leaves,
            retain_graph=create_graph or keep_graph,
            create_graph=create_graph,
            allow_unused=True,
            materialize_grads=True,
        )
    else:  # nothing in the energies depends on the geometry
        gradients = tuple(torch.zeros_like(leaf) for leaf in leaves)
    found = list(gradients)
    forces = stress = None
    if positions is not None:
        forces = -found.pop(0)
    if strain is not None:
        virial = found.pop(0)
        volume = geometry.volume[:, None, None]
        open_graph = geometry.open_graphs[:, None, None]
        stress = torch.where(open_graph, torch.nan, virial / volume)
    return forces, stress

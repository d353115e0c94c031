"""Forces and stress from one derivative of the energy."""

from __future__ import annotations

import torch
from torch import Tensor

from muse_lr.structures.geometry import Geometry


def differentiate(
    energies: Tensor,
    geometry: Geometry,
    positions: Tensor | None,
    strain: Tensor | None,
    create_graph: bool,
    keep_graph: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """Forces and stress of some energies, from one derivative of their sum.

    F = -dE/dr and stress = dE/dstrain / V, positive under tension (ASE's sign).

    Parameters
    ----------
    energies : Tensor
        (n_graphs,) in eV, which depend on the leaves below.
    geometry : Geometry
        For the volume.
    positions, strain : Tensor or None
        The leaves; None where the derivative is not wanted.
    create_graph : bool
        Whether the derivatives can be differentiated again.
    keep_graph : bool
        Whether other energies of the same graph are differentiated later.

    Returns
    -------
    forces : Tensor or None
        (n_atoms, 3) in eV/A.
    stress : Tensor or None
        (n_graphs, 3, 3) in eV/A^3; NaN for graphs without a periodic direction.
    """
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

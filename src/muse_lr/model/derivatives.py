"""Derivatives by automatic differentiation: forces, stress and Jacobians."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.structures.geometry import Geometry

if TYPE_CHECKING:
    from muse_lr.model.output import ModelOutput


def differentiate(
    energies: Tensor,
    geometry: Geometry,
    positions: Tensor | None,
    strain: Tensor | None,
    create_graph: bool,
    keep_graph: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """Compute forces and stress from one derivative of the summed energies.

    F = -dE/dr and stress = dE/dstrain / V, positive under tension (ASE's sign).

    Parameters
    ----------
    energies : Tensor
        (n_graphs,) in eV. They depend on ``positions`` and ``strain``.
    geometry : Geometry
        Provides the volume and the boundaries.
    positions, strain : Tensor or None
        Leaves of the autograd graph; None for a derivative that is not needed.
    create_graph : bool
        Whether the derivatives can be differentiated again.
    keep_graph : bool
        Whether other energies are differentiated through the same autograd graph later.

    Returns
    -------
    forces : Tensor or None
        (n_atoms, 3) in eV/A.
    stress : Tensor or None
        (n_graphs, 3, 3) in eV/A^3; NaN for graphs without a volume: open systems, and slabs whose
        cell has no vector along the open direction.
    """
    forces, virial = forces_and_virial(energies, positions, strain, create_graph, keep_graph)
    return forces, None if virial is None else stress_of(virial, geometry)


def forces_and_virial(
    energies: Tensor,
    positions: Tensor | None,
    strain: Tensor | None,
    create_graph: bool,
    keep_graph: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """(n_atoms, 3) -dE/dr in eV/A and (n_graphs, 3, 3) dE/dstrain in eV, see `differentiate`."""
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
    else:  # the energies do not depend on the geometry
        gradients = tuple(torch.zeros_like(leaf) for leaf in leaves)
    found = list(gradients)
    forces = None if positions is None else -found.pop(0)
    return forces, None if strain is None else found.pop(0)


def stress_of(virial: Tensor, geometry: Geometry) -> Tensor:
    """(n_graphs, 3, 3) stress of a derivative by the strain; NaN for graphs without a volume."""
    volume = geometry.volume[:, None, None]
    return torch.where(geometry.has_volume[:, None, None], virial / volume, torch.nan)


def differentiate_parts(
    energy_parts: Mapping[str, Tensor],
    geometry: Geometry,
    positions: Tensor | None,
    strain: Tensor | None,
    create_graph: bool,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Forces and stress of each named energy; arguments as in :func:`differentiate`."""
    force_parts, stress_parts = dict[str, Tensor](), dict[str, Tensor]()
    for name, energies in energy_parts.items():
        forces, stress = differentiate(energies, geometry, positions, strain, create_graph, True)
        if forces is not None:
            force_parts[name] = forces
        if stress is not None:
            stress_parts[name] = stress
    return force_parts, stress_parts


def add_derivatives(
    output: ModelOutput,
    geometry: Geometry,
    positions: Tensor | None,
    strain: Tensor | None,
    create_graph: bool,
    of_parts: bool,
) -> None:
    """Add forces and stress to an output, and those of each named energy if ``of_parts``.

    Other arguments as in :func:`differentiate`.
    """
    leaves = positions, strain
    if of_parts:
        output.force_parts, output.stress_parts = differentiate_parts(
            output.energy_parts, geometry, *leaves, create_graph
        )
    output.forces, output.stress = differentiate(output.energy, geometry, *leaves, create_graph)


def jacobian_rows(values: Tensor, leaf: Tensor, create_graph: bool) -> list[Tensor]:
    """Gradient of the sum of each column of ``values`` with respect to ``leaf``.

    Parameters
    ----------
    values : Tensor
        (n_graphs, n_columns).
    leaf : Tensor
        Any shape. Each row belongs to one graph, so the sum over graphs mixes no gradients.
    create_graph : bool
        Whether the gradients can be differentiated again.

    Returns
    -------
    list of Tensor
        ``n_columns`` tensors of the shape of ``leaf``.
    """
    if not values.requires_grad:
        return [torch.zeros_like(leaf)] * values.shape[1]
    return [
        torch.autograd.grad(
            values[:, column].sum(),
            leaf,
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
            materialize_grads=True,
        )[0]
        for column in range(values.shape[1])
    ]

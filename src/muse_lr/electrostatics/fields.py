"""Potential, electric field and field gradient of a charge density at its atoms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.ewald.open_sum import open_fields
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.pair_sums import fit_in_one_portion
from muse_lr.errors import InputError
from muse_lr.math.multipoles import to_cartesian, to_standard_order
from muse_lr.structures.geometry import Geometry

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch

#: Largest allowed component of a field along a periodic direction, relative to its norm.
ALONG = 1e-8


@dataclass(frozen=True)
class Fields:
    """Potential and field of a density at each atom.

    The contribution of the multipoles of the atom itself is excluded, that of its periodic images
    is included.

    Attributes
    ----------
    moments : Tensor
        (n_atoms, (l_max + 1)^2) in eV/(e A^l). Derivatives v of the energy with respect to the
        moments M of a probe at the atoms, whose energy is sum_lm M_lm v_lm.
    """

    moments: Tensor

    @property
    def potential(self) -> Tensor:
        """(n_atoms,) in V."""
        return self.moments[:, 0]

    @property
    def field(self) -> Tensor:
        """(n_atoms, 3) electric field in V/A, minus the gradient of the potential."""
        gradient = to_cartesian(self.moments[:, :4]).dipoles
        assert gradient is not None
        return -gradient

    @property
    def field_gradient(self) -> Tensor:
        """(n_atoms, 3, 3) traceless part of the field derivatives dE_a/dr_b, V/A^2."""
        tensors = to_cartesian(self.moments).quadrupoles
        if tensors is None:
            raise ValueError("field gradients need fields with l_max = 2")
        # E = (1/3) Theta_ab phi_ab, and the tensors of unit moments have a squared norm of 3/2.
        return -2 * tensors


def fields_at_atoms(
    density: ChargeDensity,
    geometry: Geometry,
    solver: ReferenceSolver,
    l_max: int = 1,
    width: Tensor | None = None,
) -> Fields:
    """Fields of ``density`` at its atoms, averaged over a Gaussian at each atom.

    The fields are derivatives of the interaction of two densities. They are differentiable to any
    order with respect to positions, moments and cell.

    Parameters
    ----------
    density : ChargeDensity
    geometry : Geometry
        Can contain FFF, TTF and TTT. The cutoff of its edges is at least ``solver.ewald.cutoff``.
    solver : ReferenceSolver
        Solver for the widths of the density and of the probe.
    l_max : int
        0 for potentials, 1 to include fields, 2 to include field gradients.
    width : Tensor, optional
        (n_atoms,) Gaussian standard deviation of the probe, A; that of the density by default.

    Returns
    -------
    Fields
    """
    width = density.width if width is None else width
    found = open_fields(density, geometry, l_max, width)
    if not bool(geometry.open_graphs.all()):
        found = found + _lattice_fields(density, geometry, solver, l_max, width)
    return Fields(found)


def _lattice_fields(
    density: ChargeDensity, geometry: Geometry, solver: ReferenceSolver, l_max: int, width: Tensor
) -> Tensor:
    """(n_atoms, (l_max + 1)^2) fields in periodic graphs, and 0 in the others."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        moments = density.moments.new_zeros((len(density.moments), (l_max + 1) ** 2))
        probe = ChargeDensity(
            moments.requires_grad_(True), width, density.graph_index, density.num_graphs
        )
        energy = solver.interaction(probe, density, geometry, ~geometry.open_graphs)
        (found,) = torch.autograd.grad(energy.sum(), probe.moments, create_graph=again)
    return found


class FieldOperator:
    """Fields at the atoms for many densities in one geometry, detached from autograd.

    The interaction is bilinear. Its dependence on the geometry is computed once, and each density
    only needs one backward pass. The exception are open graphs whose pairs exceed one portion
    (:mod:`muse_lr.electrostatics.pair_sums`): their sum is computed for each density.

    Parameters
    ----------
    geometry, solver, l_max, width :
        As in :func:`fields_at_atoms`; ``width`` is required.
    source_width : Tensor
        (n_atoms,) Gaussian standard deviation of the densities, A.
    source_l_max : int
        Highest multipole order of the densities.
    """

    def __init__(
        self,
        geometry: Geometry,
        solver: ReferenceSolver,
        l_max: int,
        width: Tensor,
        source_width: Tensor,
        source_l_max: int,
    ) -> None:
        self._geometry = geometry = replace(
            geometry, positions=geometry.positions.detach(), cell=geometry.cell.detach()
        )
        self._l_max, self._width, self._source_width = l_max, width, source_width
        counts = geometry.nodes_per_graph
        self._recomputes = not fit_in_one_portion(counts, geometry.open_graphs)
        with torch.enable_grad():
            # The fields of the probe at the sources are linear in the probe. A call applies their
            # transpose.
            moments = width.new_zeros((len(width), (l_max + 1) ** 2)).requires_grad_(True)
            probe = ChargeDensity(moments, width, geometry.graph_index, geometry.num_graphs)
            at_sources: list[Tensor] = []
            if not self._recomputes:
                at_sources.append(open_fields(probe, geometry, source_l_max, source_width))
            if not bool(geometry.open_graphs.all()):
                options = (solver, source_l_max, source_width)
                at_sources.append(_lattice_fields(probe, geometry, *options))
        self._probe = moments
        self._at_sources = [each for each in at_sources if each.requires_grad]

    def __call__(self, moments: Tensor) -> Fields:
        """Fields of a density with moments of shape (n_atoms, (source_l_max + 1)^2)."""
        found = torch.zeros_like(self._probe)
        for fields in self._at_sources:
            found += torch.autograd.grad(fields, self._probe, moments, retain_graph=True)[0]
        if self._recomputes:
            geometry = self._geometry
            source = ChargeDensity(
                moments, self._source_width, geometry.graph_index, geometry.num_graphs
            )
            found += open_fields(source, geometry, self._l_max, self._width)
        return Fields(found)


def refuse_periodic_field(batch: AtomsBatch) -> None:
    """Check that external fields have no component along periodic directions.

    The potential -F.r is not defined along a periodic direction, because wrapping an atom by a
    lattice vector L changes its energy by q L.F.

    Raises
    ------
    InputError
        If a field has such a component. The message names the first structure.
    """
    along = torch.einsum("ga,gba->gb", batch.field, batch.cell).abs()
    scale = torch.linalg.vector_norm(batch.field, dim=1)[:, None]
    scale = scale * torch.linalg.vector_norm(batch.cell, dim=2)
    refused = (batch.pbc & (along > ALONG * scale)).any(1)
    if bool(refused.any()):
        graph = int(refused.nonzero()[0])
        raise InputError(
            f"structure {graph} has an electric field along a periodic direction, where -mu.F "
            "is not defined (it changes if an atom is wrapped): use a field along the normal of "
            "a slab, or open boundaries"
        )


def uniform_field(density: ChargeDensity, geometry: Geometry, l_max: int = 1) -> Fields:
    """Potential -F.r and field F of the external electric field at the atoms."""
    moments = density.moments.new_zeros((len(density.moments), (l_max + 1) ** 2))
    field = geometry.field[geometry.graph_index]
    moments[:, 0] = -(field * geometry.positions).sum(1).to(moments.dtype)
    if l_max > 0:
        moments[:, 1:4] = -to_standard_order(field).to(moments.dtype)
    return Fields(moments)

r"""Multipole moments, potentials and field response that a model can compute from its density.

The polarizability is :math:`\alpha_{ab} = \partial P_a / \partial F_b` at fixed atoms in e A^2/V,
where P is the dipole of the graph in e A and F the electric field in V/A. Born effective charges
are in :mod:`muse_lr.model.born_charges`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.heads.base import Head
from muse_lr.model.born_charges import born_charges, check_born_charges, polarization
from muse_lr.model.derivatives import jacobian_rows
from muse_lr.structures.geometry import Geometry
from muse_lr.units import COULOMB_CONSTANT

if TYPE_CHECKING:
    from muse_lr.charges.base import ChargeModel
    from muse_lr.model.output import ModelOutput

#: Quantities that can be computed from the density.
RESPONSES = (
    "dipole",
    "quadrupole",
    "polarization",
    "potential",
    "bec",
    "polarizability",
    "dielectric",
)
#: Responses that need derivatives with respect to the positions.
BY_POSITIONS = frozenset({"bec"})
#: Responses that need derivatives with respect to the electric field.
BY_FIELD = frozenset({"polarizability", "dielectric"})


def compute_responses(
    output: ModelOutput,
    charges: ChargeModel,
    heads: Mapping[str, Head],
    geometry: Geometry,
    positions: Tensor,
    compute: Collection[str],
    create_graph: bool,
) -> dict[str, Tensor]:
    """Compute the :data:`RESPONSES` named in ``compute``.

    Parameters
    ----------
    output : ModelOutput
        Energies and density. The density depends on the leaves ``positions`` and, for
        :data:`BY_FIELD`, ``geometry.field``.
    charges : ChargeModel
        The charge model that predicted the density.
    heads : mapping of str to Head
        The heads of the model by name.
    geometry : Geometry
    positions : Tensor
        (n_atoms, 3) leaf, A.
    compute : collection of str
    create_graph : bool
        Whether the derivatives can be differentiated again.

    Returns
    -------
    dict of str to Tensor
        Values for the attributes of the same names of
        :class:`~muse_lr.model.output.ModelOutput`. ``bec`` comes with ``bec_error``, and each of
        ``polarizability`` and ``dielectric`` comes with the other.

    Raises
    ------
    InputError
        If the polarization, the Born charges or the potential are not defined.
    """
    density = output.density
    assert density is not None  # the model refuses responses without charges
    found: dict[str, Tensor] = {}
    if "dipole" in compute:
        found["dipole"] = density.dipole(geometry.positions)
    if "quadrupole" in compute:
        found["quadrupole"] = density.quadrupole(geometry.positions)
    if "polarization" in compute:
        found["polarization"] = polarization(density, geometry)
    if "potential" in compute:
        found["potential"] = potential(output.energy_parts, heads, density, create_graph)
    if "bec" in compute:
        check_born_charges(charges, geometry)
        found["bec"], found["bec_error"] = born_charges(density, geometry, positions, create_graph)
    if BY_FIELD & set(compute):
        alpha = polarizability(density, geometry, create_graph)
        if charges.reads_field and not charges.periodic_response:
            alpha = torch.where(geometry.open_graphs[:, None, None], alpha, torch.nan)
        found["polarizability"] = alpha
        found["dielectric"] = dielectric_tensor(alpha, geometry)
    return found


def coulomb_heads(heads: Mapping[str, Head]) -> list[str]:
    """Names of the heads that compute the Coulomb energy of the density."""
    return [name for name, head in heads.items() if head.sums_coulomb]


def potential(
    energy_parts: Mapping[str, Tensor],
    heads: Mapping[str, Head],
    density: ChargeDensity,
    create_graph: bool = False,
) -> Tensor:
    """(n_atoms,) electrostatic potential at each atom, V.

    The potential of all other atoms and all images is averaged over the Gaussian of the atom. It is
    the derivative of the Coulomb energy with respect to the charge of the atom. In crystals its
    average over the cell is zero because of the neutralizing background.

    Raises
    ------
    InputError
        If the model has no coulomb head.
    """
    names = coulomb_heads(heads)
    if not names:
        raise InputError("cannot compute 'potential': the model has no coulomb head")
    energy = torch.stack([energy_parts[name].sum() for name in names]).sum()
    if not energy.requires_grad:  # no interacting pairs
        return torch.zeros_like(density.charges)
    (found,) = torch.autograd.grad(
        energy,
        density.moments,
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return found[:, 0]


def polarizability(
    density: ChargeDensity, geometry: Geometry, create_graph: bool = False
) -> Tensor:
    """(n_graphs, 3, 3) polarizability dP_a/dF_b at fixed atoms, e A^2/V.

    ``geometry.field`` is a leaf of the autograd graph of the density. The polarizability is zero if
    the charges do not depend on the field. Multiply by 14.3996 V A/e to obtain the polarizability
    volume in A^3.
    """
    total = density.dipole(geometry.positions)
    return torch.stack(jacobian_rows(total, geometry.field, create_graph), dim=1)


def dielectric_tensor(alpha: Tensor, geometry: Geometry) -> Tensor:
    r"""The electronic dielectric tensor :math:`\epsilon_\infty = 1 + \alpha / (\epsilon_0 V)`.

    The lattice sums use a conducting boundary, so the applied field is the macroscopic field.

    Parameters
    ----------
    alpha : Tensor
        (n_graphs, 3, 3) polarizability, e A^2/V.
    geometry : Geometry

    Returns
    -------
    Tensor
        (n_graphs, 3, 3); NaN for graphs that are not periodic in three directions.
    """
    identity = torch.eye(3, dtype=alpha.dtype, device=alpha.device)
    volume = geometry.volume[:, None, None]
    tensor = identity + 4 * math.pi * COULOMB_CONSTANT * alpha / volume
    return torch.where(geometry.periodic_graphs[:, None, None], tensor, torch.nan)

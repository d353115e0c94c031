r"""What the charges answer to displacements and fields: dipoles, Born charges, polarizability.

Conventions: the Born effective charge is :math:`Z_{i,ab} = \partial P_a / \partial r_{ib}` in e,
``bec[i, a, b]``, with the dipole P of the graph, e A; the polarizability is
:math:`\alpha_{ab} = \partial P_a / \partial F_b` at fixed atoms, e A^2/V.
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
from muse_lr.math.multipoles import to_cartesian
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.structures.reciprocal import smallest_waves
from muse_lr.units import COULOMB_CONSTANT

if TYPE_CHECKING:
    from muse_lr.charges.base import ChargeModel
    from muse_lr.model.output import ModelOutput

#: What can be computed of the density; those that need derivatives by the positions or the field.
RESPONSES = (
    "dipole",
    "quadrupole",
    "polarization",
    "potential",
    "bec",
    "polarizability",
    "dielectric",
)
BY_POSITIONS = frozenset({"bec"})
BY_FIELD = frozenset({"polarizability", "dielectric"})


def fill_responses(
    output: ModelOutput,
    charges: ChargeModel,
    heads: Mapping[str, Head],
    geometry: Geometry,
    positions: Tensor,
    compute: Collection[str],
    create_graph: bool,
) -> None:
    """Fill those of :data:`RESPONSES` that ``compute`` names.

    Parameters
    ----------
    output : ModelOutput
        Its density depends on the leaves: ``positions`` and, if needed, ``geometry.field``.
    charges : ChargeModel
        That made the density.
    heads : mapping of str to Head
        That read it.
    geometry : Geometry
    positions : Tensor
        (n_atoms, 3) leaf.
    compute : collection of str
    create_graph : bool
        Whether the derivatives can be differentiated again.

    Raises
    ------
    InputError
        For a polarization or Born charges that are not defined.
    """
    density = output.density
    assert density is not None  # the model refuses responses without charges
    if "dipole" in compute:
        output.dipole = density.dipole(geometry.positions)
    if "quadrupole" in compute:
        output.quadrupole = density.quadrupole(geometry.positions)
    if "polarization" in compute:
        output.polarization = polarization(density, geometry)
    if "potential" in compute:
        output.potential = potential(output.energy_parts, heads, density, create_graph)
    if "bec" in compute:
        if not defines_born_charges(charges, geometry.pbc):
            graph = int((~geometry.open_graphs).nonzero()[0])
            raise InputError(
                f"structure {graph} is periodic, where charges that answer to the field have no "
                "Born charges: at finite waves the macroscopic field would screen them"
            )
        output.bec, output.bec_error = born_charges(density, geometry, positions, create_graph)
    if BY_FIELD & set(compute):
        alpha = polarizability(density, geometry, create_graph)
        if charges.reads_field and not charges.periodic_response:
            alpha = torch.where(geometry.open_graphs[:, None, None], alpha, torch.nan)
        output.polarizability = alpha
        output.dielectric = dielectric_tensor(alpha, geometry)


def defines_born_charges(charges: ChargeModel, pbc: Tensor) -> bool:
    """Whether all graphs with these (n_graphs, 3) boundaries have Born charges."""
    return not (charges.reads_field and not charges.periodic_response and bool(pbc.any()))


def polarization(density: ChargeDensity, geometry: Geometry) -> Tensor:
    """(n_graphs, 3) dipole of each graph that does not depend on the choice of images, e A.

    In open graphs it is the dipole about the origin. Under periodicity its derivatives are what
    has a meaning: atoms that are wrapped change it by lattice vectors times constant charges.

    Raises
    ------
    InputError
        If a graph is periodic and its charges have none.
    """
    if density.polarization is not None:
        return density.polarization
    if bool((~geometry.open_graphs).any()):
        graph = int((~geometry.open_graphs).nonzero()[0])
        raise InputError(
            f"structure {graph} is periodic, where only fixed and split charges, and scf or "
            "induced with charges_at_rest: elements and charge_response: false, have a "
            "polarization: the dipole of others depends on the images of the atoms; Born charges "
            "(bec) are defined for more"
        )
    return density.dipole(geometry.positions)


def coulomb_heads(heads: Mapping[str, Head]) -> list[str]:
    """Names of the heads that sum the Coulomb energy of the density."""
    return [name for name, head in heads.items() if head.sums_coulomb]


def potential(
    energy_parts: Mapping[str, Tensor],
    heads: Mapping[str, Head],
    density: ChargeDensity,
    create_graph: bool = False,
) -> Tensor:
    """(n_atoms,) potential of all other atoms and images, averaged over each atom's Gaussian, V.

    The derivative of the Coulomb energy by the charge of the atom; in crystals its average over the
    cell is zero, as the background makes it.

    Raises
    ------
    InputError
        Without a coulomb head.
    """
    names = coulomb_heads(heads)
    if not names:
        raise InputError("cannot compute 'potential': no coulomb head sums the charges")
    energy = torch.stack([energy_parts[name].sum() for name in names]).sum()
    if not energy.requires_grad:  # nobody interacts
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


def born_charges(
    density: ChargeDensity, geometry: Geometry, positions: Tensor, create_graph: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Born effective charges, by three backward passes where they are exact.

    Open graphs and charges that have a polarization: :math:`Z_i = \partial P / \partial r_i`.
    Otherwise, under periodicity, the charges at finite wave vectors k,

    .. math::
       k \cdot Z_i = \mathrm{Re}\left[ e^{-i k r_i} \frac{\partial}{\partial r_i}
       \frac{1}{i} \sum_j q_j e^{i k r_j} \right]
       + k \cdot \frac{\partial}{\partial r_i} \sum_j \mu_j,

    at the three smallest independent vectors k of the reciprocal lattice (P. Zhong, D. Kim,
    D. S. King, B. Cheng, arXiv:2504.05169), which does not depend on the choice of images. Along
    the normal of slabs k goes to zero. The error is of the order of k^2: a third of the difference
    to the value at 2 k. The sum of the atomic dipoles needs no wave, and is that without a
    macroscopic field, which waves would bring.

    Parameters
    ----------
    density : ChargeDensity
    geometry : Geometry
    positions : Tensor
        (n_atoms, 3) leaf on which both depend.
    create_graph : bool
        Whether the result can be differentiated again; the error is then not estimated.

    Returns
    -------
    bec : Tensor
        (n_atoms, 3, 3) in e.
    error : Tensor
        (n_graphs,) estimated error of the largest component, e: 0 where exact, NaN where it is
        not estimated.
    """
    exact = geometry.open_graphs
    if density.polarization is not None:
        exact = torch.ones_like(exact)
    error = positions.new_zeros(geometry.num_graphs)
    if bool(exact.all()):
        total = polarization(density, geometry)
        return torch.stack(_rows(total, positions, create_graph), dim=1), error
    found = _of_charges(density, geometry, positions, 1.0, create_graph)
    bec = found
    dipoles = to_cartesian(density.moments).dipoles
    if dipoles is not None:
        total = sum_nodes(dipoles, geometry.graph_index, geometry.num_graphs)
        bec = found + torch.stack(_rows(total, positions, create_graph), dim=1)
    if create_graph:
        return bec, torch.where(exact, error, torch.nan)
    doubled = _of_charges(density, geometry, positions, 2.0, create_graph)
    difference = (doubled - found).abs().amax((1, 2)) / 3
    return bec, error.scatter_reduce(0, geometry.graph_index, difference, "amax")


def _rows(totals: Tensor, positions: Tensor, create_graph: bool) -> list[Tensor]:
    """d totals[:, a] / d positions for each of the three columns, (n_atoms, 3) each."""
    if not totals.requires_grad:
        return [torch.zeros_like(positions)] * totals.shape[1]
    return [
        torch.autograd.grad(
            totals[:, column].sum(),
            positions,
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
            materialize_grads=True,
        )[0]
        for column in range(totals.shape[1])
    ]


def _of_charges(
    density: ChargeDensity,
    geometry: Geometry,
    positions: Tensor,
    multiple: float,
    create_graph: bool,
) -> Tensor:
    """(n_atoms, 3, 3) what charges give to the Born charges, at multiples of the smallest waves."""
    waves, limit = smallest_waves(geometry)  # (G, 3, 3), (G, 3)
    waves = torch.where(limit[:, :, None], waves, multiple * waves)
    index, count = geometry.graph_index, geometry.num_graphs
    own, still = waves[index], limit[index]
    charges = density.charges.to(torch.float64)[:, None]
    angle = torch.einsum("nka,na->nk", own, geometry.positions)
    sine, cosine = torch.sin(angle), torch.cos(angle)
    real = charges * torch.where(still, angle, sine)
    imaginary = -charges * torch.where(still, 0.0, cosine)
    by_real = _rows(sum_nodes(real, index, count), positions, create_graph)
    by_imaginary = _rows(sum_nodes(imaginary, index, count), positions, create_graph)
    turn, quarter = (
        torch.where(still, 1.0, cosine.detach())[:, :, None],
        torch.where(still, 0.0, sine.detach())[:, :, None],
    )
    projected = turn * torch.stack(by_real, dim=1) + quarter * torch.stack(by_imaginary, dim=1)
    return torch.linalg.solve(own, projected)


def polarizability(
    density: ChargeDensity, geometry: Geometry, create_graph: bool = False
) -> Tensor:
    """(n_graphs, 3, 3) dP_a/dF_b at fixed atoms, e A^2/V; zero for charges that feel no field.

    ``geometry.field`` is a leaf on which the density may depend. Times 14.3996 V A/e it is the
    polarizability volume in A^3.
    """
    total = density.dipole(geometry.positions)
    return torch.stack(_rows(total, geometry.field, create_graph), dim=1)


def dielectric_tensor(alpha: Tensor, geometry: Geometry) -> Tensor:
    r"""The electronic dielectric tensor :math:`\epsilon_\infty = 1 + \alpha / (\epsilon_0 V)`.

    The lattice sums are those of a conducting boundary, so the field is the macroscopic one.

    Parameters
    ----------
    alpha : Tensor
        (n_graphs, 3, 3) polarizability, e A^2/V.
    geometry : Geometry

    Returns
    -------
    Tensor
        (n_graphs, 3, 3), NaN for what is not periodic in three directions.
    """
    identity = torch.eye(3, dtype=alpha.dtype, device=alpha.device)
    volume = geometry.volume[:, None, None]
    tensor = identity + 4 * math.pi * COULOMB_CONSTANT * alpha / volume
    return torch.where(geometry.periodic_graphs[:, None, None], tensor, torch.nan)

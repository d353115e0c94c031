r"""Polarization and Born effective charges of a charge density.

The Born effective charge of atom i is :math:`Z_{i,ab} = \partial P_a / \partial r_{ib}` in e, where
P is the polarization of the graph, given as a dipole in e A. The array element is ``bec[i, a, b]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.math.multipoles import to_cartesian
from muse_lr.model.derivatives import jacobian_rows
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.structures.reciprocal import smallest_waves

if TYPE_CHECKING:
    from muse_lr.charges.base import ChargeModel
    from muse_lr.structures.batch import AtomsBatch

#: Largest difference of a whole charge from an integer, e.
WHOLE = 1e-6


def polarization(density: ChargeDensity, geometry: Geometry) -> Tensor:
    """(n_graphs, 3) dipole that does not depend on the choice of periodic images, e A.

    In open graphs it is the dipole about the origin. In periodic graphs only its derivatives are
    meaningful: wrapping an atom changes it by a lattice vector times a constant charge.

    Raises
    ------
    InputError
        If a graph is periodic and its charges have no polarization.
    """
    if density.polarization is not None:
        return density.polarization
    if bool((~geometry.open_graphs).any()):
        graph = int((~geometry.open_graphs).nonzero()[0])
        raise InputError(
            f"structure {graph} is periodic, where these charges have no polarization: their "
            "dipole depends on the periodic images of the atoms. Charges whose displacement is "
            "known do, such as split; Born charges (bec) are available for more kinds"
        )
    return density.dipole(geometry.positions)


def defines_born_charges(charges: ChargeModel, pbc: Tensor) -> bool:
    """Whether Born charges are defined for all graphs with these (n_graphs, 3) boundaries."""
    return not (charges.reads_field and not charges.periodic_response and bool(pbc.any()))


def impossible_responses(charges: ChargeModel, pbc: Tensor) -> dict[str, str]:
    """Responses that a charge model cannot predict, each with the reason.

    Parameters
    ----------
    charges : ChargeModel
    pbc : Tensor
        (n_graphs, 3) of bool: periodic directions of the structures.
    """
    found: dict[str, str] = {}
    if not charges.has_polarization:
        found["polarization"] = (
            "needs charges whose displacement is known, such as split: in periodic structures "
            "the dipole of the others depends on the periodic images of the atoms"
        )
    if not charges.reads_field:
        zero = "needs charges that respond to a field, such as scf with charge_response: false"
        found |= {"polarizability": zero, "dielectric": zero}
    elif not defines_born_charges(charges, pbc):
        text = "is not defined in periodic structures for charges that move in a field"
        remedy = "set model.charges.charge_response to false (kinds induced, scf)"
        found |= {"polarizability": f"{text}: {remedy}", "dielectric": f"{text}: {remedy}"}
        found["bec"] = f"{text}: {remedy}"
    return found


def undefined_polarization(charges: ChargeModel, batch: AtomsBatch) -> str | None:
    """Reason why the polarization cannot be compared modulo e times a lattice vector, or None.

    Wrapping an atom changes the polarization by its constant charge times a lattice vector. The
    difference modulo e times a lattice vector is therefore defined if these charges are whole
    numbers.
    """
    resting = charges.resting_charges(batch)
    if resting is None:
        return (
            "needs constant charges that are whole numbers. Those of this charge model are "
            "learned, so that wrapping an atom would change the error: use charges of kind split"
        )
    wrong = (resting - resting.round()).abs() > WHOLE
    if not bool(wrong.any()):
        return None
    atom = int(wrong.nonzero()[0])
    return (
        f"needs constant charges that are whole numbers, but that of atom {atom} is "
        f"{float(resting[atom]):.3g} e, so that wrapping the atom would change the error: give "
        "whole numbers in model.charges.by_element that sum to zero in each structure"
    )


def check_born_charges(charges: ChargeModel, geometry: Geometry) -> None:
    """Raise an error if the Born charges of a graph are not defined.

    Raises
    ------
    InputError
        For periodic graphs whose charges depend on the field.
    """
    if not defines_born_charges(charges, geometry.pbc):
        graph = int((~geometry.open_graphs).nonzero()[0])
        raise InputError(
            f"structure {graph} is periodic, where charges that answer to the field have no "
            "Born charges: at finite wave vectors the macroscopic field would screen them"
        )


def born_charges(
    density: ChargeDensity, geometry: Geometry, positions: Tensor, create_graph: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Compute Born effective charges and estimate their error.

    In open graphs, and for charges with a polarization, :math:`Z_i = \partial P / \partial r_i` is
    exact and takes three backward passes. For other charges in periodic graphs, the function uses
    the charge density at finite wave vectors k,

    .. math::
       k \cdot Z_i = \mathrm{Re}\left[ e^{-i k r_i} \frac{\partial}{\partial r_i}
       \frac{1}{i} \sum_j q_j e^{i k r_j} \right]
       + k \cdot \frac{\partial}{\partial r_i} \sum_j \mu_j,

    with the three smallest independent vectors k of the reciprocal lattice (P. Zhong, D. Kim,
    D. S. King, B. Cheng, arXiv:2504.05169). The result does not depend on the choice of periodic
    images. Along the normal of slabs, the limit of k to zero is taken.

    The error is of order k^2. It is estimated as one third of the difference from the result at
    2 k. The sum of the atomic dipoles is differentiated without a wave. This corresponds to zero
    macroscopic field; a wave would introduce one.

    Parameters
    ----------
    density : ChargeDensity
    geometry : Geometry
    positions : Tensor
        (n_atoms, 3) leaf of the autograd graph of ``density`` and ``geometry``.
    create_graph : bool
        Whether the result can be differentiated again. The error is then not estimated.

    Returns
    -------
    bec : Tensor
        (n_atoms, 3, 3) in e.
    error : Tensor
        (n_graphs,) estimated error of the largest component, e. It is 0 where the charges are
        exact and NaN where no estimate was made.
    """
    exact = geometry.open_graphs
    if density.polarization is not None:
        exact = torch.ones_like(exact)
    error = positions.new_zeros(geometry.num_graphs)
    if bool(exact.all()):
        total = polarization(density, geometry)
        return torch.stack(jacobian_rows(total, positions, create_graph), dim=1), error
    found = _of_charges(density, geometry, positions, 1.0, create_graph)
    bec = found
    dipoles = to_cartesian(density.moments).dipoles
    if dipoles is not None:
        total = sum_nodes(dipoles, geometry.graph_index, geometry.num_graphs)
        bec = found + torch.stack(jacobian_rows(total, positions, create_graph), dim=1)
    if create_graph:
        return bec, torch.where(exact, error, torch.nan)
    doubled = _of_charges(density, geometry, positions, 2.0, create_graph)
    difference = (doubled - found).abs().amax((1, 2)) / 3
    return bec, error.scatter_reduce(0, geometry.graph_index, difference, "amax")


def _of_charges(
    density: ChargeDensity,
    geometry: Geometry,
    positions: Tensor,
    multiple: float,
    create_graph: bool,
) -> Tensor:
    """(n_atoms, 3, 3) contribution of the charges at ``multiple`` times the smallest waves, e."""
    waves, limit = smallest_waves(geometry)  # (G, 3, 3), (G, 3)
    waves = torch.where(limit[:, :, None], waves, multiple * waves)
    index, count = geometry.graph_index, geometry.num_graphs
    own, still = waves[index], limit[index]
    charges = density.charges.to(torch.float64)[:, None]
    angle = torch.einsum("nka,na->nk", own, geometry.positions)
    sine, cosine = torch.sin(angle), torch.cos(angle)
    real = charges * torch.where(still, angle, sine)
    imaginary = -charges * torch.where(still, 0.0, cosine)
    by_real = jacobian_rows(sum_nodes(real, index, count), positions, create_graph)
    by_imaginary = jacobian_rows(sum_nodes(imaginary, index, count), positions, create_graph)
    turn, quarter = (
        torch.where(still, 1.0, cosine.detach())[:, :, None],
        torch.where(still, 0.0, sine.detach())[:, :, None],
    )
    projected = turn * torch.stack(by_real, dim=1) + quarter * torch.stack(by_imaginary, dim=1)
    return torch.linalg.solve(own, projected)

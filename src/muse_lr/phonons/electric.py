r"""Born charges and dielectric tensor for the non-analytic term of the dynamical matrix.

A long wave of displacements creates a macroscopic field along its direction. The force constants of
a supercell with a periodic (conducting) boundary do not include this field. The missing term is (M.
Born, K. Huang, Dynamical Theory of Crystal Lattices; X. Gonze, C. Lee, Phys. Rev. B 55, 10355
(1997))

.. math::
   C_{ia,jb}(q \to 0) = \frac{4 \pi k}{V}
   \frac{(q \cdot Z_i)_a (q \cdot Z_j)_b}{q \cdot \epsilon_\infty \cdot q}

in eV/A^2. Z and :math:`\epsilon_\infty` are those *of the model*: Z are the Born charges of the
density in its coulomb head, and :math:`\epsilon_\infty` is 1 unless that density has dipoles that
respond to the field. Charges learned from energies and forces represent
:math:`Z^* / \sqrt{\epsilon_\infty}` (P. Zhong et al., arXiv:2504.05169). If another
:math:`\epsilon_\infty` is used, both quantities must be scaled; otherwise the screening is counted
twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from muse_lr.errors import InputError
from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.response import coulomb_heads
from muse_lr.structures.state import SAME

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch

Array = NDArray[np.float64]
#: Largest allowed sum of the Born charges of a cell beyond its error, relative to the largest one.
LARGEST_DRIFT = 0.1
#: Largest anisotropy, relative to the mean, of a dielectric tensor that counts as isotropic.
LARGEST_ANISOTROPY = 1e-6


@dataclass(frozen=True)
class ElectricResponse:
    """Born charges and dielectric tensor of the non-analytic term.

    Attributes
    ----------
    born : ndarray
        (n_primitive, 3, 3) Born charges dP_a/dr_b in e. They sum to zero.
    dielectric : ndarray
        (3, 3) electronic dielectric tensor, consistent with ``born``.
    error : float
        Estimated error of the Born charges in a supercell of this size, e.
    drift : float
        Largest component of the sum of the Born charges before it was subtracted evenly, e. A drift
        beyond the error means that the charge of a cell changes with its strain, so that long
        acoustic waves carry charge. This can occur for charges whose neutrality is enforced only
        for the whole structure.
    """

    born: Array
    dielectric: Array
    error: float
    drift: float

    def scaled(self, dielectric: float) -> ElectricResponse:
        """Response with a given isotropic dielectric constant and the same non-analytic term.

        The Born charges are scaled by the square root of the ratio of the dielectric constants.

        Raises
        ------
        InputError
            If the dielectric tensor is not isotropic.
        """
        own = float(np.trace(self.dielectric)) / 3
        if np.abs(self.dielectric - own * np.eye(3)).max() > LARGEST_ANISOTROPY * own:
            raise InputError(
                "only an isotropic dielectric tensor can be replaced by a number: remove the "
                "argument dielectric"
            )
        scale = math.sqrt(dielectric / own)
        return ElectricResponse(
            scale * self.born, dielectric * np.eye(3), scale * self.error, scale * self.drift
        )


def check_electric(model: EnergyModel) -> None:
    """Raise an error if Born charges cannot describe the model's response to a macroscopic field.

    Raises
    ------
    InputError
        For heads that use the potential, several coulomb heads, or charges without a converged
        response.
    """
    heads = model.heads
    reading = [name for name, head in heads.items() if head.reads_potential]
    if reading:
        raise InputError(
            f"head {reading[0]!r} reads the potential as an input feature: the non-analytic term "
            "of this model is not known"
        )
    summing = coulomb_heads(heads)
    if len(summing) > 1:
        raise InputError(
            f"heads {', '.join(summing)} sum the same charges: the non-analytic term is known only "
            "for a single coulomb head"
        )
    if summing and model.charges is not None and not model.charges.converged_response:
        raise InputError(
            "charges kind 'induced' stop short of self-consistency, so no dielectric tensor "
            "describes their response: use scf with charge_response: false"
        )


def electric_response(
    model: EnergyModel, batch: AtomsBatch, atoms: NDArray[np.int64]
) -> ElectricResponse | None:
    """Compute the response of the model; None without charges or without a coulomb head.

    Parameters
    ----------
    model : EnergyModel
        In evaluation mode.
    batch : AtomsBatch
        One crystal. The error of the Born charges decreases with the size of its cell.
    atoms : ndarray
        (n_primitive,) atoms of one primitive cell.

    Raises
    ------
    InputError
        If the crystal is charged, or if its Born charges are not defined because the charges
        respond to fields along periodic directions.
    """
    if model.charges is None or not coulomb_heads(model.heads):
        return None
    out = model(batch, ("bec", "dielectric"), create_graph=False)
    assert out.bec is not None
    assert out.bec_error is not None
    assert out.dielectric is not None
    assert out.total_charge is not None
    charge = float(out.total_charge[0])
    if abs(charge) > SAME:
        raise InputError(
            f"the supercell has a total charge of {charge:g} e: a charged crystal has no phonons "
            "with a macroscopic field, because its acoustic waves carry charge; use a neutral "
            "crystal, or a model without a coulomb head"
        )
    born: Array = out.bec.detach().cpu().double().numpy()[atoms]
    dielectric: Array = out.dielectric[0].detach().cpu().double().numpy()
    error = float(out.bec_error[0].detach())
    total = born.sum(0)
    drift = float(np.abs(total).max())
    if drift - 2 * len(born) * error > LARGEST_DRIFT * float(np.abs(born).max()):
        raise InputError(
            f"the Born charges of a cell sum to {drift:.3g} e: the charge of the cell changes with "
            "strain, and acoustic waves create a field; use locally conserved charges, such as "
            "split, or more training data"
        )
    return ElectricResponse(born - total / len(born), dielectric, error, drift)

r"""The Born charges and the dielectric tensor that make a model's non-analytic term.

A long wave of displacements u makes a macroscopic field along its direction, of which the force
constants of a supercell under the periodic (conducting) boundary know nothing (M. Born, K. Huang,
Dynamical Theory of Crystal Lattices; X. Gonze, C. Lee, Phys. Rev. B 55, 10355 (1997)):

.. math::
   C_{ia,jb}(q \to 0) = \frac{4 \pi k}{V}
   \frac{(q \cdot Z_i)_a (q \cdot Z_j)_b}{q \cdot \epsilon_\infty \cdot q}

in eV/A^2, with Z and :math:`\epsilon_\infty` *of the model*: the Born charges of the density that
its coulomb head reads, and 1 unless that density has dipoles that answer to the field. Charges that
are learned from energies and forces act as :math:`Z^* / \sqrt{\epsilon_\infty}` (P. Zhong et al.,
arXiv:2504.05169): with another :math:`\epsilon_\infty` both of the pair are scaled, or the
screening counts twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muse_lr.errors import InputError
from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.response import coulomb_heads
from muse_lr.structures.batch import AtomsBatch

Array = NDArray[np.float64]
#: Sum of the Born charges of a cell, beyond its error, that is refused, as a share of the largest.
LARGEST_DRIFT = 0.1
#: Anisotropy of a dielectric tensor, as a share of its mean, above which it is no number.
LARGEST_ANISOTROPY = 1e-6


@dataclass(frozen=True)
class ElectricResponse:
    """The pair that makes the non-analytic term.

    Attributes
    ----------
    born : ndarray
        (n_primitive, 3, 3) Born charges dP_a/dr_b in e, which sum to zero.
    dielectric : ndarray
        (3, 3) electronic dielectric tensor that goes with them.
    error : float
        Estimated error of the Born charges in a supercell of this size, e.
    drift : float
        Largest component of their sum before it was taken off evenly, e. Beyond the error it is
        the change of a cell's charge with its strain, which charges that only a constraint on the
        whole structure keeps neutral can have: their long acoustic waves carry charge.
    """

    born: Array
    dielectric: Array
    error: float
    drift: float

    def scaled(self, dielectric: float) -> ElectricResponse:
        """The same term from a given isotropic dielectric constant: Z is scaled by its root.

        Raises
        ------
        InputError
            If the tensor is not isotropic.
        """
        own = float(np.trace(self.dielectric)) / 3
        if np.abs(self.dielectric - own * np.eye(3)).max() > LARGEST_ANISOTROPY * own:
            raise InputError(
                "only an isotropic dielectric tensor can be replaced by a number: leave dielectric "
                "out"
            )
        scale = math.sqrt(dielectric / own)
        return ElectricResponse(
            scale * self.born, dielectric * np.eye(3), scale * self.error, scale * self.drift
        )


def check_electric(model: EnergyModel) -> None:
    """Refuse models whose answer to a macroscopic field no Born charges describe.

    Raises
    ------
    InputError
    """
    heads = model.heads
    reading = [name for name, head in heads.items() if head.reads_potential]
    if reading:
        raise InputError(
            f"head {reading[0]!r} reads the potential in its own way: the non-analytic term of "
            "this model is not known"
        )
    summing = coulomb_heads(heads)
    if len(summing) > 1:
        raise InputError(
            f"heads {', '.join(summing)} sum the same charges: the non-analytic term is that of "
            "one coulomb head"
        )
    if summing and model.charges is not None and not model.charges.converged_response:
        raise InputError(
            "charges kind 'induced' stop short of what their field makes of them, so that no "
            "dielectric tensor describes it: use scf with charge_response: false"
        )


def electric_response(
    model: EnergyModel, batch: AtomsBatch, atoms: NDArray[np.int64]
) -> ElectricResponse | None:
    """The model's own pair, or None where no coulomb head reads charges.

    Parameters
    ----------
    model : EnergyModel
        In evaluation mode.
    batch : AtomsBatch
        One crystal; the larger its cell, the better the Born charges.
    atoms : ndarray
        (n_primitive,) atoms of one primitive cell.

    Raises
    ------
    InputError
        If the lattice is charged, or the charges answer to fields along periodic directions.
    """
    if model.charges is None or not coulomb_heads(model.heads):
        return None
    out = model(batch, ("bec", "dielectric"), create_graph=False)
    assert out.bec is not None
    assert out.bec_error is not None
    assert out.dielectric is not None
    born: Array = out.bec.detach().cpu().double().numpy()[atoms]
    dielectric: Array = out.dielectric[0].detach().cpu().double().numpy()
    error = float(out.bec_error[0].detach())
    total = born.sum(0)
    drift = float(np.abs(total).max())
    if drift - 2 * len(born) * error > LARGEST_DRIFT * float(np.abs(born).max()):
        raise InputError(
            f"the Born charges of a cell sum to {drift:.3g} e: its charge changes as it is "
            "strained, and acoustic waves make a field; use charges that are conserved locally, "
            "as split, or train on more"
        )
    return ElectricResponse(born - total / len(born), dielectric, error, drift)

"""Polarizabilities, C6 coefficients and radii of atoms in molecules, from their volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from muse_lr.charges.learned import element_offsets, scalar_readout
from muse_lr.errors import InputError
from muse_lr.heads.base import HeadContext, HeadInputs
from muse_lr.heads.dispersion.free_atoms import FREE_ATOMS
from muse_lr.units import BOHR, COULOMB_CONSTANT

#: 1 Hartree in eV.
HARTREE = COULOMB_CONSTANT / BOHR


@dataclass(frozen=True)
class FreeAtoms:
    """Reference values of a list of free atoms.

    Attributes
    ----------
    polarizability : Tensor
        (n_elements,) static polarizability, A^3.
    c6 : Tensor
        (n_elements,) in eV A^6.
    radius : Tensor
        (n_elements,) van der Waals radius, A.
    """

    polarizability: Tensor
    c6: Tensor
    radius: Tensor

    @property
    def c6_pairs(self) -> Tensor:
        r"""(n_elements, n_elements) C6 coefficients of pairs, eV A^6.

        .. math:: C_{6,AB} = \frac{2 C_{6,A} C_{6,B}}{\frac{\alpha_B}{\alpha_A} C_{6,A}
                  + \frac{\alpha_A}{\alpha_B} C_{6,B}}
        """
        own = self.c6 / self.polarizability**2
        product = self.c6[:, None] * self.c6
        return (
            2
            * product
            / (self.polarizability[:, None] * self.polarizability)
            / (own[:, None] + own)
        )


def free_atoms(elements: Sequence[str]) -> FreeAtoms:
    """Look up the reference values of ``elements``, float64.

    Raises
    ------
    InputError
        If the table does not contain an element.
    """
    missing = [element for element in elements if element not in FREE_ATOMS]
    if missing:
        raise InputError(
            f"no free-atom polarizability is known of {', '.join(missing)}: the heads c6 and mbd "
            "support H to Rn"
        )
    rows = torch.tensor([FREE_ATOMS[element] for element in elements], dtype=torch.float64)
    alpha, c6, radius = rows.unbind(1)
    return FreeAtoms(alpha * BOHR**3, c6 * HARTREE * BOHR**6, radius * BOHR)


class VolumeRatios(nn.Module):
    r"""Ratio of the volume of each atom in its environment to that of the free atom.

    .. math:: v_i = \mathrm{softplus}(\mathrm{MLP}(h_i) + b_{Z_i}),

    The ratios are 1 at initialization. Without a backbone they stay 1.

    Parameters
    ----------
    context : HeadContext
    """

    def __init__(self, context: HeadContext) -> None:
        super().__init__()
        self.readout: nn.Sequential | None = None
        if context.features.scalars > 0:
            self.readout = scalar_readout(context.features.scalars)
            final = self.readout[-1]
            assert isinstance(final, nn.Linear)
            nn.init.zeros_(final.weight)
            self.offsets = element_offsets(context.elements)

    def forward(self, inputs: HeadInputs) -> Tensor:
        """(n_atoms,) volume ratios, float64."""
        if self.readout is None or inputs.features is None:
            return torch.ones_like(inputs.composition[:, 0], dtype=torch.float64)
        raw = self.readout(inputs.features.scalars) + inputs.composition @ self.offsets
        return nn.functional.softplus(raw)[:, 0].double()

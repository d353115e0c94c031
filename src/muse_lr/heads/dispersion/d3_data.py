"""Reference data of D3 and parameters of each functional, from the package tad-dftd3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ase.data import atomic_numbers
from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.heads.dispersion.volumes import HARTREE
from muse_lr.units import BOHR


@dataclass(frozen=True)
class D3Data:
    """D3 reference data of a list of elements, float64.

    Attributes
    ----------
    covalent_radius : Tensor
        (n_elements,) covalent radius times 4/3, A.
    c8_root : Tensor
        (n_elements,) Q with C8_ij = 3 Q_i Q_j C6_ij, A.
    coordination : Tensor
        (n_elements, references) coordination number of each reference molecule.
    valid : Tensor
        (n_elements, references) bool mask; elements have different numbers of references.
    c6 : Tensor
        (n_elements * references, n_elements * references) in eV A^6; 0 for missing references.
    """

    covalent_radius: Tensor
    c8_root: Tensor
    coordination: Tensor
    valid: Tensor
    c6: Tensor


@dataclass(frozen=True)
class D3Parameters:
    """Parameters of the Becke-Johnson damping; a2 in A."""

    s6: float
    s8: float
    a1: float
    a2: float

    @classmethod
    def from_published(cls, s6: float, s8: float, a1: float, a2: float) -> D3Parameters:
        """Parameters from values as they are published, with a2 in Bohr."""
        return cls(s6=s6, s8=s8, a1=a1, a2=a2 * BOHR)


def load_data(elements: Sequence[str]) -> D3Data:
    """Load the reference data of ``elements``.

    Raises
    ------
    InputError
        If tad-dftd3 is not installed, or if D3 has no data for an element.
    """
    tad_dftd3 = _package()
    from tad_mctc.data.radii import COV_D3

    reference = tad_dftd3.reference.Reference(dtype=torch.float64)
    numbers = torch.tensor([atomic_numbers[element] for element in elements])
    if int(numbers.max()) >= len(reference.cn):
        raise InputError(f"D3 supports elements up to atomic number {len(reference.cn) - 1}")
    coordination = reference.cn[numbers]
    count = int((coordination >= 0).sum(1).max())
    coordination = coordination[:, :count]
    valid = coordination >= 0
    c6 = reference.c6[numbers][:, numbers][:, :, :count, :count].transpose(1, 2)
    c6 = c6.reshape(len(numbers) * count, -1) * HARTREE * BOHR**6
    usable = valid.flatten()
    return D3Data(
        covalent_radius=COV_D3(dtype=torch.float64)[numbers] * BOHR,
        c8_root=tad_dftd3.data.R4R2(dtype=torch.float64)[numbers] * BOHR,
        coordination=coordination,
        valid=valid,
        c6=torch.where(usable[:, None] & usable, c6, 0.0),
    )


def load_parameters(functional: str) -> D3Parameters:
    """Load the parameters of D3(BJ) for a density functional.

    Raises
    ------
    InputError
        If tad-dftd3 is not installed or has no parameters for the functional.
    """
    _package()
    from tad_dftd3.param import get_functional_params

    try:
        values = get_functional_params(functional, "bj")
    except (KeyError, ValueError) as error:
        raise InputError(
            f"no D3(BJ) parameters are known for the functional {functional!r}"
        ) from error
    return D3Parameters.from_published(**{n: float(values[n]) for n in ("s6", "s8", "a1", "a2")})


def _package() -> Any:
    try:
        import tad_dftd3
    except ImportError as error:
        raise InputError(
            "the d3 head reads its reference data from tad-dftd3, which is not installed: "
            "pip install 'muse_lr[dispersion]'"
        ) from error
    return tad_dftd3

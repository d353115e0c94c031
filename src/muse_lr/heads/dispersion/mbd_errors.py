"""Errors of the many-body dispersion: what failed, in which structure and atom."""

from __future__ import annotations

import torch
from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.heads.dispersion.dipoles import Padding
from muse_lr.structures.geometry import Geometry


def negative_polarizability(
    contracted: Tensor, frequency: float, matrix: Tensor, padding: Padding, geometry: Geometry
) -> InputError:
    """The error for screened polarizabilities of atoms that are not all positive.

    Parameters
    ----------
    contracted : Tensor
        (m,) contractions of the screened response, A^3.
    frequency : float
        Imaginary frequency, eV.
    matrix : Tensor
        (G, 3n, 3n) inverses of the screened response, A^-3.
    padding : Padding
        Map of the atoms to the matrices.
    geometry : Geometry
    """
    from ase.data import chemical_symbols

    row = int(contracted.argmin())
    atom = int(padding.atoms[row])
    graph = int(geometry.graph_index[atom])
    symbol = chemical_symbols[int(geometry.numbers[atom])]
    lowest = float(torch.linalg.eigvalsh(matrix[padding.row[row]])[0])
    if lowest > 0:
        cause = (
            f"the screened response itself is positive definite (smallest eigenvalue of its "
            f"inverse {lowest:.2g} Å^-3), but its contraction to atoms is not positive, as in "
            "small clusters of metals"
        )
    else:
        cause = (
            f"the screened response is not positive definite (smallest eigenvalue of its inverse "
            f"{lowest:.2g} Å^-3): the atoms polarize each other without bound, as neutral metal "
            "atoms in an ionic crystal"
        )
    return InputError(
        f"mbd: structure {graph}, atom {atom - int(geometry.ptr[graph])} ({symbol}): the "
        f"self-consistent screening gives it a polarizability of {float(contracted[row]):.3g} "
        f"Å^3 at the imaginary frequency {frequency:.3g} eV; {cause}. MBD has no energy for "
        "such a structure (libMBD stops here too): use c6 or d3"
    )


def negative_squares(values: Tensor, graphs: Tensor) -> InputError:
    """The error for (G, 3n) squared frequencies in eV^2 of the ``graphs`` (G,)."""
    row = int(values.amin(1).argmin())
    return InputError(
        f"mbd: structure {int(graphs[row])}: {int((values[row] <= 0).sum())} squared frequencies "
        f"of the coupled oscillators are not positive (the lowest is {float(values[row, 0]):.3g} "
        "eV^2), although each atom has a positive polarizability: the dipoles couple too "
        "strongly. MBD has no energy for such a structure (libMBD stops here too): use c6 or d3"
    )

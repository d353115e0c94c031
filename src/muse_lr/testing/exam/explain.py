"""A failed check in words, with the structure as code to paste."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from muse_lr.testing.exam.check import Result
from muse_lr.testing.exam.registry import check_class


def as_code(atoms: Atoms) -> str:
    """Python code that makes a structure: elements, positions (A), cell, boundaries and info.

    Numbers are exact. ``exec`` of the code defines ``atoms``.

    Parameters
    ----------
    atoms : ase.Atoms
    """
    lines = ["from ase import Atoms", "", "atoms = Atoms(", f"    {list(atoms.symbols)!r},"]
    lines.append(f"    positions={_rows(atoms.positions)},")
    if atoms.cell.rank:
        lines.append(f"    cell={_rows(atoms.cell.array)},")
    if atoms.pbc.any():
        lines.append(f"    pbc={[bool(periodic) for periodic in atoms.pbc]!r},")
    info = {key: _plain(value) for key, value in atoms.info.items()}
    if info:
        lines.append(f"    info={info!r},")
    return "\n".join([*lines, ")"])


def explained(result: Result) -> str:
    """What failed, the equation that must hold, what it means, what to do, and the structure.

    Parameters
    ----------
    result : Result
        Of a check of the exam.
    """
    check = check_class(result.name)
    value = "" if result.value is None else f"{result.value:.3g}"
    lines = [f"{result.name}: {check.title()}.", f"  must hold: {check.equation}"]
    if value:
        lines.append(f"  measured:  {value} {result.unit}, tolerance {result.tolerance:.3g}")
    lines += [f"  where:     {result.why}", check.meaning, check.remedy]
    if result.structure is not None:
        lines += ["The structure:", "", as_code(result.structure)]
    return "\n".join(lines)


def _rows(values: np.ndarray) -> str:
    rows = ",\n        ".join(repr([float(x) for x in row]) for row in values)
    return f"[\n        {rows},\n    ]"


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value

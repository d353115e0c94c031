"""Rows of one Hessian with a range-separated functional, beside those of GFN2-xTB.

    OMP_NUM_THREADS=1 python -m examples.hessians.verify --data build/hessians

The rows of atoms at the ends of the push-pull chain with four units, wB97X/def2-SVP (PySCF, density
fitting), in the minimum of GFN2-xTB: central differences of the gradients. One displacement is one
file; a run that was killed goes on with those that are missing. The end prints norms of the 3 x 3
blocks between each of these atoms and the atoms in intervals of the distance, with both methods,
and the cosine between them. About 1.5 minutes of one core for each displacement, six an atom.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from examples.hessians.molecules import Molecule
from muse_lr.data.hessians import read_hessians
from muse_lr.utils.files import atomic_write

MOLECULE = Molecule("push_pull", 4)
FUNCTIONAL, BASIS = "wb97x", "def2-svp"
STEP = 1e-2  # A
#: Bounds of intervals of the distance, A.
BOUNDS = (0.0, 3.0, 6.0, 8.0, 10.0, 12.0, 20.0)


def ends(atoms: Atoms) -> dict[str, int]:
    """The nitrogen and one oxygen of the nitro group, and the nitrogen of the amine."""
    nitrogens = np.flatnonzero(atoms.numbers == 7)
    oxygen = int(np.flatnonzero(atoms.numbers == 8)[0])
    nitro, amine = sorted(nitrogens.tolist(), key=lambda i: atoms.get_distance(i, oxygen))
    return {"nitro N": nitro, "amine N": amine, "nitro O": oxygen}


def mean_field(atoms: Atoms) -> Any:
    """The Kohn-Sham calculation of a structure."""
    from pyscf import dft, gto

    mol = gto.M(
        atom=[(s, tuple(r)) for s, r in zip(atoms.symbols, atoms.positions, strict=True)],
        basis=BASIS,
        verbose=0,
    )
    field = dft.RKS(mol, xc=FUNCTIONAL).density_fit()
    # The errors of a coarse grid are local: they do not reach the other end of the chain.
    field.grids.level, field.conv_tol = 1, 1e-9
    return field


def converged(atoms: Atoms, start: np.ndarray | None = None) -> Any:
    """The converged calculation, from a density matrix if one is known."""
    field = mean_field(atoms)
    field.kernel(dm0=start)
    if not field.converged:
        raise RuntimeError("the SCF did not converge")
    return field


def compute(atoms: Atoms, chosen: dict[str, int], out: Path) -> None:
    """Gradients (eV/A) of all displacements that are missing."""
    todo = [(i, axis, sign) for i in chosen.values() for axis in range(3) for sign in (1, -1)]
    todo = [item for item in todo if not part(out, *item).exists()]
    if not todo:
        return
    if not (out / "density.npy").exists():
        save(out / "density.npy", converged(atoms).make_rdm1())
    start, begin = np.load(out / "density.npy"), time.time()
    for count, (i, axis, sign) in enumerate(todo, 1):
        moved = atoms.copy()
        moved.positions[i, axis] += sign * STEP
        gradient = converged(moved, start).nuc_grad_method().kernel()
        save(part(out, i, axis, sign), gradient * Hartree / Bohr)
        left = (time.time() - begin) / count * (len(todo) - count) / 60
        print(f"{count}/{len(todo)} displacements, {left:.1f} min to go", flush=True)


def save(path: Path, values: np.ndarray) -> None:
    """Write an array, whole or not at all."""
    with atomic_write(path, "wb") as handle:
        np.save(handle, values)


def part(out: Path, atom: int, axis: int, sign: int) -> Path:
    """File of one displacement."""
    return out / f"{atom:02d}-{'xyz'[axis]}-{'plus' if sign > 0 else 'minus'}.npy"


def row(out: Path, atom: int) -> np.ndarray:
    """Blocks of one atom with all others, shape (n, 3, 3), eV/A^2."""
    differences = [
        (np.load(part(out, atom, axis, 1)) - np.load(part(out, atom, axis, -1))) / (2 * STEP)
        for axis in range(3)
    ]
    return np.stack(differences, axis=1)


def compare(atoms: Atoms, hessian: np.ndarray, chosen: dict[str, int], out: Path) -> None:
    """Print norms and cosines of the blocks by distance."""
    n = len(atoms)
    blocks = ((hessian + hessian.T) / 2).reshape(n, 3, n, 3)
    for name, i in chosen.items():
        ours, theirs, distances = (
            blocks[i].transpose(1, 0, 2),
            row(out, i),
            atoms.get_distances(i, range(n)),
        )
        for low, high in pairwise(BOUNDS):
            within = (distances >= max(low, 0.1)) & (distances < high)
            if within.any():
                a, b = ours[within], theirs[within]
                norms = [np.linalg.norm(x, axis=(1, 2)).mean() for x in (a, b)]
                cosine = (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
                print(
                    f"{name} {low:g} to {high:g} A, {within.sum()} atoms: GFN2-xTB {norms[0]:.4f}, "
                    f"{FUNCTIONAL} {norms[1]:.4f} eV/A^2, cosine {cosine:.2f}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("build/hessians"))
    parser.add_argument("--atoms", type=int, default=3, help="rows, of 3 at most")
    args = parser.parse_args()
    (frame,) = read_hessians(args.data / "parts" / f"minimum-{MOLECULE.name}.xyz")
    chosen = dict(list(ends(frame.atoms).items())[: args.atoms])
    out = args.data / "verify"
    compute(frame.atoms, chosen, out)
    compare(frame.atoms, frame.hessian, chosen, out)


if __name__ == "__main__":
    main()

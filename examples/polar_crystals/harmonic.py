"""What a harmonic model knows of larger cells: force constants fitted in cells of 64 atoms.

    python examples/polar_crystals/harmonic.py NaCl MgO

The constants are fitted to the training forces (symfc, through phonopy), interpolated to cells of
512 atoms with and without the reference's own Born charges and dielectric constant, and tested
there. Prints root mean squares of the forces' errors, meV/A.

``own constants`` are the reference's, fitted to the same frames of 512 atoms: what they leave is
anharmonic. ``lost`` is what the way through the small cell costs them, without any error of a fit:
they are folded into 64 atoms and interpolated back with the Born charges, and printed is the
difference of the two sets of harmonic forces. None of it shows in the small cell. ``unseen`` is
what comes of pairs that fit into the small cell all the same, whose elements cancel there by
symmetry (``unseen_elements``): even a model that ends at half its edge is not determined by it.
The last column is the part of one shell, (1, 1/2, 0) lattice constants apart.
"""

from __future__ import annotations

import argparse
import json
import lzma
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from bands import reference
from numpy.typing import NDArray
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import DynmatToForceConstants
from phonopy.structure.atoms import PhonopyAtoms

from muse_lr.config.paths import reference_data
from muse_lr.units import COULOMB_CONSTANT

Array = NDArray[np.float64]
PRIMITIVE = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def read(file: Path) -> list[Atoms]:
    """The frames of a compressed file."""
    with lzma.open(file, "rt") as lines:
        frames: list[Atoms] = ase.io.read(lines, ":", format="extxyz")
    return frames


def rest(atoms: Atoms, repeats: int) -> Array:
    """The sites of the rock salt lattice of ``repeats`` cubic cells to an edge, A."""
    spacing = atoms.cell.lengths() / (2 * repeats)
    sites: Array = np.round(atoms.positions / spacing) * spacing
    return sites


def lattice(atoms: Atoms, repeats: int) -> Phonopy:
    """phonopy for the cell as it is, with the primitive cell of the lattice."""
    cell = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        positions=rest(atoms, repeats),
        cell=atoms.cell.array,
    )
    return Phonopy(cell, np.eye(3), primitive_matrix=PRIMITIVE / repeats)


def displacements(frames: list[Atoms], repeats: int) -> tuple[Array, Array]:
    """(n_frames, n_atoms, 3) displacements in A and forces in eV/A."""
    sites = rest(frames[0], repeats)
    moved = np.stack([atoms.positions for atoms in frames]) - sites
    edges = frames[0].cell.lengths()
    forces = np.stack([atoms.arrays["REF_forces"] for atoms in frames])
    return moved - edges * np.round(moved / edges), forces


def harmonic_forces(constants: Array, moved: Array) -> Array:
    """(n_frames, n_atoms, 3), eV/A."""
    forces: Array = -np.einsum("ijab,njb->nia", constants, moved)
    return forces


def rmse(constants: Array, moved: Array, forces: Array) -> float:
    """Of the harmonic forces, meV/A."""
    residual = forces - harmonic_forces(constants, moved)
    return 1e3 * float(np.sqrt(np.mean(residual**2)))


def interpolated(small: Phonopy, large: Phonopy) -> Array:
    """(n_atoms, n_atoms, 3, 3) force constants of the larger cell."""
    transform = DynmatToForceConstants(large.primitive, large.supercell, is_full_fc=True)
    matrices = []
    for point in transform.commensurate_points:
        small.dynamical_matrix.run(point)
        matrices.append(small.dynamical_matrix.dynamical_matrix.copy())
    transform.dynamical_matrices = matrices
    transform.run()
    return np.asarray(transform.force_constants)


def distances(sites: Array, edge: float) -> Array:
    """(n_atoms, n_atoms, 3) of the nearest images along each axis, positive, A."""
    apart = sites[None] - sites[:, None]
    found: Array = np.abs(apart - edge * np.round(apart / edge))
    return found


def pairs_apart(sites: Array, edge: float, vector: tuple[float, float, float]) -> NDArray[np.bool_]:
    """(n_atoms, n_atoms) pairs at a vector, given in ascending order, or one like it, A."""
    found: NDArray[np.bool_] = np.isclose(
        np.sort(distances(sites, edge), axis=2), vector, atol=1e-3
    ).all(2)
    return found


def unseen_elements(sites: Array, edge: float, small: float) -> NDArray[np.bool_]:
    """(n_atoms, n_atoms, 3, 3) elements of near pairs that fold to zero in a smaller cell.

    Pairs are near whose distance along every axis is at most half of the small cell's edge.

    A pair whose distance along an axis is half of the small cell's edge has an image at minus that
    distance. The mirror plane normal to the axis maps one onto the other and changes the sign of
    the elements that have this axis for one of their two directions: in the small cell, where both
    act as one, these cancel.

    Parameters
    ----------
    sites : Array
        (n_atoms, 3) sites of the large cell, each on three mirror planes, A.
    edge, small : float
        Edges of the cubic cells, A.
    """
    apart = distances(sites, edge)
    inside = (apart < small / 2 + 1e-3).all(2)
    face = inside[..., None] & (apart > small / 2 - 1e-3)  # (n, n, axis)
    axis, first, second = np.ogrid[:3, :3, :3]
    odd = (first == axis) != (second == axis)
    unseen: NDArray[np.bool_] = np.einsum("ija,abc->ijbc", face, odd)
    return unseen


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("crystals", nargs="+")
    folder = reference_data() / "polar_crystals_phonons"
    known = json.loads((folder / "reference_bec_dielectric_gamma.json").read_text())
    columns = [
        "64 atoms",
        "512, without charges",
        "512, with charges",
        "512, own constants",
        "lost",
        "unseen",
        "of (1, 1/2, 0)",
    ]
    print("| crystal | " + " | ".join(columns) + " |")
    print("|:--|" + "--:|" * len(columns))
    for name in parser.parse_args().crystals:
        training, test = (read(folder / f"{name}_{part}.xyz.xz") for part in ("train", "test"))
        larger = read(folder / f"{name}_supercell512_test.xyz.xz")
        small, large = lattice(training[0], 2), lattice(larger[0], 4)
        moved, forces = displacements(training, 2)
        small.dataset = {"displacements": moved, "forces": forces}
        small.produce_force_constants(fc_calculator="symfc", calculate_full_force_constants=True)
        cells = [f"{rmse(small.force_constants, *displacements(test, 2)):.2f}"]
        moved, forces = displacements(larger, 4)
        cells.append(f"{rmse(interpolated(small, large), moved, forces):.2f}")
        charges = {
            "born": np.array(known[name]["born_effective_charges"]),
            "dielectric": np.array(known[name]["dielectric_infinity"]),
            "factor": COULOMB_CONSTANT,
        }
        small.nac_params = charges
        cells.append(f"{rmse(interpolated(small, large), moved, forces):.2f}")

        exact, _ = reference(folder, name)
        exact.nac_params = None  # in cells that repeat its own, nothing is to be interpolated
        small.nac_params = None
        small.force_constants = interpolated(exact, small)
        small.nac_params = charges
        own = interpolated(exact, large)
        lost = interpolated(small, large) - own
        sites = rest(larger[0], 4)
        edge, folded = (atoms.cell.lengths()[0] for atoms in (larger[0], training[0]))
        unseen = lost * unseen_elements(sites, edge, folded)
        shell = unseen * pairs_apart(sites, edge, (0, edge / 8, edge / 4))[:, :, None, None]
        cells.append(f"{rmse(own, moved, forces):.2f}")
        cells += [f"{rmse(part, moved, np.zeros(1)):.2f}" for part in (lost, unseen, shell)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

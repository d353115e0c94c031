"""Phonon bands of polar crystals by trained models, beside those of their reference.

    python examples/polar_crystals/bands.py IMAGE NaCl=runs/nacl MgO=runs/mgo [--seed 0]

For each crystal a study whose models were tested on cells of 64 and of 512 atoms. Prints a table:
TO and LO at Gamma, the Born charge over the root of the dielectric constant, RMSE of the forces in
meV/A; writes the bands. The reference is in
``$MUSE_LR_DATA/polar_crystals_phonons``: force constants, Born charges and dielectric constants.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

import muse_lr
from muse_lr.config.paths import reference_data
from muse_lr.phonons import Bands, Phonons, band_structure
from muse_lr.units import COULOMB_CONSTANT

#: Special points of the face-centered cubic lattice, in units of the primitive reciprocal cell.
POINTS = {"Γ": (0, 0, 0), "X": (0.5, 0, 0.5), "K": (0.375, 0.375, 0.75), "L": (0.5, 0.5, 0.5)}
PATH = "Γ X | K Γ L"
#: Cubic cells of 8 atoms along each edge of the supercell.
REPEATS = 3


def reference(folder: Path, name: str) -> tuple[Phonopy, dict[str, Any]]:
    """The reference's phonons, and what else is known of the crystal."""
    known = json.loads((folder / "reference_bec_dielectric_gamma.json").read_text())[name]
    with np.load(folder / f"{name}_fc444.npz") as file:
        cell = PhonopyAtoms(
            symbols=[str(symbol) for symbol in file["supercell_symbols"]],
            positions=file["supercell_positions"],
            cell=file["cell"],
        )
        primitive = np.linalg.inv(file["cell"].T) @ np.array(known["primitive_lattice"]).T
        phonon = Phonopy(cell, np.eye(3), primitive_matrix=primitive)
        if not np.array_equal(phonon.primitive.p2s_map, file["p2s"]):
            raise SystemExit(f"{name}: the rows of the force constants are of other atoms")
        phonon.force_constants = file["fc"]
    phonon.nac_params = {
        "born": known["born_effective_charges"],
        "dielectric": known["dielectric_infinity"],
        "factor": COULOMB_CONSTANT,
    }
    return phonon, known


def crystal(known: dict[str, Any]) -> Atoms:
    """The cubic cell of 8 atoms."""
    primitive = Atoms(
        known["primitive_symbols"],
        scaled_positions=known["primitive_scaled_positions"],
        cell=known["primitive_lattice"],
        pbc=True,
    )
    edge = 2 * float(np.abs(primitive.cell.array).max())
    corners = edge / 2 * np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
    positions = (primitive.positions[:, None] + corners).reshape(-1, 3)
    return Atoms(
        np.repeat(primitive.get_chemical_symbols(), 4), positions, cell=[edge] * 3, pbc=True
    )


def force_errors(run: Path) -> tuple[float, float]:
    """RMSE of the forces in cells of 64 and of 512 atoms, meV/A."""
    tests = json.loads((run / "summary.json").read_text())["tests"]
    return tests["atoms_64"]["forces_rmse"], tests["atoms_512"]["forces_rmse"]


def draw(axes: Axes, bands: Bands, label: str, **style: Any) -> None:
    """The bands with one entry in the legend."""
    for distance, piece in zip(bands.distances, bands.frequencies, strict=True):
        lines = axes.plot(distance, piece, **style)
    lines[0].set_label(label)


def finish(axes: Axes, bands: Bands, name: str) -> None:
    """Special points, where pieces meet with both names."""
    names: dict[float, list[str]] = {}
    for where, point in bands.ticks:
        if point not in names.setdefault(where, []):
            names[where].append(point)
    axes.set_xticks(list(names), ["|".join(both) for both in names.values()])
    for where in names:
        axes.axvline(where, color="0.85", linewidth=0.8, zorder=0)
    axes.set(title=name, xlim=(0, max(names)), ylim=(0, 1.12 * axes.dataLim.ymax))
    axes.legend(fontsize=7, ncol=3, loc="upper center")


def compare(axes: Axes, name: str, study: Path, folder: Path, seed: int) -> None:
    """A row of the table for each model of a crystal, and its bands."""
    phonon, known = reference(folder, name)
    born, screening = known["born_effective_charges"], known["dielectric_infinity"][0][0]
    print(
        f"| {name} | reference | {known['gamma_THz_without_NAC'][-1]:.2f} | "
        f"{known['gamma_THz_q_to_0_along_x_with_NAC'][-1]:.2f} | "
        f"{abs(born[0][0][0]) / np.sqrt(screening):.3f} | | | |"
    )
    for index, file in enumerate(sorted(study.glob(f"*/seed-{seed}/model.pt"))):
        variant = file.parent.parent.name
        phonons = Phonons(muse_lr.load_model(file), crystal(known), (REPEATS,) * 3)
        modes = phonons.gamma()
        charge = ""
        if (response := phonons.response) is not None:
            charge = f"{abs(response.born[0, 0, 0]) / np.sqrt(response.dielectric[0, 0]):.3f}"
        small, large = force_errors(file.parent)
        print(
            f"| {name} | {variant} | {modes.transverse[-1]:.2f} | {modes.longitudinal[-1]:.2f} | "
            f"{charge} | {small:.2f} | {large:.2f} | {large / small:.2f} |",
            flush=True,
        )
        bands = phonons.bands(POINTS, PATH)
        draw(axes, bands, color=f"C{index}", linewidth=1, label=variant)
    dots = band_structure(phonon, POINTS, PATH, count=13)
    draw(axes, dots, color="k", marker=".", markersize=3, linestyle="none", label="reference")
    finish(axes, dots, name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path)
    parser.add_argument("studies", nargs="+", metavar="CRYSTAL=STUDY")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = reference_data() / "polar_crystals_phonons"
    figure, axes = plt.subplots(1, len(args.studies), figsize=(4.5 * len(args.studies), 3.6))
    print("| crystal | model | TO (THz) | LO (THz) | charge (e) | 64 atoms | 512 atoms | ratio |")
    print("|:--|:--|--:|--:|--:|--:|--:|--:|")
    for panel, study in zip(np.atleast_1d(axes), args.studies, strict=True):
        name, _, where = study.partition("=")
        compare(panel, name, Path(where), folder, args.seed)
    np.atleast_1d(axes)[0].set_ylabel("frequency (THz)")
    figure.tight_layout()
    figure.savefig(args.image, dpi=130)


if __name__ == "__main__":
    main()

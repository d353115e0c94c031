"""The head `d3` against the package dftd3 (simple-dftd3): dimers and crystals.

    python -m benchmarks.peers.compare_dftd3 [--dimers 200]

Two-body D3(BJ) of PBE, energies, forces and dE/dstrain. The dimers, evenly spaced in the training
set of sapt10k_dimers and in s66x8, are to be found in $MUSE_LR_DATA. The package ends the
sums of crystals in space and ours do not, so that its answers for two radii are extrapolated:
what is left falls off as 1/R^3. Coordination numbers of crystals end at the same radius in both.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

import muse_lr
from benchmarks.peers.common import Answer
from benchmarks.peers.report import Report, require
from muse_lr.config.paths import reference_data
from muse_lr.data.reading import read_atoms
from muse_lr.heads.dispersion.volumes import HARTREE
from muse_lr.units import BOHR

interface = require("dftd3.interface", "dftd3", "test,dispersion")
FUNCTIONAL = "pbe"
#: Radii of the sums in space, Bohr; that of coordination numbers.
RADII, COUNT = (120.0, 240.0), 40.0
#: Energies and strains in eV, forces in eV/A.
TOLERANCE = 1e-6 * HARTREE


def ours(structures: list[Atoms], cutoff: float) -> Answer:
    """All structures as one batch."""
    elements = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    head = {"kind": "d3", "functional": FUNCTIONAL, "cutoff": cutoff}
    model = muse_lr.build_model(
        {"elements": elements, "backbone": None, "charges": None, "heads": {"d3": head}}
    ).double()
    batch = muse_lr.AtomsBatch.from_ase(structures, model.cutoff)
    periodic = bool(structures[0].pbc.all())
    out = model(batch, compute=("forces", "stress") if periodic else ("forces",))
    strain = out.stress.detach().numpy() * structures[0].get_volume() if periodic else None
    return Answer(out.energy.detach().numpy(), out.forces.detach().numpy(), strain)


def theirs(atoms: Atoms, radius: float) -> Answer:
    """One structure by the package."""
    cell = atoms.cell.array / BOHR if atoms.pbc.any() else None
    pbc = atoms.pbc if atoms.pbc.any() else None
    model = interface.DispersionModel(atoms.numbers, atoms.positions / BOHR, cell, pbc)
    model.set_realspace_cutoff(radius, 20.0, COUNT)
    found = model.get_dispersion(
        interface.RationalDampingParam(method=FUNCTIONAL, atm=False), grad=True
    )
    forces = -found["gradient"] * HARTREE / BOHR
    return Answer(float(found["energy"]) * HARTREE, forces, found["virial"][None] * HARTREE)


def extrapolated(atoms: Atoms) -> Answer:
    """A crystal, summed to infinity."""
    near, far = (theirs(atoms, radius) for radius in RADII)
    factor = 1 / ((RADII[1] / RADII[0]) ** 3 - 1)
    limits = []
    for name in ("energy", "forces", "strain"):
        first, second = (np.asarray(getattr(answer, name)) for answer in (near, far))
        limits.append(second + (second - first) * factor)
    return Answer(*limits)


def dimers(count: int) -> dict[str, list[Atoms]]:
    """Both sets, as molecules without anything else."""
    folder, sets = reference_data(), {}
    for name, file in (
        ("SAPT10k", "sapt10k_dimers/train.xyz.xz"),
        ("S66x8", "s66x8_wb97x/all_528.xyz.xz"),
    ):
        frames = read_atoms(folder / file)
        chosen = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
        sets[name] = [Atoms(frames[i].symbols, frames[i].positions) for i in chosen]
    return sets


def crystals() -> dict[str, Atoms]:
    """Conventional cells, atoms displaced by 0.05 A."""
    found = {
        "NaCl": bulk("NaCl", "rocksalt", a=5.64, cubic=True),
        "MgO": bulk("MgO", "rocksalt", a=4.21, cubic=True),
        "diamond": bulk("C", "diamond", a=3.57, cubic=True),
    }
    for atoms in found.values():
        atoms.rattle(0.05, seed=1)
    return found


def main() -> int:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--dimers", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    report = Report("peers_dftd3", "dftd3", "tad-dftd3")
    for name, structures in dimers(args.dimers).items():
        answers = [theirs(atoms, RADII[0]) for atoms in structures]
        reference = Answer(
            np.array([answer.energy for answer in answers]),
            np.concatenate([answer.forces for answer in answers]),
        )
        report.compare(
            f"{len(structures)} dimers, {name}", ours(structures, 12.0), reference, TOLERANCE
        )
    for name, atoms in crystals().items():
        report.compare(name, ours([atoms], COUNT * BOHR), extrapolated(atoms), TOLERANCE)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())

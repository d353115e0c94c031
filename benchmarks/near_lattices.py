"""Is the multiscale energy of trained models harmonic near perfect lattices?

    python -m benchmarks.near_lattices --out runs/near_lattices

Trains a small PaiNN with the default hierarchy for about 500 steps on the shipped rattled_salts and
on rattled and strained Cu with energies and forces of ASE's EMT, and relaxes NaCl, KCl and Cu with
the models. At these lattices, and at that of the data of Cu, in float64:

- k(u) = -[F(u) - F(-u)] / 2u of one displaced atom, of the multiscale energy and of the model;
- phonons of the model with finite displacements of 0.005 and 0.02 A, and exact ones;
- a second relaxation after a rattle of 0.001 A, and 1 ps of constant energy at 1 K from there;
- energies of the lattice against those of a rattle of 0.1 A.

Trained models are kept: an interrupted benchmark continues its trainings and measures again. With
``--set training.learning_rate=0.01`` and the like, the tables are printed only; give another --out.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.io import write
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from numpy.typing import NDArray

from benchmarks.dynamics import command
from benchmarks.peers.machine import describe_machine
from muse_lr import AtomsBatch, Calculator, EnergyModel, load_model
from muse_lr.config.overrides import apply_override, parse_assignment
from muse_lr.config.yaml import dump_yaml
from muse_lr.errors import InputError
from muse_lr.model.hessian import exact_copy
from muse_lr.phonons import Phonons
from muse_lr.utils.files import atomic_write

RESULTS = Path(__file__).resolve().parent / "results" / "near_lattices.md"
MODEL = {
    "backbone": {"kind": "painn", "cutoff": 5.0, "channels": 32, "layers": 2},
    "multiscale": {"kind": "muse"},
    "charges": None,
    "heads": {},
}
#: Data set -> number of epochs, which are 513 and 510 steps of eight structures.
EPOCHS = {"salts": 27, "copper": 30}
#: Row -> data set of the model, conventional cell of the data, and whether the model relaxes it.
CRYSTALS = {
    "NaCl": ("salts", bulk("NaCl", "rocksalt", a=5.46, cubic=True), True),
    "KCl": ("salts", bulk("KCl", "rocksalt", a=5.86, cubic=True), True),
    "Cu": ("copper", bulk("Cu", cubic=True), True),
    "Cu, cell of the data": ("copper", bulk("Cu", cubic=True), False),
}
FRAMES = 150
SHAPES = ((2, 2, 2), (2, 2, 2), (2, 2, 2), (3, 2, 2), (3, 3, 3))
AMPLITUDES = (0.02, 0.04, 0.07, 0.1, 0.15)
#: One frame of this many is strained, by components of up to MAX_STRAIN.
STRAINED_EVERY, MAX_STRAIN = 4, 0.03
REPEATS = (2, 2, 2)
#: Displacements of the force constants and of the phonons, A.
DISPLACEMENTS = (0.001, 0.003, 0.01, 0.03, 0.05, 0.1)
STEPS = (0.005, 0.02)
#: Smallest force constant by which deviations are divided, eV/A^2, and the nearer displacements, A.
SMALLEST, NEAR = 0.3, 0.03
#: Points of the q mesh along each axis.
MESH = 6
FMAX, NUDGE, RATTLE = 1e-4, 1e-3, 0.1
TEMPERATURE, TIME_STEP, PICOSECONDS = 1.0, 2.0, 1.0

Array = NDArray[np.float64]


def copper() -> list[Atoms]:
    """Rattled and strained Cu with energies and forces of EMT; the same at every call."""
    frames = []
    for index in range(FRAMES):
        rng = np.random.default_rng([20261201, index])
        atoms = bulk("Cu", cubic=True) * SHAPES[index % len(SHAPES)]
        if index % STRAINED_EVERY == 0:
            strain = rng.uniform(-MAX_STRAIN, MAX_STRAIN, (3, 3))
            deformation = np.eye(3) + (strain + strain.T) / 2
            atoms.set_cell(atoms.cell @ deformation, scale_atoms=True)
        amplitude = AMPLITUDES[index // len(SHAPES) % len(AMPLITUDES)]
        atoms.positions += amplitude * rng.standard_normal(atoms.positions.shape)
        calculator = EMT()
        calculator.calculate(atoms, ["energy", "forces"])
        atoms.info["REF_energy"] = calculator.results["energy"]
        atoms.arrays["REF_forces"] = calculator.results["forces"]
        frames.append(atoms)
    return frames


def train(name: str, out: Path, changes: Mapping[str, Any]) -> Path:
    """Train the model of a data set, unless it is there; ``changes`` are of its configuration."""
    out.mkdir(parents=True, exist_ok=True)
    directory = out / name
    data: dict[str, Any] = {
        "train": "${MUSE_LR_DATASETS}/rattled_salts_train.xyz.xz",
        "valid": ["${MUSE_LR_DATASETS}/rattled_salts_valid.xyz.xz"],
        "partial": ["stress"],
    }
    if name == "copper":
        file = out.resolve() / "copper.xyz"
        if not file.exists():
            with atomic_write(file) as handle:
                write(handle, copper(), format="extxyz")
        data = {"train": str(file), "valid": 0.1}
    training = {"directory": str(directory.resolve()), "epochs": EPOCHS[name]}
    config: dict[str, Any] = {"model": MODEL, "data": data, "training": training}
    for key, value in changes.items():
        config = apply_override(config, key, value)
    dump_yaml(config, directory.with_suffix(".yaml"))
    command("train", str(directory.with_suffix(".yaml")), "--resume")
    return directory / "model.pt"


def relaxed(crystal: Atoms, calculator: Calculator) -> Atoms:
    """The conventional cell with the lattice constant of the model."""
    atoms = crystal.copy()
    atoms.calc = calculator
    if not BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=FMAX, steps=300):
        raise RuntimeError(f"{atoms.symbols}: the cell is not relaxed after 300 steps")
    atoms.calc = None
    return atoms


def parts(model: EnergyModel, frames: Sequence[Atoms]) -> list[tuple[Array, Array]]:
    """Energies and forces of structures: those of the multiscale energy and of the whole model."""
    found = []
    for atoms in frames:
        batch = AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
        output = model(batch, ("forces", "parts"), create_graph=False)
        energies = output.energy_parts["multiscale"].item(), output.energy.item()
        forces = output.force_parts["multiscale"].numpy(), output.forces.numpy()
        found.append((np.array(energies), np.stack(forces)))
    return found


def force_constants(model: EnergyModel, lattice: Atoms, atom: int) -> Array:
    """(2, displacements) k(u) along x of the multiscale energy and of the model, eV/A^2."""
    frames = []
    for step in (sign * u for u in DISPLACEMENTS for sign in (1, -1)):
        frames.append(lattice.copy())
        frames[-1].positions[atom, 0] += step
    forces = np.array([forces[:, atom, 0] for _, forces in parts(model, frames)])
    return -(forces[::2] - forces[1::2]).T / (2 * np.array(DISPLACEMENTS))


def phonon_row(model: EnergyModel, cell: Atoms) -> list[str]:
    """Highest and lowest frequency and the largest differences, percent of the highest one."""
    line = np.arange(MESH) / MESH
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    try:
        exact = Phonons(model, cell, REPEATS).frequencies(points)
        small, large = (
            Phonons(model, cell, REPEATS, "displacements", step).frequencies(points)
            for step in STEPS
        )
    except InputError as error:
        return [f"refused: {error}", *["–"] * 4]
    highest = exact.max()
    pairs = ((small, large), (small, exact), (large, exact))
    shares = [f"{np.abs(one - other).max() / highest:.2%}" for one, other in pairs]
    return [f"{highest:.2f}", f"{exact.min():.2f}", *shares]


def rest_row(lattice: Atoms, calculator: Calculator) -> list[str]:
    """Relax again after a small rattle, and run at constant energy from there."""
    atoms = lattice.copy()
    atoms.calc = calculator
    before = atoms.get_potential_energy()
    atoms.positions += NUDGE * np.random.default_rng(0).standard_normal(atoms.positions.shape)
    optimizer = BFGS(atoms, logfile=None)
    note = "" if optimizer.run(fmax=FMAX, steps=300) else " (not converged)"
    change = (atoms.get_potential_energy() - before) / len(atoms)
    shift = distances(atoms.positions, lattice.positions)
    start = atoms.positions.copy()
    MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE, rng=np.random.default_rng(1))
    Stationary(atoms)
    total, largest = atoms.get_total_energy(), 0.0
    dynamics = VelocityVerlet(atoms, TIME_STEP * units.fs)
    for _ in dynamics.irun(round(1000 * PICOSECONDS / TIME_STEP)):
        largest = max(largest, float(distances(atoms.positions, start).max()))
    drift = 1000 * (atoms.get_total_energy() - total) / len(atoms)
    moves = f"{change:.1e}", f"{shift.max():.4f}", f"{largest:.4f}"
    return [f"{optimizer.nsteps}{note}", *moves, f"{atoms.get_temperature():.2f}", f"{drift:.1e}"]


def distances(one: Array, other: Array) -> Array:
    """(n,) distances of the atoms of two structures with the same mean position, A."""
    moved = one - other
    return np.linalg.norm(moved - moved.mean(0), axis=1)


def rattle_row(model: EnergyModel, lattice: Atoms) -> list[str]:
    """Energies of a rattle above those of the lattice, and multiscale forces, meV."""
    rattled = lattice.copy()
    rattled.rattle(RATTLE, seed=0)
    (at_rest, _), (energies, forces) = parts(model, [lattice, rattled])
    rise = 1000 * (energies - at_rest) / len(lattice)
    force = 1000 * np.sqrt(np.square(forces).mean((1, 2)))
    return [*(f"{value:.2f}" for value in rise), *(f"{value:.0f}" for value in force)]


#: Title -> what the table says, and its columns after that of the crystal.
TABLES = {
    "Force constants": (
        "k(u) of one displaced atom along x (eV/Å²), and the largest |k(u) − k(0.001)| / "
        f"max(|k(0.001)|, {SMALLEST} eV/Å²) for u up to {NEAR} Å and for all.",
        "atom, energy, " + ", ".join(f"k({u:g})" for u in DISPLACEMENTS) + f", to {NEAR} Å, all",
    ),
    "Phonons": (
        f"Frequencies of the model on a mesh of {MESH}×{MESH}×{MESH} points: the highest and the "
        "lowest one, and the largest differences between displacements of "
        f"{STEPS[0]} Å, of {STEPS[1]} Å and exact derivatives in units of the highest one.",
        "highest (THz), lowest (THz), {0} Å − {1} Å, {0} Å − exact, {1} Å − exact".format(*STEPS),
    ),
    "At rest": (
        f"Relaxed to {FMAX:g} eV/Å after a rattle of {NUDGE:g} Å, then {PICOSECONDS:g} ps at "
        f"constant energy from {TEMPERATURE:g} K with steps of {TIME_STEP:g} fs. Displacements are "
        "the largest of an atom.",
        "steps of BFGS, change of energy (eV/atom), from the lattice (Å), displacement in dynamics "
        "(Å), last temperature (K), drift (meV/atom)",
    ),
    "Rattled": (
        f"Energies of a rattle of {RATTLE:g} Å minus those of the lattice (meV/atom), and the root "
        "mean square of the forces of the rattle (meV/Å).",
        "multiscale energy, total energy, multiscale forces, total forces",
    ),
}


def measure(name: str, model: EnergyModel, cell: Atoms) -> dict[str, list[list[str]]]:
    """Lines of the tables for a crystal."""
    lattice, near = cell * REPEATS, np.array(DISPLACEMENTS) <= NEAR
    lines: dict[str, list[list[str]]] = {title: [] for title in TABLES}
    for element in dict.fromkeys(cell.symbols):
        atom = list(lattice.symbols).index(element)
        both = force_constants(model, lattice, atom)
        for energy, constants in zip(("multiscale", "total"), both, strict=True):
            change = np.abs(constants - constants[0]) / max(abs(constants[0]), SMALLEST)
            values = (*constants, change[near].max(), change.max())
            lines["Force constants"].append([element, energy, *(f"{v:.3f}" for v in values)])
    lines["Phonons"].append(phonon_row(model, cell))
    lines["At rest"].append(rest_row(lattice, Calculator(model)))
    lines["Rattled"].append(rattle_row(model, lattice))
    label = f"{name}, a = {cell.cell.lengths()[0]:.3f} Å"
    return {title: [[label, *row] for row in rows] for title, rows in lines.items()}


def page(lines: Mapping[str, Sequence[Sequence[str]]]) -> str:
    """The page of results."""
    text = [
        "# Trained models near perfect lattices",
        "",
        f"{describe_machine('phonopy')}. Command: `python -m benchmarks.near_lattices`.",
        "",
        "PaiNN (two layers of 5 Å, 32 channels) with the default `muse`, trained for about 500 "
        "steps with the default settings, on rattled_salts and on Cu labeled by EMT. Cells of "
        f"{'×'.join(map(str, REPEATS))} conventional cells, relaxed by the model where nothing "
        "else is said; KCl is not in the training data, (Na,K)Cl is. All in float64.",
    ]
    for title, (note, columns) in TABLES.items():
        head = ["crystal", *columns.split(", ")]
        rule = [":--" if column in ("crystal", "atom", "energy") else "--:" for column in head]
        table = ("| " + " | ".join(row) + " |" for row in (head, rule, *lines[title]))
        text += ["", f"## {title}", "", note, "", *table]
    return "\n".join(text) + "\n"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path("runs/near_lattices"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    args = parser.parse_args()
    changes = dict(parse_assignment(text) for text in args.changes)
    lines: dict[str, list[list[str]]] = {title: [] for title in TABLES}
    for name, (data, cell, relax) in CRYSTALS.items():
        model = exact_copy(load_model(train(data, args.out, changes)))
        cell = relaxed(cell, Calculator(model)) if relax else cell
        for title, rows in measure(name, model, cell).items():
            lines[title] += rows
        if not changes:
            with atomic_write(RESULTS) as handle:
                handle.write(page(lines))
    print(page(lines))


if __name__ == "__main__":
    main()

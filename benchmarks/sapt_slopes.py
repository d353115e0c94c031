"""How the energies of trained models decay: local slopes in open systems, lattice sums in crystals.

    python -m benchmarks.sapt_slopes INDUCED.pt DIMERS.pt

INDUCED.pt is the model of sapt_heads.py (`--model`), DIMERS.pt one of the variant
charges_dispersion of examples/charged_dimers/study_classes.yaml. Slopes d ln|E| / d ln R are those
of the interaction less its value at infinity; the average over two opposite directions cancels the
next term of the multipole expansion. Every model is measured with its trained and with fresh
weights. The table goes to benchmarks/results.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from numpy.typing import NDArray
from torch import Tensor

import muse_lr
from benchmarks.peers.machine import describe_machine
from benchmarks.sapt_model import Components, Dimers
from muse_lr import AtomsBatch
from muse_lr.electrostatics.engines.torchpme import TorchPMESolver
from muse_lr.heads.dispersion.c6 import C6Head
from muse_lr.heads.dispersion.volumes import free_atoms
from muse_lr.structures.geometry import strained_geometry
from muse_lr.utils.files import atomic_write

RESULTS = Path(__file__).resolve().parent / "results"
DISTANCES = np.array([30.0, 55.0, 100.0])
STEP = 0.02
#: Box of the periodic comparison, A, and how far images are summed one by one.
BOX, REACH = 20.0, 400.0
#: (n,) energies of dimers, eV.
Energies = Callable[[list[Atoms]], NDArray[np.float64]]


def fragments() -> dict[str, Atoms]:
    """Small molecules and ions about their centers of mass, in no special orientation.

    But for water, whose dipole is nearly along the line: where the dipoles' energy is small by
    their directions, octupoles are felt at 30 A.
    """
    ammonium = Atoms("NH4", [[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    ammonium.positions *= 1.03 / np.sqrt(3)
    formate = molecule("HCOOH")
    del formate[3]  # the hydrogen of the hydroxyl group
    found = {
        "NH4+": ammonium,
        "HCOO-": formate,
        "H2O": molecule("H2O"),
        "CH4": molecule("CH4"),
    }
    for i, atoms in enumerate(found.values()):
        atoms.positions -= atoms.get_center_of_mass()
        if len(atoms) == 3:
            atoms.rotate("z", (1.0, 0.2, -0.1))
        else:
            atoms.rotate(40 + 70 * i, (1.0, 0.4 + i, -0.3))
        atoms.info["total_charge"] = 0
    found["NH4+"].info["total_charge"], found["HCOO-"].info["total_charge"] = 1, -1
    return found


def pair(first: Atoms, second: Atoms, shift: float) -> Atoms:
    """A dimer as those of the data."""
    both = first + Atoms(second.symbols, second.positions + np.array([shift, 0, 0]))
    charges = [atoms.info["total_charge"] for atoms in (first, second)]
    both.info = {
        "n_a": len(first),
        "charge_a": charges[0],
        "charge_b": charges[1],
        "total_charge": sum(charges),
        "E_elst": 0.0,
        "E_ind": 0.0,
    }
    return both


def slopes(energies: Energies, first: Atoms, second: Atoms, parity: int) -> NDArray[np.float64]:
    """d ln|E| / d ln R at the distances; the parity is that of the sum of the orders l."""
    around = (DISTANCES[:, None] * np.exp([-STEP, STEP])).ravel()
    shifts = [*around, *(-around)]
    found = energies([pair(first, second, shift) for shift in shifts]).reshape(2, -1)
    even = (found[0] + parity * found[1]) / 2
    return np.diff(np.log(np.abs(even)).reshape(-1, 2), axis=1)[:, 0] / (2 * STEP)


def component(model: muse_lr.EnergyModel, column: int) -> Energies:
    """Electrostatic (0) or induction (1) energies."""
    parts = Components(model)

    def energies(dimers: list[Atoms]) -> NDArray[np.float64]:
        with torch.no_grad():
            return parts(Dimers.of(dimers, model.cutoff))[:, column].numpy()

    return energies


def dispersion(model: muse_lr.EnergyModel) -> Energies:
    """The head's energy of dimers less that of the monomers: of the same atoms very far away."""

    def energies(dimers: list[Atoms]) -> NDArray[np.float64]:
        far = dimers[0].copy()
        far.positions[far.info["n_a"] :, 0] += 1e6
        batch = AtomsBatch.from_ase([*dimers, far], cutoff=model.cutoff)
        found = model(batch).energy_parts["dispersion"].detach().numpy()
        return found[:-1] - found[-1]

    return energies


def fresh(model: muse_lr.EnergyModel) -> muse_lr.EnergyModel:
    """The same configuration with the weights of a new model."""
    torch.manual_seed(0)
    return muse_lr.EnergyModel(model.config).double().eval()


def slope_rows(induced: muse_lr.EnergyModel, dimers: muse_lr.EnergyModel) -> list[str]:
    """A line for each interaction, with trained and with fresh weights."""
    parts = fragments()
    cases = [
        ("charge, charge", "NH4+", "HCOO-", -1, 1, lambda m: component(m, 0), induced),
        ("charge, dipole", "NH4+", "H2O", -2, -1, lambda m: component(m, 0), induced),
        ("dipole, dipole", "H2O", "H2O", -3, 1, lambda m: component(m, 0), induced),
        ("charge, induced dipole", "NH4+", "CH4", -4, 1, lambda m: component(m, 1), induced),
        ("dispersion (c6)", "CH4", "CH4", -6, 1, dispersion, dimers),
    ]
    lines = []
    for words, first, second, exponent, parity, make, trained in cases:
        for name, model in (("trained", trained), ("fresh", fresh(trained))):
            other = parts[second].copy()
            other.rotate(65, (1.0, 0.2, 0.3))
            other.info = parts[second].info
            found = slopes(make(model), parts[first], other, parity)
            cells = " | ".join(f"{value:.4f}" for value in found)
            lines.append(f"| {words} | {first}, {second} | {name} | {exponent} | {cells} |")
            print(lines[-1], flush=True)
    return lines


def lattice_rows(model: muse_lr.EnergyModel) -> list[str]:
    """Water and methane in a box: energies of the trained heads by other sums."""
    parts = fragments()
    moved = parts["CH4"].copy()
    moved.positions += [4.0, 1.0, 0.5]
    box = parts["H2O"] + moved
    box.set_cell([BOX, BOX, BOX])
    box.pbc = True
    box.info = {}
    head = model.heads["dispersion"]
    assert isinstance(head, C6Head)
    assert model.charges is not None
    volumes: list[Tensor] = []
    head.volume_ratios.register_forward_hook(lambda *given: volumes.append(given[2].detach()))
    batch = AtomsBatch.from_ase([box], cutoff=max(model.cutoff, 9.0))
    output = model(batch)
    solver = TorchPMESolver(model.charges.widths, 1e-9, 9.0)
    geometry = strained_geometry(batch, batch.positions, None)
    coulomb = solver.energy(output.density, geometry, torch.tensor([True]))
    others = {
        "coulomb": ("Ewald sum of torch-pme", coulomb.item()),
        "dispersion": (
            f"images within {REACH:g} A",
            by_images(head, box, model.elements, *volumes),
        ),
    }
    lines = []
    for name, (words, expected) in others.items():
        found = output.energy_parts[name].item()
        lines.append(f"| {name} | {found:.9f} | {words} | {expected:.9f} |")
        print(lines[-1], flush=True)
    return lines


def by_images(head: C6Head, box: Atoms, elements: Sequence[str], volumes: Tensor) -> float:
    """The molecules' own energy, and -C6 / r^6 of all images, which nothing damps, eV."""
    batch = AtomsBatch.from_ase([Atoms(box.symbols, box.positions)], cutoff=1.0)
    species = torch.tensor([elements.index(symbol) for symbol in box.symbols])
    composition = torch.nn.functional.one_hot(species, len(elements)).double()
    own = head.energy(strained_geometry(batch, batch.positions, None), composition, volumes)
    c6 = free_atoms(elements).c6_pairs[species[:, None], species]
    coefficients = (c6 * volumes[:, None] * volumes).numpy()
    count = int(REACH / BOX) + 1
    shifts = BOX * np.stack(np.meshgrid(*[np.arange(-count, count + 1)] * 3), -1).reshape(-1, 3)
    total = 0.0
    for i, row in enumerate(box.positions):
        for j, other in enumerate(box.positions):
            squared = ((row - other - shifts) ** 2).sum(1)
            squared[len(squared) // 2] = np.inf  # the pair itself
            near = squared < REACH**2
            # What lies beyond is a continuum.
            beyond = 4 * np.pi / (3 * BOX**3 * REACH**3)
            total -= coefficients[i, j] * ((squared[near] ** -3.0).sum() + beyond) / 2
    return float(own) + total


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("induced", type=Path)
    parser.add_argument("dimers", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    induced, dimers = (
        muse_lr.load_model(file).double().eval() for file in (args.induced, args.dimers)
    )
    head = "| interaction | between | weights | exponent | "
    head += " | ".join(f"{distance:g} A" for distance in DISTANCES)
    text = [
        "# Slopes and sums of trained models",
        "",
        f"`python -m benchmarks.sapt_slopes INDUCED.pt DIMERS.pt`; {describe_machine()}.",
        "",
        "d ln|E| / d ln R of the interaction in open systems:",
        "",
        head + " |",
        "|:--|:--|:--|--:|" + "--:|" * len(DISTANCES),
        *slope_rows(induced, dimers),
        "",
        f"Water and methane in a box of {BOX:g} A, eV:",
        "",
        "| head | energy | by | energy |",
        "|:--|--:|:--|--:|",
        *lattice_rows(dimers),
        "",
    ]
    RESULTS.mkdir(exist_ok=True)
    with atomic_write(RESULTS / "sapt_slopes.md") as handle:
        handle.write("\n".join(text))


if __name__ == "__main__":
    main()

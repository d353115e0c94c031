"""BaTiO3: a polarizable shell model of 2x2x2 and 3x2x2 cells, displaced, rattled and strained.

GFN1-xTB and GFN2-xTB do not describe the crystal (README.md), so the labels are those of a
classical model: pair potentials on cores and shells, formal charges, and shells on Ba and O that
relax for every structure. Their dipoles respond to all others, so the energy is not a sum of
pairs. Parameters of Ba and O: T. S. Bush, J. D. Gale, C. R. A. Catlow, P. D. Battle,
J. Mater. Chem. 4, 831 (1994). Ti is a rigid ion, with a potential of Ti and O that is used with
them; together they give the lattice constant of experiment.
"""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from benchmarks.first_hour.ionic import ForceField, IonicCalculator
from benchmarks.first_hour.tasks import Task, labeled

STYLE = "reference"
SEED = 20261203
#: The minimum of the model, A, and that of experiment.
LATTICE_CONSTANT = 4.00
ELEMENTS = ("Ba", "Ti", "O")
FORMAL = {"Ba": 2.0, "Ti": 4.0, "O": -2.0}
#: Charge of the shell, e, and its spring constant, eV/A^2.
SHELLS = {"Ba": (1.831, 34.05), "O": (-2.513, 20.53)}
#: A (eV), rho (A) and C (eV A^6) of A exp(-r / rho) - C / r^6.
BUCKINGHAM = {
    ("Ba", "O"): (4818.416, 0.3067, 0.0),
    ("Ti", "O"): (4545.823, 0.2610, 0.0),
    ("O", "O"): (25.410, 0.6937, 32.32),
}
#: A; 7e-5 of the Coulomb interaction of neighbors, and finite where a shell meets its core.
WIDTH = 0.2
COUNTS = {"train": 120, "test": 30}
#: A, standard deviation of each coordinate; the test goes beyond.
RATTLES = {"train": (0.02, 0.05, 0.08), "test": (0.05, 0.08, 0.11)}
#: Largest displacement of Ti against O, A, and largest strain.
MAX_POLAR, MAX_STRAIN = 0.20, 0.02
PATTERNS = ("none", "001", "011", "111", "domains", "random")
SIZES = {"train": ((2, 2, 2),), "test": ((2, 2, 2), (3, 2, 2))}


def plan() -> list[Task]:
    """Twenty frames of a kind of displacement in each task."""
    tasks = []
    for split, count in COUNTS.items():
        for i, pattern in enumerate(PATTERNS):
            options = {"pattern": pattern, "frames": count // len(PATTERNS)}
            tasks.append(Task(f"{split}-{i}-{pattern}", split, options))
    return tasks


def force_field(atoms: Atoms) -> ForceField:
    """Parameters of a structure of Ba, Ti and O."""
    symbols = atoms.get_chemical_symbols()
    shelled = [i for i, symbol in enumerate(symbols) if symbol in SHELLS]
    on_shells = [symbols[i] for i in shelled]
    cores = [FORMAL[s] - (SHELLS[s][0] if s in SHELLS else 0.0) for s in symbols]
    size, n_atoms = len(ELEMENTS), len(atoms)
    tables = torch.zeros(3, size, size, dtype=torch.float64)
    tables[1] = 1.0
    for (first, second), values in BUCKINGHAM.items():
        i, j = ELEMENTS.index(first), ELEMENTS.index(second)
        tables[:, i, j] = tables[:, j, i] = torch.tensor(values, dtype=torch.float64)
    kinds = torch.tensor([ELEMENTS.index(s) for s in [*symbols, *on_shells]])

    def pair(i: Tensor, j: Tensor, r: Tensor) -> Tensor:
        a, rho, c = tables[:, kinds[i], kinds[j]]
        return a * torch.exp(-r / rho) - c / r**6

    # The potentials act on the shell of an ion that has one.
    pair_sites = np.array([s not in SHELLS for s in symbols] + [True] * len(shelled))
    return ForceField(
        charges=np.array(cores + [SHELLS[s][0] for s in on_shells]),
        pair=pair,
        pair_sites=pair_sites,
        width=WIDTH,
        shell_of=np.array(shelled, dtype=np.int64),
        springs=np.array([SHELLS[s][1] for s in on_shells]),
        excluded=np.array([(i, n_atoms + k) for k, i in enumerate(shelled)], dtype=np.int64),
    )


def cubic(size: tuple[int, int, int], lattice_constant: float = LATTICE_CONSTANT) -> Atoms:
    """Ideal cells, the five atoms of each together: Ba, Ti and O along x, y, z."""
    sites = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    cell = Atoms("BaTiO3", scaled_positions=sites, cell=[lattice_constant] * 3, pbc=True)
    return cell.repeat(size)


def directions(pattern: str, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors of the polar displacement of each cell, shape (cells, 3); zeros for none."""
    if pattern == "none":
        return np.zeros((cells, 3))
    if pattern == "random":
        vectors = rng.standard_normal((cells, 3))
    else:
        axis = [0, 0, 1] if pattern == "domains" else [int(digit) for digit in pattern]
        signs = rng.choice([-1, 1], 3)
        vectors = np.tile(rng.permutation(axis) * signs, (cells, 1)).astype(float)
        if pattern == "domains":
            vectors *= rng.choice([-1, 1], (cells, 1))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def structure(pattern: str, split: str, index: int, rng: np.random.Generator) -> Atoms:
    """One displaced, rattled and strained structure."""
    sizes, rattles = SIZES[split], RATTLES[split]
    size = sizes[index % len(sizes)]
    atoms = cubic(size)
    cells = int(np.prod(size))
    polar = rng.uniform(0, MAX_POLAR) * directions(pattern, cells, rng)
    # Ti moves against the oxygen of its cell; Ba follows a little.
    weights = {"Ba": 0.1, "Ti": 0.6, "O": -0.4}
    weight = np.array([weights[s] for s in atoms.symbols])
    atoms.positions += weight[:, None] * np.repeat(polar, 5, axis=0)
    strain = rng.uniform(-MAX_STRAIN, MAX_STRAIN, (3, 3))
    atoms.set_cell(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    amplitude = rattles[index % len(rattles)]
    atoms.positions += amplitude * rng.standard_normal(atoms.positions.shape)
    atoms.info |= {"pattern": pattern, "amplitude": amplitude}
    return atoms


def compute(task: Task) -> list[Atoms]:
    """The frames of one kind of displacement."""
    rng = task.rng(SEED)
    pattern = task.options["pattern"]
    drawn = [structure(pattern, task.split, i, rng) for i in range(task.options["frames"])]
    return [labeled(atoms, IonicCalculator(force_field(atoms))) for atoms in drawn]

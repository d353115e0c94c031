"""Sound toy potentials, written independently of the package, and ways to break them."""

from __future__ import annotations

import math

import numpy as np
import torch
from vesin import NeighborList

from muse_lr.testing import Outputs, Potential, exam

#: eV A / e^2.
COULOMB = 14.3996454784
#: Splitting parameter (1/A) and cutoffs of the sums; erfc and exp are below 1e-13 there.
ALPHA, REACH, WAVES = 0.6, 9.2, 6.6
SHORT = 5.0
#: Reach of the neighborhoods of coarse nodes, and where their window begins to fall, A.
NODES, INNER = 7.0, 5.6


class Ions(Potential):
    """Born-Mayer repulsion and Coulomb energy of fixed charges, with a field and all boundaries.

    E = sum_pairs A exp(-r/rho) w(r) + Ewald sum - mu.F. The weight w ends with two derivatives at
    5 A. ``fault(atoms, row)`` may replace results; ``options`` change the energy.
    """

    provides = frozenset({"forces", "stress", "charges", "dipole"})
    coulomb = True
    cutoff = SHORT

    def __init__(self, fault=None, **options):
        self.fault = fault
        self.options = {"hard": False, "constant": COULOMB, "sums": {}, **options}
        self.by_element = options.get("charges", {"Na": 1.0, "Cl": -1.0})

    def evaluate(self, structures, compute=()):
        rows = [self.one(atoms, compute) for atoms in structures]
        join = {"forces": np.concatenate, "charges": np.concatenate}
        values = {name: join.get(name, np.stack)([row[name] for row in rows]) for name in compute}
        return Outputs(energy=np.array([row["energy"] for row in rows]), **values)

    def one(self, atoms, compute):
        charges = torch.tensor([self.by_element[symbol] for symbol in atoms.symbols])
        charges = charges.to(torch.float64)
        start = torch.tensor(atoms.positions, requires_grad=True)
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        positions = start + start @ strain
        cell = torch.tensor(atoms.cell.array) @ (torch.eye(3, dtype=torch.float64) + strain)
        short = self.short_range(atoms, positions, cell)
        energy = short + self.electrostatic(atoms, positions, cell, charges)
        row = {"energy": float(energy.detach()), "charges": charges.numpy()}
        if "forces" in compute:
            row["forces"] = -gradient(energy, start).numpy()
        if "stress" in compute:
            row["stress"] = gradient(energy, strain).numpy() / atoms.cell.volume
            row["short_stress"] = gradient(short, strain).numpy() / atoms.cell.volume
        row["dipole"] = row["charges"] @ atoms.positions
        row.update(self.fault(atoms, row) if self.fault else {})
        return row

    def short_range(self, atoms, positions, cell):
        distance, _ = pairs(atoms, positions, cell, SHORT)
        weight = 1.0 if self.options["hard"] else step(1 - distance / SHORT)
        return 0.5 * (1000 * torch.exp(-distance / 0.32) * weight).sum()

    def electrostatic(self, atoms, positions, cell, charges):
        given = atoms.info.get("electric_field", [0.0, 0.0, 0.0])
        energy = -(charges @ positions) @ torch.tensor(given, dtype=torch.float64)
        boundary = int(atoms.pbc.sum())
        sums = {0: open_sum, 2: slab_sum, 3: crystal_sum} | self.options["sums"]
        total = sums[boundary](atoms, positions, cell, charges)
        return energy + self.options["constant"] * total


def gradient(energy, leaf):
    if not energy.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(energy, leaf, retain_graph=True, allow_unused=True)
    return torch.zeros_like(leaf) if found is None else found


def pairs(atoms, positions, cell, cutoff):
    """Distances of ordered pairs within the cutoff, and their atoms."""
    finder = NeighborList(cutoff=cutoff, full_list=True)
    box = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    i, j, shift = finder.compute(
        points=atoms.positions, box=box, periodic=atoms.pbc, quantities="ijS"
    )
    i, j = torch.tensor(i.astype(np.int64)), torch.tensor(j.astype(np.int64))
    vector = positions[j] - positions[i] + torch.tensor(shift.astype(float)) @ cell
    return vector.norm(dim=1), (i, j)


def open_sum(atoms, positions, cell, charges):
    i, j = torch.triu_indices(len(atoms), len(atoms), 1)
    return (charges[i] * charges[j] / (positions[i] - positions[j]).norm(dim=1)).sum()


def screened_sum(atoms, positions, cell, charges):
    i, j = torch.triu_indices(len(atoms), len(atoms), 1)
    distance = (positions[i] - positions[j]).norm(dim=1)
    return (charges[i] * charges[j] * torch.exp(-distance / 100) / distance).sum()


def cut_sum(atoms, positions, cell, charges):
    i, j = torch.triu_indices(len(atoms), len(atoms), 1)
    distance = (positions[i] - positions[j]).norm(dim=1)
    near = (1 - distance / 12).clamp(min=0) ** 3
    return (charges[i] * charges[j] * near / distance).sum()


def nearest_images(atoms, positions, cell, charges):
    i, j = torch.triu_indices(len(atoms), len(atoms), 1)
    vector = positions[i] - positions[j]
    if atoms.pbc.any():
        fractional = vector @ torch.linalg.inv(cell)
        vector = (fractional - torch.round(fractional.detach())) @ cell
    return (charges[i] * charges[j] / vector.norm(dim=1)).sum()


def near_part(atoms, positions, cell, charges):
    distance, (i, j) = pairs(atoms, positions, cell, REACH)
    near = 0.5 * (charges[i] * charges[j] * torch.erfc(ALPHA * distance) / distance).sum()
    return near - ALPHA / math.sqrt(math.pi) * charges.square().sum()


def crystal_sum(atoms, positions, cell, charges):
    """Ewald's sum with a neutralizing background."""
    volume = torch.linalg.det(cell).abs()
    reciprocal = 2 * math.pi * torch.linalg.inv(cell).T
    counts = [math.ceil(WAVES * length / (2 * math.pi)) for length in atoms.cell.lengths()]
    ranges = [torch.arange(-n, n + 1, dtype=torch.float64) for n in counts]
    waves = torch.cartesian_prod(*ranges) @ reciprocal
    square = waves.square().sum(1)
    inside = (square > 1e-12) & (square < WAVES**2)
    waves, square = waves[inside], square[inside]
    phase = positions @ waves.T
    structure = (charges @ phase.cos()).square() + (charges @ phase.sin()).square()
    far = (2 * math.pi / volume) * (torch.exp(-square / (4 * ALPHA**2)) / square * structure).sum()
    background = math.pi / (2 * volume * ALPHA**2) * charges.sum() ** 2
    return near_part(atoms, positions, cell, charges) + far - background


def slab_sum(atoms, positions, cell, charges):
    """Sum in two dimensions (D. E. Parry, Surf. Sci. 49, 433 (1975))."""
    axis = int(np.flatnonzero(~atoms.pbc)[0])
    a, b = (cell[n] for n in range(3) if n != axis)
    normal = torch.linalg.cross(a, b)
    area = normal.norm()
    normal = normal / area
    plane = torch.stack([a, b, normal])
    reciprocal = (2 * math.pi * torch.linalg.inv(plane).T)[:2]
    counts = [math.ceil(WAVES * float(v.detach().norm()) / (2 * math.pi)) for v in (a, b)]
    ranges = [torch.arange(-n, n + 1, dtype=torch.float64) for n in counts]
    waves = torch.cartesian_prod(*ranges) @ reciprocal
    size = waves.norm(dim=1)
    inside = (size > 1e-9) & (size < WAVES)
    waves, size = waves[inside], size[inside]
    vector = positions[:, None] - positions[None]
    height = (vector @ normal)[..., None]
    phase = torch.cos(vector @ waves.T)

    def branch(z):
        argument = -math.sqrt(2) * (ALPHA * z + size / (2 * ALPHA))
        return torch.exp(size * z + math.log(2) + torch.special.log_ndtr(argument))

    product = charges[:, None] * charges[None]
    kernel = (phase / size * (branch(height) + branch(-height))).sum(-1)
    z = height[..., 0]
    flat = z * torch.erf(ALPHA * z) + torch.exp(-((ALPHA * z) ** 2)) / (ALPHA * math.sqrt(math.pi))
    far = math.pi / area * (product * (kernel / 2 - flat)).sum()
    return near_part(atoms, positions, cell, charges) + far


class Nodes(Ions):
    """Ions, and an energy of coarse nodes that neighbors of higher priority suppress.

    E += sum_i m_i (sum_j f(r_ij)^2) with m_i = 1 - S(u_i), p_i = 30 log2 Z_i + sum_j f(r_ij) and
    u_i = sum_j w(r_ij) S((p_j - p_i) / delta). With delta = 0 the higher priority wins at once. The
    energy of a node is not weighted with the atoms that it stands for.
    """

    def __init__(self, delta):
        super().__init__()
        self.delta = delta

    def short_range(self, atoms, positions, cell):
        distance, (i, j) = pairs(atoms, positions, cell, NODES)
        numbers = torch.tensor(atoms.numbers).to(torch.float64)
        none = torch.zeros_like(numbers)
        near = 1 - step(distance / NODES)
        priority = 30 * numbers.log2() + none.index_add(0, i, near)
        lead = priority[j] - priority[i]
        wins = step(lead / self.delta) if self.delta else (lead > 1e-9).to(torch.float64)
        window = 1 - step((distance - INNER) / (NODES - INNER))
        mass = 1 - step(none.index_add(0, i, window * wins))
        own = none.index_add(0, i, near.square())
        return super().short_range(atoms, positions, cell) + (mass * own).sum()


def step(x):
    """0 below 0 and 1 above 1, with two derivatives."""
    x = x.clamp(0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x**2)


class Metal(Potential):
    """Charges that minimize chi.q + eta q.q / 2 + k (sum of 1/r) - F.mu at the total charge."""

    provides = frozenset({"charges", "dipole"})
    coulomb = True
    size_consistent = False

    def __init__(self, mobile=True):
        self.mobile = mobile
        self.pull = {"Na": 0.0, "Cl": 5.0}
        self.hardness = 16.0

    def evaluate(self, structures, compute=()):
        rows = [self.one(atoms) for atoms in structures]
        join = {"charges": np.concatenate}
        values = {name: join.get(name, np.stack)([row[name] for row in rows]) for name in compute}
        return Outputs(energy=np.array([row["energy"] for row in rows]), **values)

    def one(self, atoms):
        """Solve for the charges; without ``mobile`` they do not know of the field."""
        positions, cell = torch.tensor(atoms.positions), torch.tensor(atoms.cell.array)
        total = {0: open_sum, 2: slab_sum, 3: crystal_sum}[int(atoms.pbc.sum())]
        count = len(atoms)

        def coulomb(charges):
            return COULOMB * total(atoms, positions, cell, charges)

        none = torch.zeros(count, dtype=torch.float64)
        matrix = torch.autograd.functional.hessian(coulomb, none).numpy()
        matrix = matrix + self.hardness * np.eye(count)
        field = np.array(atoms.info.get("electric_field", np.zeros(3)), dtype=float)
        bias = np.array([self.pull[symbol] for symbol in atoms.symbols])
        force = (atoms.positions @ field if self.mobile else 0.0) + bias
        column = np.ones((count, 1))
        bordered = np.block([[matrix, column], [column.T, np.zeros((1, 1))]])
        given = np.append(force, atoms.info.get("total_charge", 0.0))
        charges = np.linalg.solve(bordered, given)[:-1]
        dipole = charges @ atoms.positions
        energy = charges @ matrix @ charges / 2 - bias @ charges - dipole @ field
        return {"energy": energy, "charges": charges, "dipole": dipole}


class Shared(Ions):
    """Charges that are the same for all atoms and sum to the stated charge."""

    size_consistent = False

    def one(self, atoms, compute):
        charge = float(atoms.info.get("total_charge", 0.0)) / len(atoms)
        self.by_element = dict.fromkeys(set(atoms.symbols), charge)
        return super().one(atoms, compute)


def verdict(name, subject, elements=("Na", "Cl"), **options):
    """The result of one check, quick."""
    (result,) = exam.examine(subject, elements, only=[name], quick=True, **options)
    assert result.name == name
    return result

"""What each charge model costs over ``latent``, and how charge equilibration is solved fastest.

    python -m benchmarks.charge_models [--quick] [--seconds 20]

One process, one thread; times are processor times. Charge models: energy and forces of water by
PaiNN with a coulomb head, evaluated in turn; the ratio is the median over rounds. Equilibration:
charges of given electronegativities and hardnesses, everything from the positions on included, by
preconditioned conjugate gradients and by a dense matrix with Cholesky's factors. In droplets (open
boundaries) both need the same matrix. In crystals the matrix takes an Ewald sum for each pair,
which is done up to 3000 atoms. Results go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

import muse_lr
from benchmarks.long_range.timing import seconds_of, take_turns
from benchmarks.long_range.water import water_box
from benchmarks.peers.machine import describe_machine
from muse_lr.charges.solve.conjugate_gradients import conjugate_gradients
from muse_lr.charges.solve.interaction import InteractingCharges
from muse_lr.electrostatics.dispatch import Electrostatics
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.mesh.pme import PMESolver
from muse_lr.electrostatics.operators.charge_matrix import charge_matrix
from muse_lr.electrostatics.operators.charge_operator import MoleculeOperator
from muse_lr.structures.geometry import Geometry, strained_geometry
from muse_lr.units import COULOMB_CONSTANT

RESULTS = Path(__file__).resolve().parent / "results"
CUTOFF, ACCURACY = 6.0, 1e-6
#: Charge models beside latent, with the keys that they need.
MODELS: dict[str, dict[str, object]] = {
    "latent": {"kind": "latent"},
    "conserved": {"kind": "conserved"},
    "split": {"kind": "split"},
    "fukui": {"kind": "fukui"},
    "qet": {"kind": "qet"},
    "qeq": {"kind": "qeq"},
    "induced": {"kind": "induced"},
    "induced, l_max 1": {"kind": "induced", "l_max": 1},
    "scf": {"kind": "scf"},
    "scf, l_max 1": {"kind": "scf", "l_max": 1},
}
#: Pauling's electronegativities times 2.98 eV, hardnesses beside the self-interaction, widths.
CHI, HARDNESS = {"O": 10.3, "H": 6.6}, {"O": 7.0, "H": 9.0}
WIDTHS = {"O": 0.7, "H": 0.5}
#: Tolerances of the charges, relative to the largest.
TOLERANCES = (1e-6, 1e-10)


def models_table(shapes: list[tuple[int, int, int]], seconds: float) -> list[str]:
    """Rows of costs over latent, for boxes of these numbers of molecules."""
    lines = ["| charges | atoms | ms | over latent |", "|:--|--:|--:|--:|"]
    for shape in shapes:
        box = water_box(shape)
        tasks = {name: evaluation(charges, box) for name, charges in MODELS.items()}
        times = take_turns(tasks, seconds, "cpu")
        for name, values in times.items():
            ratio = np.median(values / times["latent"])
            lines.append(f"| {name} | {len(box)} | {np.median(values) * 1e3:.0f} | {ratio:.2f} |")
            print(lines[-1], flush=True)
    return lines


def evaluation(charges: dict[str, object], box: Atoms) -> Callable[[], object]:
    """Energy and forces of a model with these charges."""
    torch.manual_seed(0)
    model = muse_lr.build_model(
        {
            "elements": ["H", "O"],
            "backbone": {"kind": "painn", "cutoff": 5.0, "channels": 64, "layers": 3},
            "charges": charges,
            "heads": {"coulomb": {"kind": "coulomb"}},
        }
    ).eval()
    batch = muse_lr.AtomsBatch.from_ase([box], cutoff=model.cutoff)
    return lambda: model(batch, compute=("forces",))


class Equilibration:
    """Charges of a box or droplet of water, from its positions.

    Parameters
    ----------
    atoms : ase.Atoms
    """

    def __init__(self, atoms: Atoms) -> None:
        options = (tuple(WIDTHS.values()), ACCURACY, CUTOFF)
        self.solver, self.mesh = ReferenceSolver(*options), PMESolver(*options)
        self.electrostatics = Electrostatics(options[0], 0, ACCURACY, CUTOFF)
        self.batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=self.solver.ewald.cutoff)
        symbols = atoms.get_chemical_symbols()

        def values(table: dict[str, float]) -> torch.Tensor:
            return torch.tensor([table[symbol] for symbol in symbols], dtype=torch.float64)

        self.chi, self.width = values(CHI), values(WIDTHS)
        self.diagonal = values(HARDNESS) + COULOMB_CONSTANT / (math.sqrt(math.pi) * self.width)
        self.totals = torch.zeros(1, dtype=torch.float64)
        self.iterations = 0

    def geometry(self) -> Geometry:
        """Anew: nothing is kept from one solution to the next."""
        return strained_geometry(self.batch, self.batch.positions, None)

    @torch.no_grad()
    def iterate(self, tolerance: float) -> torch.Tensor:
        """(n,) charges by conjugate gradients."""
        system = InteractingCharges(
            self.electrostatics, self.solver, self.mesh, self.width, self.geometry(), self.diagonal
        )
        charges, self.iterations = conjugate_gradients(
            system.apply,
            system.preconditioner,
            -self.chi,
            self.totals,
            self.batch.batch,
            tolerance,
            500,
        )
        return charges

    @torch.no_grad()
    def factorize(self) -> torch.Tensor:
        """(n,) charges by Cholesky's factors."""
        geometry = self.geometry()
        if bool(geometry.open_graphs.all()):
            matrix = MoleculeOperator(self.width, geometry.positions).upper()
        else:
            everything = torch.ones(1, dtype=torch.bool)
            matrix = charge_matrix(self.width, geometry, everything, self.solver)[0]
        matrix.diagonal().add_(self.diagonal)
        factor = torch.linalg.cholesky(matrix, upper=True)
        right = torch.stack([-self.chi, torch.ones_like(self.chi)], dim=1)
        free, response = torch.cholesky_solve(right, factor, upper=True).unbind(1)
        return free - response * free.sum() / response.sum()


def equilibration_table(sizes: list[int], crystals: list[int], rounds: int) -> list[str]:
    """Rows of conjugate gradients against Cholesky."""
    lines = [
        "| boundary | atoms | tolerance | iterations | CG s | Cholesky s | ratio | apart, e |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for boundary, count in [("FFF", n) for n in sizes] + [("TTT", n) for n in sizes]:
        edge = math.ceil((count / 3) ** (1 / 3))
        atoms = water_box((edge, edge, edge))[:count]
        atoms.pbc = boundary == "TTT"
        problem = Equilibration(atoms)
        dense = boundary == "FFF" or count in crystals
        direct = [timed(problem.factorize) for _ in range(rounds)] if dense else []
        for tolerance in TOLERANCES:
            found = [timed(partial(problem.iterate, tolerance)) for _ in range(rounds)]
            own = min(seconds for seconds, _ in found)
            row = [boundary, str(count), f"{tolerance:g}", str(problem.iterations), f"{own:.2f}"]
            if dense:
                other = min(seconds for seconds, _ in direct)
                apart = float((direct[0][1] - found[0][1]).abs().max())
                row += [f"{other:.2f}", f"**{other / own:.1f}**", f"{apart:.0e}"]
            else:
                row += ["not done", "", ""]
            lines.append("| " + " | ".join(row) + " |")
            print(lines[-1], flush=True)
    return lines


def timed(task: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    """Seconds and result."""
    result: list[torch.Tensor] = []
    return seconds_of(lambda: result.append(task()), "cpu"), result[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing is written")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each box of the models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    muse_lr.tune_malloc()
    shapes = [(2, 2, 2), (4, 4, 2)] if options.quick else [(4, 4, 4), (8, 8, 4)]
    sizes, crystals = ([1200], [1200]) if options.quick else ([3000, 10_000], [3000])
    rounds = 1 if options.quick else 3
    models = models_table(shapes, options.seconds)
    solves = equilibration_table(sizes, crystals, rounds)
    text = [
        "# charge_models",
        "",
        f"`python -m benchmarks.charge_models --seconds {options.seconds:g}`; "
        f"{describe_machine('vesin')}; one thread; times are processor times.",
        "",
        "Energy and forces of water by PaiNN (64 channels, 3 layers, 5 A) and a coulomb head, "
        "float32, charges in float64 where they are solved for; median over rounds:",
        "",
        *models,
        "",
        "Charge equilibration of water, from positions to charges, assembly included; widths "
        f"{WIDTHS['O']} and {WIDTHS['H']} A, accuracy {ACCURACY:g} in crystals. Asked: at least 2 "
        "times Cholesky's speed at 3000 atoms and 5 times at 10 000. The dense matrix of a crystal "
        "of 10 000 atoms is not made: its Ewald sum grows as n^3.",
        "",
        *solves,
        "",
    ]
    if not options.quick:
        (RESULTS / "charge_models.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()

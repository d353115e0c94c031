"""Numerics: batches, precision, repetition, and the growth of the cost."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Iterator
from functools import partial

import numpy as np
from ase import Atoms

from muse_lr.testing import checks
from muse_lr.testing.checks.comparison import compare
from muse_lr.testing.exam.bench import Bench
from muse_lr.testing.exam.check import Case, Check, Finding, Plot, each
from muse_lr.testing.exam.symmetry import ALL
from muse_lr.testing.measurement import Measurement
from muse_lr.testing.potentials import ModelPotential, Potential
from muse_lr.utils.tensor_memory import TensorMemory

#: Repetitions of a time; the fastest counts.
REPETITIONS = 3


class Batch(Check):
    """Structures together or one after another give the same as each alone."""

    name = "batch"
    equation = "E({A, B, ...}) = {E(A), E(B), ...}"
    tolerance, unit = 1e-8, "× max(1, largest value)"
    reason = "sums in another order differ by rounding errors, 1e-12 of the values"
    meaning = "The result for a structure depends on what was computed with it or before it."
    remedy = "Look for sums over the whole batch, and for lists or charges that are kept."

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All structures in one batch, isolated atoms included."""
        found = [atoms for _, atoms in bench.named("atoms", *ALL)]
        both = [*found, *reversed(found)]
        engine = partial(checks.check_batch, bench.potential, both, tolerance=self.tolerance)
        yield Case(f"{len(both)} structures", found[0], engine)


class Determinism(Check):
    """The same structure gives the same result again."""

    name = "determinism"
    equation = "E(A), F(A) again = E(A), F(A)"
    tolerance, unit = 1e-10, "× max(1, largest value)"
    reason = "parallel sums may change the last digits; 1e-10 leaves them room, noise exceeds it"
    meaning = "Energies are noisy: derivatives, relaxations and restarts are not reproducible."
    remedy = (
        "Look for dropout, random numbers, iterations that start from the last result, and "
        "lists with a skin."
    )

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All structures, computed again after another one."""
        found = bench.named(*ALL)
        other = found[-1][1]

        def measure(atoms: Atoms) -> Measurement:
            compute = bench.potential.offered(atoms)
            first = bench.potential.evaluate([atoms], compute)
            bench.potential.energies([other])
            again = bench.potential.evaluate([atoms], compute)
            return compare(self.name, first, again, self.tolerance, "when computed again")

        return each(found, measure)


class SinglePrecision(Check):
    """float32 agrees with float64."""

    name = "single_precision"
    equation = "F(float32) = F(float64)"
    tolerance, unit = 1e-3, "× max(1 eV/Å, largest force)"
    reason = "a tenth of the force errors of a good model; rounding errors are 1e-5 eV/Å"
    meaning = "Fast dynamics in float32 follows other forces than those that were tested."
    remedy = "Sum charges and energies in float64; avoid differences of large numbers."
    needs = ("forces",)

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All structures in both precisions."""
        single = bench.in_single_precision()
        return each(bench.named(*ALL), partial(self._measure, bench, single))

    def _measure(self, bench: Bench, single: Potential, atoms: Atoms) -> Measurement:
        exact = bench.potential.evaluate([atoms], ("forces",)).get("forces")
        found = single.evaluate([atoms], ("forces",)).get("forces")
        limit = self.tolerance * max(1.0, float(np.abs(exact).max(initial=0.0)))
        value = float(np.abs(found - exact).max(initial=0.0))
        what = "largest difference of forces in float32"
        return Measurement(self.name, value, limit, "eV/A", what)


class Growth(Check):
    """What the checks of the cost have in common."""

    tolerance = 32.0
    reason = "linear cost has 4, quadratic 16, cubic 64; 32 is in the middle of the last two"
    remedy = "Use neighbor lists instead of all pairs, and iterations instead of dense solvers."
    cost = 6.0

    def cases(self, bench: Bench) -> Iterator[Case]:
        """A crystal, and one of four times as many atoms."""
        where, atoms = bench.named("perfect")[0]
        small = 3 if bench.quick else 4
        sizes = [atoms.repeat((small, small, small)), atoms.repeat((2 * small, 2 * small, small))]
        measure = partial(self._growth, bench, sizes)
        yield Case(f"{where}, {len(sizes[0])} and {len(sizes[1])} atoms", sizes[1], measure)

    def _growth(self, bench: Bench, sizes: list[Atoms]) -> Measurement:
        costs = [self.measured(bench, atoms) for atoms in sizes]
        ratio = costs[1] / max(costs[0], 1e-12)
        what = f"ratio of the {self.what} from N to 4 N atoms, {costs[0]:.3g} to {costs[1]:.3g}"
        at = np.array([len(atoms) for atoms in sizes], dtype=float)
        plot = Plot("atoms", self.what, {self.what: (at, np.array(costs))}, True)
        return Finding(self.name, ratio, self.tolerance, "", what, plot=plot)

    what: str

    def measured(self, bench: Bench, atoms: Atoms) -> float:
        """The cost of energy and forces."""
        raise NotImplementedError


class TimeGrowth(Growth):
    """Four times as many atoms take less than 32 times as long."""

    name = "time_growth"
    equation = "t(4 N) / t(N) ≤ 32"
    meaning = "Large systems are out of reach."
    what = "time (s)"

    def measured(self, bench: Bench, atoms: Atoms) -> float:
        """Shortest processor time of some evaluations, programs that they start included."""
        compute = bench.potential.offered(atoms, ("forces",))
        times = []
        for _ in range(REPETITIONS):
            start = _processor_time()
            bench.potential.evaluate([atoms], compute)
            times.append(_processor_time() - start)
        return min(times)


def _processor_time() -> float:
    """Time of this process and of the ended ones that it started, s; others do not disturb it."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


class MemoryGrowth(Growth):
    """Four times as many atoms need less than 32 times as much memory."""

    name = "memory_growth"
    equation = "m(4 N) / m(N) ≤ 32"
    meaning = "Large systems do not fit."
    what = "memory (MB)"

    def measured(self, bench: Bench, atoms: Atoms) -> float:
        """Peak of the tensors of a model, or of what Python and NumPy allocate."""
        compute = bench.potential.offered(atoms, ("forces",))
        if isinstance(bench.subject, ModelPotential):
            with TensorMemory() as memory:
                bench.potential.evaluate([atoms], compute)
            return memory.peak / 1e6
        tracemalloc.start()
        try:
            bench.potential.evaluate([atoms], compute)
            return tracemalloc.get_traced_memory()[1] / 1e6
        finally:
            tracemalloc.stop()

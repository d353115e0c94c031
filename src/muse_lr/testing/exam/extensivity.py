"""Extensivity: energies of cells and of far parts add up."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from ase import Atoms

from muse_lr.testing import checks
from muse_lr.testing.exam.bench import Bench, charged
from muse_lr.testing.exam.check import Case, Check, each, require
from muse_lr.testing.measurement import Measurement


class Supercell(Check):
    """A supercell of n cells has n times the energy, and the same forces, stress and charges."""

    name = "supercell"
    equation = "E(n A) = n E(A)"
    tolerance, unit = 1e-6, "× max(1, largest value)"
    reason = (
        "1e-6 eV per cell is far below thermal energies, and above what sums of waves leave out"
    )
    meaning = (
        "Energies per atom depend on the size of the cell: surfaces, defects and equations "
        "of state are wrong by it."
    )
    remedy = (
        "Look for means over atoms, for images within the cutoff that are missing, and for "
        "sums of waves whose grid depends on the cell."
    )
    cost = 2.0

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Doubled cells along the first periodic direction, and along all of them."""
        found = bench.named("crystals", "slabs")
        engine = partial(checks.check_supercell, bench.potential, tolerance=self.tolerance)
        yield from each(found, engine)
        yield from each(found[:1], partial(engine, repeats=(2, 2, 2)))


class FarFragments(Check):
    """What the checks of far fragments have in common."""

    tolerance, unit = 1e-6, "× max(1 eV, energy)"
    reason = (
        "at 200 Å the Coulomb energy between the reported charges is subtracted; without charges "
        "the terms in 1/R and 1/R² are extrapolated, and 5e-6 eV remain for dipoles"
    )
    meaning = (
        "A part of the structure feels what is infinitely far: dissociation, dilution and "
        "adsorption energies are wrong, and errors grow with the system."
    )
    remedy = (
        "Look for means or softmaxes over all atoms, a global node, or a charge constraint "
        "that is shared; with size_consistent = False the error is declared, and known."
    )


class FarCopies(FarFragments):
    """Two far copies have twice the energy plus their Coulomb tail."""

    name = "far_copies"
    equation = "E(A + A at 200 Å) = 2 E(A) + k Σ qᵢ qⱼ / rᵢⱼ"

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Every molecule and isolated atom, with itself."""
        engine = partial(checks.check_far_copies, bench.potential, tolerance=self.tolerance)
        return each(bench.named("molecules", "atoms"), partial(engine, strict=True, seed=1))


class UnlikeFragments(FarFragments):
    """Two different far molecules interact through their Coulomb tail only."""

    name = "unlike_fragments"
    equation = "E(A + B at 200 Å) = E(A) + E(B) + k Σ qᵢ qⱼ / rᵢⱼ"

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Pairs of molecules of different composition or geometry."""
        pairs = list(pairwise(bench.named("molecules", "atoms")))
        require(bool(pairs), "only one molecule")
        for (first, a), (second, b) in pairs:
            yield Case(f"{first} and {second}", a, self._engine(bench, a, b))

    def _engine(self, bench: Bench, a: Atoms, b: Atoms) -> partial[Measurement]:
        engine = checks.check_size_consistency
        return partial(engine, bench.potential, a, b, tolerance=self.tolerance, seed=1)


class LeavingIon(UnlikeFragments):
    """An ion that leaves a molecule takes its charge with it."""

    name = "leaving_ion"
    equation = "E(A⁻ + B⁺ at 200 Å) = E(A⁻) + E(B⁺) + k Σ qᵢ qⱼ / rᵢⱼ"
    meaning = (
        "A dissociated ion does not have the energy of a free one: fractional charges are "
        "shared over any distance, as by charge equilibration without a penalty."
    )
    remedy = "Let charges move between neighbors only, or declare size_consistent = False."

    def cases(self, bench: Bench) -> Iterator[Case]:
        """A negative molecule and a positive ion, stated or by nature."""
        name, ion = bench.ion(1)
        for where, atoms in bench.named("molecules"):
            rest = charged(atoms, -1) if bench.reads_charge else atoms
            yield Case(f"{where} and {name}", rest, self._engine(bench, rest, ion))

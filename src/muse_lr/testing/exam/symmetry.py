"""Symmetries: other descriptions of the same structure give the same results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar

from muse_lr.testing import checks
from muse_lr.testing.exam.bench import Bench
from muse_lr.testing.exam.check import Case, Check, each
from muse_lr.testing.measurement import Measurement

ALL = ("molecules", "crystals", "slabs")
PERIODIC = ("crystals", "slabs")
#: Largest number of cells by which an atom is moved in :class:`FarImages`.
MANY_CELLS = 50


class Symmetry(Check):
    """A symmetry that a function of :mod:`muse_lr.testing.checks` measures."""

    tolerance, unit = 1e-6, "× max(1, largest value)"
    reason = (
        "1e-6 eV and eV/Å are a thousandth of what dynamics and relaxations resolve, and far above "
        "the rounding errors of float64"
    )
    kinds: ClassVar[tuple[str, ...]] = ALL
    engine: ClassVar[Callable[..., Measurement]]

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Measure every structure of the kinds."""
        engine = partial(self.engine, bench.potential, tolerance=self.tolerance, seed=1)
        return each(bench.named(*self.kinds), engine)


class Translation(Symmetry):
    """A rigid shift changes nothing but the dipole of an ion."""

    name = "translation"
    equation = "E(r + t) = E(r), F' = F, μ' = μ + t Σ q"
    meaning = "The energy depends on where the structure is: momentum is not conserved."
    remedy = "Use differences of positions only; look for grids that do not move with the atoms."
    engine = staticmethod(checks.check_translation)


class Rotation(Symmetry):
    """A rotation of atoms and cell rotates forces, stress and dipole."""

    name = "rotation"
    equation = "E' = E, F' = R F, σ' = R σ Rᵀ, μ' = R μ"
    meaning = "Results depend on the orientation; angular momentum is not conserved."
    remedy = "Look for features along fixed axes, and for the order of tensor components."
    engine = staticmethod(checks.check_rotation)


class Reflection(Symmetry):
    """A mirror image has the same energy."""

    name = "reflection"
    equation = "E' = E, F' = R F with det R = -1"
    meaning = "Enantiomers get different energies."
    remedy = "Look for cross products that enter the energy linearly, and for det C without |...|."
    engine = staticmethod(checks.check_reflection)


class Permutation(Symmetry):
    """The order of the atoms changes nothing."""

    name = "permutation"
    equation = "E(P r) = E(r), F' = P F"
    meaning = "Results depend on how a file lists the atoms."
    remedy = "Sum over neighbors; look for state that is kept by index between calls."
    engine = staticmethod(checks.check_permutation)


class Wrapping(Symmetry):
    """Atoms moved by a few lattice vectors change nothing."""

    name = "wrapping"
    equation = "E(rᵢ + n C) = E(r), |n| ≤ 2"
    meaning = "The energy jumps when an atom crosses the border of the cell."
    remedy = "Take every distance to the periodic images; wrap positions for the list only."
    kinds = PERIODIC
    engine = staticmethod(checks.check_wrapping)


class FarImages(Symmetry):
    """Atoms moved by many lattice vectors change nothing."""

    name = "far_images"
    equation = f"E(rᵢ + n C) = E(r), |n| ≤ {MANY_CELLS}"
    meaning = "Long dynamics with unwrapped positions, in which atoms diffuse, goes wrong."
    remedy = "Wrap the positions before neighbors are searched; a fixed range of images is too few."
    kinds = PERIODIC
    engine = staticmethod(partial(checks.check_wrapping, cells=MANY_CELLS))


class EquivalentCell(Symmetry):
    """Other vectors of the same lattice change nothing."""

    name = "equivalent_cell"
    equation = "E(U C) = E(C), U integer, det U = 1"
    meaning = "A skewed description of a crystal has another energy: images are missing."
    remedy = "Search images by the heights of the cell, not by the lengths of its vectors."
    kinds = PERIODIC
    engine = staticmethod(partial(checks.check_equivalent_cell, invert=False))


class LeftHandedCell(Symmetry):
    """A cell of negative determinant is as good as any."""

    name = "left_handed_cell"
    equation = "E(U C) = E(C), U = diag(1, 1, -1)"
    meaning = "The volume has a sign: energies or stresses of left-handed cells change theirs."
    remedy = "Use |det C| for volumes."
    kinds = PERIODIC
    engine = staticmethod(partial(checks.check_equivalent_cell, steps=0))

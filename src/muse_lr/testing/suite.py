"""The physics exam as a test class for pytest.

Example
-------
::

    from muse_lr.testing import Exam


    class TestMyPotential(Exam):
        elements = ["H", "O"]

        def potential(self):
            return make_my_calculator()
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ase import Atoms

from muse_lr.errors import InputError
from muse_lr.testing import strategies
from muse_lr.testing.exam.bench import Bench
from muse_lr.testing.exam.check import Result
from muse_lr.testing.exam.execute import run_check
from muse_lr.testing.exam.explain import explained
from muse_lr.testing.exam.registry import check_class, chosen_checks
from muse_lr.testing.exam.structures import Structures, from_elements, smallest_distance
from muse_lr.testing.potentials import Subject, as_potential

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

#: Checks that are cheap enough for drawn structures.
DRAWN = (
    "translation",
    "rotation",
    "reflection",
    "permutation",
    "wrapping",
    "equivalent_cell",
    "left_handed_cell",
    "supercell",
    "far_copies",
    "forces",
    "stress",
    "batch",
)


class CounterExample(AssertionError):  # noqa: N818 - reads as what it is
    """A drawn structure on which a check fails; the message explains it."""


class Exam:
    """The exam as tests on its own structures (``test_check``) and on drawn ones (``test_drawn``).

    A subclass whose name begins with ``Test`` defines :meth:`potential` and ``elements``. Drawn
    structures need Hypothesis (extra ``exam``), and shrink to a small counterexample that is
    printed as code.

    Attributes
    ----------
    elements : sequence of str
    quick : bool
        Fewer and smaller structures.
    only : sequence of str
        Names of checks; all of them by default.
    examples : int
        Number of structures that are drawn for each check.
    most_atoms : int
        Largest number of atoms of a drawn structure.
    charges : sequence of int
        Total charges to draw from, e, if energy or charges of the potential follow a stated total
        charge (``info["total_charge"]``); examples shrink toward the first.
    """

    elements: ClassVar[Sequence[str]] = ()
    quick: ClassVar[bool] = True
    only: ClassVar[Sequence[str]] = ()
    examples: ClassVar[int] = 10
    most_atoms: ClassVar[int] = 8
    charges: ClassVar[Sequence[int]] = (0, 1, -1)

    def potential(self) -> Subject:
        """Make the potential: an ASE calculator, a model or a Potential, in float64."""
        raise InputError(f"{type(self).__name__}: define potential(self), which returns it")

    def structures(self) -> SearchStrategy[Atoms]:
        """Strategy of the drawn structures; override it for others."""
        return strategies.all_arrangements(
            self.elements,
            max_atoms=self.most_atoms,
            minimum_distance=smallest_distance(self.elements),
            charges=self.charges if self._bench().accepts_charge else (0,),
        )

    @classmethod
    def pytest_generate_tests(cls, metafunc: Any) -> None:
        """One test for each check."""
        if "check" in metafunc.fixturenames:
            names = [check.name for check in chosen_checks(cls.only)]
            drawn = metafunc.function.__name__ == "test_drawn"
            metafunc.parametrize("check", [n for n in names if n in DRAWN or not drawn])

    def test_check(self, check: str) -> None:
        """A check on the structures of the exam."""
        report(run_check(check_class(check), self._bench()))

    def test_drawn(self, check: str) -> None:
        """A check on drawn structures."""
        import pytest

        pytest.importorskip("hypothesis", reason="needs the extra muse_lr[exam]")
        potential = self._bench().subject
        results: list[Result] = []

        def holds(atoms: Atoms) -> None:
            result = run_check(check_class(check), Bench(potential, only_of(atoms), self.quick))
            results.append(result)
            if result.status == "fail":
                raise CounterExample(explained(result))

        try:
            _for_all(self.structures(), holds, self.examples)
        except CounterExample as failure:
            pytest.fail(str(failure), pytrace=False)
        if all(result.status == "skipped" for result in results):
            pytest.skip(results[0].why if results else "no structure was drawn")

    def _bench(self) -> Bench:
        """Potential and structures, made once for the class."""
        cls = type(self)
        if "_shared" not in vars(cls):
            made = from_elements(cls.elements, cls.quick)
            shared = Bench(as_potential(self.potential()), made, cls.quick)
            shared.require_support()
            cls._shared = shared
        return cls._shared

    _shared: ClassVar[Bench]


def report(result: Result) -> None:
    """The result of a check as that of the running test; ``known`` is an expected failure."""
    import pytest

    if result.status == "fail":
        pytest.fail(explained(result), pytrace=False)
    if result.status == "known":
        pytest.xfail(result.why)
    if result.status == "skipped":
        pytest.skip(result.why)


def only_of(atoms: Atoms) -> Structures:
    """Structures of an exam that has a single one."""
    kinds: dict[str, list[tuple[str, Atoms]]] = {
        kind: [] for kind in ("molecules", "crystals", "slabs", "perfect", "atoms")
    }
    kind = {0: "molecules", 2: "slabs", 3: "crystals"}[int(atoms.pbc.sum())]
    kinds[kind].append((f"drawn {atoms.get_chemical_formula()}", atoms))
    return Structures(tuple(sorted(set(atoms.symbols))), **kinds)


def _for_all(strategy: SearchStrategy[Atoms], holds: Any, examples: int) -> None:
    """Run ``holds`` on drawn structures; the error is that of the smallest one that was found."""
    from hypothesis import HealthCheck, Phase, given, settings

    settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )(given(atoms=strategy)(holds))()

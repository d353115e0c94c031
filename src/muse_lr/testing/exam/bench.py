"""The potential of an exam, its structures, and what is found out about both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.errors import InputError
from muse_lr.structures.state import CHARGE_KEYS, FIELD_KEY
from muse_lr.testing.exam.check import require
from muse_lr.testing.exam.structures import Named, Structures, bond_length
from muse_lr.testing.exam.subject import ConstantCharges, with_constant_charges
from muse_lr.testing.measurement import NotApplicable
from muse_lr.testing.potentials import Outputs, Potential

Array = NDArray[np.float64]
#: Charges and dipoles (e, e A) below this count as none.
NEGLIGIBLE = 1e-2
#: Errors by which a potential refuses a structure; any other one is a crash.
REFUSALS = (InputError, NotImplementedError, NotApplicable)


class Recorder(Potential):
    """A potential that remembers the structures of its last evaluation.

    Parameters
    ----------
    inner : Potential

    Attributes
    ----------
    last : ase.Atoms or None
        The first structure of the last evaluation, or the one that raised an error.
    """

    def __init__(self, inner: Potential) -> None:
        self.inner = inner
        self.provides, self.cutoff = inner.provides, inner.cutoff
        self.size_consistent, self.coulomb = inner.size_consistent, inner.coulomb
        self.last: Atoms | None = None

    def evaluate(self, structures: Sequence[Atoms], compute: Sequence[str] = ()) -> Outputs:
        """See :meth:`Potential.evaluate`."""
        self.last = structures[0]
        try:
            return self.inner.evaluate(structures, compute)
        except REFUSALS:
            raise
        except (Exception, SystemExit):
            self._find_culprit(structures, compute)
            raise

    def _find_culprit(self, structures: Sequence[Atoms], compute: Sequence[str]) -> None:
        for atoms in structures if len(structures) > 1 else ():
            self.last = atoms
            self.inner.evaluate([atoms], compute)


@dataclass
class Bench:
    """Everything that a check may use.

    Parameters
    ----------
    subject : Potential
        In float64.
    structures : Structures
    quick : bool
        Whether fewer and smaller structures are used.
    single : callable, optional
        Makes the potential in float32; None if it has one precision only.
    """

    subject: Potential
    structures: Structures
    quick: bool = False
    single: Callable[[], Potential] | None = None
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.subject = with_constant_charges(self.subject)
        self.recorder = Recorder(self.subject)

    def prepared(self, atoms: Atoms) -> Atoms:
        """The structure as it is evaluated, with the total charge that the model accepts."""
        subject = self.subject
        return subject.prepared(atoms) if isinstance(subject, ConstantCharges) else atoms

    def in_single_precision(self) -> Potential:
        """The potential in float32; NotApplicable if it has one precision only."""
        if self.single is None:
            raise NotApplicable("the potential has one precision: its factory takes no dtype")
        return with_constant_charges(self.single())

    def require_support(self) -> None:
        """Refuse a potential that supports none of the structures.

        Raises
        ------
        InputError
            With its reason for the first one.
        """
        kinds = (self.structures.molecules, self.structures.crystals, self.structures.slabs)
        reasons = [self.refusal(kind[0][1]) for kind in kinds]
        if None not in reasons:
            raise InputError(f"the potential supports no structure of the exam: {reasons[0]}")

    @property
    def potential(self) -> Potential:
        """The potential, whose evaluations are recorded."""
        return self.recorder

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements of the exam."""
        return self.structures.elements

    @property
    def inconsistent(self) -> str:
        """What explains an effect of far fragments on each other; empty if nothing does."""
        declared = not self.potential.size_consistent
        return "the potential declares size_consistent: false" if declared else ""

    def named(self, *kinds: str) -> list[Named]:
        """Structures of these kinds that the potential supports.

        Raises
        ------
        NotApplicable
            If it supports none of these kinds.
        """
        found = [pair for kind in kinds for pair in getattr(self.structures, kind)]
        supported = [pair for pair in found if self.refusal(pair[1]) is None]
        if not supported:
            reasons = [self.refusal(atoms) for _, atoms in found]
            raise NotApplicable(next(filter(None, reasons), f"there are no {kinds[0]}"))
        return supported

    def sample(self, *kinds: str) -> list[Named]:
        """As :meth:`named`; one structure of each kind if the exam is quick."""
        found = self.named(*kinds)
        if not self.quick:
            return found
        chosen: dict[int, Named] = {}
        for named in found:
            chosen.setdefault(int(named[1].pbc.sum()), named)
        return list(chosen.values())

    def refusal(self, atoms: Atoms) -> str | None:
        """Why the potential refuses the boundaries of a structure; None if it does not."""
        directions = int(atoms.pbc.sum())
        if directions not in self._refusals:
            self._refusals[directions] = self._refused(atoms)
        return self._refusals[directions]

    @cached_property
    def _refusals(self) -> dict[int, str | None]:
        return {}

    def _refused(self, atoms: Atoms) -> str | None:
        try:
            self.subject.energies([atoms])
        except REFUSALS as error:
            return " ".join(str(error).split()) or "the potential refuses the boundaries"
        except (Exception, SystemExit):  # found again, and reported, by the checks
            return None
        return None

    @cached_property
    def reads_charge(self) -> bool:
        """Whether the charges of a molecule follow its stated total charge."""
        if "charges" not in self.subject.provides:
            return False
        atoms = self.structures.molecules[0][1]
        sums = []
        for charge in (0, 1):
            try:
                stated = charged(atoms, charge)
                sums.append(self.subject.evaluate([stated], ("charges",)).get("charges").sum())
            except REFUSALS:
                return False
        return abs(sums[1] - sums[0]) > NEGLIGIBLE

    @cached_property
    def accepts_charge(self) -> bool:
        """Whether energy or charges of a structure follow its stated total charge."""
        try:
            atoms = self.named("molecules", "crystals", "slabs")[0][1]
            energies = self.subject.energies([charged(atoms, charge) for charge in (0, 1)])
            return abs(float(energies[1] - energies[0])) > 1e-9 or self.reads_charge
        except REFUSALS:
            return False
        except (Exception, SystemExit):  # found again, and reported, by the checks
            return True

    @cached_property
    def fixed_charges(self) -> dict[str, float]:
        """Charge of each element (e) if the charges depend on nothing else; empty otherwise."""
        if "charges" not in self.subject.provides:
            return {}
        found = {symbol: float(self.charges(Atoms(symbol)).sum()) for symbol in self.elements}
        for _, atoms in self.structures.molecules:
            expected = np.array([found.get(symbol, np.nan) for symbol in atoms.symbols])
            if not np.allclose(self.charges(atoms), expected, atol=1e-9):
                return {}
        return found if max(map(abs, found.values())) > NEGLIGIBLE else {}

    @cached_property
    def field_refusal(self) -> str | None:
        """Why a uniform electric field has no effect on a molecule; None if it has one."""
        atoms = self.dipolar()[1].copy()
        before = self.subject.energies([atoms])[0]
        atoms.info[FIELD_KEY] = [0.0, 0.0, 0.1]
        try:
            change = abs(self.subject.energies([atoms])[0] - before)
        except REFUSALS as error:
            return " ".join(str(error).split())
        return None if change > 1e-9 else "the potential does not read info['electric_field']"

    def charges(self, atoms: Atoms) -> Array:
        """Charges of a structure, (n_atoms,) in e; NotApplicable without any."""
        return self.potential.evaluate([atoms], ("charges",)).get("charges")

    def needs_coulomb(self) -> None:
        """Raise :class:`NotApplicable` unless charges and their Coulomb energy are expected."""
        require("charges" in self.potential.provides, "the potential has no charges")
        require(
            self.potential.coulomb is not False,
            "the energy of the potential has no Coulomb term of its charges",
        )

    def ion(self, sign: int) -> Named:
        """An isolated atom with a charge of this sign, stated or by nature."""
        if self.reads_charge:
            symbol = self.elements[0] if sign > 0 else self.elements[-1]
            return f"{symbol}{'+' if sign > 0 else '-'}", charged(Atoms(symbol), sign)
        for symbol in self.elements:
            charge = float(self.charges(Atoms(symbol)).sum())
            if charge * sign > NEGLIGIBLE:
                return f"{symbol} of {charge:+.3g} e", Atoms(symbol)
        word = "positive" if sign > 0 else "negative"
        raise NotApplicable(f"no {word} ion: charges follow no stated total charge")

    def dipolar(self, along: int = 2) -> Named:
        """The neutral diatomic molecule with the largest dipole, along an axis."""
        best: tuple[float, str, Atoms] | None = None
        for first, second in combinations_with_replacement(self.elements[:6], 2):
            atoms = Atoms([first, second], np.zeros((2, 3)))
            atoms.positions[1, along] = bond_length(first, second)
            charges = self.charges(atoms)
            size = abs(float(charges @ atoms.positions[:, along]))
            neutral = abs(charges.sum()) < 1e-6
            if neutral and size > NEGLIGIBLE and (best is None or size > best[0]):
                best = size, f"{first}{second}", atoms
        if best is None:
            raise NotApplicable("no neutral diatomic molecule has a dipole of its charges")
        return best[1], best[2]


def charged(atoms: Atoms, charge: float) -> Atoms:
    """Copy with a stated total charge."""
    copy = atoms.copy()
    for key in CHARGE_KEYS:
        copy.info.pop(key, None)
    copy.info["total_charge"] = charge
    return copy

"""The potential of an exam: a model file, or what ``module:factory`` makes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from muse_lr.config.plugins import load_attribute
from muse_lr.errors import InputError, described
from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.serialization import load_model
from muse_lr.structures.state import CHARGE_KEYS, SPIN_KEYS
from muse_lr.testing.potentials import (
    CalculatorPotential,
    ModelPotential,
    Outputs,
    Potential,
    as_potential,
)

#: Attributes of a calculator by which it declares what the checks cannot know.
DECLARED = ("cutoff", "size_consistent", "coulomb")
Maker = Callable[[], Potential]


def from_model(model: EnergyModel) -> tuple[Potential, Maker]:
    """A copy of the model in float64, and a maker of one in float32."""

    def cast(dtype: torch.dtype) -> Potential:
        own = copy.deepcopy(model).to(dtype).eval().requires_grad_(False)
        return ModelPotential(own)

    return cast(torch.float64), lambda: cast(torch.float32)


class ConstantCharges(ModelPotential):
    """A model that accepts no total charge but the sum of its constant charges of the elements.

    Every structure is evaluated with this total charge.
    """

    def __init__(self, model: EnergyModel, constants: Mapping[str, float]) -> None:
        super().__init__(model)
        self.constants = dict(constants)

    def prepared(self, atoms: Atoms) -> Atoms:
        """Copy with the total charge that the model accepts, and the lowest spin of it."""
        prepared = atoms.copy()
        for key in (*CHARGE_KEYS, *SPIN_KEYS):
            prepared.info.pop(key, None)
        total = sum(self.constants.get(symbol, 0.0) for symbol in atoms.symbols)
        prepared.info[CHARGE_KEYS[0]] = float(total)
        return prepared

    def evaluate(self, structures: Sequence[Atoms], compute: Sequence[str] = ()) -> Outputs:
        """See :meth:`Potential.evaluate`."""
        return super().evaluate([self.prepared(atoms) for atoms in structures], compute)


def with_constant_charges(potential: Potential) -> Potential:
    """:class:`ConstantCharges` for a model with ``net_charge: refuse``; others unchanged."""
    if type(potential) is not ModelPotential:
        return potential
    charges = potential.model.config.charges
    if getattr(charges, "net_charge", None) != "refuse":
        return potential
    return ConstantCharges(potential.model, getattr(charges, "by_element", {}))


def from_model_file(
    path: str | Path, trust: bool = False
) -> tuple[Potential, Maker, tuple[str, ...]]:
    """Both precisions of a model file (:func:`from_model`), and its elements.

    Raises
    ------
    InputError
        If the file is no model.
    """
    model = load_model(path, trust=trust)
    return *from_model(model), tuple(model.elements)


def from_factory(path: str, option: str = "--calculator") -> tuple[Potential, Maker | None]:
    """The potential that ``module:factory`` makes, and a maker of it in float32.

    The factory is called without arguments and returns an ASE calculator, a model or a
    :class:`~muse_lr.testing.Potential`. If it has a parameter ``dtype``, it receives ``"float64"``
    and, for a comparison, ``"float32"``. A calculator may have the attributes ``cutoff`` (A),
    ``size_consistent`` and ``coulomb``, as in :class:`~muse_lr.testing.Potential`.

    Parameters
    ----------
    path : str
        The module may be a file of the working directory.
    option : str
        Name of the option in messages.

    Raises
    ------
    InputError
        If it cannot be imported or called, or returns something else.
    """
    what = f"{option} {path!r}"
    factory = load_attribute(path, what)
    if isinstance(factory, (Potential, BaseCalculator, EnergyModel)):
        return _declared(factory), None
    if not callable(factory):
        raise InputError(f"{what}: {described(factory)} cannot be called")
    if not _takes_dtype(factory):
        return _made(factory, what), None
    return _made(factory, what, dtype="float64"), lambda: _made(factory, what, dtype="float32")


def elements_of(potential: Potential) -> tuple[str, ...]:
    """Elements that a potential declares; empty if it declares none."""
    if isinstance(potential, ModelPotential):
        return tuple(potential.model.elements)
    declared = getattr(getattr(potential, "calculator", potential), "elements", ())
    return tuple(map(str, declared)) if isinstance(declared, (tuple, list)) else ()


def _takes_dtype(factory: Callable[..., Any]) -> bool:
    try:
        return "dtype" in inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a compiled function has no signature
        return False


def _made(factory: Callable[..., Any], what: str, **options: str) -> Potential:
    try:
        made = factory(**options)
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{what} failed: {reason}") from error
    if isinstance(made, EnergyModel):
        wanted = torch.float32 if options.get("dtype") == "float32" else torch.float64
        return ModelPotential(copy.deepcopy(made).to(wanted).eval().requires_grad_(False))
    if isinstance(made, (Potential, BaseCalculator)):
        return _declared(made)
    raise InputError(
        f"{what} returns {described(made)}: it must return an ASE calculator, a model or a "
        "muse_lr.testing.Potential"
    )


def _declared(made: Potential | EnergyModel | BaseCalculator) -> Potential:
    """Wrap a calculator, with what its attributes declare."""
    potential = as_potential(made)
    if isinstance(potential, CalculatorPotential):
        for name in DECLARED:
            value = getattr(potential.calculator, name, None)
            if isinstance(value, (bool, int, float)):
                setattr(potential, name, value)
    return potential

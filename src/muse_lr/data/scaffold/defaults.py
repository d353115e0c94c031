"""Rules by which the charges, the global inputs of the backbone and the E0s follow from the data.

Each rule gives a value and the reason for it, which is written beside the value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from muse_lr.data.isolated import is_isolated
from muse_lr.data.molecules import find_pieces
from muse_lr.structures.state import read_state

#: Usual charges of elements in ions and ionic compounds, e. Elements of several usual charges, such
#: as carbon, nitrogen, sulfur and most transition metals, are not listed.
FORMAL_CHARGES = {
    **dict.fromkeys(("H", "Li", "Na", "K", "Rb", "Cs"), 1),
    **dict.fromkeys(("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"), 2),
    **dict.fromkeys(("Al", "Ga", "Sc", "Y", "La"), 3),
    **dict.fromkeys(("Si", "Ti", "Zr", "Hf"), 4),
    **dict.fromkeys(("F", "Cl", "Br", "I"), -1),
    "O": -2,
}
NOBLE_GASES = ("He", "Ne", "Ar", "Kr", "Xe", "Rn")
#: Number of frames whose pieces are looked for.
SAMPLED = 32
#: Largest fraction of pieces whose charge does not fit, such as molecules that share a proton.
MISFITS = 0.02
#: Largest number of formulas that a reason lists.
LISTED = 4


@dataclass(frozen=True)
class Charges:
    """Default of ``model.charges``.

    Attributes
    ----------
    kind : str
    reason : str
    by_element : dict of str to int
        Constant charges of ``split``, e.
    """

    kind: str
    reason: str
    by_element: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Embedding:
    """Default of ``model.backbone.embed``: names of the inputs, and the reason."""

    names: tuple[str, ...]
    reason: str


def choose_charges(structures: Sequence[Atoms]) -> Charges:
    """Choose the charge model for ions and molecules that can part, or for what cannot.

    The kind ``split`` is size-consistent if constants of the elements give the charge of every
    piece (:func:`~muse_lr.data.molecules.find_pieces`). Sets of constants are tried in this order:
    none, and those of the elements that occur as single atoms (:data:`FORMAL_CHARGES`). Formal
    charges of all elements are not tried, because they are far from the charges of covalent bonds:
    their Coulomb energy is thousands of eV in silicates. A set fits if the constants of each frame
    sum to its total charge, and if each piece has an even number of electrons, since pieces with an
    odd number are ions or radicals. A single atom that is no noble gas is an ion.

    Parameters
    ----------
    structures : sequence of ase.Atoms

    Returns
    -------
    Charges
        ``split`` if several pieces occur in a frame, or total charges vary among open structures,
        and a set of constants fits; otherwise ``conserved``.
    """
    frames = [atoms for atoms in structures if not is_isolated(atoms)]
    sample = frames[:: max(1, len(frames) // SAMPLED)]
    pieces = [(atoms, [atoms[piece] for piece in find_pieces(atoms)]) for atoms in sample]
    totals = {read_state(atoms).total_charge for atoms in frames if not atoms.pbc.any()}
    several = any(len(parts) > 1 for _, parts in pieces)
    if not several and len(totals) < 2:
        if all(atoms.pbc.all() for atoms in frames):
            text = "every frame is one network, so that nothing separates, and conserved, which is "
            return Charges("conserved", text + "not size-consistent, is enough")
        text = "every frame is one molecule or network, so that nothing separates. Use split to "
        return Charges(
            "conserved", text + "simulate several pieces: conserved is not size-consistent"
        )
    parts = [part for _, found in pieces for part in found]
    candidates = _candidates(parts)
    for constants in candidates:
        if _fit_totals(constants, frames) and _fit_pieces(constants, parts):
            return Charges("split", _split_reason(constants, several), constants)
    return Charges("conserved", _conserved_reason(parts, candidates))


def choose_embedding(structures: Sequence[Atoms]) -> Embedding:
    """Choose the global inputs of the backbone.

    An input is chosen if frames of one composition (and, for the spin, of one total charge) differ
    in it: positions alone do not tell them apart. It is left out otherwise, because it makes the
    model not size-consistent.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    """
    charges: dict[str, set[float]] = {}
    spins: dict[tuple[str, float], set[float]] = {}
    for atoms in structures:
        state, formula = read_state(atoms), atoms.get_chemical_formula()
        charges.setdefault(formula, set()).add(state.total_charge)
        if state.spin_stated:
            spins.setdefault((formula, state.total_charge), set()).add(state.spin)
    differing = {
        "total_charge": any(len(values) > 1 for values in charges.values()),
        "spin": any(len(values) > 1 for values in spins.values()),
    }
    names = tuple(name for name, differs in differing.items() if differs)
    listed = " and ".join(names).replace("_", " ")
    if names:
        text = (
            f"frames of one composition differ in {listed}, which positions do not tell. With an "
        )
        return Embedding(names, text + "input of the whole structure it is not size-consistent")
    total = {value for values in charges.values() for value in values}
    if len(total) > 1:
        text = "not needed, as the composition tells the total charge, and not size-consistent"
        return Embedding((), text)
    return Embedding((), "")


def _candidates(parts: Sequence[Atoms]) -> list[dict[str, int]]:
    """Sets of constant charges of the elements, from the simplest."""
    single = {part.get_chemical_symbols()[0] for part in parts if len(part) == 1}
    sets = []
    for symbols in ((), single - set(NOBLE_GASES)):
        if all(symbol in FORMAL_CHARGES for symbol in symbols):
            ordered = sorted(symbols, key=lambda symbol: int(atomic_numbers[symbol]))
            sets.append({symbol: FORMAL_CHARGES[symbol] for symbol in ordered})
    return [constants for k, constants in enumerate(sets) if constants not in sets[:k]]


def _charge_of(atoms: Atoms, constants: Mapping[str, int]) -> int:
    return sum(constants.get(symbol, 0) for symbol in atoms.get_chemical_symbols())


def _fit_totals(constants: Mapping[str, int], frames: Sequence[Atoms]) -> bool:
    return all(
        abs(_charge_of(atoms, constants) - read_state(atoms).total_charge) < 1e-6
        for atoms in frames
    )


def _fit_pieces(constants: Mapping[str, int], parts: Sequence[Atoms]) -> bool:
    wrong = sum(_is_misfit(part, constants) for part in parts)
    return wrong <= MISFITS * len(parts)


def _is_misfit(part: Atoms, constants: Mapping[str, int]) -> bool:
    """Whether a piece cannot have the charge of its constants, if its electrons are paired."""
    charge = _charge_of(part, constants)
    if len(part) == 1 and part.get_chemical_symbols()[0] not in NOBLE_GASES and charge == 0:
        return True
    return bool((int(np.sum(part.numbers)) - charge) % 2)


def _split_reason(constants: Mapping[str, int], several: bool) -> str:
    what = "molecules that can separate" if several else "total charges that vary between frames"
    if not constants:
        return f"there are {what}: each keeps its charge, at any distance (size-consistent)"
    what = "ions and molecules that can separate" if several else what
    return (
        f"there are {what}. The constants by_element sum to the total charge of each frame, so "
        "that each ion keeps its charge, at any distance (size-consistent)"
    )


def _conserved_reason(parts: Sequence[Atoms], candidates: Sequence[Mapping[str, int]]) -> str:
    explained = candidates[min(1, len(candidates) - 1)]
    odd = Counter(
        part.get_chemical_formula("hill") for part in parts if _is_misfit(part, explained)
    )
    ions = f", such as {', '.join(name for name, _ in odd.most_common(LISTED))}," if odd else ""
    return (
        f"there are ions or radicals{ions} whose charges are not those of single atoms: split "
        "would make each piece neutral. conserved shifts all charges evenly, so that it is not "
        "size-consistent: an ion far from a molecule has another energy than alone"
    )

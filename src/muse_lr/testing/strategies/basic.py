"""Strategies of molecules, crystals, slabs and batches."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ase import Atoms

from muse_lr.errors import InputError
from muse_lr.testing import structures

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

ELEMENTS = ("H", "C", "O", "Na", "Cl")


def hypothesis_strategies() -> ModuleType:
    try:
        from hypothesis import strategies
    except ImportError as error:
        raise InputError(
            "muse_lr.testing.strategies needs Hypothesis: pip install 'muse_lr[exam]'"
        ) from error
    return strategies


def common_arguments(
    elements: Sequence[str], min_atoms: int, max_atoms: int, minimum_distance: float
) -> dict[str, Any]:
    """Arguments that all builders have in common."""
    if not elements or not 1 <= min_atoms <= max_atoms or minimum_distance <= 0:
        raise InputError(
            "strategies need elements, 1 <= min_atoms <= max_atoms and minimum_distance > 0; got "
            f"{list(elements)}, {min_atoms}, {max_atoms}, {minimum_distance}"
        )
    st = hypothesis_strategies()
    return {
        "symbols": st.lists(
            st.sampled_from(list(elements)), min_size=min_atoms, max_size=max_atoms
        ),
        "seed": st.integers(0, 2**16),
        "minimum_distance": st.just(minimum_distance),
    }


def _charges(charges: Sequence[int]) -> SearchStrategy[int]:
    return hypothesis_strategies().sampled_from(list(charges))


def with_charges(
    drawn: SearchStrategy[Atoms], charges: Sequence[int] = (0, 1, -1)
) -> SearchStrategy[Atoms]:
    """Structures of another strategy with a total charge in ``info["total_charge"]``.

    Parameters
    ----------
    drawn : SearchStrategy
        Draws structures.
    charges : sequence of int
        Total charges to draw from, e; examples shrink toward the first. A charge of 0 is not
        stored.
    """
    return hypothesis_strategies().builds(structures.with_charge, drawn, _charges(charges))


def molecules(
    elements: Sequence[str] = ELEMENTS,
    *,
    min_atoms: int = 1,
    max_atoms: int = 8,
    minimum_distance: float = 1.0,
    charges: Sequence[int] = (0,),
) -> SearchStrategy[Atoms]:
    """Clusters with open boundaries.

    Parameters
    ----------
    elements : sequence of str
        Elements to draw from; examples shrink toward the first.
    min_atoms, max_atoms : int
        Number of atoms, both ends included.
    minimum_distance : float
        Smallest distance between two atoms, periodic images included, A.
    charges : sequence of int
        Total charges to draw from, stored in ``info["total_charge"]`` unless they are 0.
    """
    common = common_arguments(elements, min_atoms, max_atoms, minimum_distance)
    return hypothesis_strategies().builds(structures.molecule, **common, charge=_charges(charges))


def isolated_atoms(
    elements: Sequence[str] = ELEMENTS, *, charges: Sequence[int] = (0,)
) -> SearchStrategy[Atoms]:
    """Single atoms with open boundaries, which have no edges."""
    return molecules(elements, min_atoms=1, max_atoms=1, charges=charges)


def crystals(
    elements: Sequence[str] = ELEMENTS,
    *,
    min_atoms: int = 1,
    max_atoms: int = 8,
    minimum_distance: float = 1.0,
    charges: Sequence[int] = (0,),
) -> SearchStrategy[Atoms]:
    """Structures periodic in three directions.

    Cells are cubic, triclinic, skewed, left-handed or so small that an atom neighbors its own
    images. Atoms are inside and outside of the cell. Parameters as for :func:`molecules`.
    """
    st = hypothesis_strategies()
    return st.builds(
        structures.crystal,
        **common_arguments(elements, min_atoms, max_atoms, minimum_distance),
        triclinic=st.booleans(),
        skewed=st.booleans(),
        left_handed=st.booleans(),
        outside=st.booleans(),
        charge=_charges(charges),
    )


def slabs(
    elements: Sequence[str] = ELEMENTS,
    *,
    min_atoms: int = 1,
    max_atoms: int = 8,
    minimum_distance: float = 1.0,
    charges: Sequence[int] = (0,),
) -> SearchStrategy[Atoms]:
    """Slabs with two periodic directions; any of the three cell vectors can be the open one.

    Parameters as for :func:`molecules`.
    """
    st = hypothesis_strategies()
    return st.builds(
        structures.slab,
        **common_arguments(elements, min_atoms, max_atoms, minimum_distance),
        open_axis=st.sampled_from((2, 1, 0)),
        vacuum=st.sampled_from((6.0, 20.0)),
        triclinic=st.booleans(),
        skewed=st.booleans(),
        left_handed=st.booleans(),
        outside=st.booleans(),
        charge=_charges(charges),
    )


def any_structures(
    elements: Sequence[str] = ELEMENTS,
    *,
    min_atoms: int = 1,
    max_atoms: int = 8,
    minimum_distance: float = 1.0,
    charges: Sequence[int] = (0,),
    with_slabs: bool = True,
) -> SearchStrategy[Atoms]:
    """Molecules, crystals and (``with_slabs``) slabs. Parameters as for :func:`molecules`."""
    options: dict[str, Any] = {
        "min_atoms": min_atoms,
        "max_atoms": max_atoms,
        "minimum_distance": minimum_distance,
        "charges": charges,
    }
    kinds = [molecules(elements, **options), crystals(elements, **options)]
    if with_slabs:
        kinds.append(slabs(elements, **options))
    return hypothesis_strategies().one_of(*kinds)


def mixed_batches(
    elements: Sequence[str] = ELEMENTS,
    *,
    min_structures: int = 2,
    max_structures: int = 4,
    max_atoms: int = 6,
    minimum_distance: float = 1.0,
    charges: Sequence[int] = (0,),
    with_slabs: bool = True,
) -> SearchStrategy[list[Atoms]]:
    """Lists of structures with different boundaries; the first is always an isolated atom.

    Parameters as for :func:`molecules`.
    """
    st = hypothesis_strategies()
    others = any_structures(
        elements,
        max_atoms=max_atoms,
        minimum_distance=minimum_distance,
        charges=charges,
        with_slabs=with_slabs,
    )
    return st.builds(
        lambda first, rest: [first, *rest],
        isolated_atoms(elements, charges=charges),
        st.lists(others, min_size=max(min_structures - 1, 0), max_size=max_structures - 1),
    )

"""Strategies of typical arrangements: lattices, liquids, surfaces, defects, near ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ase import Atoms

from muse_lr.testing import arrangements
from muse_lr.testing.strategies.basic import (
    ELEMENTS,
    any_structures,
    common_arguments,
    hypothesis_strategies,
    with_charges,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def bravais_crystals(
    elements: Sequence[str] = ELEMENTS,
    *,
    lattices: Sequence[str] = arrangements.LATTICES,
    minimum_distance: float = 1.0,
) -> SearchStrategy[Atoms]:
    """Perfect crystals of the 14 lattices of Bravais with one or two atoms in the primitive cell.

    Parameters
    ----------
    elements : sequence of str
        Elements to draw from; examples shrink toward the first.
    lattices : sequence of str
        Members of ``arrangements.LATTICES``; examples shrink toward the first.
    minimum_distance : float
        Smallest distance between two atoms, periodic images included, A.
    """
    st = hypothesis_strategies()
    common = common_arguments(elements, 1, 2, minimum_distance)
    return st.builds(
        arrangements.bravais_crystal, lattice=st.sampled_from(list(lattices)), **common
    )


def liquids(
    elements: Sequence[str] = ELEMENTS,
    *,
    min_atoms: int = 1,
    max_atoms: int = 16,
    minimum_distance: float = 1.0,
) -> SearchStrategy[Atoms]:
    """Disordered periodic structures of hard spheres.

    ``min_atoms`` and ``max_atoms`` include both ends; other parameters as for
    :func:`bravais_crystals`.
    """
    common = common_arguments(elements, min_atoms, max_atoms, minimum_distance)
    return hypothesis_strategies().builds(arrangements.liquid, **common)


def surfaces(
    elements: Sequence[str] = ELEMENTS,
    adsorbates: Sequence[str] | None = None,
    *,
    minimum_distance: float = 1.0,
) -> SearchStrategy[Atoms]:
    """Surfaces of one to three layers with an adsorbed atom or diatomic molecule.

    ``adsorbates`` are its elements, by default those of the surface; other parameters as for
    :func:`bravais_crystals`.
    """
    st = hypothesis_strategies()
    atom = st.sampled_from(list(adsorbates or elements))
    return st.builds(
        arrangements.surface,
        **common_arguments(elements, 1, 2, minimum_distance),
        adsorbate=st.lists(atom, min_size=1, max_size=2),
        layers=st.integers(1, 3),
        width=st.integers(1, 2),
        site=st.sampled_from(arrangements.SITES),
    )


def defects(
    elements: Sequence[str] = ELEMENTS, *, minimum_distance: float = 1.0
) -> SearchStrategy[Atoms]:
    """Crystals with a vacancy, an interstitial or a substitution.

    Parameters as for :func:`bravais_crystals`.
    """
    st = hypothesis_strategies()
    return st.builds(
        arrangements.defect,
        **common_arguments(elements, 1, 2, minimum_distance),
        kind=st.sampled_from(arrangements.DEFECTS),
        other=st.sampled_from(list(elements)),
        shape=st.sampled_from(((2, 1, 1), (2, 2, 1), (2, 2, 2))),
    )


def near_ties(
    elements: Sequence[str] = ELEMENTS,
    *,
    min_atoms: int = 2,
    max_atoms: int = 8,
    minimum_distance: float = 1.0,
) -> SearchStrategy[Atoms]:
    """Clusters and crystals whose distances nearly agree, to 1e-2 or down to 1e-12 A.

    Parameters as for :func:`liquids`.
    """
    st = hypothesis_strategies()
    return st.builds(
        arrangements.nearly_degenerate,
        **common_arguments(elements, min_atoms, max_atoms, minimum_distance),
        shift=st.sampled_from((1e-2, 1e-4, 1e-8, 1e-12)),
        periodic=st.booleans(),
    )


def all_arrangements(
    elements: Sequence[str] = ELEMENTS,
    *,
    max_atoms: int = 8,
    minimum_distance: float = 1.0,
    charges: Sequence[int] = (0,),
) -> SearchStrategy[Atoms]:
    """Every kind of structure: those of :func:`any_structures` and of this module.

    ``max_atoms`` is that of molecules, crystals, slabs, liquids and near ties. ``charges`` are
    total charges to draw from, as in :func:`with_charges`; isolated ions and charged cells are
    among the structures then. Other parameters as for :func:`bravais_crystals`.
    """
    drawn = hypothesis_strategies().one_of(
        any_structures(elements, max_atoms=max_atoms, minimum_distance=minimum_distance),
        bravais_crystals(elements, minimum_distance=minimum_distance),
        liquids(elements, max_atoms=max_atoms, minimum_distance=minimum_distance),
        surfaces(elements, minimum_distance=minimum_distance),
        defects(elements, minimum_distance=minimum_distance),
        near_ties(elements, max_atoms=max(2, max_atoms), minimum_distance=minimum_distance),
    )
    return with_charges(drawn, charges) if any(charges) else drawn

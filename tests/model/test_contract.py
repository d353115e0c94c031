"""One contract for every backbone, multiscale block, charge model and head of the registry.

The default run has every entry of the registry in at least two combinations, ``MUSE_LR_TEST=quick``
in one, ``deep`` a pairwise cover with many drawn structures and ``full`` every combination. A new
entry of the registry is in all of them.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import astuple, dataclass
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import muse_lr
from muse_lr import testing
from muse_lr.config.registry import BACKBONES, CHARGES, HEADS, MULTISCALE, lookup
from muse_lr.testing import NotApplicable, strategies
from muse_lr.testing.pairwise import pairwise_cover, repeated_cover

MODE = os.environ.get("MUSE_LR_TEST")
ELEMENTS = ("H", "C", "O", "Na", "Cl")
CUTOFF = 3.5
FIXED = {"H": 0.4, "C": 0.1, "O": -0.8, "Na": 1.0, "Cl": -1.0}
MINIMUM = {"minimum_distance": 1.1}
seeds = st.integers(0, 2**16)


@dataclass(frozen=True)
class Combination:
    """One choice for each slot; None leaves it empty."""

    backbone: str | None
    multiscale: str | None
    charges: str | None
    head: str | None

    def __str__(self) -> str:
        return "-".join(name or "none" for name in astuple(self))

    @property
    def charge_model(self) -> type | None:
        """The class that fills the charges slot."""
        return None if self.charges is None else lookup("charges", self.charges.split(":")[0])

    @property
    def configuration(self) -> dict:
        """A small model with these parts."""
        kind, _, l_max = (self.charges or "").partition(":")
        charges = {"kind": kind, "l_max": int(l_max or 0)}
        if kind == "fixed":
            charges["by_element"] = FIXED
        small = {"kind": self.backbone, "cutoff": CUTOFF, "channels": 8, "layers": 2}
        return {
            "elements": list(ELEMENTS),
            "e0": {element: -1.5 - i for i, element in enumerate(ELEMENTS)},
            "backbone": small if self.backbone else None,
            "multiscale": self.multiscale_section,
            "charges": charges if self.charges else None,
            "heads": {"head": {"kind": self.head}} if self.head else {},
        }

    @property
    def multiscale_section(self) -> dict | None:
        """A hierarchy so small that few atoms have several nodes."""
        if self.multiscale is None:
            return None
        kind, _, levels = self.multiscale.partition(":")
        section = {"kind": kind}
        if kind == "muse":
            section |= {"levels": int(levels or 1), "radius": 2.4, "cutoff": 5.0}
            section |= {"tensor_channels": 4}
        return section

    @property
    def misfit(self) -> bool:
        """Whether parts declare a need that another slot leaves empty."""
        needs_backbone = self.multiscale is not None
        needs_backbone |= self.charge_model is not None and self.charge_model.needs_features
        needs_backbone |= self.head is not None and lookup("head", self.head).needs_features
        lacks_charges = self.reads_charges and self.charges is None
        return lacks_charges or (needs_backbone and self.backbone is None)

    @property
    def reads_charges(self) -> bool:
        """Whether its head reads the charge density."""
        return self.head is not None and lookup("head", self.head).needs_density

    @property
    def boundaries(self) -> frozenset[str]:
        """Where its head is right."""
        everywhere = frozenset({"FFF", "TTF", "TTT"})
        return everywhere if self.head is None else lookup("head", self.head).boundaries

    @property
    def tolerances(self) -> dict[str, float]:
        """Of symmetries and sums: rounding where no charges are summed to a given accuracy."""
        return {"tolerance": 1e-10} if self.charges is None and self.head is None else {}

    @property
    def total_charges(self) -> tuple[int, ...]:
        """What structures may state; fixed charges have a sum of their own."""
        return (0,) if self.charges == "fixed" else (0, 1, -1)


#: Charges of the backbone need a backbone that has them: tests/backbones/test_so3krates.py.
DRAWN_CHARGES = [kind for kind in CHARGES if not lookup("charges", kind).needs_charges]
#: A charge model with dipoles is an entry of its own, "kind:l_max".
MULTIPOLES = [f"{kind}:1" for kind in DRAWN_CHARGES if lookup("charges", kind).has_multipoles]
WITH_MULTIPOLES = [*DRAWN_CHARGES, *MULTIPOLES]
#: So are two levels of the hierarchy, "muse:levels".
WITH_LEVELS = [*MULTISCALE, "muse:2"]
#: The cheapest backbone first: the cover takes it where it has the choice.
CHEAPEST_FIRST = sorted(BACKBONES, key="painn".__ne__)
#: Coupled oscillators are unstable in most drawn structures: tests/heads/test_dispersion.py.
DRAWN_HEADS = [head for head in HEADS if head != "mbd"]
ENTRIES = (CHEAPEST_FIRST, WITH_LEVELS, WITH_MULTIPOLES, DRAWN_HEADS)
SLOTS = [[None, *entries] for entries in ENTRIES]
EVERY = [Combination(*row) for row in product(*SLOTS)]
MISFITS = [combination for combination in EVERY if combination.misfit]
FITTING = [combination for combination in EVERY if not combination.misfit]


def paired(combination: Combination) -> bool:
    """Whether the cover may have it.

    Heads that read no density do not meet charges; and of the learned charge models, which all read
    features in the same way, one meets every backbone, the others meet the cheapest.
    """
    head = combination.head and lookup("head", combination.head)
    apart = combination.charges is not None and head is not None and not head.needs_density
    if combination.charges not in (None, "fixed", "latent"):
        apart |= combination.backbone != CHEAPEST_FIRST[0]
    return not combination.misfit and not apart


#: Pairs of entries; then dipoles, which all charge models make alike, and a second level.
PAIRS = [SLOTS[0], [None, *MULTISCALE], [None, *DRAWN_CHARGES], SLOTS[3]]
COVER = [Combination(*row) for row in pairwise_cover(PAIRS, lambda row: paired(Combination(*row)))]
COVER += [Combination(CHEAPEST_FIRST[0], None, charges, "coulomb") for charges in MULTIPOLES]
COVER += [Combination(backbone, None, "latent:1", None) for backbone in CHEAPEST_FIRST[1:]]
COVER += [Combination(backbone, "muse:2", "latent", "coulomb") for backbone in CHEAPEST_FIRST[:2]]
#: And every backbone by itself and under each hierarchy, to rounding.
HIERARCHIES = [None, "muse", "muse:2"]
COVER += [Combination(*parts, None, None) for parts in product(CHEAPEST_FIRST, HIERARCHIES)]
COVER = list(dict.fromkeys(COVER))


def repeated(times: int) -> list[Combination]:
    """Combinations in which every entry stands so often."""
    rows = repeated_cover(SLOTS, times, lambda row: paired(Combination(*row)))
    return [Combination(*row) for row in rows]


if MODE == "full":
    CHOSEN = FITTING
elif MODE == "deep":
    CHOSEN = COVER
elif MODE == "quick":
    CHOSEN = repeated(1)
else:  # and every backbone by itself and under each hierarchy, to rounding
    alone = [Combination(*parts, None, None) for parts in product(CHEAPEST_FIRST, HIERARCHIES)]
    CHOSEN = list(dict.fromkeys([*repeated(2), *alone]))

#: For tests that evaluate hundreds of structures for each example.
fewer_examples = settings(max_examples=settings.default.max_examples // 2)
each_combination = pytest.mark.parametrize("combination", CHOSEN, ids=str)


#: Parts that need an extra, and the module that it brings.
EXTRAS = {"mace": "mace", "so3krates": "so3krates_torch", "d3": "tad_dftd3"}


def new_model(combination: Combination) -> muse_lr.EnergyModel:
    """The model as it starts, float64, in evaluation mode; skipped where an extra is absent."""
    for part in astuple(combination):
        if part in EXTRAS:
            pytest.importorskip(EXTRAS[part], reason=f"the extra of {part} is not installed")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return muse_lr.build_model(combination.configuration).to(torch.float64).eval()


@cache
def model_of(combination: Combination) -> muse_lr.EnergyModel:
    """The model with weights that are not the initial ones."""
    model = new_model(combination)
    testing.randomize_weights(model, seed=1)
    return model


def drawn(data: st.DataObject, combination: Combination, kind: str, **options) -> Atoms:
    """A structure of the ``kind``: molecules, crystals or slabs."""
    options = {"elements": ELEMENTS, "charges": combination.total_charges, **MINIMUM, **options}
    return data.draw(getattr(strategies, kind)(**options))


def one_of_each(
    data: st.DataObject, combination: Combination, *, periodic: bool = False, **options
) -> list[Atoms]:
    """A structure of every boundary that the combination supports."""
    kinds = {"FFF": "molecules", "TTF": "slabs", "TTT": "crystals"}
    return [
        drawn(data, combination, kind, **options)
        for boundary, kind in kinds.items()
        if boundary in combination.boundaries and not (periodic and boundary == "FFF")
    ]


def mixed(data: st.DataObject, combination: Combination) -> list[Atoms]:
    """A batch of the boundaries that are supported."""
    with_slabs = "TTF" in combination.boundaries
    return drawn(data, combination, "mixed_batches", with_slabs=with_slabs)


def test_the_cover_has_every_entry_of_the_registry():
    for times in (1, 2):
        chosen = repeated(times)
        for slot, entries in zip(
            ("backbone", "multiscale", "charges", "head"), ENTRIES, strict=True
        ):
            counts = Counter(getattr(combination, slot) for combination in chosen)
            assert set(counts) == {None, *entries}
            assert min(counts.values()) >= times
        assert len(chosen) < len(COVER) < len(FITTING)
    assert {c.charges for c in COVER} == {None, *WITH_MULTIPOLES}


def test_the_cover_has_every_pair():
    levels = [range(4), "ab", "xyz", (None, 1)]
    rows = pairwise_cover(levels)
    for (i, first), (j, second) in product(enumerate(levels), repeat=2):
        if i != j:
            assert {(row[i], row[j]) for row in rows} == set(product(first, second))
    assert len(rows) <= 16
    assert rows == pairwise_cover(levels)
    assert all(row[0] != row[3] for row in pairwise_cover([[0, 1]] * 4, lambda r: r[0] != r[3]))


@pytest.mark.parametrize("combination", MISFITS, ids=str)
def test_parts_that_do_not_fit_are_refused_when_built(combination):
    with pytest.raises(muse_lr.InputError, match=r"needs|reads|backbone"):
        muse_lr.build_model(combination.configuration)


@each_combination
@given(data=st.data())
def test_unsupported_boundaries_are_refused(combination, data):
    model = model_of(combination)
    refused = [drawn(data, combination, "crystals")]
    refused[0].pbc = data.draw(st.sampled_from([(1, 0, 0), (0, 1, 0), (0, 0, 1)]))
    for boundary, kind in (("FFF", "molecules"), ("TTF", "slabs"), ("TTT", "crystals")):
        if boundary not in combination.boundaries:
            refused.append(drawn(data, combination, kind))
    for atoms in refused:
        with pytest.raises(muse_lr.InputError, match=r"structure 0|one axis"):
            testing.as_potential(model).evaluate([atoms])


@pytest.mark.parametrize("combination", [c for c in CHOSEN if c.charges == "fixed"], ids=str)
def test_a_stated_charge_that_fixed_charges_do_not_have_is_refused(combination):
    atoms = Atoms("NaCl", [[0, 0, 0], [2.4, 0, 0]], info={"total_charge": 1})
    with pytest.raises(muse_lr.InputError, match="total_charge"):
        testing.as_potential(model_of(combination)).evaluate([atoms])


@each_combination
@given(data=st.data(), seed=seeds)
def test_forces(combination, data, seed):
    for atoms in one_of_each(data, combination):
        testing.check_forces(model_of(combination), atoms, seed=seed, directions=2)


@each_combination
@given(data=st.data())
def test_stress(combination, data):
    for atoms in one_of_each(data, combination, periodic=True):
        testing.check_stress(model_of(combination), atoms)


@each_combination
@given(data=st.data(), seed=seeds)
def test_hessian_is_symmetric(combination, data, seed):
    for atoms in one_of_each(data, combination, max_atoms=5):
        testing.check_hessian_symmetric(model_of(combination), atoms, seed=seed, pairs=2)


@each_combination
@given(data=st.data(), seed=seeds)
def test_second_derivatives(combination, data, seed):
    for atoms in one_of_each(data, combination, max_atoms=5):
        testing.check_second_derivatives(model_of(combination), atoms, seed=seed)


@each_combination
@given(data=st.data(), seed=seeds)
def test_force_and_stress_losses_can_train(combination, data, seed):
    model = model_of(combination)
    structures = [
        drawn(data, combination, "crystals", max_atoms=4),
        drawn(data, combination, "crystals", max_atoms=4),
    ]
    if has_parameters(model):
        testing.check_training_gradient(model, structures, seed=seed)
    else:
        with pytest.raises(NotApplicable, match="no parameters"):
            testing.check_training_gradient(model, structures, seed=seed)


@each_combination
def test_every_parameter_receives_a_gradient(combination):
    model = new_model(combination)
    molecule = testing.structures.molecule(ELEMENTS, 1, minimum_distance=1.1)
    # Far enough apart for several coarse nodes, near enough for messages between them.
    cluster = Atoms()
    for shift in ([0, 0, 0], [6, 0, 0], [1, 6, 0], [2, 1, 6]):
        cluster += Atoms(molecule.symbols, molecule.positions + shift)
    structures = [
        cluster,
        testing.structures.crystal(ELEMENTS, 2, minimum_distance=1.1),
        testing.structures.molecule(ELEMENTS[:2], 3, charge=combination.total_charges[-1]),
    ]
    responds = combination.charges is not None and combination.charge_model.reads_field
    if combination.head == "external_field" and not responds:  # which needs the coulomb head
        structures[0].info["electric_field"] = [0.1, -0.2, 0.3]
    labels = ["energy", "forces"]
    if combination.charges and not combination.reads_charges:
        # No energy reads them, but a loss on them can train them.
        labels += ["charges", "dipole"] if model.charges.l_max else ["charges"]
    if has_parameters(model):
        testing.check_parameters_receive_gradients(model, structures, labels=labels, noise=0.02)
    else:
        with pytest.raises(NotApplicable, match="no parameters"):
            testing.check_parameters_receive_gradients(model, structures, labels=labels)


@each_combination
@given(data=st.data())
def test_a_batch_is_its_structures_one_by_one(combination, data):
    testing.check_batch(model_of(combination), mixed(data, combination), **combination.tolerances)


@each_combination
@given(data=st.data())
def test_a_batch_of_crystals_is_its_structures_one_by_one(combination, data):
    structures = [drawn(data, combination, "crystals", max_atoms=4) for _ in range(3)]
    testing.check_batch(model_of(combination), structures, **combination.tolerances)


@each_combination
@pytest.mark.parametrize("symmetry", ["translation", "rotation", "reflection"])
@given(data=st.data(), seed=seeds)
def test_symmetries(combination, symmetry, data, seed):
    for atoms in one_of_each(data, combination):
        getattr(testing, f"check_{symmetry}")(
            model_of(combination), atoms, seed=seed, **combination.tolerances
        )


@each_combination
@given(data=st.data(), seed=seeds)
def test_permutation(combination, data, seed):
    for atoms in one_of_each(data, combination, min_atoms=2):
        testing.check_permutation(model_of(combination), atoms, seed=seed, **combination.tolerances)


@each_combination
@pytest.mark.parametrize("description", ["wrapping", "equivalent_cell"])
@given(data=st.data(), seed=seeds)
def test_other_descriptions_of_the_same_lattice(combination, description, data, seed):
    for atoms in one_of_each(data, combination, periodic=True):
        getattr(testing, f"check_{description}")(
            model_of(combination), atoms, seed=seed, **combination.tolerances
        )


@each_combination
@given(data=st.data(), axis=st.integers(0, 2))
def test_supercells(combination, data, axis):
    repeats = [2 if i == axis else 1 for i in range(3)]
    for atoms in one_of_each(data, combination, periodic=True, max_atoms=4):
        testing.check_supercell(
            model_of(combination), atoms, repeats=repeats, **combination.tolerances
        )


@each_combination
@given(data=st.data(), seed=seeds)
def test_far_copies(combination, data, seed):
    atoms = drawn(data, combination, "molecules", max_atoms=5)
    testing.check_far_copies(
        model_of(combination), atoms, strict=True, seed=seed, **combination.tolerances
    )


@each_combination
@given(data=st.data(), seed=seeds)
def test_far_unlike_fragments(combination, data, seed):
    first = drawn(data, combination, "molecules", max_atoms=4)
    second = drawn(data, combination, "molecules", max_atoms=4)
    model = model_of(combination)
    measurement = testing.check_size_consistency(
        model, first, second, seed=seed, **combination.tolerances
    )
    assert bool(measurement.known) != model.size_consistent


@each_combination
@given(data=st.data())
def test_charges(combination, data):
    model = model_of(combination)
    for atoms in one_of_each(data, combination, min_atoms=2):
        if combination.charges is None:
            with pytest.raises(NotApplicable, match="does not compute charges"):
                testing.check_total_charge(model, atoms)
            continue
        charges = testing.as_potential(model).evaluate([atoms], ("charges",)).get("charges")
        assert np.abs(charges).max() > 1e-4 or not np.ptp(atoms.numbers), "charges must not be 0"
        if combination.charges == "fixed":
            atoms.info["total_charge"] = sum(FIXED[symbol] for symbol in atoms.symbols)
        if combination.charge_model.exact_total_charge:
            testing.check_total_charge(model, atoms)


@each_combination
@fewer_examples
@given(data=st.data())
def test_smooth_where_neighbors_come_and_go(combination, data):
    model = model_of(combination)
    atoms = drawn(data, combination, "molecules", min_atoms=2, max_atoms=4)
    path = testing.separation_path(atoms, CUTOFF)
    assume(min(closest(path(t)) for t in np.linspace(-0.5, 0.5, 21)) > 0.9)
    testing.check_smooth(model, path, points=30, look_at=(0.0,))


@each_combination
@pytest.mark.parametrize("kind", ["displacement", "strain"])
@fewer_examples
@given(data=st.data(), seed=seeds)
def test_smooth_in_a_crystal(combination, kind, data, seed):
    atoms = drawn(data, combination, "crystals", min_atoms=2, max_atoms=4, minimum_distance=1.4)
    half = 0.25 if kind == "displacement" else 0.08
    path = getattr(testing, f"{kind}_path")(atoms, seed=seed)
    testing.check_smooth(model_of(combination), path, span=(-half, half), points=30)


@each_combination
def test_save_and_load(combination):
    kinds = {"FFF": "molecule", "TTF": "slab", "TTT": "crystal"}
    structures = [
        getattr(testing.structures, kinds[boundary])(ELEMENTS, seed=4, minimum_distance=1.1)
        for boundary in sorted(combination.boundaries)
    ]
    testing.check_save_load(model_of(combination), structures)


def has_parameters(model: torch.nn.Module) -> bool:
    return next(model.parameters(), None) is not None


def closest(atoms: Atoms) -> float:
    """Smallest distance, A."""
    return min(neighbor_list("d", atoms, 2.0), default=2.0)

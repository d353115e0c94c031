"""The shipped data: complete, consistent with what its README says, and honestly split."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from muse_lr import datasets
from muse_lr.errors import InputError

CHARGES = {
    "ammonium": 1,
    "methylammonium": 1,
    "sodium": 1,
    "formate": -1,
    "acetate": -1,
    "chloride": -1,
    "water": 0,
    "methanol": 0,
    "formamide": 0,
}
NEAR_LIMIT = 7.0
SPLITS = {
    "ion_pairs": ("train", "valid", "test_near", "test_far"),
    "rattled_salts": ("train", "valid", "test", "test_large"),
}
FILES = [f"{name}_{split}" for name, splits in SPLITS.items() for split in splits]
PAIRS = FILES[:4]
SALTS = FILES[4:]


@pytest.fixture(scope="module")
def frames() -> dict[str, list[Atoms]]:
    return {name: read(datasets.path(name), ":", format="extxyz") for name in FILES}


def _all(frames: dict[str, list[Atoms]], names: list[str]) -> list[Atoms]:
    return [atoms for name in names for atoms in frames[name]]


def _distances(atoms: Atoms) -> np.ndarray:
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.all()))
    return np.sort(distances[np.triu_indices(len(atoms), 1)])


def test_every_file_is_known_by_name() -> None:
    assert datasets.names() == sorted(FILES)
    assert datasets.path("ion_pairs_train").parent == datasets.directory()


def test_unknown_name_says_which_there_are() -> None:
    with pytest.raises(InputError, match=r"did you mean 'ion_pairs_train'.*rattled_salts_valid"):
        datasets.path("ion_pair_train")


def test_files_are_small() -> None:
    assert sum(file.stat().st_size for file in datasets.directory().glob("*.xz")) <= 3_000_000


def test_counts(frames: dict[str, list[Atoms]]) -> None:
    assert all(frames[name] for name in FILES)
    for name, tests in SPLITS.items():
        train, held_out = (len(frames[f"{name}_{split}"]) for split in ("train", tests[2]))
        assert held_out < train / 2
        assert len(frames[f"{name}_valid"]) < train / 2


def test_labels_are_finite(frames: dict[str, list[Atoms]]) -> None:
    for name, keys in (
        ("ion_pairs", {"REF_dipole": (3,)}),
        ("rattled_salts", {"REF_stress": (9,)}),
    ):
        for split in SPLITS[name]:
            for atoms in frames[f"{name}_{split}"]:
                for key, shape in {"REF_energy": (), **keys}.items():
                    assert np.shape(atoms.info[key]) == shape
                    assert np.isfinite(atoms.info[key]).all()
                assert atoms.arrays["REF_forces"].shape == (len(atoms), 3)
                assert np.isfinite(atoms.arrays["REF_forces"]).all()


def test_forces_sum_to_zero(frames: dict[str, list[Atoms]]) -> None:
    for names, limit in ((PAIRS, 0.05), (SALTS, 1e-5)):
        for atoms in _all(frames, names):
            assert np.abs(atoms.arrays["REF_forces"].sum(0)).max() < limit, atoms.info["name"]


@pytest.mark.parametrize("names", [PAIRS, SALTS], ids=["ion_pairs", "rattled_salts"])
def test_no_name_and_no_geometry_is_there_twice(
    frames: dict[str, list[Atoms]], names: list[str]
) -> None:
    everything = _all(frames, names)
    assert len({atoms.info["name"] for atoms in everything}) == len(everything)
    alike: dict[tuple[int, ...], list[np.ndarray]] = {}
    for atoms in everything:
        distances = _distances(atoms)
        others = alike.setdefault(tuple(sorted(atoms.numbers)), [])
        for other in others:
            assert np.abs(distances - other).max() > 1e-4, atoms.info["name"]
        others.append(distances)


def test_distances_fit_the_split(frames: dict[str, list[Atoms]]) -> None:
    for name in PAIRS:
        for atoms in frames[name]:
            first = atoms[: atoms.info["size_first"]].get_center_of_mass()
            second = atoms[atoms.info["size_first"] :].get_center_of_mass()
            distance = np.linalg.norm(second - first)
            assert distance == pytest.approx(atoms.info["distance"], abs=1e-4)
            assert (distance > NEAR_LIMIT) == (name == "ion_pairs_test_far")


def test_interaction_curves_are_never_trained_on(frames: dict[str, list[Atoms]]) -> None:
    trained = _all(frames, ["ion_pairs_train", "ion_pairs_valid"])
    assert all(atoms.info["scan"] == "none" for atoms in trained)
    tested = _all(frames, ["ion_pairs_test_near", "ion_pairs_test_far"])
    assert len({atoms.info["scan"] for atoms in tested} - {"none"}) >= 2


def test_fragments_keep_their_charges(frames: dict[str, list[Atoms]]) -> None:
    for atoms in _all(frames, PAIRS):
        charges = [CHARGES[name] for name in atoms.info["pair"].split("-")]
        assert atoms.info["total_charge"] == sum(charges)
        if atoms.info["distance"] > NEAR_LIMIT:
            assert atoms.info["fragment_charge"] == pytest.approx(charges[0], abs=0.02)


def test_far_pairs_interact_as_charges_do(frames: dict[str, list[Atoms]]) -> None:
    """Beyond 10 A, two ions differ from point charges by their multipoles only."""
    checked = 0
    for atoms in frames["ion_pairs_test_far"]:
        distance = atoms.info["distance"]
        if atoms.info["kind"] == "ion-ion" and distance > 10.0:
            expected = -14.399645 / distance
            assert atoms.info["REF_interaction_energy"] == pytest.approx(expected, rel=0.12)
            # The cation is at the origin, the anion on the z axis.
            np.testing.assert_allclose(atoms.info["REF_dipole"], [0, 0, -distance], atol=1.2)
            checked += 1
    assert checked


def test_interaction_energy_is_a_difference(frames: dict[str, list[Atoms]]) -> None:
    for atoms in _all(frames, PAIRS):
        interaction = atoms.info["REF_energy"] - atoms.info["REF_monomer_energies"].sum()
        assert interaction == pytest.approx(atoms.info["REF_interaction_energy"], abs=1e-7)


def test_salts_are_neutral_periodic_and_the_largest_are_held_out(
    frames: dict[str, list[Atoms]],
) -> None:
    for name in SALTS:
        for atoms in frames[name]:
            assert atoms.pbc.all()
            assert atoms.info["total_charge"] == 0
            assert (atoms.numbers == 17).sum() * 2 == len(atoms)
            assert (len(atoms) == 64) == (name == "rattled_salts_test_large")
            stress = atoms.info["REF_stress"].reshape(3, 3)
            np.testing.assert_allclose(stress, stress.T, atol=1e-7)


def test_readme_tells_the_shipped_counts(frames: dict[str, list[Atoms]]) -> None:
    readme = (datasets.directory() / "README.md").read_text(encoding="utf-8")
    for name in FILES:
        assert f"| {name} | {len(frames[name])} |" in readme

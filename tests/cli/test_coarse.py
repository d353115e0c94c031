"""``muse-lr coarse``: what it writes of the coarse nodes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from ase.neighborlist import neighbor_list

import muse_lr
from helpers import painn_section, random_model, rattled_salt, refused
from muse_lr.cli.main import main
from muse_lr.math.switching import switch_off
from muse_lr.model.serialization import save_model
from muse_lr.multiscale.muse.thinning import coverage_bound
from muse_lr.reporting.coarse_pictures import coarse_picture, node_colors, views
from muse_lr.reporting.coarse_summary import summarize


def model_of(**multiscale) -> muse_lr.EnergyModel:
    """A model with its initial weights."""
    multiscale = {"radius": 4.0, "cutoff": 8.0, "tensor_channels": 4} | multiscale
    elements = ["H", "C", "O", "Na", "Cl"]
    section = painn_section(elements, 3.0, multiscale=multiscale, charges=None, heads={})
    return random_model(section, weights=None)


def water_box() -> Atoms:
    """27 molecules of water, turned at random, on a grid of the density of the liquid."""
    rng = np.random.default_rng(0)
    box = Atoms(cell=[9.3, 9.3, 9.3], pbc=True)
    for corner in np.ndindex(3, 3, 3):
        water = molecule("H2O")
        water.rotate(rng.uniform(0, 360), rng.normal(size=3))
        water.positions += 3.1 * np.array(corner) + rng.uniform(-0.2, 0.2, 3)
        box += water
    return box


def slab() -> Atoms:
    """Rattled rock salt whose first vector is open."""
    atoms = rattled_salt(0.15, seed=0, repeat=(1, 2, 2))
    atoms.pbc = (False, True, True)
    return atoms


STRUCTURES = {"molecule": lambda: molecule("C6H6"), "water": water_box, "slab": slab}


@pytest.mark.parametrize("name", STRUCTURES)
def test_what_is_written(name, tmp_path, capsys):
    atoms = STRUCTURES[name]()
    model = model_of(levels=2)
    save_model(model, tmp_path / "model.pt")
    write(tmp_path / "x.xyz", [molecule("H2O"), atoms], format="extxyz")
    out = tmp_path / "out"
    arguments = ["coarse", tmp_path / "model.pt", tmp_path / "x.xyz", "--frame", 1, "--out", out]
    assert main([str(argument) for argument in arguments]) == 0
    described, nodes = read(out / "atoms.extxyz"), read(out / "nodes.extxyz", ":")
    np.testing.assert_allclose(described.positions, atoms.positions, atol=1e-7)
    assert described.symbols.get_chemical_formula() == atoms.symbols.get_chemical_formula()
    assert described.pbc.tolist() == atoms.pbc.tolist()
    table = np.loadtxt(out / "shares.csv", delimiter=",", skiprows=1)
    printed = capsys.readouterr().out.splitlines()
    for level, found in enumerate(nodes, 1):
        shares = np.zeros((len(atoms), len(found)))
        rows = table[table[:, 0] == level]
        shares[rows[:, 1].astype(int), rows[:, 2].astype(int)] = rows[:, 3]
        arrays = {key: described.arrays[f"level{level}_{key}"] for key in ("mass", "node", "share")}
        np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
        np.testing.assert_allclose(found.arrays["held"], shares.sum(0), atol=1e-5)
        np.testing.assert_allclose(arrays["share"], shares.max(1), atol=1e-6)
        chosen = shares[range(len(atoms)), arrays["node"]]
        np.testing.assert_allclose(chosen, shares.max(1), atol=1e-6)
        assert (found.numbers == 0).all()
        places = found.arrays["atom"]
        np.testing.assert_allclose(found.positions, atoms.positions[places], atol=1e-7)
        np.testing.assert_allclose(arrays["mass"][places], found.arrays["node_mass"], atol=1e-7)
        assert np.count_nonzero(arrays["mass"]) == len(found)
        share = 100 * len(found) / len(atoms)
        line = printed[level - 1]
        assert line.startswith(f"level {level}, radius {4 * level} A: {len(found)} node")
        assert f"for {len(atoms)} atoms ({share:.1f} %)" in line
    assert (out / "coarse.png").read_bytes().startswith(b"\x89PNG")
    names = {path.name for path in out.iterdir()}
    assert names == {"atoms.extxyz", "nodes.extxyz", "shares.csv", "coarse.png"}


@pytest.mark.parametrize("name", STRUCTURES)
def test_coverage_is_the_sum_of_windows(name):
    """Over the images that another neighbor list finds."""
    atoms = STRUCTURES[name]()
    level = summarize(model_of(), atoms)[0]
    mass = np.zeros(len(atoms))
    mass[level.atoms] = level.mass
    center, other, distance = neighbor_list("ijd", atoms, 4.0)
    window = switch_off(torch.from_numpy(distance), 0.8 * 4.0, 4.0).numpy()
    expected = mass.copy()
    np.add.at(expected, center, mass[other] * window)
    np.testing.assert_allclose(level.coverage, expected, atol=1e-9)
    assert level.bound == coverage_bound(1.5)
    assert level.coverage.min() >= level.bound


def test_atoms_without_a_node():
    """Chosen nodes may miss atoms, or not exist at all."""
    model = model_of(nodes="species", species=["Na"])
    far = Atoms("NaCl", [[0, 0, 0], [0, 0, 9.0]])
    level = summarize(model, far)[0]
    assert level.largest[0].tolist() == [0, -1]
    assert level.bound is None
    empty = summarize(model, molecule("H2O"))[0]
    assert empty.census == "0 nodes for 3 atoms (0.0 %)"
    for atoms, found in ((far, level), (molecule("H2O"), empty), (Atoms("Na"), None)):
        levels = summarize(model, atoms) if found is None else [found]
        assert len(coarse_picture(atoms, levels).axes) == 1


def test_neighboring_nodes_have_different_colors():
    box = water_box()
    level = summarize(model_of(), box)[0]
    colors = node_colors(box, level)
    assert len(colors) == len(level.atoms) > 7
    distances = box[level.atoms].get_all_distances(mic=True)
    np.fill_diagonal(distances, np.inf)
    same = np.array(colors)[:, None] == np.array(colors)
    assert distances[same].min() > 1.3 * distances.min()


def test_up_to_fifteen_nodes_have_a_color_of_their_own():
    for atoms in (molecule("C6H6"), slab()):
        level = summarize(model_of(), atoms)[0]
        colors = node_colors(atoms, level)
        assert len(set(colors)) == min(len(level.atoms), 15)


def test_the_picture_has_elements_axes_node_numbers_and_a_legend():
    atoms = molecule("C6H6")
    level = summarize(model_of(), atoms)[0]
    figure = coarse_picture(atoms, [level], "benzene")
    (ax,) = figure.axes
    texts = [text.get_text() for text in ax.texts]
    assert (texts.count("C"), texts.count("H")) == (6, 6)
    assert {str(node) for node in range(len(level.atoms))} <= set(texts)
    assert "(Å)" in ax.get_xlabel()
    assert "(Å)" in ax.get_ylabel()
    assert len(ax.get_xticks()) > 2
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[0].startswith("node with its number")
    assert "atom without a node" not in legend
    # The symbols stand at the atoms, in the plane of the ring.
    placed = {
        tuple(np.round(text.get_position(), 6)) for text in ax.texts if text.get_text() == "C"
    }
    view = views(atoms)[0].axes
    assert placed == {tuple(np.round(x, 6)) for x in (atoms.positions @ view)[:6, :2]}


def test_hidden_and_small_atoms_have_no_symbol():
    pair = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], cell=[8, 8, 8], pbc=True)
    above, _ = coarse_picture(pair, summarize(model_of(), pair)).axes
    assert [text.get_text() for text in above.texts if text.get_text() in "OH"] == ["H"]
    wide = Atoms("HO", [[0, 0, 0], [200.0, 0, 0]])
    figure = coarse_picture(wide, summarize(model_of(nodes="species", species=["O"]), wide))
    assert not {text.get_text() for text in figure.axes[0].texts} & {"H", "O"}
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"H (size)", "O (size)", "atom without a node"} <= set(legend)


def test_views_are_turns_of_space():
    for name, count in (("molecule", 1), ("water", 2), ("slab", 2)):
        seen = views(STRUCTURES[name]())
        assert len(seen) == count
        for view in seen:
            np.testing.assert_allclose(view.axes.T @ view.axes, np.eye(3), atol=1e-12)
            assert np.linalg.det(view.axes) == pytest.approx(1)
    # Benzene is seen along the normal of its plane, the slab along its open vector.
    assert np.abs(views(molecule("C6H6"))[0].axes[:, 2]).tolist() == pytest.approx([0, 0, 1])
    assert np.abs(views(slab())[0].axes[:, 2]).tolist() == pytest.approx([1, 0, 0])


def test_what_is_refused(tmp_path, capsys):
    write(tmp_path / "x.xyz", [molecule("H2O"), molecule("SO2")], format="extxyz")
    save_model(model_of(), tmp_path / "muse.pt")
    for name, section in (("none", None), ("ewald", {"kind": "ewald_mp"})):
        model = muse_lr.build_model(
            {"elements": ["H", "O"], "multiscale": section, "charges": None, "heads": {}}
        )
        save_model(model, tmp_path / f"{name}.pt")
    out = ("--out", tmp_path / "out")
    error = refused(capsys, "coarse", tmp_path / "none.pt", tmp_path / "x.xyz", *out)
    assert "none.pt" in error
    assert "model.multiscale is null" in error
    error = refused(capsys, "coarse", tmp_path / "ewald.pt", tmp_path / "x.xyz", *out)
    assert "of the kind ewald_mp" in error
    error = refused(capsys, "coarse", tmp_path / "muse.pt", tmp_path / "x.xyz", "--frame", 2, *out)
    assert "frames 0 to 1" in error
    error = refused(capsys, "coarse", tmp_path / "muse.pt", tmp_path / "x.xyz", "--frame", 1, *out)
    assert "frame 1" in error
    assert "element S" in error
    assert "y.xyz" in refused(capsys, "coarse", tmp_path / "muse.pt", tmp_path / "y.xyz", *out)
    assert not (tmp_path / "out").exists()

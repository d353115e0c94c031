"""How stiff the contents of the coarse nodes are, against how many nodes there are.

    python -m benchmarks.coarse_stiffness [--set softening=30 --set delta=0.2]

For rattled Cu and NaCl, cumulenes and graphene, and water, an electrolyte and dipeptides from
$MUSE_LR_DATA: the share of atoms that are nodes, the largest content M_K, and the gradient and
curvature of F = sum_K M_K xi_K with random signs xi_K = +-1 of the atoms. The gradient is the root
mean square of dF/dr over all coordinates, the curvature that of d2F/dr2 of single coordinates. If
the energies of nodes differ by e, atoms change hands with forces of about e times the gradient. The
structures of a row are averaged. With --set the table is printed only.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, graphene

from benchmarks.peers.machine import describe_machine
from muse_lr import AtomsBatch
from muse_lr.config.overrides import parse_assignment
from muse_lr.config.schema import validate
from muse_lr.data.formats import read_atoms
from muse_lr.multiscale.muse.assignment import assign, kept_nodes, pairs_with_nodes
from muse_lr.multiscale.muse.choices import ThinnedNodes
from muse_lr.multiscale.muse.config import MuseConfig
from muse_lr.structures.geometry import strained_geometry
from muse_lr.utils.files import atomic_write

RESULTS = Path(__file__).resolve().parent / "results" / "coarse_stiffness.md"
#: Signs and coordinates drawn for each structure.
SIGNS, COORDINATES = 3, 24
#: Row -> file below $MUSE_LR_DATA and number of its frames that are used.
FILES = {
    "water, 300 K": ("water_rpbed3_bec/bec100.xyz.xz", 3),
    "NaCl in water": ("nacl_water_revpbe0d3/train.xyz.xz", 3),
    "dipeptides": ("spice_dipeptides_polar/train.xyz.xz", 12),
}


def cumulene(length: int) -> Atoms:
    """H2C=C=..=CH2 with planes of the ends that are turned by 20 degrees from the minimum."""
    along = 1.28 * np.arange(length)
    turned = np.pi / 2 * (length % 2) + np.radians(20)
    positions = [[0, 0, z] for z in along]
    for z, start in ((along[0] - 0.55, 0.0), (along[-1] + 0.55, turned)):
        for angle in (start, start + np.pi):
            positions.append([0.93 * np.cos(angle), 0.93 * np.sin(angle), z])
    atoms = Atoms(f"C{length}H4", positions)
    atoms.rattle(0.04, seed=length)
    return atoms


def systems() -> dict[str, list[Atoms]]:
    """Structures by row."""
    found: dict[str, list[Atoms]] = {}
    for amplitude in (0.01, 0.03, 0.1):
        for name, crystal in (("Cu", bulk("Cu", cubic=True)), ("NaCl", _salt())):
            atoms = crystal * (3, 3, 3)
            atoms.rattle(amplitude, seed=0)
            found[f"{name}, rattled {amplitude:g} A"] = [atoms]
    data = os.environ.get("MUSE_LR_DATA")
    for name, (file, count) in FILES.items():
        if data is None:
            print(f"{name}: left out, MUSE_LR_DATA is not set")
            continue
        frames = read_atoms(Path(data) / file)
        found[name] = frames[:: len(frames) // count][:count]
    found["cumulenes, n = 6, 9, 13"] = [cumulene(length) for length in (6, 9, 13)]
    sheet = graphene(size=(10, 10, 1), vacuum=10)
    sheet.pbc = (True, True, False)
    sheet.rattle(0.06, seed=0)
    found["graphene, rattled 0.06 A"] = [sheet]
    return found


def _salt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.64, cubic=True)


def measure(atoms: Atoms, config: MuseConfig) -> tuple[float, float, float, float]:
    """Share of nodes, gradient (1/A), curvature (1/A^2) and largest content."""
    choice = ThinnedNodes(config.delta, config.kappa, config.softening, config.crowding_fraction)
    inner = config.inner_fraction * config.radius
    batch = AtomsBatch.from_ase([atoms], cutoff=config.radius)
    positions = batch.positions.detach().clone().requires_grad_(True)
    geometry = strained_geometry(batch, positions, None)
    nodes = kept_nodes(choice(geometry, inner, config.radius), geometry)
    pairs = pairs_with_nodes(nodes, geometry, config.radius)
    content = assign(nodes, pairs, None, inner, config.radius, len(atoms)).content
    rng = np.random.default_rng(0)
    slopes, curvatures = [], []
    for _ in range(SIGNS):
        signs = torch.from_numpy(rng.choice([-1.0, 1.0], len(atoms)))
        weighted = (content * signs[nodes.atoms]).sum()
        (slope,) = torch.autograd.grad(weighted, positions, create_graph=True)
        slopes.append(float(slope.detach().square().mean()))
        for index in rng.integers(0, 3 * len(atoms), COORDINATES).tolist():
            (row,) = torch.autograd.grad(slope.flatten()[index], positions, retain_graph=True)
            curvatures.append(float(row.flatten()[index]) ** 2)
    share, largest = len(nodes.atoms) / len(atoms), float(content.detach().max())
    return share, float(np.mean(slopes)), float(np.mean(curvatures)), largest


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    args = parser.parse_args()
    changes = dict(parse_assignment(text) for text in args.changes)
    config = validate(MuseConfig, {"kind": "muse", **changes})
    lines = [
        "# Stiffness of the contents of the coarse nodes",
        "",
        f"{describe_machine()}. Command: `python -m benchmarks.coarse_stiffness`. Default keys of "
        "`muse`.",
        "",
        "| structures | nodes / atoms | gradient (1/Å) | curvature (1/Å²) | largest content |",
        "|:--|--:|--:|--:|--:|",
    ]
    for name, listed in systems().items():
        found = np.array([measure(atoms, config) for atoms in listed])
        share, slope, curvature, largest = found.mean(0)
        lines.append(
            f"| {name.replace(' A', ' Å')} | {share:.2f} | {slope**0.5:.1f} | "
            f"{curvature**0.5:.0f} | {largest:.0f} |"
        )
        print(lines[-1], flush=True)
    if not changes:
        with atomic_write(RESULTS) as handle:
            handle.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

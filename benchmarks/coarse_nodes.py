"""How much the hierarchy thins, and what it costs beside its backbone.

Prints and writes, for liquid water (with MUSE_LR_DATA), rattled NaCl, a rattled metal, rattled
graphene and a gas, the share of atoms that carry a coarse node, the pairs of atoms and nodes, the
edges between nodes, and the time of energy and forces with the hierarchy over that without it,
alternately in one process on one thread; with --sizes, the time per atom of rattled NaCl of growing
size, and the peak memory of a process that evaluates each once. The hierarchy is the default one,
that of the accuracy studies. Backbones named after a study are the small ones of that study.

    python -m benchmarks.coarse_nodes [--backbones painn mace] [--atoms 768] [--repeats 5]
    python -m benchmarks.coarse_nodes --backbones painn_cumulenes painn_dipeptides --repeats 5
    python -m benchmarks.coarse_nodes --backbones painn --sizes 1000 3000 10000 30000 --repeats 3
    python -m benchmarks.coarse_nodes --set softening=20  # of multiscale; prints only
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, graphene
from ase.io import read

import muse_lr
from muse_lr.config.overrides import parse_assignment
from muse_lr.model.output import ModelOutput
from muse_lr.multiscale.muse.edges import coarse_geometry
from muse_lr.structures.geometry import strained_geometry
from muse_lr.utils.files import atomic_write

RESULTS = Path(__file__).resolve().parent / "results"
SALT = "NaCl, rattled 0.1 A"
WATER = "water_rpbed3_bec/bec100.xyz.xz"
#: Of a common size, and those of examples/cumulenes and examples/spice_dipeptides.
SETTINGS = {
    "painn": {"kind": "painn", "cutoff": 5.0, "channels": 64, "layers": 3},
    "mace": {"kind": "mace", "cutoff": 5.0, "channels": 64, "layers": 2, "l_max": 1},
    "painn_cumulenes": {
        "kind": "painn",
        "cutoff": 3.0,
        "channels": 48,
        "layers": 2,
        "num_radial": 12,
    },
    "painn_dipeptides": {"kind": "painn", "cutoff": 4.5, "channels": 32, "layers": 2},
}


MULTISCALE: dict[str, object] = {"kind": "muse"}


def systems(atoms: int) -> dict[str, Atoms]:
    """Structures of about as many atoms."""
    rng = np.random.default_rng(0)
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    copies = round((atoms / 8) ** (1 / 3))
    salt = salt.repeat((copies, copies, max(round(atoms / 8 / copies**2), 1)))
    salt.rattle(0.1, seed=0)
    metal = bulk("Al", "fcc", a=4.05, cubic=True)
    copies = round((atoms / 4) ** (1 / 3))
    metal = metal.repeat((copies, copies, copies))
    metal.rattle(0.12, seed=0)
    side = round((atoms / 2) ** 0.5)
    sheet = graphene(size=(side, side, 1), vacuum=10)
    sheet.pbc = (True, True, False)
    sheet.rattle(0.06, seed=0)
    side = (atoms / 0.02) ** (1 / 3)
    gas = Atoms(f"Ar{atoms}", rng.uniform(0, side, (atoms, 3)), cell=[side] * 3, pbc=True)
    found = {SALT: salt, "Al, rattled 0.12 A": metal}
    found |= {"graphene, rattled 0.06 A": sheet, "random gas": gas}
    data = os.environ.get("MUSE_LR_DATA")
    if data and (Path(data) / WATER).exists():
        water = read(Path(data) / WATER, "0")
        copies = max(round(atoms / len(water)), 1)
        shape = (2, 2, 1) if copies == 4 else (copies, 1, 1)
        found = {"water, 300 K": water.repeat(shape), **found}
    else:
        print(f"water is left out: no file {WATER} in the directory MUSE_LR_DATA")
    return found


def model(backbone: str, elements: list[str], multiscale: bool) -> muse_lr.EnergyModel:
    """An untrained model; the nodes do not depend on weights."""
    torch.manual_seed(0)
    configuration = {
        "elements": elements,
        "backbone": SETTINGS[backbone],
        "multiscale": MULTISCALE if multiscale else None,
        "charges": None,
        "heads": {},
    }
    return muse_lr.build_model(configuration).eval()


class Pair:
    """A structure, and models of it without and with the hierarchy.

    Attributes
    ----------
    seconds : list of list of float
        Of each call of either, the first ones to warm up.
    output : ModelOutput
        The last one with the hierarchy.
    """

    output: ModelOutput

    def __init__(self, atoms: Atoms, backbone: str) -> None:
        elements = sorted(set(atoms.symbols))
        self.atoms = atoms
        self.models = [model(backbone, elements, multiscale) for multiscale in (False, True)]
        self.batches = [muse_lr.AtomsBatch.from_ase([atoms], cutoff=m.cutoff) for m in self.models]
        self.seconds: list[list[float]] = [[], []]

    def call(self) -> None:
        """Energy and forces by both."""
        for times, one, batch in zip(self.seconds, self.models, self.batches, strict=True):
            start = time.process_time()
            self.output = one(batch, ("forces",))
            times.append(time.process_time() - start)

    def least(self) -> tuple[float, float]:
        """Seconds without and with the hierarchy."""
        local, both = (min(times[1:]) for times in self.seconds)
        return local, both


def row(name: str, atoms: Atoms, backbone: str, repeats: int) -> list[str]:
    """The measured line of a structure."""
    pair = Pair(atoms, backbone)
    for _ in range(repeats + 1):
        pair.call()
    local, both = pair.least()
    nodes, assignment = pair.output.levels[0]
    return [
        name,
        str(len(atoms)),
        backbone,
        f"{len(nodes.atoms) / len(atoms):.3f}",
        f"{float(nodes.mass.detach().sum()) / len(atoms):.3f}",
        f"{len(assignment.atom) / len(atoms):.1f}",
        f"{coarse_edge_count(pair) / len(atoms):.2f}",
        f"{1e3 * local:.0f}",
        f"{both / local:.2f}",
    ]


def coarse_edge_count(pair: Pair) -> int:
    """Edges between the nodes of the first level."""
    batch = pair.batches[1]
    geometry = strained_geometry(batch, batch.positions, None)
    cutoff = pair.models[1].multiscale.levels[0].size.cutoff
    nodes, _ = pair.output.levels[0]
    return coarse_geometry(nodes, geometry, cutoff).edge_index.shape[1]


def peak_memory(atoms: int, backbone: str, options: dict[str, object] | None) -> float:
    """GiB of a process that does nothing but energy and forces of NaCl once.

    ``options`` are those of the hierarchy, None for none.
    """
    muse_lr.tune_malloc()
    torch.set_num_threads(1)
    MULTISCALE.update(options or {})
    salt = systems(atoms)[SALT]
    one = model(backbone, sorted(set(salt.symbols)), options is not None)
    one(muse_lr.AtomsBatch.from_ase([salt], cutoff=one.cutoff), ("forces",))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def size_rows(sizes: list[int], backbone: str, repeats: int) -> Iterator[list[str]]:
    """The measured lines; sizes take turns, so that the machine's moods come to all of them."""
    # First: a process inherits the peak of the one that starts it.
    peaks = [memory_cells(atoms, backbone) for atoms in sizes]
    pairs = [Pair(systems(atoms)[SALT], backbone) for atoms in sizes]
    for _ in range(repeats + 1):
        for pair in pairs:
            pair.call()
    for pair, memory in zip(pairs, peaks, strict=True):
        local, both = pair.least()
        count = len(pair.atoms)
        per_atom = [f"{1e6 * seconds / count:.0f}" for seconds in (local, both)]
        yield [str(count), backbone, *per_atom, f"{both / local:.2f}", *memory]


def memory_cells(atoms: int, backbone: str) -> list[str]:
    """Peak memory without and with the hierarchy, GiB, each in a process of its own."""
    peaks = []
    for options in (None, MULTISCALE):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            peaks.append(pool.submit(peak_memory, atoms, backbone, options).result())
    return [f"{peak:.2f}" for peak in peaks]


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--backbones", nargs="+", choices=list(SETTINGS), default=["painn"])
    parser.add_argument("--atoms", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", type=int, help="atoms of NaCl, growing")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    for assignment in args.set:
        key, value = parse_assignment(assignment)
        MULTISCALE[key] = value
    muse_lr.tune_malloc()
    torch.set_num_threads(1)
    command = f"--backbones {' '.join(args.backbones)} --repeats {args.repeats}"
    if args.sizes:
        columns = ["atoms", "backbone", "local (us/atom)", "with muse (us/atom)"]
        columns += ["with muse / local", "memory, local (GiB)", "memory, with muse (GiB)"]
        rows = chain.from_iterable(
            size_rows(args.sizes, backbone, args.repeats) for backbone in args.backbones
        )
        name, title = f"coarse_nodes_sizes_{'_'.join(args.backbones)}", f"Time per atom, {SALT}"
        command += f" --sizes {' '.join(map(str, args.sizes))}"
    else:
        columns = ["system", "atoms", "backbone", "nodes/atom", "mass/atom", "pairs/atom"]
        columns += ["edges/atom", "local E+F (ms)", "with muse / local"]
        rows = (
            row(system, atoms, backbone, args.repeats)
            for backbone in args.backbones
            for system, atoms in systems(args.atoms).items()
        )
        name, title = f"coarse_nodes_{'_'.join(args.backbones)}", "Coarse nodes and their cost"
        command += f" --atoms {args.atoms}"
    if not args.set:
        write(name, title, columns, rows, command)
        return
    for values in [columns, *rows]:
        print("| " + " | ".join(values) + " |", flush=True)


def write(
    name: str, title: str, columns: list[str], rows: Iterable[list[str]], command: str
) -> None:
    """Measure, print and write a table."""
    lines = ["| " + " | ".join(columns) + " |", "|:--|" + "--:|" * (len(columns) - 1)]
    for values in rows:
        lines.append("| " + " | ".join(values) + " |")
        print(lines[-1], flush=True)
    note = (
        "CPU time of one thread, float32, least of the repeats, both models alternately in one "
        f"process; torch {torch.__version__}.\n\n"
        f"`python -m benchmarks.coarse_nodes {command}`\n"
    )
    RESULTS.mkdir(exist_ok=True)
    with atomic_write(RESULTS / f"{name}.md") as handle:
        handle.write(f"# {title}\n\n" + "\n".join(lines) + "\n\n" + note)


if __name__ == "__main__":
    main()

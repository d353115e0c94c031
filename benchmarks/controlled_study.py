"""Are all steps equal for variants whose neighbor lists differ? Plans of two studies.

    python -m benchmarks.controlled_study

The base configurations are those of ``muse-lr init``. The data sets nacl_water_revpbe0d3 and
spice_dipeptides_polar are read from $MUSE_LR_DATA. Nothing is trained. For comparison, the last
column has the number of steps if a batch ended at a number of edges, as it does in packages that
bound batches by edges.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms

from benchmarks.peers.machine import describe_machine
from muse_lr.ablate.check import CheckedRun, check_runs
from muse_lr.ablate.equality import planned_equality
from muse_lr.ablate.study import load_study, resolve_runs
from muse_lr.config.paths import reference_data
from muse_lr.config.schema import validate
from muse_lr.config.yaml import dump_yaml
from muse_lr.data.dataset import divide, epoch_order
from muse_lr.data.formats import read_atoms
from muse_lr.data.scaffold import make_configuration
from muse_lr.model.build import build_model
from muse_lr.structures.neighbors import complete_cell, neighbor_list
from muse_lr.train.config import Config
from muse_lr.utils.files import atomic_write

RESULTS = Path(__file__).resolve().parent / "results" / "controlled_study.md"
SETS = ("nacl_water_revpbe0d3", "spice_dipeptides_polar")
SHORT = {"model.charges": None, "model.heads": {}}
MUSE = {"model.multiscale": {"kind": "muse"}}
VARIANTS = {
    "short_range": SHORT,
    "charges": {},
    "muse": {**SHORT, **MUSE},
    "both": MUSE,
    "cutoff_12": {**SHORT, "model.backbone.cutoff": 12.0},
}
#: Limit of edges of the last column, in edges of the first variant's largest batches.
EDGES_FACTOR = 1.25
#: Frames whose edges are counted; the others are taken to have as many for each atom.
SAMPLED = 8


def study_file(name: str, directory: Path) -> Path:
    """Write the study of one data set."""
    folder = reference_data() / name
    train, test = folder / "train.xyz.xz", folder / "test.xyz.xz"
    text = make_configuration(train, {"published": str(test)}, base=directory)
    (directory / f"{name}_base.yaml").write_text(text, encoding="utf-8")
    path = directory / f"{name}.yaml"
    content = {"base": f"{name}_base.yaml", "reference": "short_range", "seeds": [0, 1, 2]}
    dump_yaml({**content, "variants": VARIANTS}, path)
    return path


def steps_by_edges(checked: list[CheckedRun]) -> dict[str, int]:
    """Steps of the first epoch times epochs if batches ended at a number of edges."""
    found: dict[str, int] = {}
    limit = None
    for item in (item for item in checked if item.run.seed == 0):
        config = validate(Config, item.run.config)
        cutoff = build_model(config.model).cutoff
        structures = [atoms for file in config.data.train for atoms in read_atoms(file)]
        sizes = np.array([len(atoms) for atoms in structures])[: item.frames]
        edges = np.ceil(sizes * edges_per_atom(structures[:: len(sizes) // SAMPLED], cutoff))
        order = epoch_order(len(sizes), 0, 1)
        graphs = config.training.batch.graphs
        if limit is None:
            limit = int(EDGES_FACTOR * graphs * edges.max())
        groups = divide(order, edges[order].astype(np.int64), graphs, limit)
        found[item.run.variant] = len(groups) * config.training.epochs
    return found


def edges_per_atom(structures: list[Atoms], cutoff: float) -> float:
    """Mean number of edges of an atom in a list up to ``cutoff``."""
    edges = atoms_count = 0
    for atoms in structures:
        cell = complete_cell(atoms.cell.array, atoms.pbc)
        edges += neighbor_list(atoms.positions, cell, atoms.pbc, cutoff)[0].shape[1]
        atoms_count += len(atoms)
    return edges / atoms_count


def main() -> None:
    """Plan both studies and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.parse_args()
    lines = [
        "# Controlled study",
        "",
        f"`python -m benchmarks.controlled_study`; {describe_machine()}. Plans of five variants "
        "and three seeds, from the configuration of `muse-lr init`; nothing was trained.",
    ]
    for name in SETS:
        with tempfile.TemporaryDirectory() as directory:
            path = study_file(name, Path(directory))
            study = load_study(path)
            start = time.perf_counter()
            runs, problems = resolve_runs(study, path, Path(directory, "out"))
            checked, more = check_runs(runs, study, path)
            seconds = time.perf_counter() - start
            if problems or more:
                raise SystemExit("\n".join(problems + more))
            by_edges = steps_by_edges(checked)
        equality = planned_equality(checked)
        batch = runs[0].config["training"]["batch"]
        lines += ["", f"## {name}", ""]
        lines += [
            f"Batches of at most {batch['graphs']} structures and {batch['atoms']} atoms. "
            f"The plan took {seconds:.1f} s.",
            "",
        ]
        lines += [
            "| variant | seed | parameters | epochs | steps | structures seen | largest rate |"
            " batches | rates | steps by edges |",
            "|:--|--:|--:|--:|--:|--:|--:|:--|:--|--:|",
        ]
        for item in checked:
            work = item.work
            lines.append(
                f"| {item.run.variant} | {item.run.seed} | {item.parameters:,} | {work.epochs} | "
                f"{work.steps} | {work.structures} | {work.largest_rate:g} | {work.batches} | "
                f"{work.rates} | {by_edges[item.run.variant] if item.run.seed == 0 else '–'} |"
            )
        lines += ["", *equality.lines()]
        assert not equality.unequal
    text = "\n".join(lines) + "\n"
    print(text)
    with atomic_write(RESULTS) as handle:
        handle.write(text)


if __name__ == "__main__":
    main()

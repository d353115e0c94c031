"""Five-fold cross-validation of a study on the 128 carbon chains of hdnnp4g_mini.

    python examples/carbon_chains/cross_validation.py split --out build/carbon_chains
    python examples/carbon_chains/cross_validation.py run examples/carbon_chains/study.yaml \\
        --folds build/carbon_chains --out runs/carbon_chains/study

``split`` shuffles neutral and protonated chains each for itself and deals them to the folds, so
that every frame is tested once and both kinds are in every fold; ten frames of the others validate,
the rest trains. ``run`` trains the variants of a study on each fold with the study's one seed, as
``muse-lr ablate`` does (finished runs are skipped, broken ones go on), and writes the results.csv
and runs.csv of a study in which the fold stands where the seed does.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write

from muse_lr.ablate.aggregate import collect, write_results, write_runs
from muse_lr.ablate.execute import execute
from muse_lr.ablate.study import Run, load_study, plan
from muse_lr.config.paths import reference_data
from muse_lr.data.reading import read_atoms

#: Folds, frames of each that validate, and the seed of the shuffle.
FOLDS, VALID, SEED = 5, 10, 0


def deal(kinds: np.ndarray) -> np.ndarray:
    """The fold of every frame, shape (n_frames,): each kind is shuffled and dealt in turn."""
    rng = np.random.default_rng(SEED)
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(kinds == kind)) for kind in np.unique(kinds)]
    )
    folds = np.empty(len(kinds), dtype=int)
    folds[order] = np.arange(len(kinds)) % FOLDS
    return folds


def split(frames: list[Atoms], out: Path) -> None:
    """Write the training, validation and test frames of every fold."""
    folds = deal(np.array([atoms.info["total_charge"] for atoms in frames]))
    rng = np.random.default_rng(SEED)
    for fold in range(FOLDS):
        others = rng.permutation(np.flatnonzero(folds != fold))
        parts = {
            "train": others[VALID:],
            "valid": others[:VALID],
            "test": np.flatnonzero(folds == fold),
        }
        directory = out / f"fold-{fold}"
        directory.mkdir(parents=True, exist_ok=True)
        for name, indices in parts.items():
            write(directory / f"{name}.xyz", [frames[i] for i in indices], format="extxyz")
        print(f"fold {fold}: " + ", ".join(f"{len(ids)} {name}" for name, ids in parts.items()))


def plan_folds(study_file: Path, folds: Path, out: Path) -> list[Run]:
    """Every run of a study on every fold; its ``seed`` is the number of the fold."""
    study = load_study(study_file)
    runs = []
    for fold in range(FOLDS):
        data = {
            f"data.{key}": value
            for key, value in (
                ("train", [str((folds / f"fold-{fold}/train.xyz").resolve())]),
                ("valid", [str((folds / f"fold-{fold}/valid.xyz").resolve())]),
                ("test.unseen", [str((folds / f"fold-{fold}/test.xyz").resolve())]),
            )
        }
        variants = {name: changes | data for name, changes in study.variants.items()}
        on_fold = study.model_copy(update={"variants": variants})
        for run in plan(on_fold, study_file, out / f"fold-{fold}"):
            runs.append(replace(run, seed=fold))
    return runs


def main() -> None:
    """Split, or run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    splitting = commands.add_parser("split")
    splitting.add_argument("--out", type=Path, default=Path("build/carbon_chains"))
    running = commands.add_parser("run")
    running.add_argument("study", type=Path)
    running.add_argument("--folds", type=Path, default=Path("build/carbon_chains"))
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    if args.command == "split":
        data = reference_data() / "hdnnp4g_mini" / "carbon_chain.xyz.xz"
        split(read_atoms(data), args.out)
        return
    runs = plan_folds(args.study, args.folds, args.out)
    outcome = execute(runs, args.jobs)
    results = collect(runs, load_study(args.study).reference, outcome.failed)
    write_results(results, args.out / "results.csv")
    write_runs(results, args.out / "runs.csv")


if __name__ == "__main__":
    main()

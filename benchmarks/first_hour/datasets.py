"""Compute one of the four data sets of the first hour: labeled frames as users bring them.

    python -m benchmarks.first_hour.datasets perovskite --out build/first_hour
    python -m benchmarks.first_hour.datasets all --out build/first_hour --jobs 2

writes ``NAME_train.xyz`` and ``NAME_test.xyz``. A set is computed in tasks, whose frames are kept
in ``parts/NAME``; a run that was killed goes on with the tasks that are missing. The same version
of the script and its libraries gives the same frames, in any number of processes.
"""

from __future__ import annotations

import argparse
import importlib
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from ase.io import read

from benchmarks.datasets.parts import as_written, one_thread, run_tasks, save
from benchmarks.first_hour.tasks import Task

SETS = ("perovskite", "mica_water", "ion_water", "batio3")


def module_of(name: str) -> ModuleType:
    """The module of a set: its ``plan``, ``compute`` and ``STYLE``."""
    return importlib.import_module(f"benchmarks.first_hour.{name}")


def compute_part(name: str, task: Task, path: Path) -> None:
    """Compute the frames of a task into its part."""
    save(path, module_of(name).compute(task))


def compute(name: str, out: Path, jobs: int = 0) -> None:
    """Compute the tasks of a set that are missing, then write its two files."""
    module = module_of(name)
    tasks = module.plan()
    parts = {task.name: out / "parts" / name / f"{task.name}.xyz" for task in tasks}
    work = partial(compute_part, name)
    spent = run_tasks(name, {parts[task.name]: task for task in tasks}, work, jobs)
    for split in ("train", "test"):
        frames = [
            as_written(atoms, module.STYLE)
            for task in tasks
            if task.split == split
            for atoms in read(parts[task.name], ":", format="extxyz")
        ]
        save(out / f"{name}_{split}.xyz", frames)
        print(f"{out / f'{name}_{split}.xyz'}: {len(frames)} frames", flush=True)
    print(f"{name}: {spent:.0f} s of processor time", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*SETS, "all"])
    parser.add_argument("--out", type=Path, default=Path("build/first_hour"))
    parser.add_argument("--jobs", type=int, default=1, help="processes; each uses one thread")
    args = parser.parse_args()
    one_thread()
    torch.set_num_threads(1)
    for name in SETS if args.name == "all" else (args.name,):
        compute(name, args.out, args.jobs)


if __name__ == "__main__":
    main()

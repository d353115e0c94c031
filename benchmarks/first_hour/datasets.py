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
import io
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from types import ModuleType

import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from benchmarks.first_hour.tasks import Task
from muse_lr.utils.files import atomic_write

SETS = ("perovskite", "mica_water", "ion_water", "batio3")
LABELS = ("energy", "forces", "stress")


def module_of(name: str) -> ModuleType:
    """The module of a set: its ``plan``, ``compute`` and ``STYLE``."""
    return importlib.import_module(f"benchmarks.first_hour.{name}")


def as_written(atoms: Atoms, style: str) -> Atoms:
    """A frame with its labels under the keys of a style.

    Parameters
    ----------
    atoms : ase.Atoms
        With the labels as results of a calculator.
    style : {"results", "reference"}
        As results of a calculator, which extended XYZ stores as energy, forces and stress; or
        under REF_energy, REF_forces and REF_stress (nine numbers).
    """
    results = {key: atoms.calc.results[key] for key in LABELS if key in atoms.calc.results}
    frame = atoms.copy()
    if style == "results":
        frame.calc = SinglePointCalculator(frame, **results)
        return frame
    frame.info["REF_energy"] = float(results["energy"])
    frame.arrays["REF_forces"] = results["forces"]
    if "stress" in results:
        frame.info["REF_stress"] = atoms.get_stress(voigt=False).ravel()
    return frame


def save(path: Path, frames: Sequence[Atoms]) -> None:
    """Write extended XYZ, whole or not at all."""
    text = io.StringIO()
    write(text, list(frames), format="extxyz")
    with atomic_write(path) as handle:
        handle.write(text.getvalue())


def run_task(name: str, task: Task, path: Path) -> float:
    """Compute the frames of a task into its part; return the processor time, s."""
    start = time.process_time()
    save(path, module_of(name).compute(task))
    return time.process_time() - start


def _times(name: str, todo: dict[Path, Task], jobs: int) -> Iterator[float]:
    """Processor time of each task, as it is done."""
    if jobs == 1:
        yield from (run_task(name, task, path) for path, task in todo.items())
        return
    # Each process starts anew: tblite and PyTorch do not survive a fork of their threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(run_task, name, task, path) for path, task in todo.items()]
        yield from (future.result() for future in as_completed(futures))


def compute(name: str, out: Path, jobs: int = 1) -> None:
    """Compute the tasks of a set that are missing, then write its two files."""
    module = module_of(name)
    tasks = module.plan()
    parts = {task.name: out / "parts" / name / f"{task.name}.xyz" for task in tasks}
    todo = {parts[task.name]: task for task in tasks if not parts[task.name].exists()}
    spent, begin = 0.0, time.time()
    for done, seconds in enumerate(_times(name, todo, jobs), 1):
        spent += seconds
        left = (time.time() - begin) / done * (len(todo) - done) / 60
        print(f"{name}: {done}/{len(todo)} tasks, {left:.1f} min to go", flush=True)
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
    os.environ["OMP_NUM_THREADS"] = "1"  # read when tblite is loaded, and by other processes
    torch.set_num_threads(1)
    for name in SETS if args.name == "all" else (args.name,):
        compute(name, args.out, args.jobs)


if __name__ == "__main__":
    main()

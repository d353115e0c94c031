"""Compute a data set in tasks, each into a file of its own, in one or several processes.

A run that was killed goes on with the tasks whose files are missing. Files are written whole or not
at all, and a task has random numbers of its own. The same frames result from any number of
processes, and from a run that was killed.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from benchmarks.first_hour.tasks import Task
from muse_lr.utils.files import atomic_write

LABELS = ("energy", "forces", "stress")


def one_thread() -> None:
    """Let the processes of :func:`run_tasks` use one thread each."""
    os.environ["OMP_NUM_THREADS"] = "1"


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


def run_tasks(
    label: str, parts: Mapping[Path, Task], work: Callable[[Task, Path], None], jobs: int = 0
) -> float:
    """Do the tasks whose files are missing, and print the time to go.

    Parameters
    ----------
    label : str
        Name of the set in the messages.
    parts : mapping
        File of each task.
    work : callable
        Does a task and writes its file. Other processes import it by its name.
    jobs : int
        Processes, or 0 for this one.

    Returns
    -------
    float
        Processor time, s.
    """
    todo = {path: task for path, task in parts.items() if not path.exists()}
    whole = sum(task.cost for task in todo.values())
    spent, done, begin = 0.0, 0.0, time.time()
    for count, (cost, seconds) in enumerate(_times(todo, work, jobs), 1):
        spent, done = spent + seconds, done + cost
        left = (time.time() - begin) * (whole - done) / done / 60
        print(f"{label}: {count}/{len(todo)} tasks, {left:.1f} min to go", flush=True)
    return spent


def write_splits(out: Path, parts: Mapping[Path, Task]) -> None:
    """Join the frames of all tasks of a split, in order, in the file ``SPLIT.xyz``."""
    splits: dict[str, list[Atoms]] = {}
    for path, task in parts.items():
        splits.setdefault(task.split, []).extend(read(path, ":", format="extxyz"))
    for split, frames in splits.items():
        save(out / f"{split}.xyz", frames)
        print(f"{out / f'{split}.xyz'}: {len(frames)} frames", flush=True)


def command(description: str | None, run: Callable[[Path, int], None], out: Path) -> None:
    """Entry point of a script: run(directory, processes) with the options of the command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--jobs", type=int, default=1, help="processes; each uses one thread")
    args = parser.parse_args()
    one_thread()
    run(args.out, args.jobs)


def _timed(task: Task, path: Path, work: Callable[[Task, Path], None]) -> tuple[float, float]:
    """Cost of a task, and the processor time that it took, s."""
    start = time.process_time()
    work(task, path)
    return task.cost, time.process_time() - start


def _times(
    todo: Mapping[Path, Task], work: Callable[[Task, Path], None], jobs: int
) -> Iterator[tuple[float, float]]:
    if jobs == 0:
        yield from (_timed(task, path, work) for path, task in todo.items())
        return
    # Each process starts anew: tblite and PyTorch do not survive a fork of their threads, and NumPy
    # reads the number of threads when it is loaded.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(_timed, task, path, work) for path, task in todo.items()]
        yield from (future.result() for future in as_completed(futures))

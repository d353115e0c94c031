"""Time and memory against size, each size in a process of its own."""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

MEGABYTE = 1024.0


@dataclass(frozen=True)
class Size:
    """What one size costs.

    Attributes
    ----------
    atoms : int
    seconds : float
        Shortest energy, forces and dE/dq step.
    before, peak : float
        Largest memory of the process before the first step and at the end, MB; on a GPU the
        latter is the device's.
    """

    atoms: int
    seconds: float
    before: float
    peak: float

    @property
    def microseconds_per_atom(self) -> float:
        """Of one step."""
        return 1e6 * self.seconds / self.atoms

    def against(self, first: Size) -> float:
        """Growth of the time over that of N log N; 1 is as good as particle-mesh Ewald."""
        expected = self.atoms * math.log(self.atoms) / (first.atoms * math.log(first.atoms))
        return self.seconds / first.seconds / expected


def measure(
    edges: list[int], accuracy: float, cutoff: float, solver: str, device: str
) -> list[Size]:
    """One :class:`Size` for each cube of ``edge``^3 molecules."""
    sizes = []
    for edge in edges:
        command = [sys.executable, "-m", "benchmarks.long_range.scaling", str(edge), str(accuracy)]
        command += [str(cutoff), solver, device]
        folder = Path(__file__).resolve().parents[2]
        result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
        sizes.append(Size(**json.loads(result.stdout.splitlines()[-1])))
        print(f"  {sizes[-1]}", flush=True)
    return sizes


def _run(edge: int, accuracy: float, cutoff: float, solver: str, device: str) -> Size:
    from benchmarks.long_range.callers import Ours, Structures
    from benchmarks.long_range.timing import seconds_of
    from benchmarks.long_range.water import water_box
    from muse_lr import tune_malloc

    tune_malloc()
    torch.set_num_threads(1)
    structures = Structures([water_box((edge,) * 3)], cutoff, device)
    caller = Ours(structures, accuracy, solver)
    # Kernels are compiled with a small structure, which is not measured.
    Ours(Structures([water_box((3, 3, 3))], cutoff, device), accuracy, solver).step()
    before = peak_memory("cpu")
    times = [seconds_of(caller.step, device) for _ in range(4)]
    return Size(len(structures.charges), min(times), before, peak_memory(device))


def peak_memory(device: str) -> float:
    """Largest memory of this process, or of the device, in MB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / MEGABYTE**2
    # Linux hands the parent's ru_maxrss on to its children; VmHWM starts anew.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return float(line.split()[1]) / MEGABYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("edge", type=int)
    parser.add_argument("accuracy", type=float)
    parser.add_argument("cutoff", type=float)
    parser.add_argument("solver")
    parser.add_argument("device")
    print(json.dumps(asdict(_run(**vars(parser.parse_args())))))

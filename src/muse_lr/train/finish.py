"""Work after the last epoch: tests, cost, summary and report."""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from muse_lr import __version__
from muse_lr.data.dataset import Dataset
from muse_lr.errors import InputError
from muse_lr.model.energy_model import EnergyModel
from muse_lr.reporting.metric_units import errors_text, units_of
from muse_lr.reporting.run_report import write_run_report
from muse_lr.train.checkpoint import Progress
from muse_lr.train.config import MicroBatchConfig
from muse_lr.train.evaluate import evaluate, write_predictions
from muse_lr.train.setup import Setup
from muse_lr.utils.files import write_json


def read_finished(directory: Path) -> bool:
    """Whether the directory holds a finished run."""
    path = directory / "summary.json"
    if not path.is_file():
        return False
    try:
        status = json.loads(path.read_text(encoding="utf-8")).get("status")
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged: remove it and use --resume") from error
    return bool(status == "finished")


def finish(
    model: EnergyModel,
    setup: Setup,
    progress: Progress,
    directory: Path,
    measured: Mapping[str, Any],
    report: Callable[[str], None],
) -> None:
    """Evaluate the test sets and write predictions, summary and report, in this order.

    The summary marks the run as finished, so that it is written after all predictions. ``measured``
    is added to it.
    """
    training = setup.config.training
    tests: dict[str, dict[str, float]] = {}
    node_share: dict[str, list[float]] = {}
    for name, dataset in setup.test.items():
        found = evaluate(model, dataset, training.batch, training.micro_batch)
        tests[name] = found.metrics
        if found.node_share:
            node_share[name] = list(found.node_share)
        write_predictions(found.frames, directory / f"predictions-{name}.extxyz")
        report(f"test {name}: {errors_text(found.metrics) or 'no label that the model predicts'}")
    summary: dict[str, Any] = {
        "status": "finished",
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": progress.seconds,
        "peak_memory_mb": peak_memory_mb(model.device),
        "inference_us_per_atom": inference_time(model, setup.valid, training.micro_batch),
        "seed": training.seed,
        "epochs": progress.epoch,
        "steps": progress.step,
        "best_epoch": progress.best_epoch,
        "work": vars(progress.work),
        "initial_weights": progress.initial_weights,
        "notes": setup.notes,
        "train_frames": len(setup.train),
        "valid_frames": len(setup.valid),
        "device": str(model.device),
        "threads": torch.get_num_threads(),
        "versions": {
            "muse_lr": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        **measured,
        "tests": tests,
        "units": units_of({key: value for found in tests.values() for key, value in found.items()}),
        "node_share": node_share,
    }
    write_json(directory / "summary.json", summary)
    report(f"report: {write_run_report(directory)}")


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory of this process (for a GPU: on the device), MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    # Linux hands the ru_maxrss of a process on to its children; VmHWM starts anew.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return float(line.split()[1]) / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def inference_time(
    model: EnergyModel, dataset: Dataset, limits: MicroBatchConfig, repeats: int = 5
) -> float:
    """Median time of energies and forces for 8 structures, microseconds per atom."""
    chosen = list(range(min(8, len(dataset))))
    divided = dataset.micro_batches(chosen, limits.graphs, limits.edges)
    batches = [dataset.batch(part).to(model.device) for part in divided]
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for batch in batches:
            forces = model(batch, ("forces",), create_graph=False).forces
            assert forces is not None
            forces.sum().item()  # synchronizes with a GPU
        times.append(time.perf_counter() - start)
    atoms = sum(len(batch.positions) for batch in batches)
    return sorted(times[1:])[repeats // 2] * 1e6 / atoms

"""Statistics of charges of two liquids that OpenMM simulates, against what is known of them.

    python -m benchmarks.charge_statistics --out runs/charge_statistics

Simulates rigid TIP3P water, whose dielectric constant is published, and a molten salt of fixed
charges, which screens perfectly. Both trajectories are analyzed by
:mod:`muse_lr.analysis.charge_statistics`, as that of any model would be. OpenMM is needed:
``pip install openmm``, or the extra ``peers``. Trajectories that are in ``--out`` are not simulated
again. About 15 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from benchmarks.fixed_charge_liquids import SALT, WATER, Liquid, simulate
from benchmarks.peers.machine import describe_machine
from muse_lr.analysis.averages import Estimate
from muse_lr.analysis.charge_statistics import long_range_statistics
from muse_lr.reporting.charge_statistics import (
    statistics_figure,
    statistics_notes,
    statistics_table,
)
from muse_lr.reporting.html import Report, Section, text_table
from muse_lr.reporting.markdown import write_markdown
from muse_lr.reporting.style import save
from muse_lr.reporting.wording import duration
from muse_lr.utils.files import write_json

RESULTS = Path(__file__).parent / "results" / "charge_statistics.md"
COMMAND = "`python -m benchmarks.charge_statistics`"
PICOSECONDS = {WATER.name: 1400.0, SALT.name: 200.0}
#: P. Hoechtl, S. Boresch, W. Bitomsky, O. Steinhauser, J. Chem. Phys. 109, 4927 (1998).
PUBLISHED = {WATER.name: Estimate(97.0, 7.0)}
DESCRIPTION = (
    "The reference of the dielectric constant of TIP3P water is 97 ± 7, published for 2 ns with "
    "Ewald sums (P. Höchtl, S. Boresch, W. Bitomsky, O. Steinhauser, J. Chem. Phys. 109, 4927 "
    "(1998)). The salt has charges of ±1 e and a soft repulsion, and its second moment must be 1. "
    "All references are exact but for that of the dielectric constant and what follows from it."
)


def frames_of(liquid: Liquid, out: Path) -> tuple[list[Atoms], float]:
    """Frames of the trajectory, and the seconds that its simulation took."""
    path = out / f"{liquid.name.replace(' ', '_')}.npz"
    record = path.with_suffix(".json")
    if not path.exists():
        start = time.perf_counter()
        simulate(liquid, PICOSECONDS[liquid.name], path)
        write_json(record, {"seconds": time.perf_counter() - start})
    seconds = json.loads(record.read_text(encoding="utf-8"))["seconds"]
    with np.load(path) as content:
        positions, edge = content["positions"].astype(np.float64), float(content["edge"])
    symbols = liquid.symbols * (len(liquid.charges) // len(Atoms(liquid.symbols)))
    return [Atoms(symbols, each, cell=[edge] * 3, pbc=True) for each in positions], seconds


def section(liquid: Liquid, out: Path) -> Section:
    """Simulate and analyze a liquid."""
    frames, seconds = frames_of(liquid, out)
    found = long_range_statistics(
        frames, liquid.charges, liquid.temperature, dielectric=PUBLISHED.get(liquid.name)
    )
    applying = [each for each in found if not each.skipped or liquid is SALT]
    table = statistics_table(found)
    figure = statistics_figure(found)
    if figure is not None:
        save(figure, out / f"{liquid.name.replace(' ', '_')}.png")
    print(f"{liquid.name}\n{text_table(table)}", flush=True)
    title = (
        f"{liquid.name}: {len(frames[0])} atoms, {PICOSECONDS[liquid.name]:g} ps at "
        f"{liquid.temperature:g} K, {len(frames)} frames, simulated in {duration(seconds)}"
    )
    notes = statistics_notes([each for each in applying if "slab" not in each.name])
    return Section(title[0].upper() + title[1:], [table, notes])


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path("runs/charge_statistics"))
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    report = Report(
        "Statistics of charges of liquids of fixed charges",
        f"{COMMAND}; {describe_machine('openmm')}",
        [section(liquid, args.out) for liquid in (SALT, WATER)],
        description=DESCRIPTION,
    )
    print(write_markdown(report, RESULTS))


if __name__ == "__main__":
    main()

"""What a simulation writes while it runs: log, trajectories, radial distributions, failures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from muse_lr.analysis.rdf import PairHistogram
from muse_lr.reporting.predicted_charges import CHARGES
from muse_lr.simulate.failures import Failure
from muse_lr.simulate.files import Log, Trajectories
from muse_lr.simulate.start import Simulation
from muse_lr.simulate.state import BAR
from muse_lr.structures.state import COARSE_INDEX, STATE_KEYS


class Recorder:
    """Writes the files of a run.

    Parameters
    ----------
    simulation : Simulation
    directory : Path
    saved : dict, optional
        What :meth:`state` returned at the last checkpoint. Without it, new files are begun.
    """

    def __init__(
        self, simulation: Simulation, directory: Path, saved: dict[str, Any] | None = None
    ) -> None:
        settings, copies = simulation.settings, simulation.copies
        saved = saved or {}
        self.failures = [Failure(**failure) for failure in saved.get("failures", [])]
        self._volumes = simulation.potential.batch.has_volume.tolist()
        elements = sorted({int(z) for atoms in copies for z in atoms.numbers})
        self.histograms: dict[float, PairHistogram] = {}
        if settings.rdf_cutoff > 0:
            self.histograms = {
                t: PairHistogram(elements, settings.rdf_cutoff) for t in settings.temperatures
            }
        for temperature, counts in zip(
            settings.temperatures, saved.get("histograms", []), strict=False
        ):
            self.histograms[temperature].restore(counts)
        self._log = Log(directory, saved.get("log", 0))
        positions = saved.get("trajectories") or [0] * len(copies)
        self._trajectories = Trajectories(directory, settings.trajectory, positions)

    @property
    def any_volume(self) -> bool:
        """Whether a copy has a pressure."""
        return any(self._volumes)

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint; the files are on disk afterwards."""
        self._log.sync()
        self._trajectories.sync()
        return {
            "log": self._log.size,
            "trajectories": self._trajectories.positions,
            "failures": [asdict(failure) for failure in self.failures],
            "histograms": [histogram.state() for histogram in self.histograms.values()],
        }

    def log(self, simulation: Simulation, failed: Collection[int] | None = None) -> None:
        """Write a line of the log for each copy that runs, or only for some rows that failed."""
        state, settings = simulation.state, simulation.settings
        columns = {
            "potential_eV": state.energy,
            "kinetic_eV": state.kinetic(),
            "conserved_eV": state.conserved(),
            "temperature_K": state.temperature(),
            "volume_A3": state.volume(),
        }
        values = {name: tensor.tolist() for name, tensor in columns.items()}
        parts = {name: tensor.tolist() for name, tensor in state.parts.items()}
        stressed = state.stress is not None
        pressure = (state.pressure() / BAR).tolist() if stressed else []
        rows = []
        for row, copy in enumerate(state.copy.tolist()):
            if failed is not None and row not in failed:
                continue
            volume = self._volumes[copy]
            potential, kinetic = values["potential_eV"][row], values["kinetic_eV"][row]
            rows.append(
                {
                    "step": simulation.step,
                    "time_ps": simulation.step * settings.time_step / 1000,
                    "copy": copy,
                    "target_K": simulation.temperatures[copy],
                    "potential_eV": potential,
                    "kinetic_eV": kinetic,
                    "total_eV": potential + kinetic,
                    "conserved_eV": values["conserved_eV"][row],
                    "temperature_K": values["temperature_K"][row],
                    "pressure_bar": pressure[row] if volume and stressed else "",
                    "volume_A3": values["volume_A3"][row] if volume else "",
                    "neighbor_lists": simulation.potential.builds,
                    **{f"part_{name}_eV": terms[row] for name, terms in parts.items()},
                }
            )
        self._log.write(rows)

    def save(self, simulation: Simulation, rows: Sequence[int], count: bool = True) -> None:
        """Append a frame of some rows of the state, and count its distances after the start."""
        counted = count and simulation.step >= simulation.settings.first_counted
        if simulation.settings.trajectory == "none" and not (counted and self.histograms):
            return
        copies = simulation.state.copy.tolist()
        for row in rows:
            atoms = frame(simulation, row)
            self._trajectories.write(copies[row], atoms)
            if counted and self.histograms:
                self.histograms[simulation.temperatures[copies[row]]].add(atoms)

    def fail(self, simulation: Simulation, reasons: dict[int, str]) -> list[Failure]:
        """Remember failures by row, and save the last frames of these copies."""
        time = simulation.step * simulation.settings.time_step / 1000
        found = [
            Failure(int(simulation.state.copy[row]), simulation.step, time, reason)
            for row, reason in sorted(reasons.items())
        ]
        self.failures += found
        settings = simulation.settings
        if simulation.step % settings.log_every and simulation.step != settings.steps:
            self.log(simulation, reasons)  # the terms of the energy at the failure
        self.save(simulation, sorted(reasons), count=False)
        return found

    def close(self) -> None:
        """Close all files."""
        self._log.close()
        self._trajectories.close()


def frame(simulation: Simulation, row: int) -> Atoms:
    """Structure of a copy with its momenta, energy and forces; the atoms are not wrapped."""
    state = simulation.state
    copy = int(state.copy[row])
    start = simulation.copies[copy]
    chosen = state.graph == row
    atoms = Atoms(
        start.numbers,
        state.positions[chosen].cpu().numpy(),
        masses=start.get_masses() if "masses" in start.arrays else None,
        cell=start.cell,
        pbc=start.pbc,
    )
    if simulation.settings.ensemble == "npt":
        old, new = abs(np.linalg.det(start.cell.array)), float(state.volume()[row])
        atoms.set_cell(start.cell.array * (new / old) ** (1 / 3))
    atoms.set_velocities(state.velocities[chosen].cpu().numpy())
    if COARSE_INDEX in start.arrays:
        atoms.arrays[COARSE_INDEX] = start.arrays[COARSE_INDEX].copy()
    atoms.info = {key: start.info[key] for key in STATE_KEYS if start.info.get(key) is not None}
    atoms.info["step"] = simulation.step
    atoms.info["time_ps"] = simulation.step * simulation.settings.time_step / 1000
    energy = float(state.energy[row])
    if np.isfinite(energy):
        for name, terms in state.parts.items():
            atoms.info[f"muse_part_{name}"] = float(terms[row])
        forces = state.forces[chosen].cpu().numpy()
        if state.charges is not None:
            atoms.arrays[CHARGES] = state.charges[chosen].double().cpu().numpy()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms

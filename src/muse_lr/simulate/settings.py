"""Settings of a simulation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from muse_lr.config.schema import Strict
from muse_lr.errors import InputError

Ensemble = Literal["nve", "langevin", "npt"]
TrajectoryKind = Literal["extxyz", "traj", "none"]


class FailureCriteria(Strict):
    """When a copy has failed: its structure or its energy is not that of the substance any more."""

    temperature_ratio: float = Field(
        5.0,
        gt=1,
        description="Largest temperature, in units of the target. The limit is higher for few "
        "atoms, whose temperature fluctuates more.",
    )
    distance_fraction: float = Field(
        0.65,
        ge=0,
        lt=1,
        description="Smallest distance of two atoms, in units of the sum of their covalent radii.",
    )
    energy_jump: float = Field(
        0.1,
        gt=0,
        description="Largest change of the conserved energy between two checks, eV per atom.",
    )
    every: int = Field(10, ge=1, description="Steps between two checks.")


class Settings(Strict):
    """Everything that determines a simulation besides the model and the structures."""

    ensemble: Ensemble = Field("langevin", description="nve, langevin or npt.")
    temperatures: tuple[float, ...] = Field(
        (300.0,), min_length=1, description="Target temperatures of the copies, K."
    )
    copies: int = Field(1, ge=1, description="Copies of each structure at each temperature.")
    pressure: float = Field(1.0, description="Target pressure of npt, bar.")
    time_step: float = Field(0.5, gt=0, le=20, description="Time step, fs.")
    steps: int = Field(2000, ge=1, description="Number of time steps.")
    seed: int = Field(0, ge=0, description="Seed of the velocities and of the random forces.")
    friction: float = Field(10.0, gt=0, description="Friction of the Langevin thermostat, 1/ps.")
    pressure_time: float = Field(1.0, gt=0, description="Relaxation time of the barostat, ps.")
    compressibility: float = Field(
        4.6e-5,
        gt=0,
        description="Estimated compressibility for the barostat, 1/bar. It changes how fast the "
        "volume relaxes, not its distribution.",
    )
    barostat_every: int = Field(10, ge=1, description="Steps between two changes of the volume.")
    skin: float = Field(0.5, ge=0, description="Skin of the neighbor list, Å.")
    compile: bool = Field(
        False, description="Whether the model is compiled, which takes minutes, once on a machine."
    )
    trajectory: TrajectoryKind = Field("extxyz", description="Format of the trajectories.")
    save_every: int = Field(100, ge=1, description="Steps between two frames of a trajectory.")
    log_every: int = Field(20, ge=1, description="Steps between two lines of the log.")
    checkpoint_every: int = Field(1000, ge=1, description="Steps between two checkpoints.")
    discard: float = Field(
        0.1, ge=0, lt=1, description="Share of the run that averages leave out at its start."
    )
    rdf_cutoff: float = Field(
        8.0, ge=0, description="Largest distance of the radial distribution functions, Å; 0: none."
    )
    failure: FailureCriteria = Field(
        default_factory=FailureCriteria, description="When a copy has failed."
    )

    @field_validator("temperatures")
    @classmethod
    def _temperatures(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not temperature > 0 for temperature in value):
            raise InputError(f"temperatures must be above 0 K, got {list(value)}")
        if len(set(value)) != len(value):
            raise InputError(f"give each temperature once, got {list(value)}; see copies")
        return value

    @property
    def picoseconds(self) -> float:
        """Length of the run, ps."""
        return self.steps * self.time_step / 1000

    @property
    def first_counted(self) -> int:
        """First step that averages use."""
        return round(self.discard * self.steps)

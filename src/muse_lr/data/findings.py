"""Data classes of a data check: single findings and the report of a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from muse_lr.data.composition import CompositionFit
from muse_lr.data.trajectory import Trajectory

#: Kind of a finding that suggests E0s of zero.
RELATIVE_ENERGIES = "relative energies"

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One error, warning or note.

    Attributes
    ----------
    severity : str
        "error": the file cannot be used for training; "warning": it can, but should be checked;
        "note": nothing is wrong, but a choice of the configuration depends on it.
    kind : str
        Short name, the same for all findings of one kind.
    message : str
    frame, atom : int or None
        Counted from 0; None if the finding concerns the whole file, or the whole frame.
    size : float
        Severity among findings of one kind; the largest is printed first.
    """

    severity: Severity
    kind: str
    message: str
    frame: int | None = None
    atom: int | None = None
    size: float = 0.0


@dataclass
class CheckReport:
    """Statistics and findings of one file.

    Attributes
    ----------
    path : Path
    n_frames : int
        Number of frames that could be parsed.
    sizes : (int, int)
        Smallest and largest number of atoms in a frame.
    elements, boundaries : dict of str to int
        Number of atoms per element, and of frames per boundary (FFF, TFF, TTF, TTT).
    total_charges, spins : dict of str to int
        Number of frames per given value.
    labels : dict of str to dict of str to int
        Label -> its keys and the number of frames that use each.
    keys : dict of str to int
        All other keys -> number of frames that carry them.
    dividing : dict of str to dict of str to int
        Those with few values, by which errors can be divided -> number of frames of each value.
    energy_range : (float, float) or None
        Lowest and highest energy, eV/atom.
    fit : CompositionFit or None
        Without the isolated atoms, if there are other frames.
    isolated : dict of str to float
        Energies of the isolated atoms in the file, eV.
    relative_energies : bool
        Whether the key of the energy names a difference of energies.
    force_rms, force_max : float or None
        RMS of the force components and largest norm of a force, eV/A.
    trajectory : Trajectory or None
        Where consecutive frames are alike.
    findings : list of Finding
    """

    path: Path
    n_frames: int = 0
    sizes: tuple[int, int] = (0, 0)
    elements: dict[str, int] = field(default_factory=dict)
    boundaries: dict[str, int] = field(default_factory=dict)
    total_charges: dict[str, int] = field(default_factory=dict)
    spins: dict[str, int] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    dividing: dict[str, dict[str, int]] = field(default_factory=dict)
    energy_range: tuple[float, float] | None = None
    fit: CompositionFit | None = None
    isolated: dict[str, float] = field(default_factory=dict)
    relative_energies: bool = False
    force_rms: float | None = None
    force_max: float | None = None
    trajectory: Trajectory | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def zero_e0(self) -> bool:
        """Whether the energies are differences or too small for total energies."""
        return any(finding.kind == RELATIVE_ENERGIES for finding in self.findings)

    @property
    def isolated_e0(self) -> bool:
        """Whether there is an isolated atom of each element."""
        return set(self.elements) <= set(self.isolated)

    @property
    def fits_e0(self) -> bool:
        """Whether the E0s of a written configuration are fitted to the energies."""
        return not self.zero_e0 and not self.isolated_e0

    @property
    def errors(self) -> list[Finding]:
        """Findings that prevent training on the file."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """Findings that do not prevent training."""
        return [finding for finding in self.findings if finding.severity == "warning"]

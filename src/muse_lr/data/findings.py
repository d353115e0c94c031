"""Data classes of a data check: single findings and the report of a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from muse_lr.data.composition import CompositionFit

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One error or warning.

    Attributes
    ----------
    severity : str
        "error": the file cannot be used for training; "warning": it can, but should be checked.
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
    labels : dict of str to (str, int)
        Label -> its key and the number of frames that carry it.
    keys : dict of str to int
        All other keys -> number of frames that carry them.
    energy_range : (float, float) or None
        Lowest and highest energy, eV/atom.
    fit : CompositionFit or None
    force_rms, force_max : float or None
        RMS of the force components and largest norm of a force, eV/A.
    findings : list of Finding
    """

    path: Path
    n_frames: int = 0
    sizes: tuple[int, int] = (0, 0)
    elements: dict[str, int] = field(default_factory=dict)
    boundaries: dict[str, int] = field(default_factory=dict)
    total_charges: dict[str, int] = field(default_factory=dict)
    spins: dict[str, int] = field(default_factory=dict)
    labels: dict[str, tuple[str, int]] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    energy_range: tuple[float, float] | None = None
    fit: CompositionFit | None = None
    force_rms: float | None = None
    force_max: float | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """Findings that prevent training on the file."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """Findings that do not prevent training."""
        return [finding for finding in self.findings if finding.severity == "warning"]

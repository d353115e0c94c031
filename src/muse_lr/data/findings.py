"""The records of a data check: findings and the report that holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from muse_lr.data.composition import CompositionFit

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or suspicious.

    Attributes
    ----------
    severity : str
        "error": the file cannot be trained on as it is; "warning": look at it.
    kind : str
        A short name, the same for all findings of one sort.
    message : str
    frame, atom : int or None
        Counted from 0; None if the file, or the frame, as a whole is meant.
    size : float
        How bad it is among findings of its kind; the worst is printed first.
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
        That could be parsed.
    sizes : (int, int)
        Fewest and most atoms of a frame.
    elements, boundaries : dict of str to int
        Atoms by element, frames by boundary (FFF, TTF, TTT).
    total_charges, spins : dict of str to int
        Frames by stated value.
    labels : dict of str to (str, int)
        Label -> its key and how many frames carry it.
    keys : dict of str to int
        All other keys and how many frames carry them.
    energy_range : (float, float) or None
        Lowest and highest energy, eV/atom.
    fit : CompositionFit or None
    force_rms, force_max : float or None
        Of the components, and of the vectors, eV/A.
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
        """The findings that make the file unusable as it is."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """The findings that deserve a look."""
        return [finding for finding in self.findings if finding.severity == "warning"]

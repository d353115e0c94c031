"""Check the data that a configuration is written for, and refuse what cannot be trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms

from muse_lr.data.check import check_file
from muse_lr.data.check_text import finding_lines
from muse_lr.data.findings import CheckReport
from muse_lr.data.formats import place, printable, read_atoms
from muse_lr.data.isolated import is_isolated
from muse_lr.data.labels import LABELS
from muse_lr.data.scaffold.defaults import (
    Charges,
    Embedding,
    choose_charges,
    choose_embedding,
)
from muse_lr.data.scaffold.shells import Shells, find_shells
from muse_lr.data.selection import parse_source
from muse_lr.data.together import check_keys, check_tests, read_sourced
from muse_lr.errors import InputError, nearest_file
from muse_lr.structures.neighbors import complete_cell, neighbor_list
from muse_lr.structures.state import read_state

#: Default cutoff of the backbone, A.
CUTOFF = 5.0
#: Number of frames whose edges are counted.
SAMPLED_FRAMES = 16
#: Kinds of warnings on E0s, which are those of the training data.
OF_TRAINING = ("rank", "isolated atoms")
#: Labels of the loss, where the data has them, and their weights.
WEIGHTS = {"energy": "1", "forces": "10", "stress": "10"}


@dataclass(frozen=True)
class Survey:
    """What a configuration needs to know about its data.

    Attributes
    ----------
    train : str
        File of the training data, with a selection if there is one.
    report : CheckReport
        Of the training file.
    structures : list of ase.Atoms
        Training and validation structures.
    partial : list of str
        Labels that only some frames carry.
    tests : dict of str to str
        Name of each test set -> its file.
    test_structures : dict of str to list of ase.Atoms
    warnings : list of str
        What is wrong with the test sets.
    held_out : str
        Which frames of the training file are the test set; empty for a file of its own.
    """

    train: str
    report: CheckReport
    structures: list[Atoms]
    partial: list[str]
    tests: dict[str, str]
    test_structures: dict[str, list[Atoms]]
    warnings: list[str] = field(default_factory=list)
    held_out: str = ""

    @property
    def all_warnings(self) -> list[str]:
        """What the checks of the training file and of the test sets warn of."""
        return [*finding_lines(self.report.warnings, _file(self.report)), *self.warnings]

    @property
    def loss_labels(self) -> list[str]:
        """Labels of the loss."""
        return [label for label in WEIGHTS if label in self.report.labels]

    @cached_property
    def charges(self) -> Charges:
        """Default of ``model.charges``."""
        return choose_charges(self.structures)

    @cached_property
    def embedding(self) -> Embedding:
        """Default of ``model.backbone.embed``."""
        return choose_embedding(self.structures)

    @cached_property
    def edges_per_frame(self) -> int:
        """Largest number of edges among a sample of the frames, at :data:`CUTOFF`."""
        stride = max(1, len(self.structures) // SAMPLED_FRAMES)
        counts = [1]
        for atoms in self.structures[::stride]:
            cell = complete_cell(atoms.cell.array, atoms.pbc)
            edge_index, _ = neighbor_list(atoms.positions, cell, atoms.pbc, CUTOFF)
            counts.append(edge_index.shape[1])
        return max(counts)

    @cached_property
    def shells(self) -> Shells:
        """Distances between the atoms of a sample of the frames."""
        return find_shells(self.structures)

    @property
    def has_ions(self) -> bool:
        """Whether frames have net charges, or elements occur as ions of one atom."""
        return any(map(float, self.report.total_charges)) or bool(self.charges.by_element)

    @property
    def has_single_ions(self) -> bool:
        """Whether there are frames of one ion."""
        return any(len(a) == 1 and read_state(a).total_charge != 0 for a in self.structures)

    @property
    def mean_atoms(self) -> float:
        """Mean number of atoms of the structures."""
        return float(np.mean([len(atoms) for atoms in self.structures]))

    @property
    def valid_share(self) -> float:
        """Fraction of the frames for validation; larger for a few frames."""
        return share_of(len(self.structures))

    def count_trained(self, frames: int | None = None) -> tuple[int, int]:
        """Numbers of training and validation frames, of all frames or of this many."""
        total = len(self.structures) if frames is None else frames
        valid = max(1, round(self.valid_share * total))
        return total - valid, valid


def share_of(frames: int) -> float:
    """Fraction of this many frames for validation."""
    return 0.1 if frames >= 20 else round(min(0.5, 2 / max(frames, 4)), 2)


def survey(
    path: str | Path,
    tests: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
) -> Survey:
    """Check a file and its test sets.

    Parameters
    ----------
    path : str or Path
        Training data, with a selection of its frames if there is one.
    tests : mapping, optional
        Name of each test set -> its file.
    keys : mapping, optional
        Label -> key in the file. Only needed for labels without a default key.

    Raises
    ------
    InputError
        If the data has errors or only isolated atoms, or if a test set has errors, other keys, or
        other elements. Labels that only some frames carry are not an error: they are listed in
        ``partial``.
    """
    for file in (tests or {}).values():  # before the long check of the training data
        if not Path(parse_source(file).file).exists():
            near = printable(nearest_file(parse_source(file).file))
            raise InputError(
                f"test set: {printable(file)}: cannot read this file: no such file{near}"
            )
    report = check_file(path, keys, alone=not tests)
    checked = {name: check_file(file, keys, alone=False) for name, file in (tests or {}).items()}
    partial = [label for label in LABELS if any(f.kind == f"mixed {label}" for f in report.errors)]
    _refuse_errors(report)
    structures = read_atoms(path)
    if all(map(is_isolated, structures)):
        raise InputError(
            f"{printable(path)}: all frames are isolated atoms, which only give the E0s: give a "
            "file of other structures, and this one as data.isolated_atoms with model.e0: isolated"
        )
    if "TFF" in report.boundaries:
        raise InputError(f"{printable(path)}: structures with one periodic axis are not supported")
    found = Survey(str(path), report, structures, partial, dict(tests or {}), {})
    return _with_tests(found, checked)


def _refuse_errors(report: CheckReport, test: str = "") -> None:
    """Refuse a file with errors; in a test set, labels that only some frames carry are fine."""
    serious = [f for f in report.errors if not f.kind.startswith("mixed ")]
    if serious:
        where = f"test set {test}: " * bool(test) + place(_file(report), serious[0].frame)
        more = f" (and {len(serious) - 1} more: muse-lr data check)" if len(serious) > 1 else ""
        raise InputError(f"{where}: {serious[0].message}{more}")


def _file(report: CheckReport) -> str:
    """File of a report without the selection of its frames, whose indices are those of the file."""
    return str(parse_source(report.path).file)


def _with_tests(found: Survey, checked: Mapping[str, CheckReport]) -> Survey:
    """The survey with the structures of its test sets, which are checked."""
    for name, report in checked.items():
        _refuse_errors(report, name)
    sourced = {name: read_sourced(file) for name, file in found.tests.items()}
    findings = [
        *check_keys([found.report], checked),
        *check_tests(found.structures, sourced, found.report.fits_e0),
    ]
    warnings = [
        f"test set {name}: {line}"
        for name, report in checked.items()
        for line in finding_lines(
            (f for f in report.warnings if f.kind not in OF_TRAINING), _file(report)
        )
    ]
    for finding in findings:
        if finding.severity == "error":
            raise InputError(finding.message)
        warnings.append(finding.message)
    structures = {name: [atoms for atoms, _ in frames] for name, frames in sourced.items()}
    return replace(found, test_structures=structures, warnings=warnings)

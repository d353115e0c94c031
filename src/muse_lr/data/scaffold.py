"""Write a first configuration for a file of reference data, as commented YAML."""

from __future__ import annotations

import math
import os
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ase import Atoms

from muse_lr.config.registry import kinds, lookup
from muse_lr.data.check import check_file
from muse_lr.data.findings import CheckReport
from muse_lr.data.formats import printable, read_atoms
from muse_lr.data.isolated import is_isolated
from muse_lr.data.labels import LABELS, OF_CHARGES
from muse_lr.errors import InputError
from muse_lr.structures.neighbors import complete_cell, neighbor_list

CUTOFF = 5.0
#: Target number of atoms in a batch.
BATCH_ATOMS = 400
#: Edges computed at once, in units of those of a large batch at CUTOFF: a list up to 7 A fits.
EDGES_FACTOR = 4
#: Target number of training steps.
STEPS = 20_000
#: Number of frames whose edges are counted.
SAMPLED_FRAMES = 16
#: Longest line of a comment that lists kinds.
LINE_LENGTH = 100
WEIGHTS = {"energy": "1", "forces": "10", "stress": "10"}

#: Text that YAML 1.2 reads as the same string without quotes.
PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
RESERVED = {"true", "false", "null", "yes", "no", "on", "off", ".nan", ".inf"}


def make_configuration(
    path: str | Path,
    tests: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    base: str | Path = ".",
) -> str:
    """Make a configuration that trains on a file.

    Parameters
    ----------
    path : str or Path
        Training data. The file is checked first.
    tests : mapping, optional
        Name of each test set -> its file.
    keys : mapping, optional
        Label -> key in the file. Only needed for labels without a default key.
    base : str or Path
        Directory of the configuration. Relative paths are written relative to it.

    Returns
    -------
    str
        YAML with comments.

    Raises
    ------
    InputError
        If the data has errors or only isolated atoms, or if a test set cannot be read or contains
        other elements. Labels that only some frames carry are not an error: they are listed in
        ``data.partial``.
    """
    report = check_file(path, keys)
    partial = [label for label in LABELS if any(f.kind == f"mixed {label}" for f in report.errors)]
    serious = [f for f in report.errors if not f.kind.startswith("mixed ")]
    if serious:
        where = "" if serious[0].frame is None else f", frame {serious[0].frame}"
        more = f" (and {len(serious) - 1} more: muse-lr data check)" if len(serious) > 1 else ""
        raise InputError(f"{printable(path)}{where}: {serious[0].message}{more}")
    structures = read_atoms(path)
    if all(map(is_isolated, structures)):
        raise InputError(
            f"{printable(path)}: all frames are isolated atoms, which only give the E0s: give a "
            "file of other structures, and this one as data.isolated_atoms with model.e0: isolated"
        )
    if "TFF" in report.boundaries:
        raise InputError(f"{printable(path)}: structures with one periodic axis are not supported")
    for name, file in (tests or {}).items():
        _check_test(name, file, report)
    lines = [
        *_header(report),
        *_model_section(report),
        *_data_section(report, tests or {}, partial, Path(base)),
        *_training_section(report, structures),
    ]
    return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    """Write ``text`` as a YAML scalar on one line, quoted where YAML would change it."""
    if PLAIN.fullmatch(text) and text.lower() not in RESERVED and not text.startswith("-"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _check_test(name: str, file: str, report: CheckReport) -> None:
    for frame, atoms in enumerate(read_atoms(file)):
        for symbol in set(atoms.get_chemical_symbols()) - set(report.elements):
            raise InputError(
                f"test {name}: {printable(file)}, frame {frame} contains {symbol}, "
                "which does not occur in the training data"
            )


def _header(report: CheckReport) -> list[str]:
    low, high = report.sizes
    size = str(low) if low == high else f"{low} to {high}"
    boundaries = ", ".join(f"{n} {name}" for name, n in report.boundaries.items())
    lines = [
        f"# Written by muse-lr init for {printable(report.path.name)}:",
        f"# {report.n_frames} frames of {size} atoms; boundaries: {boundaries}.",
    ]
    if report.warnings:
        kinds = dict.fromkeys(finding.kind for finding in report.warnings)
        lines.append(f"# Warnings of muse-lr data check: {', '.join(kinds)}.")
    return lines


def _model_section(report: CheckReport) -> list[str]:
    lines = ["", "model:", f"  elements: [{', '.join(report.elements)}]", *_e0_lines(report)]
    charges = {float(q) for q in report.total_charges}
    state = [name for name, there in (("total_charge", charges), ("spin", report.spins)) if there]
    hint = "" if charges <= {0.0} else "; total charges here: " + ", ".join(report.total_charges)
    lines += [
        "  backbone:                  # short-range atomic features; null: none",
        *_kinds_comment("backbone", 4),
        "    kind: painn",
        f"    cutoff: {CUTOFF}              # A",
        "    channels: 64             # number of feature channels",
        "    layers: 3                # message passing layers; receptive field: layers x cutoff",
        f"    # embed: [{', '.join(state) or 'total_charge'}]   # global inputs of the "
        f"backbone{hint}",
        "  # Long-range message passing, for example {kind: muse}; null: none.",
        *_kinds_comment("multiscale", 2),
        "  multiscale: null",
        "  charges:                   # model of the atomic charges; null: none",
        *_kinds_comment("charges", 4),
        "    kind: conserved          # the charges sum exactly to the total charge",
        "    width: 1.0               # A, width of the Gaussian charges",
        "  heads:                     # name -> energy term; {}: none",
        *_kinds_comment("head", 4),
    ]
    unsupported = sorted(set(report.boundaries) - lookup("head", "coulomb").boundaries)
    coulomb = "{kind: coulomb, accuracy: 1.0e-6}"
    lines += _kinds_comment("solver", 4, "solvers of the coulomb head: auto, ")
    if unsupported:
        boundaries = ", ".join(unsupported)
        lines.append(f"    coulomb: null            # {coulomb} does not support {boundaries} yet")
    else:
        lines.append(f"    coulomb: {coulomb}")
    return [*lines, "    # repulsion: {kind: zbl}  # short-range repulsion of the nuclei"]


def _kinds_comment(slot: str, indent: int, title: str = "kinds: ") -> list[str]:
    """Comment lines that list every registered kind of a slot, those of plugins included."""
    prefix = " " * indent + "# "
    text = title + ", ".join(printable(kind) for kind in kinds(slot))
    return textwrap.wrap(
        text,
        LINE_LENGTH,
        initial_indent=prefix,
        subsequent_indent=prefix + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _e0_lines(report: CheckReport) -> list[str]:
    if report.relative_energies:
        key = ", ".join(report.labels["energy"])
        return [f"  e0: zero                   # {printable(key)}: a difference of energies"]
    if report.isolated and set(report.elements) <= set(report.isolated):
        values = ", ".join(f"{symbol} {e:.8g}" for symbol, e in report.isolated.items())
        return [
            "  e0: isolated               # energies of the frames of one atom, which are not "
            f"trained on: {values} eV"
        ]
    fit = report.fit
    if fit is None:
        return []
    unique = fit.rank == len(fit.e0)
    values = ", ".join(f"{symbol}: {value:.4f}" for symbol, value in fit.e0.items())
    lines = [
        f"  # E0 check: least squares leaves {1000 * fit.rms:.3g} meV/atom RMS; the compositions "
        f"have rank {fit.rank} of {len(fit.e0)}.",
    ]
    if not unique:
        lines.append(
            "  # The E0s below are therefore not unique: give energies of isolated atoms if known."
        )
    return [*lines, f"  # e0: {{{values}}}   # eV; default: fitted to the training data"]


def _data_section(
    report: CheckReport, tests: Mapping[str, str], partial: list[str], base: Path
) -> list[str]:
    keys = ", ".join(f"{label}: {_key_list(counts)}" for label, counts in report.labels.items())
    share = _valid_share(report)
    lines = [
        "",
        "data:                        # paths are relative to this file",
        f"  train: [{quote(_relative(report.path, base))}]",
        f"  valid: {share}                 # fraction of the training frames, or files",
    ]
    if tests:
        lines.append("  test:")
        lines += [
            f"    {quote(name)}: [{quote(_relative(Path(file), base))}]"
            for name, file in tests.items()
        ]
    else:
        lines.append("  test: {}                   # name -> files")
    lines.append(f"  keys: {{{keys}}}")
    text = f"  partial: [{', '.join(partial)}]"
    return [*lines, f"{text:<28} # labels that only some of the frames carry"]


def _key_list(counts: Mapping[str, int]) -> str:
    """The key of a label, or a list of all keys that some frames use."""
    quoted = [quote(key) for key in counts]
    return quoted[0] if len(quoted) == 1 else f"[{', '.join(quoted)}]"


def _relative(path: Path, base: Path) -> str:
    """Keep an absolute path; write any other path relative to ``base``."""
    if path.is_absolute():
        return str(path)
    return Path(os.path.relpath(path, base)).as_posix()


def _valid_share(report: CheckReport) -> float:
    """Fraction of the frames for validation."""
    return 0.1 if report.n_frames >= 20 else round(min(0.5, 2 / max(report.n_frames, 4)), 2)


def _training_section(report: CheckReport, structures: list[Atoms]) -> list[str]:
    mean = sum(report.elements.values()) / report.n_frames
    graphs = int(np.clip(round(BATCH_ATOMS / mean), 1, 32))
    atoms = _round_up(max(1.25 * graphs * mean, report.sizes[1]))
    edges = _round_up(EDGES_FACTOR * graphs * _edges_per_frame(structures))
    trained = report.n_frames - max(1, round(_valid_share(report) * report.n_frames))
    steps = max(1, math.ceil(trained / graphs))
    per_epoch = "1 step" if steps == 1 else f"{steps} steps"
    epochs = int(np.clip(round(STEPS / steps, -1), 20, 500))
    present = [label for label in WEIGHTS if label in report.labels]
    loss = ", ".join(f"{label}: {WEIGHTS[label]}" for label in present)
    others = [label for label in OF_CHARGES if label in report.labels]
    also = f"; also available: {', '.join(others)}" if others else ""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", report.path.name.split(".")[0]).strip("-") or "run"
    return [
        "",
        "training:",
        f"  directory: runs/{stem}",
        f"  epochs: {epochs:<18} # about {per_epoch} per epoch",
        f"  batch: {{graphs: {graphs}, atoms: {atoms}}}   # upper limits of a step",
        f"  micro_batch: {{edges: {edges}}}   # computed at once, to save memory; no other effect",
        f"  loss: {{{loss}}}   # weights{also}",
        "  learning_rate: 2.0e-3",
        "  seed: 0",
        "  dtype: float32",
    ]


def _edges_per_frame(structures: list[Atoms]) -> int:
    """Largest number of edges among a sample of the frames, at :data:`CUTOFF`."""
    stride = max(1, len(structures) // SAMPLED_FRAMES)
    counts = [1]
    for atoms in structures[::stride]:
        cell = complete_cell(atoms.cell.array, atoms.pbc)
        edge_index, _ = neighbor_list(atoms.positions, cell, atoms.pbc, CUTOFF)
        counts.append(edge_index.shape[1])
    return max(counts)


def _round_up(value: float) -> int:
    """Round up to two significant digits."""
    unit = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit) * unit

"""Sections of a configuration that is written for a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from muse_lr.config.registry import lookup
from muse_lr.data.findings import CheckReport
from muse_lr.data.formats import printable
from muse_lr.data.labels import OF_CHARGES
from muse_lr.data.scaffold.choices import Choices
from muse_lr.data.scaffold.defaults import Charges, Embedding
from muse_lr.data.scaffold.survey import WEIGHTS, Survey
from muse_lr.data.scaffold.text import comment, kinds_comment, quote, relative_source, stem_of

#: Kind of the finding of the check that suggests E0s of zero.
RELATIVE = "relative energies"


def header(survey: Survey, verb: str) -> list[str]:
    """Comment that says what the data are."""
    report = survey.report
    low, high = report.sizes
    size = str(low) if low == high else f"{low} to {high}"
    boundaries = ", ".join(f"{n} {name}" for name, n in report.boundaries.items())
    lines = [
        f"# Written by muse-lr {verb} for {printable(report.path.name)}:",
        f"# {report.n_frames} frames of {size} atoms; boundaries: {boundaries}.",
    ]
    if report.warnings:
        kinds = dict.fromkeys(finding.kind for finding in report.warnings)
        lines.append(f"# Warnings of muse-lr data check: {', '.join(kinds)}.")
    return lines


def model_section(survey: Survey, choices: Choices) -> list[str]:
    """The section ``model``."""
    report = survey.report
    multiscale = "null" if choices.multiscale is None else f"{{kind: {choices.multiscale}}}"
    return [
        "",
        "model:",
        f"  elements: [{', '.join(report.elements)}]",
        *_e0_lines(report),
        "  backbone:                  # short-range atomic features; null: none",
        *kinds_comment("backbone", 4),
        "    kind: painn",
        f"    cutoff: {choices.cutoff}              # A",
        f"    channels: {choices.channels}             # number of feature channels",
        f"    layers: {choices.layers}                # message passing layers; receptive field: "
        "layers x cutoff",
        *_embed_lines(survey.embedding, report),
        "  # Long-range message passing, for example {kind: muse}; null: none.",
        *kinds_comment("multiscale", 2),
        f"  multiscale: {multiscale}",
        *_charges_lines(survey.charges),
        *_heads_lines(report),
    ]


def _embed_lines(chosen: Embedding, report: CheckReport) -> list[str]:
    charges = {float(q) for q in report.total_charges}
    hint = "" if charges <= {0.0} else "; total charges here: " + ", ".join(report.total_charges)
    if chosen.names:
        reason = comment(_sentence(chosen.reason), 4)
        return [*reason, f"    embed: [{', '.join(chosen.names)}]   # global inputs{hint}"]
    state = [name for name, there in (("total_charge", charges), ("spin", report.spins)) if there]
    lines = [
        f"    # embed: [{', '.join(state) or 'total_charge'}]   # global inputs of the "
        f"backbone{hint}"
    ]
    return lines + (comment(_sentence(chosen.reason), 4) if chosen.reason else [])


def _charges_lines(chosen: Charges) -> list[str]:
    lines = [
        "  charges:                   # model of the atomic charges; null: none",
        *kinds_comment("charges", 4),
        *comment(_sentence(chosen.reason), 4),
    ]
    if chosen.kind == "split":
        constants = ", ".join(f"{symbol}: {charge}" for symbol, charge in chosen.by_element.items())
        lines += [
            "    kind: split              # charge moves between neighbors",
            f"    by_element: {{{constants}}}   # e, constants to which the transfers are added",
            "    net_charge: refuse       # a total charge that is not their sum is an error",
        ]
    else:
        lines.append(f"    kind: {chosen.kind:<18} # the charges sum exactly to the total charge")
    return [*lines, "    width: 1.0               # A, width of the Gaussian charges"]


def _heads_lines(report: CheckReport) -> list[str]:
    unsupported = sorted(set(report.boundaries) - lookup("head", "coulomb").boundaries)
    coulomb = "{kind: coulomb, accuracy: 1.0e-6}"
    lines = [
        "  heads:                     # name -> energy term; {}: none",
        *kinds_comment("head", 4),
        *kinds_comment("solver", 4, "solvers of the coulomb head: auto, "),
    ]
    if unsupported:
        boundaries = ", ".join(unsupported)
        lines.append(f"    coulomb: null            # {coulomb} does not support {boundaries} yet")
    else:
        lines.append(f"    coulomb: {coulomb}")
    return [
        *lines,
        "    # Training adds a repulsion (zbl) below the shortest distances of its data, unless:",
        "    # repulsion: null",
    ]


def _sentence(reason: str) -> str:
    return f"{reason[0].upper()}{reason[1:]}."


def _e0_lines(report: CheckReport) -> list[str]:
    key = printable(", ".join(report.labels["energy"]))
    if report.relative_energies:
        return [f"  e0: zero                   # {key}: a difference of energies"]
    if any(finding.kind == RELATIVE for finding in report.findings):
        return [f"  e0: zero                   # {key}: too small for total energies"]
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


def data_section(survey: Survey, choices: Choices, base: Path) -> list[str]:
    """The section ``data``."""
    labels = survey.report.labels
    keys = ", ".join(f"{label}: {_key_list(counts)}" for label, counts in labels.items())
    lines = [
        "",
        "data:                        # paths are relative to this file",
        f"  train: [{quote(relative_source(survey.train, base))}]",
    ]
    if choices.max_frames is not None:
        text = f"  max_frames: {choices.max_frames}"
        lines.append(f"{text:<28} # a random subset of the {len(survey.structures)}; null: all")
    text = f"  valid: {choices.valid_share(survey)}"
    lines.append(f"{text:<28} # fraction of the training frames, or files")
    if survey.tests:
        lines.append("  test:")
        lines += [
            f"    {quote(name)}: [{quote(relative_source(file, base))}]"
            for name, file in survey.tests.items()
        ]
    else:
        lines.append("  test: {}                   # name -> files")
    lines.append(f"  keys: {{{keys}}}")
    text = f"  partial: [{', '.join(survey.partial)}]"
    return [*lines, f"{text:<28} # labels that only some of the frames carry"]


def _key_list(counts: Mapping[str, int]) -> str:
    """The key of a label, or a list of all keys that some frames use."""
    quoted = [quote(key) for key in counts]
    return quoted[0] if len(quoted) == 1 else f"[{', '.join(quoted)}]"


def training_section(survey: Survey, choices: Choices) -> list[str]:
    """The section ``training``."""
    limits = choices.limits(survey)
    steps = limits.steps(choices.trained(survey))
    per_epoch = "1 step" if steps == 1 else f"{steps} steps"
    loss = ", ".join(f"{label}: {WEIGHTS[label]}" for label in survey.loss_labels)
    others = [label for label in OF_CHARGES if label in survey.report.labels]
    also = f"; also available: {', '.join(others)}" if others else ""
    epochs = choices.planned_epochs(survey)
    lines = [
        "",
        "training:",
        f"  directory: runs/{stem_of(survey.train) or 'run'}",
        f"  epochs: {epochs:<18} # about {per_epoch} per epoch",
        f"  batch: {{graphs: {limits.graphs}, atoms: {limits.atoms}}}   # upper limits of a step",
        f"  micro_batch: {{edges: {limits.edges}}}   # computed at once, to save memory; no other "
        "effect",
        f"  loss: {{{loss}}}   # weights{also}",
        f"  learning_rate: {choices.learning_rate:.1e}",
    ]
    if choices.warmup_steps is not None:
        lines.append(f"  schedule: {{warmup_steps: {choices.warmup_steps}}}")
    if choices.ema is not None:
        lines.append(f"  ema: {choices.ema:<21} # decay of the moving average of the weights")
    return [*lines, "  seed: 0", "  dtype: float32"]

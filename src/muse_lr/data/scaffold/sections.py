"""Sections of a configuration that is written for a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from muse_lr.config.registry import lookup
from muse_lr.data.composition import CompositionFit
from muse_lr.data.findings import CheckReport
from muse_lr.data.formats import printable
from muse_lr.data.labels import OF_CHARGES
from muse_lr.data.scaffold.choices import Choices
from muse_lr.data.scaffold.defaults import Charges, Embedding
from muse_lr.data.scaffold.survey import CUTOFF, WEIGHTS, Survey
from muse_lr.data.scaffold.text import comment, kinds_comment, quote, relative_source, stem_of

#: Comment beside what a study chooses for the time.
FOR_TIME = "; chosen for the time, not for accuracy"


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
    return lines + [line for text in survey.warnings for line in comment(f"Warning: {text}.")]


def model_section(survey: Survey, choices: Choices) -> list[str]:
    """The section ``model``."""
    report = survey.report
    cutoff = survey.shells.choose(choices.cutoff)
    for_time = FOR_TIME * choices.for_time
    multiscale = "null" if choices.multiscale is None else f"{{kind: {choices.multiscale}}}"
    return [
        "",
        "model:",
        f"  elements: [{', '.join(report.elements)}]",
        *_e0_lines(survey),
        "  backbone:                  # short-range atomic features; null: none",
        *kinds_comment("backbone", 4),
        "    kind: painn",
        *comment(f"The cutoff is {cutoff.reason}.", 4),
        f"    cutoff: {cutoff.value:<16} # A{for_time * (choices.cutoff < CUTOFF)}",
        f"    channels: {choices.channels:<14} # number of feature channels{for_time}",
        f"    layers: {choices.layers:<16} # message passing layers{for_time}",
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
        "    # Training adds a repulsion (zbl) below the shortest distances of its data, and a",
        "    # bond_barrier in gaps between bonds to hydrogen and other distances, unless:",
        "    # repulsion: null",
        "    # bond_barrier: null",
    ]


def _sentence(reason: str) -> str:
    return f"{reason[0].upper()}{reason[1:]}."


def _e0_lines(survey: Survey) -> list[str]:
    report = survey.report
    key = printable(", ".join(report.labels["energy"]))
    if report.zero_e0:
        why = "a difference of" if report.relative_energies else "too small for total"
        return [f"  e0: zero                   # {key}: {why} energies"]
    if report.isolated_e0:
        values = ", ".join(f"{symbol} {e:.8g}" for symbol, e in report.isolated.items())
        lines = ["  e0: isolated               # energies of the frames of one neutral atom"]
        ions = ", while frames of one ion are" * survey.has_single_ions
        return lines + comment(f"{values} eV. These frames are not trained on{ions}.", 4)
    return [] if report.fit is None else _fitted_lines(report.fit, survey.has_ions)


def _fitted_lines(fit: CompositionFit, ions: bool) -> list[str]:
    """Comment on the E0s that a fit gives."""
    text = f"E0 check: one energy for each element leaves {1000 * fit.rms:.3g} meV/atom RMS."
    if fit.rank < len(fit.e0):
        text += (
            f" The compositions do not tell all of them apart (rank {fit.rank} of {len(fit.e0)}), "
            "so that the values below are one choice of many. For other compositions give "
            "energies of isolated neutral atoms."
        )
    if ions:
        text += (
            " There are ions: fitted E0s contain their ionization energies. Energies of isolated "
            "atoms are those of neutral atoms, and the model then learns the difference."
        )
    values = ", ".join(f"{symbol}: {value:.4f}" for symbol, value in fit.e0.items())
    return [*comment(text, 2), f"  # e0: {{{values}}}   # eV; default: fitted to the training data"]


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
        total = len(survey.structures)
        lines.append(f"{text:<28} # a random subset of the {total}{FOR_TIME}; null: all")
    text = f"  valid: {choices.valid_share(survey)}"
    lines.append(f"{text:<28} # fraction of the training frames, or files")
    lines += _trajectory_lines(survey, base)
    if survey.tests:
        lines.append(f"  test:{' ' * 22}# {survey.held_out}" if survey.held_out else "  test:")
        lines += [
            f"    {quote(name)}: [{quote(relative_source(file, base))}]"
            for name, file in survey.tests.items()
        ]
    else:
        lines.append("  test: {}                   # name -> files")
    lines.append(f"  keys: {{{keys}}}")
    text = f"  partial: [{', '.join(survey.partial)}]"
    return [*lines, f"{text:<28} # labels that only some of the frames carry"]


def _trajectory_lines(survey: Survey, base: Path) -> list[str]:
    """Comment on random validation frames of a trajectory, with blocks to use instead."""
    trajectory = survey.report.trajectory
    if trajectory is None:
        return []
    remedy = "Files of other trajectories are better: valid: [FILE]"
    if trajectory.one_system:
        source = relative_source(survey.train, base)
        first = len(survey.structures) - survey.count_trained()[1]
        blocks = f"train: [{quote(f'{source}@:{first}')}], valid: [{quote(f'{source}@{first}:')}]"
        remedy = f"The last ones instead: {blocks}"
    return comment(
        "Consecutive frames are alike, as in a trajectory: validation frames drawn at random are "
        f"close to training frames. {remedy}",
        2,
    )


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
        f"  epochs: {epochs:<18} # about {per_epoch} per epoch{FOR_TIME * choices.for_time}",
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

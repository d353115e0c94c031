"""Files of energy profiles: JSON, CSV, figures and a page that stands alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from muse_lr import __version__
from muse_lr.analysis.profile.energies import TOTAL, Profile
from muse_lr.analysis.profile.summary import (
    COLUMNS,
    MEV,
    errors,
    summary,
    table_rows,
)
from muse_lr.reporting.html import (
    Block,
    Cell,
    Image,
    Lead,
    Paragraph,
    Report,
    Section,
    Table,
    write_html,
)
from muse_lr.reporting.plots import Curve
from muse_lr.reporting.profile.plots import ProfilePanel, profile_curves
from muse_lr.reporting.profile.tables import error_table, path_table
from muse_lr.reporting.style import save
from muse_lr.reporting.wording import number
from muse_lr.utils.files import write_csv, write_json

Models = Mapping[str, Sequence[Profile]]
Summary = Mapping[str, Any]
ENERGY = "energy (eV)"
UNLABELED = "No frame has a reference energy, so that there are no errors."


def write_profiles(models: Models, directory: Path, about: Mapping[str, str]) -> Summary:
    """Write ``profile.json``, ``profile.csv``, ``plots/*.png`` and ``report.html``.

    Parameters
    ----------
    models : mapping
        Name of a model -> its profiles, along the same paths.
    directory : Path
    about : mapping
        Names and values for the last table, such as the files of the models.

    Returns
    -------
    mapping
        Content of ``profile.json``.
    """
    found = summary(models)
    write_json(directory / "profile.json", {"muse_lr": __version__, "about": dict(about), **found})
    write_csv(directory / "profile.csv", COLUMNS, table_rows(models))
    frames = sum(path["frames"] for path in found["paths"])
    report = Report(
        title=f"Energy profiles of {', '.join(models)}",
        subtitle=f"{len(found['paths'])} paths, {frames:,} frames; muse_lr {__version__}",
        lead=Lead(list(sentences(found))),
        sections=[
            Section("Profiles", _total_blocks(models, directory)),
            Section("Errors, wells and barriers", [error_table(found)]),
            Section("Terms of the energy", _term_blocks(models, directory)),
            Section("Paths", [path_table(found)]),
            Section("About", [_about_table(about)]),
        ],
    )
    write_html(report, directory / "report.html")
    return found


def sentences(found: Summary) -> Iterator[str]:
    """The mean error of each model, and the path on which it is largest."""
    labeled = False
    for model in found["models"]:
        if model["mae_meV"] is None:
            continue
        labeled = True
        text = (
            f"{model['name']}: the MAE of the relative energies is {number(model['mae_meV'])} meV"
        )
        known = {name: p["mae_meV"] for name, p in model["paths"].items() if "mae_meV" in p}
        if len(known) > 1:
            worst = max(known, key=lambda name: float(known[name]))
            text += f", and {number(known[worst])} meV on the worst path, {worst}"
        yield f"{text}."
    if not labeled:
        yield UNLABELED


def _total_blocks(models: Models, directory: Path) -> list[Block]:
    """Total energies of all models beside the reference, and their errors."""
    first = next(iter(models.values()))
    energies = [
        ProfilePanel(
            profile.path.name,
            profile.path.label,
            reference_curve(profile),
            {
                name: Curve(profile.path.values, profiles[i].energies[TOTAL])
                for name, profiles in models.items()
            },
        )
        for i, profile in enumerate(first)
    ]
    image = save(profile_curves(energies, ENERGY), directory / "plots" / "profiles.png")
    blocks: list[Block] = [Image(image, "Relative energies along each path.")]
    differences = [
        ProfilePanel(
            profile.path.name,
            profile.path.label,
            None,
            {
                name: Curve(profile.path.values, MEV * errors(profiles[i]))
                for name, profiles in models.items()
            },
        )
        for i, profile in enumerate(first)
        if np.isfinite(profile.reference).any()
    ]
    if not differences:
        return [*blocks, Paragraph(UNLABELED)]
    figure = profile_curves(differences, "error (meV)")
    image = save(figure, directory / "plots" / "errors.png")
    return [*blocks, Image(image, "Model minus reference along each path.")]


def _term_blocks(models: Models, directory: Path) -> list[Block]:
    """For each model, its terms along each path."""
    blocks: list[Block] = []
    for number_of_model, (name, profiles) in enumerate(models.items(), 1):
        panels = [
            ProfilePanel(
                profile.path.name,
                profile.path.label,
                reference_curve(profile),
                {
                    term: Curve(profile.path.values, values)
                    for term, values in {TOTAL: profile.energies[TOTAL], **profile.varying}.items()
                },
            )
            for profile in profiles
        ]
        file = directory / "plots" / f"terms-{number_of_model}.png"
        caption = (
            f"{name}: its total energy and the terms that vary along the paths, which sum to it. "
            "The axis follows the reference."
        )
        blocks.append(Image(save(profile_curves(panels, ENERGY), file), caption))
    return blocks


def reference_curve(profile: Profile) -> Curve | None:
    """The labeled points of the reference; None without any."""
    known = np.isfinite(profile.reference)
    if not known.any():
        return None
    return Curve(profile.path.values[known], profile.reference[known])


def _about_table(about: Mapping[str, str]) -> Table:
    return Table(["", "value"], [[Cell(name), Cell(value)] for name, value in about.items()])

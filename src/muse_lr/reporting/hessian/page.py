"""Files of a comparison of Hessians: JSON, CSV, figures and a page that stands alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from muse_lr import __version__
from muse_lr.analysis.hessian.comparison import Comparison
from muse_lr.analysis.hessian.references import ALL, References
from muse_lr.analysis.hessian.summary import COLUMNS, summary, table_rows
from muse_lr.reporting.hessian.plots import Curve, CurvePanel, block_curves, frequency_parity
from muse_lr.reporting.hessian.tables import (
    REACH,
    distance_table,
    element_table,
    frame_table,
    overview_table,
    reach_table,
    set_names,
)
from muse_lr.reporting.html import (
    Block,
    Cell,
    Fold,
    Image,
    Lead,
    Paragraph,
    Report,
    Section,
    Table,
    write_html,
)
from muse_lr.reporting.style import save
from muse_lr.reporting.wording import number
from muse_lr.utils.files import write_csv, write_json

Summary = Mapping[str, Any]
#: Noise above this share of the norm of the reference is warned of.
NOISY = 0.5
#: Largest number of sets, all frames included, whose curves are drawn.
MOST_PANELS = 7


def write_comparison(
    comparisons: Sequence[Comparison],
    references: References,
    edges: Sequence[float],
    directory: Path,
    about: Mapping[str, str],
) -> Summary:
    """Write ``hessian.json``, ``hessian.csv``, ``plots/*.png`` and ``report.html``.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Of all models, with the same frames.
    references : References
    edges : sequence of float
        Edges of the ranges of distance, A.
    directory : Path
    about : mapping
        Names and values for the last table, such as the files of the models.

    Returns
    -------
    mapping
        Content of ``hessian.json``.
    """
    found = summary(comparisons, references.groups, edges)
    write_json(directory / "hessian.json", {"muse_lr": __version__, "about": dict(about), **found})
    lines = table_rows(comparisons, references.groups, edges)
    write_csv(directory / "hessian.csv", COLUMNS, lines)
    rows = [[Cell(name), Cell(value)] for name, value in about.items()]
    atoms = sum(len(frame.atoms) for frame in references.frames)
    report = Report(
        title=f"Hessians of {', '.join(c.name for c in comparisons)}",
        subtitle=f"{len(references.frames)} Hessians, {atoms:,} atoms; muse_lr {__version__}",
        lead=Lead(list(sentences(found)), [REACH], warnings=list(cautions(found))),
        sections=[
            Section("Overview", [overview_table(found)]),
            Section("Blocks by distance", _distance_blocks(found, directory)),
            Section("Blocks by pair of elements", _element_blocks(found)),
            Section("Frequencies", _frequency_blocks(comparisons, directory)),
            Section(
                "Frames",
                [Paragraph(noise_sentence(found)), Fold("Every frame", [frame_table(found)])],
            ),
            Section("Reach of the parts", [reach_table(found)]),
            Section("About", [Table(["", "value"], rows)]),
        ],
    )
    write_html(report, directory / "report.html")
    return found


def sentences(found: Summary) -> Iterator[str]:
    """One sentence for each model on all frames."""
    for model in found["models"]:
        frames = model["sets"][ALL]
        inside, beyond = (frames["blocks"][f"{place}_reach"] for place in ("within", "beyond"))
        text = f"{model['name']}: "
        if inside["pairs"]:
            text += f"inside the reach of its backbone ({model['reach']:g} Å), {_share(inside)}; "
        if beyond["pairs"]:
            text += f"beyond {model['reach']:g} Å, {_share(beyond)}"
        else:
            text += "no pair of atoms is farther apart than that, so that nothing is said on range"
        modes = frames["frequencies"]
        if modes["modes"]:
            text += f". The MAE of the frequencies is {number(modes['mae'])} 1/cm"
        yield f"{text}."


def cautions(found: Summary) -> Iterator[str]:
    """What readers must know before they believe a number."""
    for model in found["models"]:
        beyond = model["sets"][ALL]["blocks"]["beyond_reach"]
        if not beyond["pairs"]:
            continue
        if beyond["noise"] > NOISY * beyond["norm"]:
            yield (
                f"{model['name']}: beyond {model['reach']:g} Å the noise of the reference is "
                f"{number(beyond['noise'])} of {number(beyond['norm'])} eV/Å²: there is hardly "
                "anything to compare with."
            )
        elif beyond["error"] > beyond["norm"]:
            yield (
                f"{model['name']}: beyond {model['reach']:g} Å its error is larger than that of "
                "the zero model."
            )


def noise_sentence(found: Summary) -> str:
    """The noise of the reference, from its asymmetry."""
    frames = found["models"][0]["frames"]
    largest = max(frame["reference_asymmetry"] for frame in frames)
    if largest == 0:
        return "The references are symmetric as they are given, so that their noise is not known."
    return (
        f"The references differ from their transposes by up to {number(largest)} eV/Å². The noise "
        "in the tables is the RMS norm of half this difference. A reference that was made "
        "symmetric before has none there, which does not mean that it is exact."
    )


def _share(blocks: Mapping[str, Any]) -> str:
    return (
        f"the error of the blocks is {number(blocks['relative_error'])} of that of the zero model, "
        f"with a cosine of {number(blocks['cosine'])}"
    )


def _distance_blocks(found: Summary, directory: Path) -> list[Block]:
    names = set_names(found)
    shown = names[1:] if 1 < len(names) <= MOST_PANELS else names[:1]
    image = save(
        block_curves({name: curve_panel(found, name) for name in shown}),
        directory / "plots" / "blocks.png",
    )
    caption = (
        "Norm, error and cosine of the blocks by distance. The dashed line is the reach of the "
        "backbone, 2 × layers × cutoff: inside it the figure shows learnability, beyond it range."
    )
    tables: list[Block] = [distance_table(found, ALL)]
    tables += [Fold(f"Set {name}", [distance_table(found, name)]) for name in names[1:]]
    return [Image(image, caption), *tables]


def curve_panel(found: Summary, name: str) -> CurvePanel:
    """Curves of one set of the summary."""
    models = found["models"]

    def column(model: Summary, key: str) -> list[float]:
        lines = model["sets"][name]["by_distance"]
        return [np.nan if line[key] is None else float(line[key]) for line in lines]

    first = models[0]["sets"][name]["by_distance"]
    centers = [(line["from"] + line["to"]) / 2 for line in first]
    return CurvePanel(
        centers,
        column(models[0], "norm"),
        column(models[0], "noise"),
        {
            model["name"]: Curve(
                centers,
                column(model, "error"),
                column(model, "cosine"),
                column(model, "model_norm"),
            )
            for model in models
        },
        {model["name"]: model["reach"] for model in models},
    )


def _element_blocks(found: Summary) -> list[Block]:
    far = element_table(found, ALL, beyond=True)
    blocks: list[Block] = [element_table(found, ALL, beyond=False)]
    return [*blocks, far] if far.rows else blocks


def _frequency_blocks(comparisons: Sequence[Comparison], directory: Path) -> list[Block]:
    columns = {
        comparison.name: (
            np.concatenate([frame.modes.reference for frame in comparison.frames]),
            np.concatenate([frame.modes.model for frame in comparison.frames]),
        )
        for comparison in comparisons
    }
    if not len(next(iter(columns.values()))[0]):
        return [Paragraph("The structures have no vibrations.")]
    image = save(frequency_parity(columns), directory / "plots" / "frequencies.png")
    caption = (
        "Frequencies in ascending order, without translations and, for molecules, rotations. "
        "Imaginary frequencies are negative."
    )
    return [Image(image, caption)]

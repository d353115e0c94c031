"""Metrics that a study measures for the model of each run after its training.

A metric is a section of the study file. Its function receives the trained model in the process of
the run, and its results are rows of ``results.csv`` whose test has the name of the metric.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from muse_lr.ablate.hessian import check_hessian, hessian_blocks, measure_hessian
from muse_lr.ablate.profile import check_profile, measure_profile, profile_blocks
from muse_lr.ablate.stability import check_stability, stability_blocks
from muse_lr.analysis.hessian.settings import HessianConfig
from muse_lr.analysis.profile.settings import ProfileConfig
from muse_lr.config.schema import Strict
from muse_lr.errors import InputError
from muse_lr.simulate.stability import StabilityConfig, measure_stability
from muse_lr.utils.files import write_json

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel
    from muse_lr.reporting.html import Block
    from muse_lr.train.config import Config

#: File in the directory of a metric with its configuration and its results.
MEASURED = "measured.json"
#: Variant -> results of its seeds, of one metric.
Values = Mapping[str, Sequence[Mapping[str, float]]]


class MetricSections(Strict):
    """Sections of a study file; each measures a metric of :data:`MODEL_METRICS`."""

    stability: StabilityConfig | None = Field(
        None,
        description="Dynamics of the model of every run after its training, as a metric: the time "
        "to failure. Default: none.",
    )
    hessian: HessianConfig | None = Field(
        None,
        description="Hessians of the model of every run after its training beside references, as a "
        "metric: error and cosine of blocks by distance, frequencies. Default: none.",
    )
    profile: ProfileConfig | None = Field(
        None,
        description="Energies of the model of every run after its training along paths, as a "
        "metric: errors, wells and barriers beside the reference. Default: none.",
    )


@dataclass(frozen=True)
class ModelMetric:
    """A metric of trained models.

    Attributes
    ----------
    title : str
        Heading of its section in the report.
    schema : type
        Schema of the section of the study file.
    check : callable
        Receives the section of the study file, its directory and the elements of a variant, if the
        configuration states them. It returns the section with absolute paths, and raises an
        :class:`InputError` for what cannot be measured.
    measure : callable
        Receives the model, the section, the seed of the run, a directory for its files and a
        function for messages. It returns values by name, and continues an interrupted measurement.
    blocks : callable
        Receives the values of all variants and the directory of the study. It returns tables and
        figures.
    """

    title: str
    schema: type[Strict]
    check: Callable[[Any, Path, Sequence[str] | None], Any]
    measure: Callable[[EnergyModel, Any, int, Path, Callable[[str], None]], dict[str, float]]
    blocks: Callable[[Values, Path], list[Block]]


#: Metrics by name: the section of the study file, and the test in results.csv.
MODEL_METRICS: dict[str, ModelMetric] = {
    "stability": ModelMetric(
        "Stability", StabilityConfig, check_stability, measure_stability, stability_blocks
    ),
    "hessian": ModelMetric(
        "Hessians", HessianConfig, check_hessian, measure_hessian, hessian_blocks
    ),
    "profile": ModelMetric(
        "Energy profiles", ProfileConfig, check_profile, measure_profile, profile_blocks
    ),
}


def planned_metrics(study: MetricSections, base: Path, config: Config) -> dict[str, Any]:
    """Sections of the metrics of a study as plain data, with absolute paths.

    Parameters
    ----------
    study : MetricSections
    base : Path
        Directory of the study file.
    config : Config
        Configuration of a run.

    Raises
    ------
    InputError
        If a metric cannot be measured.
    """
    found = {}
    for name, metric in MODEL_METRICS.items():
        section = getattr(study, name)
        if section is None:
            continue
        if name in config.data.test:
            raise InputError(
                f"the metric {name!r} and a test set have the same name: rename data.test.{name}"
            )
        checked = metric.check(section, base, config.model.elements)
        found[name] = checked.model_dump(mode="json")
    return found


def measured(directory: Path, sections: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Results of the metrics of a run that are finished.

    Raises
    ------
    InputError
        If a metric was measured with another section.
    """
    found = {}
    for name, section in sections.items():
        path = directory / name / MEASURED
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            settings, values = content["settings"], content["values"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged: remove {directory / name}") from error
        if settings != section:
            raise InputError(
                f"{directory / name} was measured with another section {name!r} of the study: "
                "remove this directory to measure again, or restore the section"
            )
        found[name] = {str(key): float(value) for key, value in values.items()}
    return found


def measure(
    model: EnergyModel,
    name: str,
    section: Mapping[str, Any],
    seed: int,
    directory: Path,
    report: Callable[[str], None],
) -> None:
    """Measure one metric of a trained model and write the results.

    Parameters
    ----------
    directory : Path
        Directory of the run; the files of the metric are written to a folder of its name.
    """
    metric, out = MODEL_METRICS[name], directory / name
    values = metric.measure(model, metric.schema.model_validate(section), seed, out, report)
    write_json(out / MEASURED, {"settings": section, "values": values})

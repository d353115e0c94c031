"""Study files (base configuration, variants and seeds) and the planning of their runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from muse_lr.ablate.changes import RESERVED_KEYS, anchored, refuse_hidden
from muse_lr.ablate.model_metrics import MetricSections, planned_metrics
from muse_lr.ablate.planned import PlannedTime
from muse_lr.config.paths import expand_path
from muse_lr.config.schema import check_name, validate
from muse_lr.config.yaml import load_yaml
from muse_lr.data.selection import parse_source
from muse_lr.errors import InputError, nearest
from muse_lr.model.build import build_model
from muse_lr.model.config import without_data
from muse_lr.train.config import Config, load_config

#: Files in the directory of the study, which are not allowed as names of variants.
RESERVED_NAMES = ("results.csv", "runs.csv", "report.md", "report.html", "plots")


class Study(MetricSections):
    """Content of a study file."""

    base: str = Field(..., description="Configuration file that all variants modify.")
    reference: str = Field(..., description="Variant that all others are compared with.")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="Random seeds, each at least 0.")
    variants: dict[str, dict[str, Any]] = Field(
        ...,
        min_length=1,
        description="Name -> dotted keys and their values, which override the base.",
    )
    drop_impossible_losses: bool = Field(
        False,
        description="Whether a variant that cannot predict a label of training.loss, such as bec "
        "without charges, trains without it. The report names what was dropped. Default: an error.",
    )
    title: str | None = Field(
        None, description="Title of the report. Default: the name of the study file in words."
    )
    description: str | None = Field(
        None, description="Text of the report below the result, for example the question."
    )
    subsets: tuple[str, ...] = Field(
        (),
        description="Info keys by whose values the report divides the errors on the test sets. "
        "Default: subset, config_type and the like, where the frames have them.",
    )
    planned: PlannedTime | None = Field(
        None, description="Time that muse-lr study expects; ablate prints it beside the time taken."
    )

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise InputError(f"give each seed once, got {list(value)}")
        if any(seed < 0 for seed in value):
            raise InputError(f"seeds must be 0 or more, got {list(value)}")
        return value

    @field_validator("variants", mode="before")
    @classmethod
    def _variants(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        for name in value:
            check_name(str(name), "variant")
            if name in RESERVED_NAMES:
                raise InputError(
                    f"variant {name!r}: a file of the report has this name, choose another one"
                )
        return {str(name): {} if changes is None else changes for name, changes in value.items()}

    @model_validator(mode="after")
    def _reference_exists(self) -> Study:
        if self.reference not in self.variants:
            known = ", ".join(self.variants)
            hint = nearest(self.reference, self.variants)
            raise InputError(f"reference {self.reference!r} is not a variant{hint}; known: {known}")
        return self


@dataclass(frozen=True)
class Run:
    """One planned run.

    Attributes
    ----------
    variant : str
    seed : int
    directory : Path
        Run directory. The configuration and the log are written next to it.
    config : dict
        The resolved configuration as plain data.
    notes : tuple of str
        What the study changed in the configuration.
    metrics : mapping
        Sections of the metrics of the model (:mod:`muse_lr.ablate.model_metrics`) as plain data.
    """

    variant: str
    seed: int
    directory: Path
    config: dict[str, Any]
    notes: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.variant}/seed-{self.seed}"

    @property
    def config_path(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.yaml")

    @property
    def metrics_path(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.metrics.json")

    @property
    def log_path(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.log")


def load_study(path: str | Path) -> Study:
    """Read and validate a study file.

    Raises
    ------
    InputError
        For unknown keys, an unknown reference variant, repeated seeds or invalid names.
    """
    inside = Path(path) / "study.yaml"
    if inside.is_file():
        raise InputError(f"{path} is a directory: did you mean {inside}?")
    return validate(Study, load_yaml(path), str(path))


class StudyError(InputError):
    """Everything that is wrong with the variants of a study.

    Attributes
    ----------
    problems : list of str
        One line for each problem.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def plan(
    study: Study, path: Path, out: Path, changes: Mapping[str, Any] | None = None
) -> list[Run]:
    """Plan all runs of a study; resolve and validate each configuration.

    Parameters
    ----------
    study : Study
        The study.
    path : Path
        Study file. The base and the data files of overrides are relative to it.
    out : Path
        Directory of the study. Runs are written to ``out/<variant>/seed-<n>``.
    changes : mapping, optional
        Dotted key -> value, set in the base before the overrides of the variants. Paths of data are
        relative to the study file.

    Raises
    ------
    StudyError
        If variants override an unknown key or give an invalid configuration, or if a data file
        does not exist.
    InputError
        If the base or ``changes`` are invalid, or if a variant sets a key of ``changes`` too.
    """
    runs, problems = resolve_runs(study, path, out, changes)
    if problems:
        raise StudyError(problems)
    return runs


def resolve_runs(
    study: Study, path: Path, out: Path, changes: Mapping[str, Any] | None = None
) -> tuple[list[Run], list[str]]:
    """Runs of the valid variants as in :func:`plan`, and one line for each variant that is not."""
    base = Path(expand_path(study.base, path.parent))
    load_config(base)  # reports an error of the base without the name of a variant
    common = {key: anchored(key, v, path.parent) for key, v in (changes or {}).items()}
    refuse_hidden(common, study.variants, path)
    load_config(base, common)
    runs: list[Run] = []
    problems: list[str] = []
    for variant, own in study.variants.items():
        found = []
        try:
            for seed in study.seeds:
                directory = (out / variant / f"seed-{seed}").resolve()
                config = _resolve(base, path, variant, (common, own), seed, directory)
                if seed == study.seeds[0]:
                    _check_usable(config, path, variant)
                metrics = planned_metrics(study, path.parent, config)
                data = config.model_dump(mode="json")
                found.append(Run(variant, seed, directory, data, metrics=metrics))
        except InputError as error:
            problems.append(str(error))
        else:
            runs += found
    return runs, problems


def select(runs: list[Run], names: list[str]) -> list[Run]:
    """Select runs by name, each a variant or ``variant/seed-n``, in the order of the plan.

    Raises
    ------
    InputError
        If a name does not match any run of the study.
    """
    known = {run.variant for run in runs} | {run.name for run in runs}
    for name in names:
        if name not in known:
            raise InputError(
                f"--only {name!r}: no such run{nearest(name, known)}; give VARIANT or "
                "VARIANT/seed-N, as listed by --plan"
            )
    return [run for run in runs if run.variant in names or run.name in names]


def identical_variants(runs: list[Run]) -> list[tuple[str, str]]:
    """Return pairs of variants whose configurations differ in the directory only."""
    seen: dict[str, str] = {}
    pairs = []
    for run in runs:
        if run.seed != runs[0].seed:
            continue
        text = json.dumps(comparable(run.config), sort_keys=True)
        if text in seen:
            pairs.append((seen[text], run.variant))
        seen.setdefault(text, run.variant)
    return pairs


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without its run directory."""
    training = dict(config.get("training") or {})
    training.pop("directory", None)
    return {**config, "training": training}


def _resolve(
    base: Path,
    path: Path,
    variant: str,
    changes: tuple[Mapping[str, Any], Mapping[str, Any]],
    seed: int,
    directory: Path,
) -> Config:
    """Configuration of one run; ``changes`` are those of all variants and those of this one."""
    common, own = changes
    overrides: dict[str, Any] = dict(common)
    for key, value in own.items():
        if key in RESERVED_KEYS:
            raise InputError(f"{path}: variant {variant!r}: {key} is set by the study; remove it")
        overrides[key] = anchored(key, value, path.parent)
    overrides |= {"training.seed": seed, "training.directory": str(directory)}
    try:
        return load_config(base, overrides)
    except InputError as error:
        raise InputError(f"{path}: variant {variant!r}: {error}") from error


def _check_usable(config: Config, path: Path, variant: str) -> None:
    data = config.data
    files = [*data.train, *data.isolated_atoms]
    files += [file for tested in data.test.values() for file in tested]
    if isinstance(data.valid, tuple):
        files += data.valid
    for file in files:
        if not Path(parse_source(file).file).is_file():
            raise InputError(f"{path}: variant {variant!r}: no data file {file}")
    if config.model.elements is None:
        return  # the elements are only known after reading the training data
    try:
        build_model(without_data(config.model))
    except InputError as error:
        raise InputError(f"{path}: variant {variant!r}: {error}") from error

"""Schema of the configuration file, used for validation, defaults and documentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from muse_lr.config.overrides import apply_override
from muse_lr.config.paths import expand_path
from muse_lr.config.schema import Strict, check_name, validate
from muse_lr.config.yaml import load_yaml
from muse_lr.data.selection import expand_sources, refuse_divided
from muse_lr.errors import InputError
from muse_lr.model.config import ModelConfig, resolve_files
from muse_lr.train.parts import check_factors

Label = Literal[
    "energy",
    "forces",
    "stress",
    "dipole",
    "quadrupole",
    "charges",
    "potential",
    "bec",
    "polarization",
    "polarizability",
    "dielectric",
]


class DataConfig(Strict):
    """Data files and the keys of their labels."""

    train: tuple[str, ...] = Field(
        ...,
        description="Training files. As for every file of this section, a selection of its frames "
        'may follow, in quotes: "data.xyz@:40" or "data.xyz@subset=rutile".',
    )
    valid: float | tuple[str, ...] = Field(
        0.1, description="Validation data: a fraction of the training frames, or files."
    )
    test: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Test sets: name -> files."
    )
    max_frames: int | None = Field(
        None,
        ge=1,
        description="Largest number of training frames, from which a fraction `valid` is then "
        "taken. More frames are reduced to a random subset; null: no limit.",
    )
    subset_seed: int = Field(
        0,
        ge=0,
        description="Seed of the subset of `max_frames`. It does not depend on training.seed, so "
        "that all variants and seeds of a study have the same subset.",
    )
    keys: dict[str, str | tuple[str, ...]] = Field(
        default_factory=dict,
        description="Label -> key in the files, e.g. energy: REF_energy, or several keys, of which "
        "each frame uses the first that it has. Default: the usual keys.",
    )
    partial: tuple[str, ...] = Field(
        (), description="Labels that some of the training frames may lack."
    )
    isolated_atoms: tuple[str, ...] = Field(
        (),
        description="Files of isolated atoms, one neutral atom in each frame, for model.e0: "
        "isolated. Isolated atoms among the training frames count too.",
    )
    train_on_isolated: bool | None = Field(
        None,
        description="Whether the isolated atoms among the training and validation frames stay "
        "there; null: unless model.e0 is isolated, or has numbers that are their energies.",
    )

    @field_validator("train", "valid", "isolated_atoms", mode="before")
    @classmethod
    def _one_file(cls, value: Any) -> Any:
        refuse_divided(value)
        return (value,) if isinstance(value, str) else value

    @field_validator("test", mode="before")
    @classmethod
    def _test_files(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        for name in value:
            check_name(str(name), "test")
            refuse_divided(value[name])
        return {name: (v,) if isinstance(v, str) else v for name, v in value.items()}

    @field_validator("valid")
    @classmethod
    def _share(cls, value: float | tuple[str, ...]) -> float | tuple[str, ...]:
        if isinstance(value, float) and not 0 < value < 1:
            raise InputError(f"a share between 0 and 1 or a list of files is needed, got {value}")
        return value


class BatchConfig(Strict):
    """Size of the batch of one step. A parallel run divides each batch among its ranks.

    The limits count what the data contain, so that the batches do not depend on the model.
    """

    renamed: ClassVar[dict[str, str]] = {"edges": "training.micro_batch.edges"}
    advice: ClassVar[dict[str, str]] = {
        "edges": "it only saves memory, and training.batch.atoms limits a step"
    }

    graphs: int = Field(8, ge=1, description="Largest number of structures in a batch.")
    atoms: int | None = Field(
        None,
        ge=1,
        description="Largest number of atoms in a batch; null: no limit. A larger structure is a "
        "batch of its own.",
    )


class MicroBatchConfig(Strict):
    """Limits of what is computed at once. They bound the memory and do not change the result."""

    graphs: int | None = Field(
        None, ge=1, description="Largest number of structures computed at once; null: no limit."
    )
    edges: int | None = Field(
        None,
        ge=1,
        description="Largest number of edges computed at once; null: no limit. A larger structure "
        "is computed alone.",
    )


class ScheduleConfig(Strict):
    """Schedule of the learning rate."""

    kind: Literal["cosine", "plateau", "constant"] = "cosine"
    warmup_steps: int = Field(50, ge=0, description="Number of steps of linear warm-up.")
    final: float = Field(
        0.01, ge=0, le=1, description="Lowest rate / largest rate (cosine, plateau)."
    )
    patience: int = Field(
        10, ge=1, description="Epochs without improvement before a drop (plateau)."
    )
    factor: float = Field(0.5, gt=0, lt=1, description="Factor of each drop (plateau).")


class TrainingConfig(Strict):
    """Settings of the training."""

    directory: str | None = Field(
        None, description="Run directory. Default: runs/<name of the configuration>."
    )
    epochs: int = Field(100, ge=1, description="Number of passes over the training data.")
    batch: BatchConfig = Field(BatchConfig(), description="Batch size of a step.")
    micro_batch: MicroBatchConfig = Field(
        MicroBatchConfig(),
        description="Division of a batch to save memory. The gradients are summed, so that the "
        "step is the same.",
    )
    loss: dict[Label, float] = Field(
        {"energy": 1.0, "forces": 10.0},
        description="Label -> weight; null: not in the loss. The energy error is per atom.",
    )
    loss_function: Literal["huber", "mse"] = Field(
        "huber", description="Loss function of each error component."
    )
    huber_delta: float = Field(
        0.05,
        gt=0,
        description="Error at which the Huber loss becomes linear, in the unit of the label.",
    )
    learning_rate: float = Field(2e-3, gt=0, description="Largest learning rate.")
    learning_rates: dict[str, float] = Field(
        {},
        description="Part -> factor of its learning rate, such as {multiscale: 0.3}. Parts are "
        "backbone, multiscale, charges, heads (all of them) and heads.NAME; those that the model "
        "lacks are ignored.",
    )
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    schedule: ScheduleConfig = Field(
        ScheduleConfig(), description="Schedule of the learning rate, see below."
    )
    ema: float | None = Field(
        0.99,
        gt=0,
        lt=1,
        description="Decay of the moving average of the weights, which is evaluated and saved; "
        "null: no average.",
    )
    gradient_clip: float | None = Field(
        10.0, gt=0, description="Largest norm of the gradient; null: no limit."
    )
    early_stopping: int | None = Field(
        None,
        ge=1,
        description="Stop after this many epochs without a lower validation loss; null: never.",
    )
    seed: int = Field(0, ge=0, description="Seed of the weights, the split and the data order.")
    dtype: Literal["float32", "float64"] = Field(
        "float32", description="Floating-point precision of the model."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    tensorboard: bool = Field(False, description="Also write TensorBoard event files.")

    @field_validator("learning_rates")
    @classmethod
    def _of_parts(cls, value: dict[str, float]) -> dict[str, float]:
        check_factors(value)
        return value

    @field_validator("loss", mode="before")
    @classmethod
    def _without_null(cls, value: Any) -> Any:
        """Leave out the labels set to null, by which a variant of a study drops a loss."""
        if not isinstance(value, Mapping):
            return value
        return {label: weight for label, weight in value.items() if weight is not None}

    @field_validator("loss")
    @classmethod
    def _weights(cls, value: dict[Label, float]) -> dict[Label, float]:
        if any(weight < 0 for weight in value.values()) or not any(value.values()):
            raise InputError("weights must not be negative, and at least one must be positive")
        return {label: weight for label, weight in value.items() if weight > 0}


class Config(Strict):
    """A complete configuration file."""

    model: ModelConfig = Field(ModelConfig(), description="The energy model.")
    data: DataConfig = Field(..., description="Training, validation and test data.")
    training: TrainingConfig = Field(TrainingConfig(), description="The training.")

    @model_validator(mode="before")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        return (
            {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
        )


def resolve(raw: Mapping[str, Any], source: str, base: Path, name: str) -> Config:
    """Validate a configuration, fill in all defaults and make paths absolute."""
    config = validate(Config, dict(raw), source)
    data = config.data

    def absolute(files: tuple[str, ...], key: str) -> tuple[str, ...]:
        return expand_sources(files, base, f"{source}: data.{key}")

    changes: dict[str, Any] = {
        "train": absolute(data.train, "train"),
        "test": {name: absolute(files, f"test.{name}") for name, files in data.test.items()},
        "isolated_atoms": absolute(data.isolated_atoms, "isolated_atoms"),
    }
    if isinstance(data.valid, tuple):
        changes["valid"] = absolute(data.valid, "valid")
    model = resolve_files(config.model, base)
    directory = config.training.directory
    where = expand_path(directory, base) if directory else str(Path("runs", name).resolve())
    return config.model_copy(
        update={
            "model": model,
            "data": data.model_copy(update=changes),
            "training": config.training.model_copy(update={"directory": where}),
        }
    )


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read, validate and resolve a configuration file.

    Parameters
    ----------
    path : str or Path
    overrides : mapping, optional
        Dotted key -> value, applied to the resolved file.
    """
    path = Path(path)
    config = resolve(load_yaml(path), str(path), path.parent, path.stem)
    if not overrides:
        return config
    data = config.model_dump(mode="json")
    for key, value in overrides.items():
        data = apply_override(data, key, value)
    return resolve(data, str(path), path.parent, path.stem)

"""Prepare data sets and model from a configuration, and check them before the first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from muse_lr.data.composition import fit_composition
from muse_lr.data.dataset import Dataset, split_frames
from muse_lr.data.labels import LABELS, OF_CHARGES
from muse_lr.data.reading import Frame, elements_of, read_frames
from muse_lr.errors import InputError
from muse_lr.model.config import ModelConfig
from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.response import coulomb_heads
from muse_lr.train.config import Config

#: Number of structures used to find the parameters that the charges depend on.
PROBED = 8


@dataclass
class Setup:
    """Data sets and model of a run.

    Attributes
    ----------
    config : Config
        Configuration completed with the elements, E0s and other values from the data.
    model : EnergyModel
    train, valid : Dataset
    test : dict of str to Dataset
    notes : list of str
        Notes for the report.
    """

    config: Config
    model: EnergyModel
    train: Dataset
    valid: Dataset
    test: dict[str, Dataset]
    notes: list[str] = field(default_factory=list)


def prepare(config: Config, report: Callable[[str], None] = lambda text: None) -> Setup:
    """Read the data, fit the E0s, build the model and check that they are compatible.

    Parameters
    ----------
    config : Config
        Resolved configuration.
    report : callable, optional
        Called with one line per stage.

    Raises
    ------
    InputError
        If the data or the model cannot be used for this training.
    """
    training = config.training
    train_frames, valid_frames, test_frames = _read(config)
    elements = config.model.elements or elements_of([*train_frames, *valid_frames])
    notes: list[str] = []
    torch.manual_seed(training.seed)
    section = config.model.model_copy(update={"elements": elements})
    section = _fill_neighbors(section, train_frames)
    model = EnergyModel(section)
    if model.config.e0 is None and "energy" in training.loss:
        model.set_e0(_fit_e0(train_frames, model.elements, notes))
    model.to(getattr(torch, training.dtype))
    _check_targets(config, model, notes)
    report(f"neighbor lists, cutoff {model.cutoff:g} A")
    for name, frames in (("training", train_frames), ("validation", valid_frames)):
        for label in training.loss:
            if not any(label in frame.labels for frame in frames):
                raise InputError(
                    f"no {name} frame has the label {label!r} of training.loss: remove it from the "
                    "loss, or give data.valid files that contain it"
                )
    datasets = [
        Dataset.from_frames(frames, model.cutoff, tuple(training.loss))
        for frames in (train_frames, valid_frames)
    ]
    tests = {
        name: Dataset.from_frames(frames, model.cutoff) for name, frames in test_frames.items()
    }
    for dataset in [*datasets, *tests.values()]:
        _check_structures(model, dataset)
    _freeze_energies(config, model, datasets[0], notes)
    config = config.model_copy(update={"model": model.config})
    return Setup(config, model, datasets[0], datasets[1], tests, notes)


def _read(config: Config) -> tuple[list[Frame], list[Frame], dict[str, list[Frame]]]:
    data, wanted = config.data, tuple(config.training.loss)
    elements = config.model.elements

    def labeled(files: Sequence[str]) -> list[Frame]:
        return read_frames(
            files, data.keys, required=wanted, partial=data.partial, elements=elements
        )

    train = labeled(data.train)
    if isinstance(data.valid, float):
        train, valid = split_frames(train, data.valid, config.training.seed)
    else:
        valid = labeled(data.valid)
    # Test sets may lack labels; their metrics are then omitted.
    test = {
        name: read_frames(files, data.keys, partial=tuple(LABELS), elements=elements)
        for name, files in data.test.items()
    }
    return train, valid, test


def _fill_neighbors(section: ModelConfig, frames: Sequence[Frame]) -> ModelConfig:
    """Set the average number of neighbors for a backbone that needs it, from the data."""
    backbone = section.backbone
    if backbone is None or not backbone.needs_neighbor_count:
        return section
    chosen = np.random.default_rng(0).permutation(len(frames))[:100]
    sample = Dataset.from_frames([frames[i] for i in chosen], backbone.cutoff)
    edges = sum(s.edge_index.shape[1] for s in sample.structures)
    average = edges / max(1, sum(s.num_nodes for s in sample.structures))
    filled = backbone.model_copy(update={"avg_num_neighbors": float(average) or 1.0})
    return section.model_copy(update={"backbone": filled})


def _fit_e0(
    frames: Sequence[Frame], elements: tuple[str, ...], notes: list[str]
) -> dict[str, float]:
    labeled = [frame for frame in frames if "energy" in frame.labels]
    energies = np.array([float(frame.labels["energy"]) for frame in labeled])
    fit = fit_composition([frame.atoms for frame in labeled], energies)
    if fit is None:
        raise InputError("data.train: no frame has an energy, so no E0s can be fitted")
    if fit.rank < len(fit.e0):
        notes.append(
            f"the E0s of {', '.join(fit.e0)} are not unique (rank {fit.rank}), so that the "
            "least-norm solution is used: give model.e0 if the energies of isolated atoms matter"
        )
    missing = [element for element in elements if element not in fit.e0]
    if missing:
        notes.append(f"no training frame contains {', '.join(missing)}, so that their E0 is 0")
    return {element: fit.e0.get(element, 0.0) for element in elements}


def _check_targets(config: Config, model: EnergyModel, notes: list[str]) -> None:
    for label in OF_CHARGES:
        if label in config.training.loss and model.charges is None:
            raise InputError(f"training.loss.{label} needs charges, but model.charges is null")
    if "potential" in config.training.loss and not coulomb_heads(model.heads):
        raise InputError("training.loss.potential needs a coulomb head, but model.heads has none")
    read = [h for h in model.heads.values() if h.needs_density]
    if model.charges is not None and not read and not {*OF_CHARGES} & {*config.training.loss}:
        notes.append("model.charges: no head and no loss reads the charges; they stay untrained")
        model.charges.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("the model has no parameters to train: give it a backbone")


def _freeze_energies(
    config: Config, model: EnergyModel, dataset: Dataset, notes: list[str]
) -> None:
    """For a loss on charges only, freeze the parameters that the charges do not depend on."""
    if not set(config.training.loss) <= set(OF_CHARGES):
        return
    density = model(dataset.batch(range(min(len(dataset), PROBED)))).density
    assert density is not None  # _check_targets refuses such a loss without charges
    parameters = [p for p in model.parameters() if p.requires_grad]
    reached: Sequence[torch.Tensor | None] = [None] * len(parameters)
    if density.moments.requires_grad:
        reached = torch.autograd.grad(density.moments.sum(), parameters, allow_unused=True)
    idle = [p for p, found in zip(parameters, reached, strict=True) if found is None]
    if len(idle) == len(parameters):
        raise InputError(
            "training.loss contains labels of charges only, but the charges depend on no parameter"
        )
    for parameter in idle:
        parameter.requires_grad_(False)
    if idle:
        notes.append(
            "training.loss contains labels of charges only, so that the energy stays untrained"
        )


def _check_structures(model: EnergyModel, dataset: Dataset) -> None:
    """Raise an error for a frame that the model cannot describe."""
    try:
        model.check(dataset.batch(range(len(dataset))))
    except InputError:
        _name_refused(model, dataset)


def _name_refused(model: EnergyModel, dataset: Dataset) -> None:
    """Raise the error of the first frame that the model cannot describe, with its source."""
    for index, frame in enumerate(dataset.frames):
        try:
            model.check(dataset.batch([index]))
        except InputError as error:
            text = str(error).replace("structure 0", "the structure", 1)
            raise InputError(f"{frame.source}: {text}") from error

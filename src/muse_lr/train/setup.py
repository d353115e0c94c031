"""Prepare data sets and model from a configuration, and check them before the first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from muse_lr.data.dataset import Dataset, limit_frames, overlaps, split_frames
from muse_lr.data.labels import LABELS, OF_CHARGES
from muse_lr.data.reading import (
    Frame,
    elements_of,
    label_notes,
    read_frames,
    refuse_doubts,
    undefined_note,
)
from muse_lr.data.together import composition_notes
from muse_lr.errors import InputError
from muse_lr.model.config import ModelConfig
from muse_lr.model.energy_model import EnergyModel
from muse_lr.train.calibration import calibrate
from muse_lr.train.config import Config
from muse_lr.train.e0 import (
    choose_e0,
    complete_data,
    fit_e0,
    note_isolated,
    read_isolated,
    refuse_only_isolated,
    refuse_unknown,
    take_isolated,
)
from muse_lr.train.losses import computed
from muse_lr.train.possible import check_possible, check_structures
from muse_lr.train.unsampled import fill_unsampled

#: Number of structures used to find the parameters that the charges depend on.
PROBED = 8


@dataclass
class Data:
    """Frames of a run: training, validation and test sets by name.

    Attributes
    ----------
    train, valid : list of Frame
    test : dict of str to list of Frame
    isolated : list of Frame
        Isolated atoms that are not trained on.
    notes : list of str
        What was left out, for the report.
    """

    train: list[Frame]
    valid: list[Frame]
    test: dict[str, list[Frame]]
    isolated: list[Frame] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Draft:
    """Model of a run, checked against its data.

    Attributes
    ----------
    config : Config
        Configuration completed with the elements, E0s and other values from the data.
    model : EnergyModel
    notes : list of str
        Notes for the report.
    """

    config: Config
    model: EnergyModel
    notes: list[str] = field(default_factory=list)


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
    data = read_data(config)
    found = draft(config, data)
    model = found.model
    report(f"neighbor lists, cutoff {model.cutoff:g} A")
    train, valid = (
        Dataset.from_frames(frames, model.cutoff, tuple(config.training.loss))
        for frames in (data.train, data.valid)
    )
    calibrate(model, train)
    test = {name: Dataset.from_frames(frames, model.cutoff) for name, frames in data.test.items()}
    return Setup(found.config, model, train, valid, test, found.notes)


def read_data(config: Config, read: Callable[..., list[Frame]] = read_frames) -> Data:
    """Read the files of a configuration, take the subset and split off the validation frames.

    Parameters
    ----------
    config : Config
        Resolved configuration.
    read : callable
        Reader with the arguments of :func:`~muse_lr.data.reading.read_frames`.

    Raises
    ------
    InputError
        If a file cannot be read or lacks labels of the loss.
    """
    data, wanted = config.data, tuple(config.training.loss)
    elements = config.model.elements

    def labeled(files: Sequence[str], where: str) -> tuple[list[Frame], list[Frame]]:
        # Isolated atoms may be of elements that the model does not know.
        found = read(files, data.keys, required=wanted, partial=data.partial)
        frames, taken = take_isolated(found, config)
        refuse_unknown(frames, elements)
        refuse_only_isolated(frames, taken, where)
        return frames, taken

    train, isolated = labeled(data.train, "data.train")
    if isinstance(data.valid, float):
        refuse_only_isolated(train, isolated, "data.train", 2)
    train, notes = limit_frames(train, data.max_frames, data.subset_seed)
    if isinstance(data.valid, float):
        train, valid = split_frames(train, data.valid, config.training.seed)
    else:
        valid, others = labeled(data.valid, "data.valid")
        isolated += others
    isolated += read_isolated(data, read)
    # Test sets may lack labels; their metrics are then omitted.
    test = {
        name: read(files, data.keys, partial=tuple(LABELS), elements=elements)
        for name, files in data.test.items()
    }
    everything = [
        *train,
        *valid,
        *isolated,
        *(frame for frames in test.values() for frame in frames),
    ]
    refuse_doubts(everything, data.keys)
    for name, frames in (("training", train), ("validation", valid)):
        for label in wanted:
            if not any(label in frame.labels for frame in frames):
                note = undefined_note(frames, label)
                raise InputError(
                    f"no {name} frame has the label {label!r} of training.loss"
                    + (f" ({note})" if note else "")
                    + ": remove it from the loss, or give data.valid files that contain it"
                )
    return Data(train, valid, test, isolated, notes + overlaps(train, valid, test))


def draft(config: Config, data: Data, count_neighbors: bool = True) -> Draft:
    """Build the model of a configuration and check that it fits the data.

    Parameters
    ----------
    config : Config
        Resolved configuration.
    data : Data
    count_neighbors : bool
        Whether to count the average number of neighbors for a backbone that needs it. The checks
        do not depend on it.

    Raises
    ------
    InputError
        If the model cannot be built, or cannot describe a structure or a label of the loss.
    """
    training = config.training
    elements = config.model.elements or elements_of([*data.train, *data.valid])
    notes = list(data.notes)
    torch.manual_seed(training.seed)
    note_isolated(config.model.e0, [*data.train, *data.valid], data.isolated, data.test, notes)
    notes += label_notes([*data.train, *data.valid])
    for name, frames in data.test.items():
        notes += [f"test set {name}: {note}" for note in label_notes(frames)]
    e0 = choose_e0(config, elements, data.train, data.isolated, notes)
    if config.model.e0 in (None, "lstsq") and "energy" in training.loss:
        notes += composition_notes(data.train, data.test)
    section = config.model.model_copy(update={"elements": elements, "e0": e0})
    if count_neighbors:
        section = _fill_neighbors(section, data.train)
    everything = [*data.train, *data.valid]
    section = fill_unsampled(section, everything, tuple(training.loss), notes, count_neighbors)
    model = EnergyModel(section)
    if model.config.e0 is None and "energy" in training.loss:
        model.set_e0(fit_e0(data.train, model.elements, notes))
    model.to(getattr(torch, training.dtype))
    check_possible(model, training.loss, [*data.train, *data.valid])
    _check_trainable(config, model, notes)
    for frames in (data.train, data.valid, *data.test.values()):
        check_structures(model, frames)
    _freeze_energies(config, model, data.train, notes)
    completed = {"model": model.config, "data": complete_data(config)}
    return Draft(config.model_copy(update=completed), model, notes)


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


def _check_trainable(config: Config, model: EnergyModel, notes: list[str]) -> None:
    read = [h for h in model.heads.values() if h.needs_density]
    if model.charges is not None and not read and not {*OF_CHARGES} & {*config.training.loss}:
        notes.append("model.charges: no head and no loss reads the charges; they stay untrained")
        model.charges.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("the model has no parameters to train: give it a backbone")


def _freeze_energies(
    config: Config, model: EnergyModel, frames: Sequence[Frame], notes: list[str]
) -> None:
    """For a loss on charges and responses only, freeze the parameters that these do not need."""
    if not set(config.training.loss) <= set(OF_CHARGES):
        return
    dataset = Dataset.from_frames(frames[:PROBED], model.cutoff)
    batch = dataset.batch(range(len(dataset)))
    output = model(batch, computed(tuple(config.training.loss)), create_graph=True)
    predicted = torch.stack([getattr(output, label).sum() for label in config.training.loss]).sum()
    parameters = [p for p in model.parameters() if p.requires_grad]
    reached: Sequence[torch.Tensor | None] = [None] * len(parameters)
    if predicted.requires_grad:
        reached = torch.autograd.grad(predicted, parameters, allow_unused=True)
    idle = [p for p, found in zip(parameters, reached, strict=True) if found is None]
    if len(idle) == len(parameters):
        raise InputError(
            "training.loss contains labels of charges only, but they depend on no parameter"
        )
    for parameter in idle:
        parameter.requires_grad_(False)
    if idle:
        notes.append(
            "training.loss contains labels of charges only, so that the energy stays untrained"
        )

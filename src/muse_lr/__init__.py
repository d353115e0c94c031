"""Long-range physics for machine-learned force fields.

A model (:class:`EnergyModel`) combines a short-range backbone, long-range message passing, a model
of the atomic charges and energy heads such as electrostatics and dispersion. The public names
and modules below are imported on first use, so that ``import muse_lr`` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "AtomsBatch": "muse_lr.structures.batch",
    "Calculator": "muse_lr.interfaces.ase",
    "ChargeDensity": "muse_lr.density",
    "Dataset": "muse_lr.data.dataset",
    "EnergyModel": "muse_lr.model.energy_model",
    "InputError": "muse_lr.errors",
    "attach_parts": "muse_lr.interfaces.ase",
    "build_model": "muse_lr.model.build",
    "compile_model": "muse_lr.model.compilation.compiled_model",
    "load_model": "muse_lr.model.serialization",
    "read_dataset": "muse_lr.data.dataset",
    "save_model": "muse_lr.model.serialization",
    "tune_malloc": "muse_lr.utils.malloc",
}

#: Modules with further public names.
_MODULES = ("datasets", "phonons", "testing", "units")
#: What is looked for here -> where it is.
_ELSEWHERE = {
    "Phonons": "muse_lr.phonons.Phonons",
    "evaluate": "muse_lr.train.evaluate.evaluate, or the command muse-lr evaluate",
    "load_config": "muse_lr.train.config.load_config",
    "read_frames": "muse_lr.data.reading.read_frames, or muse_lr.read_dataset with neighbor lists",
    "train": "muse_lr.train.loop.train, or the command muse-lr train",
}

__all__ = ["__version__", *_PUBLIC, *_MODULES]

if TYPE_CHECKING:
    from muse_lr import datasets as datasets
    from muse_lr import phonons as phonons
    from muse_lr import testing as testing
    from muse_lr import units as units
    from muse_lr.data.dataset import Dataset as Dataset
    from muse_lr.data.dataset import read_dataset as read_dataset
    from muse_lr.density import ChargeDensity as ChargeDensity
    from muse_lr.errors import InputError as InputError
    from muse_lr.interfaces.ase import Calculator as Calculator
    from muse_lr.interfaces.ase import attach_parts as attach_parts
    from muse_lr.model.build import build_model as build_model
    from muse_lr.model.compilation.compiled_model import compile_model as compile_model
    from muse_lr.model.energy_model import EnergyModel as EnergyModel
    from muse_lr.model.serialization import load_model as load_model
    from muse_lr.model.serialization import save_model as save_model
    from muse_lr.structures.batch import AtomsBatch as AtomsBatch
    from muse_lr.utils.malloc import tune_malloc as tune_malloc


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return import_module(f"muse_lr.{name}")
    hint = f"; see {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
    raise AttributeError(f"module 'muse_lr' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted(__all__)

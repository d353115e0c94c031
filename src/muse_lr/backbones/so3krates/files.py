"""Conversion of a model saved by so3krates-torch to a configuration and tensors.

so3krates-torch saves pickles. Loading a pickle runs its code, so that only trusted files are
opened. The result of the conversion contains no objects of the pickle other than tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers, chemical_symbols
from pydantic import ValidationError
from torch import Tensor

from muse_lr.backbones.pickles import (
    refuse_contradictions,
    require_trust,
    unpickle,
    unsupported,
)
from muse_lr.backbones.so3krates.config import So3kratesConfig, So3lrConfig
from muse_lr.backbones.so3krates.imports import import_so3krates
from muse_lr.errors import InputError

#: Name of the weights that are installed with so3krates-torch, and their path in the package.
PRETRAINED = "so3lr"
PRETRAINED_PATH = ("pretrained", "so3lr", "so3lr.model")
#: Keys of the configuration that are allowed with a file. Training sets the last one.
OWN_KEYS = frozenset({"kind", "file", "trust", "so3lr", "frozen", "avg_num_neighbors"})
#: Required hyperparameters of a file. The backbone does not support other values.
NEEDED: dict[str, Any] = {
    "cutoff_fn_name": "phys",
    "message_normalization": "avg_num_neighbors",
    "activation_fn_name": "silu",
    "energy_activation_fn_name": "silu",
    "qk_non_linearity": "identity",
    "interaction_bias": True,
    "residual_mlp_2": False,
    "trainable_rbf": False,
    "final_mlp_layers": 2,
    "num_elements": 118,
}
NEEDED_SO3LR: dict[str, Any] = {
    "zbl_repulsion_bool": True,
    "electrostatic_energy_bool": True,
    "dispersion_energy_bool": True,
    "neighborlist_format_lr": "sparse",
}
#: Module names of the backbone, and those of so3krates-torch.
MODULES = {
    "embedding": "inv_feature_embedding.embedding",
    "graph_embedding.parts.total_charge": "charge_embedding",
    "graph_embedding.parts.spin": "spin_embedding",
    "transformers": "euclidean_transformers",
    "readout.0": "atomic_energy_output_block.layers.0",
    "readout.2": "atomic_energy_output_block.final_layer",
    "terms.repulsion": "zbl_repulsion",
    "terms.charges": "partial_charges_output_block",
    "terms.hirshfeld_ratios": "hirshfeld_output_block",
}
#: Weights with a column for each element.
BY_ELEMENT = ("embedding.weight", ".Wq.weight")


@dataclass(frozen=True)
class So3kratesFile:
    """A converted file, restricted to the elements of the model.

    Attributes
    ----------
    path : Path
    config : So3kratesConfig
        Hyperparameters, without the file.
    atomic_energies : dict of str to float
        Energy shift of each element in the file, eV.
    weights : dict of str to Tensor
        Weights, by the names of so3krates-torch.
    scales : Tensor
        (n_elements,) factors of the local energies.
    columns : list of int
        Columns of the model's elements in the weights.
    """

    path: Path
    config: So3kratesConfig
    atomic_energies: dict[str, float]
    weights: dict[str, Tensor]
    scales: Tensor
    columns: list[int]

    def state_for(self, names: Sequence[str]) -> dict[str, Tensor]:
        """The weights by the parameter names of the backbone."""
        state = {"element_scales": self.scales}
        for name in names:
            for ours, theirs in MODULES.items():
                if name.startswith(f"{ours}."):
                    value = self.weights[theirs + name.removeprefix(ours)]
                    chosen = name == BY_ELEMENT[0] or name.endswith(BY_ELEMENT[1])
                    state[name] = value[:, self.columns] if chosen else value
        return state


def read_so3krates_file(given: So3kratesConfig, elements: Sequence[str]) -> So3kratesFile:
    """Load and convert the model that ``given.file`` names.

    Raises
    ------
    InputError
        If the file is not trusted, cannot be read or is not a supported kind of model, or if a key
        of the configuration contradicts it.
    """
    model, path = _load(given)
    weights = {name: value.detach() for name, value in model.state_dict().items()}
    columns = [atomic_numbers[element] - 1 for element in elements]
    output = model.atomic_energy_output_block
    shifts, scales = output.energy_shifts.detach(), output.energy_scales.weight.detach()[0]
    return So3kratesFile(
        path=path,
        config=_effective(given, _hyperparameters(model, given, path), path),
        atomic_energies={e: float(shifts[c]) for e, c in zip(elements, columns, strict=True)},
        weights=weights,
        scales=scales[columns],
        columns=columns,
    )


def so3krates_file_elements(given: So3kratesConfig) -> tuple[str, ...] | None:
    """Elements in the training data of the file, if known: those with an energy scale."""
    model, _ = _load(given)
    scales = model.atomic_energy_output_block.energy_scales.weight[0]
    trained = (scales != 1).nonzero()[:, 0].tolist()
    return tuple(chemical_symbols[column + 1] for column in trained) or None


def _load(given: So3kratesConfig) -> tuple[Any, Path]:
    assert given.file is not None
    path = Path(given.file)
    package = import_so3krates("modules.models")
    if path.name == PRETRAINED and not path.exists():
        assert package.__file__ is not None
        path = Path(package.__file__).parents[1].joinpath(*PRETRAINED_PATH)
    require_trust(path, given.trust, "so3krates-torch")
    model = unpickle(path, "so3krates-torch")
    _check_supported(model, path)
    return model, path


def _check_supported(model: Any, path: Path) -> None:
    """Raise an error for models whose energies would be wrong."""
    kind = type(model).__name__
    if kind not in ("So3krates", "SO3LR"):
        raise InputError(
            f"{path}: is a {kind}, which is not supported; use a So3krates or SO3LR model"
        )
    needed = NEEDED | (NEEDED_SO3LR if kind == "SO3LR" else {})
    for name, value in needed.items():
        found = getattr(model, name, None)
        if found != value:
            raise InputError(f"{path}: {name} is {found!r}, but only {value!r} is supported")
    if getattr(model, "use_pme", False):
        raise InputError(f"{path}: use_pme is set, which is not supported")
    if model.layer_normalization_1 != model.layer_normalization_2:
        raise InputError(
            f"{path}: has one of the two layer normalizations; only both or none are supported"
        )
    attention = type(model.euclidean_transformers[0].euclidean_attention_block).__name__
    if attention != "EuclideanAttentionBlock":
        raise InputError(
            f"{path}: has {attention}, which is not supported; merge its adapters into the weights"
        )


def _hyperparameters(model: Any, given: So3kratesConfig, path: Path) -> So3kratesConfig:
    degrees = list(model.degrees)
    values: dict[str, Any] = {
        "cutoff": float(model.r_max),
        "channels": model.num_features,
        "layers": model.num_layers,
        "heads": model.num_heads,
        "l_max": max(degrees),
        "multiplicity": degrees.count(max(degrees)),
        "num_radial": model.num_radial_basis_fn,
        "radial_type": model.radial_basis_fn,
        "avg_num_neighbors": model.avg_num_neighbors,
        "start": "zero" if model.initialize_ev_to_zeros else "neighbors",
        "residual_mlp": model.residual_mlp_1,
        "normalization": "layer" if model.layer_normalization_1 else "none",
        "readout_channels": model.energy_regression_dim,
        "embed": ("total_charge",) * model.use_charge_embed + ("spin",) * model.use_spin_embed,
        "state_embedding": "attention",
        "frozen": True,
    }
    if type(model).__name__ == "SO3LR":
        values["so3lr"] = _term_settings(model, given.so3lr)
    try:
        config = So3kratesConfig(**values)
    except ValidationError as error:
        raise unsupported(error, path) from error
    if config.degrees != degrees:
        raise InputError(
            f"{path}: has degrees {degrees}; only 1, 2, ... in ascending order are supported"
        )
    return config


def _term_settings(model: Any, given: So3lrConfig | None) -> dict[str, Any]:
    """Scales from the file; cutoff and damping from the configuration, the file or the default."""
    own = {}
    if given is not None:
        own = given.model_dump(include={"cutoff", "damping"}, exclude_unset=True)
    saved = {
        "cutoff": getattr(model, "r_max_lr", None),
        "damping": getattr(model, "dispersion_energy_cutoff_lr_damping", None),
    }
    return {
        **{name: value for name, value in saved.items() if value is not None},
        **own,
        "charge_width": float(model.electrostatic_energy_scale),
        "dispersion_scale": float(model.dispersion_energy_scale),
    }


def _effective(given: So3kratesConfig, read: So3kratesConfig, path: Path) -> So3kratesConfig:
    """The hyperparameters of the file, after a check for contradicting keys."""
    refuse_contradictions(given, read, OWN_KEYS, path)
    if given.so3lr is not None and read.so3lr is None:
        raise InputError(
            f"{path}: has no physical terms; remove backbone.so3lr from the configuration"
        )
    return read

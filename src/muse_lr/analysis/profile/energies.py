"""Energies of a model along a path, in total and by name, relative to a zero."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.analysis.profile.paths import EnergyPath
from muse_lr.analysis.profile.settings import ProfileOptions
from muse_lr.data.dimers import fragments
from muse_lr.model.energy_model import EnergyModel
from muse_lr.structures.batch import AtomsBatch

Array = NDArray[np.float64]

#: Name of the total energy among the energies.
TOTAL = "energy"
#: Terms whose range along a path is below this are constant, eV.
CONSTANT = 1e-8


@dataclass(frozen=True)
class Profile:
    """Energies of one model along one path.

    Attributes
    ----------
    path : EnergyPath
    zero : int or None
        Frame whose energies are subtracted.
    reference : ndarray
        (n,) reference energies, eV, NaN where there is no label.
    energies : dict of str to ndarray
        ``energy`` and the terms of the model, (n,) each, eV.
    """

    path: EnergyPath
    zero: int | None
    reference: Array
    energies: dict[str, Array]

    @property
    def varying(self) -> dict[str, Array]:
        """The terms that are not constant along the path."""
        terms = {name: values for name, values in self.energies.items() if name != TOTAL}
        return {name: values for name, values in terms.items() if np.ptp(values) > CONSTANT}


def profile(
    model: EnergyModel, paths: Sequence[EnergyPath], options: ProfileOptions, graphs: int = 16
) -> list[Profile]:
    """Evaluate a model along paths.

    The energies are computed in float64, with a copy of the model.

    Parameters
    ----------
    model : EnergyModel
    paths : sequence of EnergyPath
    options : ProfileOptions
        Zero and fragments.
    graphs : int
        Largest number of structures in a batch.
    """
    own = deepcopy(model).to(torch.float64).eval()
    found = []
    for path in paths:
        energies = named_energies(own, path.frames, graphs)
        if options.fragments:
            pairs = [fragments(atoms) for atoms in path.frames]
            for k in (0, 1):
                alone = named_energies(own, [pair[k] for pair in pairs], graphs)
                energies = {name: values - alone[name] for name, values in energies.items()}
        zero = path.zero_frame(options.chosen_zero, energies[TOTAL])
        reference = path.reference
        if zero is not None:
            reference = reference - reference[zero]
            energies = {name: values - values[zero] for name, values in energies.items()}
        found.append(Profile(path, zero, reference, energies))
    return found


@torch.no_grad()
def named_energies(model: EnergyModel, frames: Sequence[Atoms], graphs: int) -> dict[str, Array]:
    """Total energy and terms of structures, (n,) each, eV."""
    columns: dict[str, list[Array]] = {}
    for start in range(0, len(frames), graphs):
        batch = AtomsBatch.from_ase(frames[start : start + graphs], cutoff=model.cutoff)
        output = model(batch.to(model.device))
        for name, values in ((TOTAL, output.energy), *output.energy_parts.items()):
            columns.setdefault(name, []).append(values.detach().cpu().double().numpy())
    return {name: np.concatenate(values) for name, values in columns.items()}

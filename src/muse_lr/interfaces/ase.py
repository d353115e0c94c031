"""The ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator as ASECalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from muse_lr.errors import InputError
from muse_lr.model.serialization import load_model
from muse_lr.structures.batch import COARSE_INDEX, AtomsBatch, AtomsData, atoms_to_data
from muse_lr.utils.devices import find_device

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

#: ASE's names of what is computed only if it is asked for, and ours.
RESPONSES = {"born_effective_charges": "bec", "dielectric_tensor": "dielectric"}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Calculator(ASECalculator):
    """Energies, forces, stress, charges and dipoles of a model for ASE.

    ``results`` has ASE's own names (Born effective charges, dP_a/dr_b, and the electronic
    dielectric tensor only where ``get_property`` asks for them) and ``energy_parts``, a dictionary
    of the named energies in eV. The neighbor list is built with a skin and kept until an atom has
    moved half of it; edges in the skin contribute nothing, so rebuilding changes no energy.

    Parameters
    ----------
    model : EnergyModel, str or Path
        A model, of which a copy is made, or a model file.
    device : str
    dtype : {"float64", "float32"}
        Precision of the copy.
    skin : float
        A.
    trust : bool
        Whether a model file may name parts as ``package.module:Class``, whose code is then run.

    Attributes
    ----------
    neighbor_list : AtomsData or None
        The structure for which the current neighbor list was built.

    Notes
    -----
    ``atoms.info["total_charge"]``, ``["spin"]`` and ``["electric_field"]``, and the array
    ``coarse_index``, are read at every call, and a change of them recomputes.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "forces",
        "stress",
        "charges",
        "dipole",
        "born_effective_charges",
        "dielectric_tensor",
    ]

    def __init__(
        self,
        model: EnergyModel | str | Path,
        device: str = "cpu",
        dtype: str = "float64",
        skin: float = 0.5,
        trust: bool = False,
    ) -> None:
        super().__init__()
        if dtype not in DTYPES:
            raise InputError(f"dtype {dtype!r}: float32 or float64 is needed")
        if skin < 0:
            raise InputError(f"skin {skin} A: it must not be negative")
        own = load_model(model, trust=trust) if isinstance(model, (str, Path)) else deepcopy(model)
        own = own.to(device=find_device(device), dtype=DTYPES[dtype])
        self.model = own.eval().requires_grad_(False)
        self.skin = skin
        self.neighbor_list: AtomsData | None = None
        self._batch: AtomsBatch | None = None
        self._cell = np.zeros((3, 3))
        self._state: tuple[Any, ...] | None = None

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """ASE's list of what changed, to which what is stated in ``info`` is added."""
        changes: list[str] = super().check_state(atoms, tol)
        if _stated(atoms) != self._state:
            changes.append("info")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute everything that the model has for these atoms; see ASE."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        if "stress" in properties and not atoms.pbc.any():
            raise PropertyNotImplementedError("an open system has no stress")
        self._refuse_responses(atoms, properties)
        self._state = _stated(atoms)
        batch = self._batch_of(atoms)
        compute = ["forces"]
        if atoms.pbc.any():
            compute.append("stress")
        if self.model.charges is not None:
            compute += ["charges", "dipole"]
        compute += [RESPONSES[name] for name in properties if name in RESPONSES]
        output = self.model(batch, compute, create_graph=False)
        energy = float(output.energy[0].detach())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energy_parts": {k: float(v[0].detach()) for k, v in output.energy_parts.items()},
            "forces": _numpy(output.forces),
        }
        if output.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(_numpy(output.stress[0]))
        if output.charges is not None and output.dipole is not None:
            self.results["charges"] = _numpy(output.charges)
            self.results["dipole"] = _numpy(output.dipole[0])
        if output.bec is not None and output.bec_error is not None:
            self.results["born_effective_charges"] = _numpy(output.bec)
            self.results["born_effective_charges_error"] = float(output.bec_error[0])
        if output.dielectric is not None:
            self.results["dielectric_tensor"] = _numpy(output.dielectric[0])

    def _refuse_responses(self, atoms: Atoms, properties: Sequence[str]) -> None:
        asked = [name for name in properties if name in RESPONSES]
        if asked and self.model.charges is None:
            raise PropertyNotImplementedError(f"a model without charges has no {asked[0]}")
        if "dielectric_tensor" in asked and not atoms.pbc.all():
            raise PropertyNotImplementedError("only a crystal has a dielectric_tensor")

    def _batch_of(self, atoms: Atoms) -> AtomsBatch:
        """The structure with a neighbor list that still holds, or a new one."""
        old, device = self.neighbor_list, self.model.device
        if self._batch is None or old is None or not self._holds(old, atoms):
            self.neighbor_list = atoms_to_data(atoms, self.model.cutoff + self.skin)
            self._cell = atoms.cell.array.copy()
            self._batch = AtomsBatch.from_structures([self.neighbor_list]).to(device)
            return self._batch
        fresh = AtomsBatch.from_structures([atoms_to_data(atoms, None)]).to(device)
        fresh.take_neighbors(self._batch)
        return fresh

    def _holds(self, old: AtomsData, atoms: Atoms) -> bool:
        if len(atoms) != old.num_nodes or self.skin == 0:
            return False
        same = (
            np.array_equal(old.numbers.numpy(), atoms.numbers)
            and np.array_equal(old.pbc[0].numpy(), atoms.pbc)
            and np.array_equal(self._cell, atoms.cell.array)
        )
        if not same:
            return False
        moved = atoms.positions - old.positions.numpy()
        return bool(np.square(moved).sum(1).max(initial=0.0) < (self.skin / 2) ** 2)


def _stated(atoms: Atoms) -> tuple[Any, ...]:
    """What the model reads of ``info`` and of the groups of the atoms, comparable."""
    field = atoms.info.get("electric_field")
    groups = atoms.arrays.get(COARSE_INDEX)
    return (
        atoms.info.get("total_charge"),
        atoms.info.get("spin"),
        None if field is None else tuple(np.ravel(field)),
        None if groups is None else groups.tobytes(),
    )


def _numpy(values: torch.Tensor | None) -> np.ndarray[Any, np.dtype[np.float64]]:
    assert values is not None
    array: np.ndarray[Any, np.dtype[np.float64]] = values.detach().cpu().double().numpy()
    return array

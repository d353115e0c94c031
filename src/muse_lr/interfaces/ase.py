"""ASE calculator of muse_lr models."""

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

#: Response properties, which are computed on request only: ASE's name -> name in the model.
RESPONSES = {"born_effective_charges": "bec", "dielectric_tensor": "dielectric"}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Calculator(ASECalculator):
    """Energies, forces, stress, charges and dipoles of a model as an ASE calculator.

    ``results`` uses the property names of ASE. Born effective charges dP_a/dr_b and the electronic
    dielectric tensor are only computed if requested through ``get_property``. In addition,
    ``results["energy_parts"]`` is a dictionary of the named energy terms in eV. The neighbor list
    is built with a skin and reused until an atom has moved by half the skin. Edges in the skin do
    not contribute, so that rebuilding the list does not change the energy.

    Parameters
    ----------
    model : EnergyModel, str or Path
        A model, which is copied, or a model file.
    device : str
        ``cpu``, ``cuda``, ``cuda:1``, ...
    dtype : {"float64", "float32"}
        Floating-point precision of the copy.
    skin : float
        Skin of the neighbor list, A.
    trust : bool
        Whether a model file may import parts named ``package.module:Class``, which runs their code.

    Attributes
    ----------
    neighbor_list : AtomsData or None
        Structure of the current neighbor list.

    Notes
    -----
    ``atoms.info["total_charge"]``, ``["spin"]`` and ``["electric_field"]`` and the array
    ``coarse_index`` are read at every call. The results are recomputed if one of them changes.
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
            raise InputError(f"dtype {dtype!r}: use float32 or float64")
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
        """Return ASE's list of changes, with ``info`` added if an input in ``info`` changed."""
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
        """Compute all properties of the model and the requested response properties; see ASE."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        if "stress" in properties and not atoms.pbc.any():
            raise PropertyNotImplementedError("a system with open boundaries has no stress")
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
            raise PropertyNotImplementedError(
                "only a crystal has a dielectric_tensor: three periodic directions are required"
            )

    def _batch_of(self, atoms: Atoms) -> AtomsBatch:
        """Make the batch; reuse the neighbor list if it is still valid."""
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
    """Model inputs besides geometry, as comparable values: state, field and groups of atoms."""
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

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

from muse_lr.errors import InputError, nearest
from muse_lr.interfaces.fixed_atoms import evaluation_model
from muse_lr.model.output import ModelOutput
from muse_lr.model.text import short_text
from muse_lr.structures.batch import AtomsBatch, atoms_to_data
from muse_lr.structures.geometry import open_projection
from muse_lr.structures.neighbors import has_volume
from muse_lr.structures.state import State, read_state
from muse_lr.structures.verlet_list import VerletList

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

#: Response properties, which are computed on request only: ASE's name -> name in the model.
BORN = "born_effective_charges"
RESPONSES = {BORN: "bec", "dielectric_tensor": "dielectric"}
#: Quantities of the model that ASE has no name for and that can be requested for every call.
EXTRAS = ("quadrupole", "polarization", "potential", "polarizability")
#: Extras with one row per atom, and the shape of a row in files.
PER_ATOM: dict[str, tuple[int, ...]] = {"potential": (), BORN: (9,)}


class Calculator(ASECalculator):
    """Energies, forces, stress, charges and dipoles of a model as an ASE calculator.

    ``results`` contains properties of ASE only, so that every writer of ASE accepts it. Born
    effective charges dP_a/dr_b and the electronic dielectric tensor are computed if requested
    through ``get_property``. The stress is defined for periodic structures whose cell has a volume.
    The dipole, about the origin, is defined for molecules. Of a slab it is the component along the
    normal; the other components are zero. A crystal has none. The neighbor list is built with a
    skin and reused until an atom has moved by half the skin. Edges in the skin do not contribute,
    so that rebuilding the list does not change the energy.

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
    extras : sequence of str
        Further quantities for :attr:`extras`, any of quadrupole, polarization, potential and
        polarizability.
    compile : bool
        Whether to compile the copy, which takes minutes once (:func:`muse_lr.compile_model`).

    Attributes
    ----------
    energy_parts : dict of str to float
        Terms of the energy of the last calculation, eV.
    extras : dict
        Further results of the last calculation: ``total_charge`` (e),
        ``born_effective_charges`` and ``born_effective_charges_error`` (e) where they were
        requested, and the quantities of the parameter ``extras``, as in
        :class:`~muse_lr.model.output.ModelOutput`.
    neighbor_list : AtomsBatch or None
        The structure for which the current neighbor list was built, with the list.

    Notes
    -----
    Total charge, spin, electric field and groups of atoms are read at every call
    (:func:`muse_lr.structures.state.read_state`). The results are recomputed if one of them
    changes. :func:`attach_parts` copies ``energy_parts`` and ``extras`` to the structure, so that
    files contain them.
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
        extras: Sequence[str] = (),
        compile: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(extras, str):
            extras = (extras,)
        for name in extras:
            if name not in EXTRAS:
                known = ", ".join(EXTRAS)
                raise InputError(f"extras: {name!r} is none of {known}{nearest(name, EXTRAS)}")
        self.model = evaluation_model(model, device, dtype, trust, compile)
        self._neighbors = VerletList(self.model.cutoff, skin)
        self._state: State | None = None
        self._extra_names = tuple(extras)
        self.energy_parts: dict[str, float] = {}
        self.extras: dict[str, Any] = {}

    @property
    def skin(self) -> float:
        """Skin of the neighbor list, A."""
        return self._neighbors.skin

    @property
    def neighbor_list(self) -> AtomsBatch | None:
        """The structure for which the current neighbor list was built, with the list."""
        return self._neighbors.batch

    def __repr__(self) -> str:
        model = self.model
        where = f"{str(model.dtype).removeprefix('torch.')}, {model.device}"
        elements = ", ".join(model.elements)
        return f"Calculator({short_text(model)}; {elements}; {where}; skin {self.skin:g} A)"

    def reset(self) -> None:
        """Forget all results."""
        super().reset()
        self.energy_parts, self.extras = {}, {}

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return ASE's list of changes, with ``info`` added if an input in ``info`` changed."""
        changes: list[str] = super().check_state(atoms, tol)
        if read_state(atoms) != self._state:
            changes.append("info")
        return changes

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a property; see ASE. Born charges are then kept in :attr:`extras`.

        ASE's writer of extended XYZ fails on results of three axes.
        """
        if name != BORN:
            return super().get_property(name, atoms, allow_calculation)
        current = atoms is None or not self.check_state(atoms)
        if not (current and BORN in self.extras):
            found = super().get_property(name, atoms, allow_calculation)
            if found is None:
                return None
            self.extras[BORN] = self.results.pop(BORN)
        return self.extras[BORN].copy()

    def calculate_properties(self, atoms: Atoms, properties: Sequence[str]) -> Any:
        """Compute several properties; see ASE. Born charges are then kept in :attr:`extras`."""
        found = super().calculate_properties(atoms, properties)
        if BORN in self.results:
            self.extras[BORN] = self.results.pop(BORN)
        return found

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute all properties of the model and the requested response properties; see ASE."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        self._refuse(atoms, properties)
        self._state = read_state(atoms)
        batch = self._batch_of(atoms)
        compute = ["forces", *self._extra_names]
        if bool(batch.has_volume):
            compute.append("stress")
        if self.model.charges is not None:
            compute += ["charges", "dipole"]
        compute += [RESPONSES[name] for name in properties if name in RESPONSES]
        self._keep(batch, self.model(batch, compute, create_graph=False))

    def _keep(self, batch: AtomsBatch, output: ModelOutput) -> None:
        """Store the output of the model."""
        self.extras = {}
        energy = float(output.energy[0].detach())
        results = {"energy": energy, "free_energy": energy, "forces": _numpy(output.forces)}
        self.energy_parts = {k: float(v[0].detach()) for k, v in output.energy_parts.items()}
        if output.stress is not None:
            results["stress"] = full_3x3_to_voigt_6_stress(_numpy(output.stress[0]))
        if output.charges is not None and output.dipole is not None:
            results["charges"] = _numpy(output.charges)
            self.extras["total_charge"] = float(_numpy(output.charges).sum())
            if not bool(batch.pbc.all()):
                projection = open_projection(batch.cell, batch.pbc)[0]
                results["dipole"] = _numpy(projection) @ _numpy(output.dipole[0])
        if output.bec is not None and output.bec_error is not None:
            results[BORN] = _numpy(output.bec)
            self.extras[f"{BORN}_error"] = float(output.bec_error[0])
        if output.dielectric is not None:
            results["dielectric_tensor"] = _numpy(output.dielectric[0])
        for name in self._extra_names:
            values = _numpy(getattr(output, name))
            self.extras[name] = values if name == "potential" else values[0]
        self.results = results

    def _refuse(self, atoms: Atoms, properties: Sequence[str]) -> None:
        """Raise an error for properties that the structure or the model does not have."""
        if "stress" in properties and not has_volume(atoms.cell.array, atoms.pbc):
            raise PropertyNotImplementedError(
                "only a periodic structure whose cell has a volume has a stress: give a slab a "
                "cell vector along its open direction"
                if int(atoms.pbc.sum()) == 2
                else "a system with open boundaries has no stress"
            )
        if "dipole" in properties and atoms.pbc.all():
            raise PropertyNotImplementedError(
                "the dipole of a crystal depends on the choice of periodic images"
            )
        of_charges = ("charges", "dipole", *RESPONSES)
        asked = [name for name in properties if name in of_charges]
        if asked and self.model.charges is None:
            raise PropertyNotImplementedError(f"a model without charges has no {asked[0]}")
        if "dielectric_tensor" in asked and not atoms.pbc.all():
            raise PropertyNotImplementedError(
                "only a crystal has a dielectric_tensor: three periodic directions are required"
            )

    def _batch_of(self, atoms: Atoms) -> AtomsBatch:
        """Make the batch; reuse the neighbor list if it is still valid."""
        batch = AtomsBatch.from_structures([atoms_to_data(atoms, None)]).to(self.model.device)
        self._neighbors.attach(batch)
        return batch


def attach_parts(atoms: Atoms) -> None:
    """Write the energy terms and the extras of the calculator to a structure, for files.

    Energy terms are stored in eV as ``info["muse_part_NAME"]``. An extra is stored as
    ``muse_NAME``, in ``arrays`` if it has one row per atom (Born charges as nine columns) and in
    ``info`` otherwise. The properties in ``results`` are written by ASE itself.

    Parameters
    ----------
    atoms : ase.Atoms
        With a :class:`Calculator`; its energy is computed if necessary.

    Raises
    ------
    InputError
        If the structure has no calculator of this package.
    """
    calculator = atoms.calc
    if not isinstance(calculator, Calculator):
        raise InputError("attach_parts: the structure has no muse_lr.Calculator as atoms.calc")
    atoms.get_potential_energy()
    own = [f"muse_{name}" for name in (*EXTRAS, "total_charge", BORN, f"{BORN}_error")]
    for stored in (atoms.info, atoms.arrays):
        for key in [k for k in stored if k.startswith("muse_part_") or k in own]:
            del stored[key]
    for name, energy in calculator.energy_parts.items():
        atoms.info[f"muse_part_{name}"] = energy
    for name, value in calculator.extras.items():
        if name in PER_ATOM:
            atoms.arrays[f"muse_{name}"] = value.reshape(len(atoms), *PER_ATOM[name]).copy()
        else:
            atoms.info[f"muse_{name}"] = deepcopy(value)


def _numpy(values: torch.Tensor | None) -> np.ndarray[Any, np.dtype[np.float64]]:
    assert values is not None
    array: np.ndarray[Any, np.dtype[np.float64]] = values.detach().cpu().double().numpy()
    return array

"""Models in torch-sim, which moves batches of systems on one device (extra ``torch-sim``).

Written for torch-sim 0.3 (``torch-sim-atomistic``), the last version that runs on Python 3.11.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.interfaces.fixed_atoms import evaluation_model
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.verlet_list import VerletList

try:
    from torch_sim.models.interface import ModelInterface
except ImportError as error:
    raise InputError(
        "muse_lr.interfaces.torch_sim needs torch-sim, which cannot be imported "
        f"({error}): pip install 'muse_lr[torch-sim]'"
    ) from error

if TYPE_CHECKING:
    from torch_sim.state import SimState

    from muse_lr.model.energy_model import EnergyModel


class TorchSimModel(ModelInterface):
    """A model as a ``ModelInterface`` of torch-sim: energies, forces and stress of all systems.

    One call evaluates all systems of a state as one batch. The neighbor lists are built on the
    device of the model with a skin, and reused until an atom has moved by half of it or the systems
    change. The boundaries are those of the state, ``pbc`` True or False for all systems.

    Parameters
    ----------
    model : EnergyModel, str or Path
        A model, which is copied, or a model file.
    device : str
        ``cpu``, ``cuda``, ``cuda:1``, ...
    dtype : {"float64", "float32"}
        Precision of the copy, and of the states that torch-sim makes for it.
    skin : float
        Skin of the neighbor lists, A.
    trust : bool
        Whether a model file may import parts named ``package.module:Class``, which runs their code.
    compute_stress : bool
        Whether to compute the stress. It is NaN for open systems, which have no volume.
    total_charge : float
        Total charge of each system, e. States of torch-sim 0.3 have none of their own.
    spin : float, optional
        Multiplicity 2S + 1 of each system. Default: the lowest one for the number of electrons.
    compile : bool
        Whether to compile the copy, which takes minutes once (:func:`muse_lr.compile_model`).

    Attributes
    ----------
    model : EnergyModel
        The copy.

    Raises
    ------
    InputError
        If an argument is invalid, or in a call if the model does not support a system. The message
        names the structure by its index in the state.
    """

    def __init__(
        self,
        model: EnergyModel | str | Path,
        device: str = "cpu",
        dtype: str = "float64",
        skin: float = 0.5,
        trust: bool = False,
        compute_stress: bool = True,
        total_charge: float = 0.0,
        spin: float | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.model = evaluation_model(model, device, dtype, trust, compile)
        self._device, self._dtype = self.model.device, self.model.dtype
        self._compute_stress, self._compute_forces = bool(compute_stress), True
        self._memory_scales_with = "n_atoms_x_density"
        self._neighbors = VerletList(self.model.cutoff, skin)
        # Zero is not stated, so that a model of fixed charges keeps its own total charge.
        self._total_charge, self._spin = total_charge or None, spin

    @property
    def skin(self) -> float:
        """Skin of the neighbor lists, A."""
        return self._neighbors.skin

    def forward(self, state: SimState | dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        """Evaluate all systems of a state.

        Parameters
        ----------
        state : SimState or dict
            Its positions in A, cells (column vectors), boundaries, atomic numbers and system of
            each atom are read. A dict has the same entries.
        **kwargs
            Ignored; torch-sim passes options of other models.

        Returns
        -------
        dict of str to Tensor
            ``energy`` (n_systems,) in eV, ``forces`` (n_atoms, 3) in eV/A and ``stress``
            (n_systems, 3, 3) in eV/A^3 with ASE's sign; detached, in the precision of the state.
        """
        read: Mapping[str, Any] = state if isinstance(state, dict) else vars(state)
        batch = AtomsBatch.from_tensors(
            read["positions"].detach(),
            read["atomic_numbers"],
            read["cell"].detach().mT,
            read["pbc"],
            read["system_idx"],
            cutoff=None,
            total_charge=self._total_charge,
            spin=self._spin,
        )
        self._neighbors.unwrap(batch)  # the integrators wrap all atoms in every step
        self._neighbors.attach(batch)
        compute = ("forces", "stress") if self._compute_stress else ("forces",)
        output = self.model(batch, compute, create_graph=False)
        found = {"energy": output.energy, "forces": output.forces, "stress": output.stress}
        return {
            name: value.detach().to(read["positions"].dtype)
            for name, value in found.items()
            if value is not None
        }

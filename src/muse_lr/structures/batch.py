"""Batches of structures with explicit boundary conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Batch, Data

from muse_lr.errors import InputError, described
from muse_lr.structures.arguments import check_atoms, check_cutoff, check_elements, label_mappings
from muse_lr.structures.batch_tensors import batch_tensors, fill
from muse_lr.structures.batch_text import batch_text
from muse_lr.structures.edges import batch_edges, find_edges, no_edges
from muse_lr.structures.label_values import (
    ATOM_LABELS,
    LABEL_SHAPES,
    label_values,
    real_numbers,
)
from muse_lr.structures.neighbor_tables import NeighborTables
from muse_lr.structures.neighbors import complete_cell, has_volume
from muse_lr.structures.sparse import SparseGraphs
from muse_lr.structures.state import NO_GROUP, read_state, warn_of_doubts

if TYPE_CHECKING:
    from ase import Atoms


class AtomsData(Data):
    """A single structure with the attributes of :class:`AtomsBatch`."""

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        return self.num_nodes if key == "edge_index" else 0

    def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        return 1 if key == "edge_index" else 0


class AtomsBatch(Batch):
    """A batch of structures, which can mix molecules, slabs and crystals.

    Attributes
    ----------
    positions : Tensor
        (n_atoms, 3) in A, float64.
    numbers : Tensor
        (n_atoms,) of int64, atomic numbers.
    cell : Tensor
        (n_graphs, 3, 3) cell vectors as rows, A. Missing vectors of open directions are replaced
        by vectors normal to the others, and strongly skewed vectors by the shortest ones of the
        same lattice (:func:`~muse_lr.structures.neighbors.complete_cell`).
    pbc : Tensor
        (n_graphs, 3) of bool: periodic directions of each graph.
    has_volume : Tensor
        (n_graphs,) of bool: whether the structure is periodic and its cell has a volume. A slab
        whose cell has no vector along the open direction has none.
    edge_index : Tensor
        (2, n_edges): sender (neighbor), receiver (center).
    edge_shift : Tensor
        (n_edges, 3) of int64: lattice shift of the sender in units of the cell vectors.
    cutoff : Tensor
        (n_graphs,) cutoff of the neighbor list, A.
    total_charge : Tensor
        (n_graphs,) in e; 0 by default. Total charge, spin, field and groups are read by
        :func:`muse_lr.structures.state.read_state`.
    charge_stated : Tensor
        (n_graphs,) of bool: whether the structure specifies its total charge.
    spin : Tensor
        (n_graphs,) multiplicity 2S + 1; by default the lowest one that is compatible with the
        number of electrons.
    coarse_index : Tensor
        (n_atoms,) of int64, group of each atom from ``atoms.arrays["coarse_index"]``; -1 for atoms
        without a group and for structures without this array.
    field : Tensor
        (n_graphs, 3) uniform external electric field in V/A from ``atoms.info["electric_field"]``;
        0 by default.
    batch, ptr : Tensor
        Graph of each atom and first atom of each graph, as in torch_geometric.
    label_energy, label_forces, ... : Tensor
        Labels passed to :meth:`from_ase`; NaN for structures without a label.
    """

    if TYPE_CHECKING:
        positions: Tensor
        numbers: Tensor
        cell: Tensor
        pbc: Tensor
        has_volume: Tensor
        edge_index: Tensor
        edge_shift: Tensor
        cutoff: Tensor
        total_charge: Tensor
        charge_stated: Tensor
        spin: Tensor
        coarse_index: Tensor
        field: Tensor
        batch: Tensor
        ptr: Tensor
        num_graphs: int

    @classmethod
    def from_ase(
        cls,
        structures: Sequence[Atoms],
        cutoff: float,
        labels: Sequence[Mapping[str, NDArray[np.float64]]] | None = None,
    ) -> AtomsBatch:
        """Build a batch with its neighbor lists from ASE structures.

        Parameters
        ----------
        structures : sequence of ase.Atoms
        cutoff : float
            Neighbor-list cutoff in A, ``model.cutoff``.
        labels : sequence of mappings, optional
            Reference values of each structure, indexed by the name of the label.

        Raises
        ------
        InputError
            If positions are not finite, if a periodic cell is missing or singular, if total charge,
            spin, field or groups are invalid, or if an argument has another type. The message gives
            the index of the structure.
        """
        if not isinstance(structures, (list, tuple)):
            raise InputError(
                f"AtomsBatch.from_ase takes a list of ase.Atoms, not {described(structures)}: "
                "from_ase([atoms], ...); ase.io.read(file, ':') reads such a list"
            )
        given, radius = label_mappings(labels, len(structures)), check_cutoff(cutoff)
        converted = []
        for index, (atoms, values) in enumerate(zip(structures, given, strict=True)):
            try:
                converted.append(atoms_to_data(check_atoms(atoms), radius, values))
            except InputError as error:
                raise InputError(f"structure {index}: {error}") from error
        return cls.from_structures(converted)

    @classmethod
    def from_tensors(
        cls,
        positions: Tensor,
        numbers: Tensor,
        cell: Tensor | None = None,
        pbc: Tensor | bool | None = None,
        batch: Tensor | None = None,
        *,
        cutoff: float | None,
        total_charge: Tensor | float | None = None,
        spin: Tensor | float | None = None,
        field: Tensor | None = None,
        coarse_index: Tensor | None = None,
    ) -> AtomsBatch:
        """Build the batch of :meth:`from_ase` from tensors, on their device.

        Tensors are copied and converted to float64; gradients flow to the given ``positions`` and
        ``cell``. The cells, 9 numbers for each structure, are completed on the CPU.

        Parameters
        ----------
        positions, numbers : Tensor
            (n_atoms, 3) in A and (n_atoms,), the structures one after the other.
        cell, pbc : Tensor, optional
            (n_graphs, 3, 3) in A and (n_graphs, 3) of bool; (3, 3), (3,) or one bool for all. By
            default all structures are open. A cell needs ``pbc``.
        batch : Tensor, optional
            (n_atoms,) of integers, ascending: structure of each atom. Default: one structure.
        cutoff : float or None
            As in :meth:`from_ase`; None builds no list, which a
            :class:`~muse_lr.structures.verlet_list.VerletList` attaches.
        total_charge, spin, field, coarse_index : Tensor, optional
            As in :class:`AtomsBatch`, or one value for all structures; None is not stated.

        Raises
        ------
        InputError
            As in :meth:`from_ase`, or if tensors do not fit together.
        """
        radius = None if cutoff is None else check_cutoff(cutoff)
        state = (total_charge, spin, field, coarse_index)
        found = batch_tensors(positions, numbers, cell, pbc, batch, state)
        where = found["positions"].detach(), found["cell"].detach(), found["pbc"], found["ptr"]
        edges = no_edges(positions.device) if radius is None else batch_edges(*where, radius)
        found["edge_index"], found["edge_shift"] = edges
        found["cutoff"] = torch.full_like(found["total_charge"], radius or 0.0)
        own: AtomsBatch = cls(_base_cls=AtomsData)
        fill(own, found)
        return own

    @classmethod
    def from_structures(
        cls, structures: Sequence[AtomsData], labels: Sequence[str] = ()
    ) -> AtomsBatch:
        """Combine single structures into a batch.

        The batch has all labels in ``labels`` and in the structures. Missing values are NaN.
        """
        if not structures:
            raise InputError("a batch needs at least one structure")
        keys = {key for data in structures for key in data.keys()}  # noqa: SIM118
        keys |= {f"label_{label}" for label in labels}
        names = sorted(key for key in keys if key.startswith("label_"))
        for data in structures:
            for key in names:
                if key not in data:
                    name = key[6:]
                    rows = data.num_nodes if name in ATOM_LABELS else 1
                    data[key] = torch.full((rows, *LABEL_SHAPES[name]), torch.nan).double()
        return cls.from_data_list(list(structures))

    @property
    def tables(self) -> NeighborTables:
        """Tables of the neighbor list, cached until ``edge_index`` is replaced."""
        kept: NeighborTables | None = self.__dict__.get("_tables")
        # Tensors created in inference mode cannot be used outside of it.
        passing = torch.is_inference_mode_enabled()
        if kept is None or kept.edge_index is not self.edge_index or passing:
            sparse = SparseGraphs(self.cell, self.pbc, self.nodes_per_graph)
            edges = self.edge_index, self.edge_shift
            kept = NeighborTables(*edges, self.batch, self.num_graphs, sparse)
            if not passing:
                self.__dict__["_tables"] = kept
        return kept

    def take_neighbors(self, other: AtomsBatch) -> None:
        """Reuse the neighbor list and its tables from another batch of the same atoms."""
        tables = other.tables
        self.edge_index, self.edge_shift, self.cutoff = (
            tables.edge_index,
            tables.edge_shift,
            other.cutoff,
        )
        self.__dict__["_tables"] = tables

    def to(self, device: Any, *args: str, **options: Any) -> AtomsBatch:
        """Copy of the batch on a device; its geometry stays float64.

        Raises
        ------
        InputError
            If a dtype is given, since the model casts the batch to its own.
        """
        if isinstance(device, torch.dtype):
            raise InputError(
                "a batch keeps float64, and the model casts to its own precision: choose it by "
                f"model.to({device})"
            )
        moved: AtomsBatch = super().to(device, *args, **options)
        return moved

    def __repr__(self) -> str:
        return batch_text(self)

    @property
    def nodes_per_graph(self) -> Tensor:
        """(n_graphs,) number of atoms of each graph."""
        return self.ptr[1:] - self.ptr[:-1]


def atoms_to_data(
    atoms: Atoms, cutoff: float | None, labels: Mapping[str, NDArray[np.float64]] | None = None
) -> AtomsData:
    """Convert one structure as in :meth:`AtomsBatch.from_ase`; no edges if ``cutoff`` is None."""
    positions = real_numbers(atoms.positions, "positions")
    if not np.isfinite(positions).all():
        atom = int(np.flatnonzero(~np.isfinite(positions).all(1))[0])
        raise InputError(f"the position of atom {atom} is not finite")
    cell = complete_cell(atoms.cell.array, atoms.pbc)
    edge_index, edge_shift = np.zeros((2, 0), np.int64), np.zeros((0, 3), np.int64)
    if cutoff is not None:
        edge_index, edge_shift = find_edges(positions, cell, atoms.pbc, cutoff)
    numbers = check_elements(atoms.numbers)
    state = read_state(atoms)
    warn_of_doubts(atoms, state)
    groups = [NO_GROUP] * len(atoms) if state.groups is None else state.groups
    data = AtomsData(
        num_nodes=len(atoms),
        positions=torch.from_numpy(positions),
        numbers=torch.from_numpy(numbers),
        cell=torch.from_numpy(cell)[None],
        pbc=torch.from_numpy(atoms.pbc.copy())[None],
        has_volume=torch.tensor([has_volume(atoms.cell.array, atoms.pbc)]),
        edge_index=torch.from_numpy(edge_index),
        edge_shift=torch.from_numpy(edge_shift),
        cutoff=torch.tensor([cutoff or 0.0], dtype=torch.float64),
        total_charge=torch.tensor([state.total_charge], dtype=torch.float64),
        charge_stated=torch.tensor([state.charge_stated]),
        spin=torch.tensor([state.spin], dtype=torch.float64),
        coarse_index=torch.tensor(groups, dtype=torch.int64),
        field=torch.tensor([state.field], dtype=torch.float64),
    )
    for name, value in (labels or {}).items():
        data[f"label_{name}"] = torch.from_numpy(label_values(value, name, len(atoms)))
    return data

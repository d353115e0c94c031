"""The tensors of a batch, from tensors that a user gives.

They are checked for all atoms at once, without a loop over atoms, and the first wrong atom is
named as in a batch from ASE structures.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch

from muse_lr.errors import InputError, described
from muse_lr.structures.arguments import LAST_ELEMENT
from muse_lr.structures.neighbors import complete_cell, has_volume
from muse_lr.structures.state import LARGEST_GROUP, NO_GROUP, SAME, impossible_spin

#: Tensors of a batch with one row per atom.
OF_ATOMS = ("positions", "numbers", "coarse_index")


def batch_tensors(
    positions: Tensor,
    numbers: Tensor,
    cell: Tensor | None,
    pbc: Tensor | bool | None,
    batch: Tensor | None,
    state: tuple[Any, Any, Any, Any],
) -> dict[str, Tensor]:
    """Tensors of :class:`~muse_lr.structures.batch.AtomsBatch` by name, without edges and cutoff.

    Parameters
    ----------
    positions, numbers, cell, pbc, batch :
        As in :meth:`~muse_lr.structures.batch.AtomsBatch.from_tensors`.
    state : tuple
        Total charge, spin, field and groups, as there.

    Raises
    ------
    InputError
        As there.
    """
    positions = _tensor(positions, "positions", None)
    device, count = positions.device, len(positions)
    if positions.shape != (count, 3):
        raise InputError(f"positions has the shape {tuple(positions.shape)}, not (n_atoms, 3)")
    numbers = _tensor(numbers, "numbers", device)
    if numbers.shape != (count,):
        raise InputError(f"numbers has the shape {tuple(numbers.shape)}, not ({count},)")
    index, graphs = _graph_index(batch, count, cell, pbc, device)
    ptr = torch.zeros(graphs + 1, dtype=torch.int64, device=device)
    ptr[1:] = torch.bincount(index, minlength=graphs).cumsum(0)
    where = _Places(index, ptr)
    positions = positions.double().clone()
    where.refuse(~torch.isfinite(positions).all(1), "the position of atom {} is not finite")
    wrong = ~((numbers >= 1) & (numbers <= LAST_ELEMENT) & (numbers % 1 == 0))
    where.refuse(wrong, "atom {} has the atomic number {}: no element", numbers)
    found = {"positions": positions, "numbers": numbers.long().clone()}
    found |= _cells(cell, pbc, graphs, device)
    charge, spin, field, groups = state
    found |= _charge_and_spin(charge, spin, found["numbers"], index, graphs)
    found["field"] = _per_graph(field, "field", graphs, (3,), device)
    found["coarse_index"] = _groups(groups, count, where, device)
    return found | {"batch": index, "ptr": ptr}


def fill(batch: Batch, tensors: dict[str, Tensor]) -> None:
    """Store the tensors of a batch in it, and how torch_geometric splits it into structures."""
    ptr = tensors["ptr"].cpu()
    graphs = len(ptr) - 1
    edges = torch.bincount(tensors["batch"][tensors["edge_index"][1]], minlength=graphs).cpu()
    edge_ptr = torch.cat([edges.new_zeros(1), edges.cumsum(0)])
    slices, offsets = dict[str, Tensor](), dict[str, Tensor]()
    for name, value in tensors.items():
        batch[name] = value
        if name in ("batch", "ptr"):
            continue
        rows = torch.arange(graphs + 1)
        if name in OF_ATOMS:
            rows = ptr
        elif name.startswith("edge_"):
            rows = edge_ptr
        slices[name] = rows
        offsets[name] = ptr[:-1] if name == "edge_index" else torch.zeros_like(ptr[:-1])
    batch._slice_dict, batch._inc_dict, batch._num_graphs = slices, offsets, graphs
    batch.num_nodes = int(ptr[-1])
    batch._store._num_nodes = (ptr[1:] - ptr[:-1]).tolist()


class _Places:
    """Where an atom is, for messages."""

    def __init__(self, index: Tensor, ptr: Tensor) -> None:
        self.index, self.ptr = index, ptr

    def refuse(self, wrong: Tensor, text: str, values: Tensor | None = None) -> None:
        """Raise an error that names the first atom of the mask ``wrong``, (n_atoms,)."""
        if not bool(wrong.any()):
            return
        atom = int(wrong.nonzero()[0])
        graph = int(self.index[atom])
        value = "" if values is None else values[atom].item()
        own = text.format(atom - int(self.ptr[graph]), value)
        raise InputError(f"structure {graph}: {own}")


def _tensor(value: Any, name: str, device: torch.device | None) -> Tensor:
    """A tensor of real numbers on the device."""
    if not isinstance(value, Tensor):
        raise InputError(f"{name} is {described(value)}: a torch.Tensor is needed")
    if value.dtype == torch.bool or value.is_complex():
        raise InputError(f"{name} has the type {value.dtype}: real numbers are needed")
    _same_device(value, name, device)
    return value


def _same_device(value: Tensor, name: str, device: torch.device | None) -> None:
    if device is not None and value.device != device:
        raise InputError(
            f"{name} is on {value.device} and positions on {device}: move them to one device"
        )


def _graph_index(
    batch: Tensor | None, count: int, cell: Any, pbc: Any, device: torch.device
) -> tuple[Tensor, int]:
    """(n_atoms,) graph of each atom, and the number of graphs."""
    rows = [len(v) for v, n in ((cell, 3), (pbc, 2)) if isinstance(v, Tensor) and v.ndim == n]
    if batch is None:
        return torch.zeros(count, dtype=torch.int64, device=device), 1
    batch = _tensor(batch, "batch", device)
    if batch.shape != (count,) or batch.is_floating_point():
        raise InputError(
            f"batch has the shape {tuple(batch.shape)} and the type {batch.dtype}: one integer is "
            f"needed for each of the {count} atoms"
        )
    index = batch.long().clone()
    if count:
        descents = (index[1:] < index[:-1]).nonzero()
        if len(descents) or int(index[0]) < 0:
            atom = int(descents[0]) + 1 if len(descents) else 0
            raise InputError(
                f"batch is {int(index[atom])} at row {atom}: the structures must follow one "
                "another, numbered from 0 on"
            )
    graphs = max([int(index[-1]) + 1 if count else 0, *rows])
    if graphs == 0:
        raise InputError("a batch needs at least one structure")
    return index, graphs


def _cells(
    cell: Tensor | None, pbc: Tensor | bool | None, graphs: int, device: torch.device
) -> dict[str, Tensor]:
    """Completed cells, boundaries, and whether the structures have a volume."""
    if cell is not None and pbc is None:
        raise InputError("a cell needs pbc: True, or the periodic directions of each structure")
    if isinstance(pbc, Tensor):
        _same_device(pbc, "pbc", device)
        if pbc.dtype != torch.bool:
            raise InputError(f"pbc has the type {pbc.dtype}: torch.bool is needed")
    elif pbc is not None and not isinstance(pbc, bool):
        raise InputError(f"pbc is {described(pbc)}: a bool or a torch.Tensor of bool is needed")
    flags = pbc if isinstance(pbc, Tensor) else torch.tensor(bool(pbc), device=device).expand(3)
    periodic = _spread(flags, "pbc", graphs, (3,)).clone()
    given = torch.zeros((3, 3), device=device) if cell is None else _tensor(cell, "cell", device)
    given = _spread(given, "cell", graphs, (3, 3)).double().clone()
    rows, flags_of = given.detach().cpu().numpy(), periodic.cpu().numpy()
    kept: dict[bytes, tuple[Any, bool]] = {}  # copies of a structure have one cell
    complete, volumes = [], []
    for graph, (own, directions) in enumerate(zip(rows, flags_of, strict=True)):
        key = own.tobytes() + directions.tobytes()
        try:
            if key not in kept:
                kept[key] = complete_cell(own, directions), has_volume(own, directions)
        except InputError as error:
            raise InputError(f"structure {graph}: {error}") from error
        complete.append(kept[key][0])
        volumes.append(kept[key][1])
    completed = torch.from_numpy(np.stack(complete)).to(device)
    if given.requires_grad:
        changed = (completed != given).any(2)
        if bool((changed & periodic).any()):
            graph = int((changed & periodic).any(1).nonzero()[0])
            raise InputError(
                f"structure {graph}: the cell requires gradients but is so skewed that it is "
                "replaced; give the shortest vectors of the lattice"
            )
        completed = torch.where(changed[:, :, None], completed, given)
    volume = torch.tensor(volumes, device=device)
    return {"cell": completed, "pbc": periodic, "has_volume": volume}


def _spread(value: Tensor, name: str, graphs: int, shape: tuple[int, ...]) -> Tensor:
    """(n_graphs, *shape) from one row for each graph, or from one for all."""
    if value.shape == shape:
        return value.expand(graphs, *shape)
    if value.shape != (graphs, *shape):
        raise InputError(
            f"{name} has the shape {tuple(value.shape)} for {graphs} structure(s), not "
            f"{(graphs, *shape)}"
        )
    return value


def _per_graph(
    value: Any, name: str, graphs: int, shape: tuple[int, ...], device: torch.device
) -> Tensor:
    """(n_graphs, *shape) finite numbers in float64; 0 for None."""
    if value is None:
        return torch.zeros((graphs, *shape), dtype=torch.float64, device=device)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = torch.tensor(float(value), dtype=torch.float64, device=device)
    rows = _spread(_tensor(value, name, device), name, graphs, shape).double().clone()
    wrong = ~torch.isfinite(rows.reshape(graphs, -1)).all(1)
    if bool(wrong.any()):
        graph = int(wrong.nonzero()[0])
        raise InputError(f"structure {graph}: {name} is not finite: {rows[graph].tolist()}")
    return rows


def _charge_and_spin(
    charge: Any, spin: Any, numbers: Tensor, index: Tensor, graphs: int
) -> dict[str, Tensor]:
    """Total charges and spins, as :func:`muse_lr.structures.state.read_state` reads them."""
    device = numbers.device
    totals = _per_graph(charge, "total_charge", graphs, (), device)
    whole = (totals - totals.round()).abs() <= SAME
    totals = torch.where(whole, totals.round(), totals)
    protons = numbers.new_zeros(graphs).index_add(0, index, numbers)
    lowest = 1.0 + (protons - totals.detach().round().long()) % 2
    spins = torch.where(whole, lowest, 1.0).double()
    if spin is not None:
        spins = _per_graph(spin, "spin", graphs, (), device)
        wrong = (spins < 1 - SAME) | ((spins - spins.round()).abs() > SAME)
        if bool(wrong.any()):
            graph = int(wrong.nonzero()[0])
            raise InputError(
                f"structure {graph}: spin is {float(spins[graph]):g}: it is the multiplicity "
                "2S + 1, a whole number from 1 on (1 for a singlet)"
            )
        spins = spins.round()
        doubtful = whole & (spins.long() % 2 == (protons - totals.round().long()) % 2)
        for graph in doubtful.nonzero()[:, 0].tolist():
            text = impossible_spin(float(spins[graph]), int(protons[graph]), float(totals[graph]))
            assert text is not None
            warnings.warn(text, UserWarning, stacklevel=1)
    stated = torch.full((graphs,), charge is not None, device=device)
    return {"total_charge": totals, "charge_stated": stated, "spin": spins}


def _groups(groups: Any, count: int, where: _Places, device: torch.device) -> Tensor:
    if groups is None:
        return torch.full((count,), NO_GROUP, dtype=torch.int64, device=device)
    groups = _tensor(groups, "coarse_index", device)
    if groups.shape != (count,):
        raise InputError("coarse_index must contain one whole number for each atom")
    wrong = ~((groups >= NO_GROUP) & (groups <= LARGEST_GROUP) & (groups % 1 == 0))
    text = "coarse_index of atom {} is {}: it must be an integer from 0 on, or -1 for no group"
    where.refuse(wrong, text, groups)
    return groups.long().clone()

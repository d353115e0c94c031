"""Neighbor lists with a skin, which are reused until an atom has moved by half of it."""

from __future__ import annotations

import torch
from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.edges import batch_edges
from muse_lr.structures.sparse import density_rungs


class VerletList:
    r"""The neighbor list of a batch whose atoms move.

    The list contains all pairs within ``cutoff + skin``. It is complete up to ``cutoff`` as long as

    .. math:: r_c + 2 d \le \sigma (r_c + s)

    in every graph. Here, :math:`F` maps the cell at which the list was built to the present one,
    :math:`\sigma` is its smallest singular value and :math:`d` is the largest displacement of an
    atom from :math:`r_0 F`. In a constant cell this is the usual condition that no atom has moved
    by half the skin.

    Parameters
    ----------
    cutoff : float
        Distance up to which the list must be complete, A.
    skin : float
        Skin, A. With 0 the list is built at every call.

    Attributes
    ----------
    batch : AtomsBatch or None
        The batch for which the current list was built.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        if not skin >= 0:
            raise InputError(f"skin {skin} A: it must not be negative")
        self.cutoff, self.skin = cutoff, skin
        self.batch: AtomsBatch | None = None
        self._origin: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))

    def forget(self) -> None:
        """Build the list anew at the next call."""
        self.batch = None

    def unwrap(self, batch: AtomsBatch) -> None:
        """Undo the wrapping of atoms into the cell since the list was built.

        Engines that wrap move an atom by a lattice vector when it crosses a face, which changes no
        energy, force or stress, but the list is of the place where the atom was. Each atom is moved
        by the lattice vectors that bring it near that place.

        Parameters
        ----------
        batch : AtomsBatch
            Its positions are replaced if it has the atoms of the list.
        """
        if self.batch is None or not _same_atoms(batch, self.batch):
            return
        positions, cell = self._origin
        index = batch.batch

        def fractions(points: Tensor, cells: Tensor) -> Tensor:
            return torch.einsum("ia,iab->ib", points, torch.linalg.inv(cells)[index])

        moved = fractions(batch.positions, batch.cell) - fractions(positions, cell)
        steps = torch.where(batch.pbc[index], moved.round(), 0.0)
        shift = torch.einsum("ia,iab->ib", steps, batch.cell[index])
        batch.positions = batch.positions - shift

    def attach(self, batch: AtomsBatch) -> bool:
        """Give a batch its neighbor list.

        Parameters
        ----------
        batch : AtomsBatch
            Its edges are replaced.

        Returns
        -------
        bool
            Whether the list was built anew.

        Raises
        ------
        InputError
            If a position is not finite, or if two atoms are at one place.
        """
        if self.batch is not None and self._holds(batch, self.batch):
            batch.take_neighbors(self.batch)
            return False
        self._build(batch)
        self.batch = batch
        self._origin = (batch.positions.detach().clone(), batch.cell.detach().clone())
        return True

    def _holds(self, batch: AtomsBatch, kept: AtomsBatch) -> bool:
        if self.skin == 0:
            return False
        if batch is not kept and not _same_atoms(batch, kept):
            return False
        positions, cell = self._origin
        if torch.equal(batch.cell, cell):
            moved = batch.positions - positions
            return bool((moved.square().sum(1) < (self.skin / 2) ** 2).all())
        counts = batch.nodes_per_graph
        rungs = [density_rungs(each, batch.pbc, counts) for each in (cell, batch.cell)]
        if not torch.equal(*rungs):  # the tables of the list hold them
            return False
        change = torch.linalg.inv(cell) @ batch.cell  # (n_graphs, 3, 3)
        shrinking = torch.linalg.svdvals(change)[:, -1]
        moved = batch.positions - torch.einsum("ia,iab->ib", positions, change[batch.batch])
        lengths = torch.linalg.vector_norm(moved, dim=1)
        furthest = lengths.new_zeros(len(cell)).scatter_reduce(0, batch.batch, lengths, "amax")
        reach = shrinking * (self.cutoff + self.skin)
        return bool((self.cutoff + 2 * furthest < reach).all())

    def _build(self, batch: AtomsBatch) -> None:
        reach = self.cutoff + self.skin
        positions, cell = batch.positions.detach(), batch.cell.detach()
        edges = batch_edges(positions, cell, batch.pbc, batch.ptr, reach)
        batch.edge_index, batch.edge_shift = edges
        batch.cutoff = torch.full_like(batch.cutoff, reach)


def _same_atoms(batch: AtomsBatch, kept: AtomsBatch) -> bool:
    """Whether two batches have the same atoms and boundaries, on the same device."""
    if batch.positions.device != kept.positions.device:
        return False
    return all(
        torch.equal(getattr(batch, name), getattr(kept, name)) for name in ("ptr", "numbers", "pbc")
    )

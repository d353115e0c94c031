"""Tables whose sizes depend on the values of tensors, apart from the arithmetic that reads them.

Which edges are shorter than a cutoff, or which atoms are nodes, is decided once for an evaluation.
The arithmetic itself then has no branch and no size that depends on a value, so that it can be
compiled: for a compiled model, the tables are made beforehand and handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

#: A table: a tensor, several, or nothing where a shortcut is taken.
Table = TypeVar("Table", Tensor, Tensor | None, tuple[Tensor, ...])


class HostTables:
    """The tables of one evaluation by name, each made at its first use.

    Parameters
    ----------
    general : bool
        Whether tables have the same form for all structures. Without it, shortcuts that depend on
        the structure are allowed, such as no table where nothing is left out.
    closed : bool
        Whether all tables exist, so that none may be made.
    """

    def __init__(self, general: bool = False, closed: bool = False) -> None:
        self.general, self.closed = general, closed
        self.found: dict[str, Tensor | tuple[Tensor, ...] | None] = {}
        self.children: dict[str, HostTables] = {}

    def get(self, name: str, make: Callable[[], Table]) -> Table:
        """The table of this name; ``make`` makes it at the first use, without gradients."""
        if name not in self.found:
            if self.closed:
                raise KeyError(f"the table {name!r} was not made before a compiled evaluation")
            with torch.no_grad():
                self.found[name] = make()
        return self.found[name]  # type: ignore[return-value]

    def child(self, name: str) -> HostTables:
        """Tables of something that is derived from this geometry, such as coarse nodes."""
        if name not in self.children:
            self.children[name] = HostTables(self.general, self.closed)
        return self.children[name]

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Names and tensors of all tables, in the order in which they were made."""
        for name, table in self.found.items():
            for index, tensor in enumerate(table if isinstance(table, tuple) else (table,)):
                assert tensor is not None, "a general table is never empty"
                yield f"{prefix}{name}:{index}", tensor
        for name, child in self.children.items():
            yield from child.tensors(f"{prefix}{name}/")

    def filled(self, values: Iterator[Tensor]) -> HostTables:
        """Closed tables of the same names with other tensors, in the order of :meth:`tensors`."""
        other = HostTables(self.general, closed=True)
        for name, table in self.found.items():
            if isinstance(table, tuple):
                other.found[name] = tuple(next(values) for _ in table)
            else:
                other.found[name] = next(values)
        for name, child in self.children.items():
            other.children[name] = child.filled(values)
        return other


def edges_within(tables: HostTables, lengths: Tensor, cutoff: float, reach: float) -> Tensor | None:
    """(k,) edges shorter than ``cutoff`` (A) among (n_edges,) lengths; None for all of them.

    ``reach`` says which edges these are: all that are shorter, of the geometry of the tables.
    """

    def make() -> Tensor | None:
        near = lengths < cutoff
        if not tables.general and bool(near.all()):
            return None
        return near.nonzero()[:, 0]

    return tables.get(f"edges within {cutoff!r} of {reach!r}", make)


def fixed_number(number: int, value: int) -> bool:
    """Whether a size is ``value`` for all structures, and not only for the present one.

    A program that is compiled for structures of any size must not depend on the present size.
    """
    return isinstance(number, int) and number == value

"""Which solver sums what: by boundary, order, size, accuracy and the derivatives to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from muse_lr.config.registry import lookup
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import EVERY_DERIVATIVE, Derivative, Solver
from muse_lr.electrostatics.ewald.open_sum import open_energy
from muse_lr.errors import InputError
from muse_lr.structures.geometry import Boundary, Geometry, PeriodicBoundary

#: Lattices of at least this many atoms go to the mesh. It is the faster one from some 200 atoms on,
#: but makes steps, below the accuracy, where the cell changes its size.
MESH_SIZE = 1000
MESH = "pme"
FIRST_DERIVATIVES: frozenset[Derivative] = frozenset({"forces", "stress"})


@dataclass(frozen=True)
class Choice:
    """A solver and the reason for it."""

    name: str
    reason: str


class Electrostatics:
    """The Coulomb energy of a density in whatever boundary each graph has.

    Molecules are summed exactly over all pairs; crystals and slabs go to the solver that
    :meth:`choose` names. One batch may need several.

    Parameters
    ----------
    widths : sequence of float
        Gaussian standard deviations that occur, A.
    l_max : int
        Highest order of the multipoles.
    accuracy : float
        RMS force error over k q_rms^2 (N/V)^(2/3) of periodic graphs.
    cutoff : float
        Cutoff that the neighbor list serves anyway, A.
    solver : str
        ``auto``, or the name of a solver that sums all periodic graphs.

    Attributes
    ----------
    cutoff : float
        Edges that it needs, A.

    Raises
    ------
    InputError
        If the named solver is unknown, not installed, or cannot do multipoles of this order or
        this accuracy.
    """

    def __init__(
        self,
        widths: Sequence[float],
        l_max: int,
        accuracy: float,
        cutoff: float,
        solver: str = "auto",
    ) -> None:
        self.l_max, self.accuracy, self.solver = l_max, accuracy, solver
        self._arguments = (tuple(widths), accuracy, cutoff)
        self._solvers: dict[str, Solver] = {}
        first = self._named("reference" if solver == "auto" else solver)
        if first.l_max < l_max:
            raise InputError(
                f"solver {solver} sums multipoles up to l = {first.l_max}, the charges have l_max "
                f"{l_max}: set solver to auto or reference"
            )
        self.ewald = first.ewald
        self.cutoff = first.ewald.cutoff

    def energy(
        self, density: ChargeDensity, geometry: Geometry, derivatives: frozenset[Derivative]
    ) -> Tensor:
        """(n_graphs,) energies in eV, float64, without the self-energy of each site.

        Parameters
        ----------
        density : ChargeDensity
        geometry : Geometry
            Its edges reach at least :attr:`cutoff`.
        derivatives : frozenset of str
            What the energies will be differentiated for.

        Raises
        ------
        InputError
            If the named solver would be wrong in what is asked.
        """
        energy = open_energy(density, geometry)
        lattice = ~geometry.open_graphs
        if not bool(lattice.any()):
            return energy
        slab = lattice & ~geometry.periodic_graphs
        large = lattice & (geometry.nodes_per_graph >= MESH_SIZE)
        plans: dict[str, Tensor] = {}
        boundary: PeriodicBoundary
        for boundary, graphs in (("TTF", slab), ("TTT", geometry.periodic_graphs)):
            for n_atoms, chosen in ((0, graphs & ~large), (MESH_SIZE, graphs & large)):
                if bool(chosen.any()):
                    name = self.choose(boundary, n_atoms, derivatives).name
                    plans[name] = plans[name] | chosen if name in plans else chosen
        for name, chosen in plans.items():
            energy = energy + self._named(name).energy(density, geometry, chosen)
        return energy

    def choose(
        self, boundary: PeriodicBoundary, n_atoms: int, derivatives: frozenset[Derivative]
    ) -> Choice:
        """The solver for a structure of this boundary and size, and why.

        Raises
        ------
        InputError
            If a named solver would be wrong.
        """
        if self.solver != "auto":
            self._refuse(boundary, derivatives)
            return Choice(self.solver, "asked for")
        if n_atoms < MESH_SIZE:
            return Choice("reference", f"the fastest below {MESH_SIZE} atoms")
        mesh = lookup("solver", MESH)
        fits = boundary in mesh.boundaries and derivatives <= mesh.supported_derivatives
        if fits and self.l_max <= mesh.l_max and self.accuracy >= mesh.best_accuracy:
            return Choice(MESH, f"a mesh, from {MESH_SIZE} atoms on")
        return Choice("reference", "the mesh cannot do what is asked")

    def _refuse(self, boundary: PeriodicBoundary, derivatives: frozenset[Derivative]) -> None:
        solver = self._named(self.solver)
        if boundary not in solver.boundaries:
            raise InputError(
                f"solver {self.solver} does not sum the boundary {boundary}: set solver to auto "
                "or reference"
            )
        wrong = sorted(derivatives - solver.supported_derivatives)
        if wrong:
            words = ", ".join(name.replace("_", " ") for name in wrong)
            raise InputError(
                f"solver {self.solver} is wrong or inexact for: {words}; set solver to auto or "
                "reference"
            )

    def _named(self, name: str) -> Solver:
        if name not in self._solvers:
            self._solvers[name] = lookup("solver", name)(*self._arguments)
        return self._solvers[name]

    def explain(self, boundary: Boundary, n_atoms: int) -> str:
        """In words, who sums a structure in energies, forces and stress, and at what cost."""
        if boundary == "FFF":
            return "exact sum over all pairs, O(N^2)"
        try:
            choice = self.choose(boundary, n_atoms, FIRST_DERIVATIVES)
        except InputError as error:
            return f"refused: {error}"
        real = f"real space to {self.ewald.cutoff:.3g} A"
        parts = [
            f"{choice.name} ({choice.reason})",
            f"splitting {self.ewald.splitting:.3g} A",
            real if self.ewald.cutoff else "no real-space sum",
        ]
        if lookup("solver", choice.name).mesh:
            parts.append("mesh, O(N log N)")
        else:
            parts.append(f"|k| to {self.ewald.reciprocal_cutoff:.3g}/A, O(N^2) at a given cutoff")
        exact = self.choose_name(boundary, n_atoms, EVERY_DERIVATIVE)
        if exact != choice.name:
            parts.append(f"Hessians: {exact or 'refused'}")
        return ", ".join(parts)

    def choose_name(
        self, boundary: PeriodicBoundary, n_atoms: int, derivatives: frozenset[Derivative]
    ) -> str | None:
        """The name of the solver, or None where what is asked would be refused."""
        try:
            return self.choose(boundary, n_atoms, derivatives).name
        except InputError:
            return None

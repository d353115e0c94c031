"""Selection of the electrostatics solver.

The choice depends on the boundary conditions, the multipole order, the number of atoms, the
accuracy and the derivatives that will be computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from muse_lr.config.registry import lookup
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import EVERY_DERIVATIVE, Derivative, Solver
from muse_lr.electrostatics.ewald.open_sum import open_energy
from muse_lr.electrostatics.mesh.pme import PMESolver
from muse_lr.errors import InputError
from muse_lr.structures.geometry import Boundary, Geometry, PeriodicBoundary

#: Number of atoms from which periodic systems use the mesh solver. The mesh is faster from about
#: 200 atoms on, but its energy has steps, smaller than the accuracy, where the mesh size changes.
MESH_SIZE = 1000
MESH = "pme"
FIRST_DERIVATIVES: frozenset[Derivative] = frozenset({"forces", "stress"})


@dataclass(frozen=True)
class Choice:
    """Name of a solver and the reason for choosing it."""

    name: str
    reason: str


class Electrostatics:
    """Coulomb energy of a charge density for any boundary conditions.

    Molecules use the exact sum over all pairs. Crystals and slabs use the solver selected by
    :meth:`choose`. The graphs of one batch can use different solvers.

    Parameters
    ----------
    widths : sequence of float
        Gaussian standard deviations of the charges, A.
    l_max : int
        Highest order of the multipoles.
    accuracy : float
        RMS force error of periodic graphs, relative to k q_rms^2 (N/V)^(2/3).
    cutoff : float
        Cutoff of the neighbor list that the model needs in any case, A.
    solver : str
        ``auto``, or the name of a solver for all periodic graphs.

    Attributes
    ----------
    cutoff : float
        Required cutoff of the neighbor list, A.

    Raises
    ------
    InputError
        If the named solver is unknown or not installed, or does not support the multipole order
        or the accuracy.
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
                f"solver {solver} supports multipoles up to l = {first.l_max}, but the charges "
                f"have l_max = {l_max}: set solver to auto or reference"
            )
        self.ewald = first.ewald
        self.cutoff = first.ewald.cutoff

    def energy(
        self, density: ChargeDensity, geometry: Geometry, derivatives: frozenset[Derivative]
    ) -> Tensor:
        """(n_graphs,) energies in eV, float64, without the self-energies of the sites.

        Parameters
        ----------
        density : ChargeDensity
        geometry : Geometry
            The cutoff of its edges is at least :attr:`cutoff`.
        derivatives : frozenset of str
            Derivatives of the energies that will be computed.

        Raises
        ------
        InputError
            If the named solver does not support the boundary or the derivatives.
        """
        energy = open_energy(density, geometry)
        lattice = ~geometry.open_graphs
        if not bool(lattice.any()):
            return energy
        slab = lattice & ~geometry.periodic_graphs
        large = lattice & (geometry.nodes_per_graph >= MESH_SIZE)
        fine = self.accuracy < PMESolver.best_accuracy
        if self.solver == "auto" and not fine and bool(large.any()):
            mesh = self._named(MESH)
            assert isinstance(mesh, PMESolver)
            large = mesh.fits(geometry, large)
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
        """Select the solver for a structure with this boundary and number of atoms.

        Raises
        ------
        InputError
            If the named solver does not support the boundary or the derivatives.
        """
        if self.solver != "auto":
            self._refuse(boundary, derivatives)
            return Choice(self.solver, "selected by name")
        if n_atoms < MESH_SIZE:
            return Choice("reference", f"the fastest below {MESH_SIZE} atoms")
        mesh = lookup("solver", MESH)
        fits = boundary in mesh.boundaries and derivatives <= mesh.supported_derivatives
        if fits and self.l_max <= mesh.l_max and self.accuracy >= mesh.best_accuracy:
            return Choice(MESH, f"a mesh, from {MESH_SIZE} atoms on")
        return Choice("reference", "not supported by the mesh solver")

    def _refuse(self, boundary: PeriodicBoundary, derivatives: frozenset[Derivative]) -> None:
        solver = self._named(self.solver)
        if boundary not in solver.boundaries:
            raise InputError(
                f"solver {self.solver} does not support the boundary {boundary}: set solver to "
                "auto or reference"
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
        """Describe the solver and its cost for energies, forces and stress of a structure."""
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
        """Name of the selected solver, or None if it does not support the request."""
        try:
            return self.choose(boundary, n_atoms, derivatives).name
        except InputError:
            return None

"""The Coulomb energy of the charge density."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from muse_lr.density import ChargeDensity, moved_shares
from muse_lr.electrostatics.dispatch import MESH_SIZE, Electrostatics
from muse_lr.electrostatics.kernels import pair_interaction, radial_kernel, self_energy
from muse_lr.electrostatics.pair_sums import sum_over_pairs
from muse_lr.errors import InputError
from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs
from muse_lr.math.multipoles import MAX_MULTIPOLE, to_cartesian
from muse_lr.math.switching import switch_off
from muse_lr.multiscale.base import Assignment, CoarseNodes
from muse_lr.multiscale.muse.edges import coarse_geometry
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.units import COULOMB_CONSTANT

#: Real-space cutoff of a model without a backbone, A.
DEFAULT_CUTOFF = 6.0
#: Pairs closer than this fraction of ``exclusion_radius`` are omitted completely.
EXCLUSION_TAPER = 0.5


class CoulombConfig(HeadConfig):
    """Keys of the Coulomb head."""

    renamed: ClassVar[dict[str, str]] = {"omit_within": "exclusion_radius"}

    kind: Literal["coulomb"] = "coulomb"
    accuracy: float = Field(
        1e-6,
        ge=1e-12,
        le=1e-2,
        description="RMS force error in periodic structures, in units of k q_rms^2 (N/V)^(2/3).",
    )
    solver: str = Field(
        "auto", description="Solver of the sums; auto selects the fastest one that is exact enough."
    )
    cutoff: float | None = Field(
        None,
        gt=0,
        le=30,
        description="Real-space cutoff of periodic sums, A. Default: the cutoff of the backbone, "
        "or 6 without a backbone.",
    )
    self_interaction: bool = Field(
        False, description="Whether to add the energy of each Gaussian with itself."
    )
    damping_width: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Gaussian standard deviation, A, added in quadrature to the width of every "
        "charge in this head. It damps the interaction at short distance only.",
    )
    exclusion_radius: float | None = Field(
        None,
        gt=0,
        le=30,
        description="Distance in A below which pairs are smoothly switched off, because the "
        "backbone describes them. Pairs closer than half of it are omitted. Default: all pairs are "
        "summed.",
    )
    level: int = Field(
        0,
        ge=0,
        le=3,
        description="Level of the hierarchy whose nodes carry the charges, pooled with dipoles and "
        "quadrupoles; 0 means the atoms.",
    )
    coarse_width: float = Field(
        2.0, gt=0, le=10, description="Gaussian standard deviation of the coarse sites, A."
    )


class CoulombHead(Head):
    r"""E = 1/2 iint rho(r) rho(r') k / |r - r'|, by default without each site's own energy.

    Open systems use the exact sum over all pairs, slabs and crystals use lattice sums. The
    conventions are those of :mod:`muse_lr.electrostatics.ewald.reference`.

    On a coarse level, the moments of each atom are distributed over the nodes by its shares, which
    conserves charge and dipole. Charges within one node do not interact. The shares of one atom on
    several nodes would repel each other, so this energy is subtracted (:func:`energy_of_shares`).
    With ``self_interaction`` the whole integral is used instead.

    Short-range interactions that the backbone describes can be damped or omitted, in every boundary
    and for multipoles of every order. With ``damping_width`` w the charges are Gaussians of width
    :math:`\sqrt{\sigma^2 + w^2}`. With ``exclusion_radius`` R each pair is weighted by
    :math:`S((r - R/2) / (R/2))`, where S is the quintic smoothstep.
    """

    Config: ClassVar[type[HeadConfig]] = CoulombConfig
    needs_density: ClassVar[bool] = True
    long_range: ClassVar[bool] = True
    sums_coulomb: ClassVar[bool] = True

    def __init__(self, config: CoulombConfig, context: HeadContext) -> None:
        super().__init__()
        self.self_interaction = config.self_interaction
        self.level, self.coarse_width = config.level, config.coarse_width
        self.reads_features = config.level > 0  # the coarse nodes
        if config.level > context.levels:
            raise InputError(
                f"the coulomb head uses level {config.level}, but the model has "
                f"{context.levels} levels of coarse nodes: increase model.multiscale.levels"
            )
        self.damping_width, self.exclusion_radius = config.damping_width, config.exclusion_radius
        self.excludes_near_pairs = config.exclusion_radius is not None
        altering = ("self_interaction", "damping_width", "exclusion_radius", "level")
        self.altered_by = tuple(name for name in altering if getattr(config, name))
        widths, l_max = context.widths, context.l_max
        if config.level > 0:
            widths, l_max = (config.coarse_width,), MAX_MULTIPOLE
        if config.damping_width > 0:
            widths = tuple(math.hypot(width, config.damping_width) for width in widths)
        if config.self_interaction and min(widths) == 0:
            raise InputError(
                "self_interaction of the coulomb head: the energy of a point charge with itself is "
                "infinite; set model.charges.width to a positive value"
            )
        self.electrostatics = Electrostatics(
            widths,
            l_max,
            config.accuracy,
            config.cutoff or context.cutoff or DEFAULT_CUTOFF,
            config.solver,
        )
        self.cutoff = max(self.electrostatics.cutoff, config.exclusion_radius or 0.0)

    def not_compiled(self) -> str | None:
        """See :meth:`Part.not_compiled`."""
        return None if self.level == 0 else "it reads the coarse nodes of the hierarchy"

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        assert inputs.density is not None  # guaranteed by needs_density when the model is built
        density, geometry = inputs.density, inputs.geometry
        atoms, assignment = density, None
        if self.level > 0:
            nodes, assignment = inputs.levels[self.level - 1]
            density, geometry = self._coarse(atoms, geometry, nodes, assignment)
        if self.damping_width > 0:
            width = (density.width.square() + self.damping_width**2).sqrt()
            density = replace(density, width=width)
        energy = self.electrostatics.energy(density, geometry, inputs.derivatives)
        if self.exclusion_radius is not None:
            energy = energy - near_energy(density, geometry, self.exclusion_radius)
        if self.self_interaction:
            energy = energy + self_energy(density)
        elif assignment is not None:
            broad = math.hypot(self.coarse_width, self.damping_width)
            energy = energy - energy_of_shares(atoms, assignment, broad, self.exclusion_radius)
        return energy

    def describe(self) -> list[str]:
        """See :meth:`Part.describe`."""
        sums = self.electrostatics
        lines = [f"  accuracy             {sums.accuracy:g}"]
        lines.append(f"  FFF                  {sums.explain('FFF', 0)}")
        for boundary in ("TTF", "TTT"):
            for n_atoms, size in ((0, f"< {MESH_SIZE} atoms"), (MESH_SIZE, "larger")):
                lines.append(f"  {boundary} {size:<15} {sums.explain(boundary, n_atoms)}")
        return [*super().describe(), *lines]

    def _coarse(
        self,
        density: ChargeDensity,
        geometry: Geometry,
        nodes: CoarseNodes,
        assignment: Assignment,
    ) -> tuple[ChargeDensity, Geometry]:
        """Density and geometry of the coarse nodes."""
        count = len(nodes.atoms)
        sites = ChargeDensity(
            moments=density.moments.new_zeros((count, (MAX_MULTIPOLE + 1) ** 2)),
            width=density.width.new_full((count,), self.coarse_width),
            graph_index=nodes.graph_index,
            num_graphs=geometry.num_graphs,
        )
        pairs = torch.stack([assignment.atom, assignment.node])
        pooled = density.pool(pairs, assignment.share, assignment.vectors, sites)
        return pooled, coarse_geometry(nodes, geometry, self.cutoff)


def near_energy(density: ChargeDensity, geometry: Geometry, end: float) -> Tensor:
    """(n_graphs,) interaction of the pairs within ``end`` (A), eV.

    The interaction is switched off smoothly between half of ``end`` and ``end``. The sum runs over
    the edges of the geometry, which contain each pair twice and the images of an atom. It is the
    same in every boundary.
    """
    near = (geometry.edge_lengths < end).nonzero()[:, 0]
    sender, receiver = geometry.edge_index[:, near]
    vector = geometry.edge_vectors[near].to(density.moments.dtype)
    variance = density.width[sender] ** 2 + density.width[receiver] ** 2
    kernel = radial_kernel(vector.square().sum(1), variance, 2 * density.l_max)
    moments = to_cartesian(density.moments)
    pair = pair_interaction(moments[sender], moments[receiver], vector, kernel)
    window = switch_off(geometry.edge_lengths[near].to(pair.dtype), EXCLUSION_TAPER * end, end)
    graph = geometry.graph_index[receiver]
    return COULOMB_CONSTANT / 2 * sum_nodes(pair * window, graph, geometry.num_graphs)


def energy_of_shares(
    density: ChargeDensity, assignment: Assignment, width: float, omitted: float | None
) -> Tensor:
    r"""(n_graphs,) energy of the shares of each atom with each other, eV.

    .. math:: \frac{k}{2} \sum_i \sum_{a \ne b \in i} M_{ia} M_{ib} k(R_a - R_b)

    The sum runs over the sites a, b (periodic images included) that hold a share of atom i. The sum
    over the nodes contains this spurious repulsion of an ion with itself. Time and memory scale
    with the square of the number of nodes of an atom: about seven after thinning, hundreds if all
    atoms are nodes.

    Parameters
    ----------
    density : ChargeDensity
        Density on the atoms.
    assignment : Assignment
    width : float
        Gaussian standard deviation of the sites, A.
    omitted : float or None
        Exclusion radius of the head, A; None if all pairs are summed.
    """
    order = torch.argsort(assignment.atom, stable=True)
    sites = torch.bincount(assignment.atom, minlength=len(density.moments))
    moved = moved_shares(
        density.moments[assignment.atom], assignment.share, assignment.vectors, MAX_MULTIPOLE
    )

    def energy(first: Tensor, second: Tensor, moved: Tensor, vectors: Tensor) -> Tensor:
        first, second = order[first], order[second]
        own = to_cartesian(moved)
        vector = (vectors[second] - vectors[first]).to(moved.dtype)
        kernel = radial_kernel(vector.square().sum(1), 2 * width**2, 2 * MAX_MULTIPOLE)
        pair = pair_interaction(own[first], own[second], vector, kernel)
        if omitted is not None:
            length = vector.square().sum(1).sqrt()
            pair = pair * (1 - switch_off(length, EXCLUSION_TAPER * omitted, omitted))
        graph = density.graph_index[assignment.atom[first]]
        return sum_nodes(pair, graph, density.num_graphs)

    tensors = moved, assignment.vectors
    return COULOMB_CONSTANT * sum_over_pairs(energy, sites, sites > 1, tensors)

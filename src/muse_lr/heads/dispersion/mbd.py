"""Many-body dispersion of dipole-coupled quantum oscillators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs
from muse_lr.heads.dispersion.dipoles import (
    CrystalDipoles,
    DipolePairs,
    Padding,
    gaussian_tensors,
    near_pairs,
    open_pairs,
    open_tensors,
)
from muse_lr.heads.dispersion.matrix_root import NotPositiveError, matrix_root
from muse_lr.heads.dispersion.mbd_errors import negative_polarizability, negative_squares
from muse_lr.heads.dispersion.volumes import HARTREE, VolumeRatios, free_atoms
from muse_lr.structures.geometry import Boundary, Geometry

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch

#: Number of Gauss-Legendre points for imaginary frequencies, and their median in Hartree.
FREQUENCIES, FREQUENCY_SCALE = 15, 0.6


class MBDConfig(HeadConfig):
    """Keys of the many-body dispersion."""

    kind: Literal["mbd"] = "mbd"
    beta: float = Field(
        0.83,
        gt=0,
        le=3,
        description="Damping radius in units of the sum of the van der Waals radii. 0.83 was "
        "fitted to PBE.",
    )
    k_grid: tuple[int, int, int] = Field(
        (2, 2, 2),
        description="Number of k points along each reciprocal vector of crystals, shifted by half "
        "a step from the origin. Energies of different cells of one crystal agree when the grid is "
        "converged.",
    )
    cutoff: float = Field(
        10.0,
        gt=0,
        le=30,
        description="Cutoff of the damping and of the real-space sum of crystals, A. The "
        "dispersion itself has no cutoff.",
    )
    max_atoms: int = Field(
        400,
        ge=1,
        description="Largest allowed number of atoms, because time grows as N^3 and memory as N^2 "
        "(4 GB for a training step with 400 atoms in double precision).",
    )


@dataclass(frozen=True)
class Oscillators:
    """One isotropic oscillator for each atom.

    Attributes
    ----------
    polarizability : Tensor
        (n_atoms,) static polarizability, A^3.
    c6 : Tensor
        (n_atoms,) C6 coefficient of two equal atoms, eV A^6.
    radius : Tensor
        (n_atoms,) van der Waals radius, A.
    """

    polarizability: Tensor
    c6: Tensor
    radius: Tensor

    @property
    def frequency(self) -> Tensor:
        """(n_atoms,) hbar omega = 4 C6 / 3 alpha^2, eV."""
        return 4 / 3 * self.c6 / self.polarizability**2


class MBDHead(Head):
    r"""Range-separated, self-consistently screened many-body dispersion, MBD@rsSCS.

    The atoms have polarizabilities :math:`\alpha_i(i u)` that depend on their learned volumes.
    Short-range Gaussian dipoles screen them, which gives each atom a frequency :math:`\omega_i`.
    The zero-point energy of the oscillators, coupled by long-range dipoles, is

    .. math:: E = \tfrac12 \mathrm{Tr} \sqrt{\omega_i^2 \delta_{ij}
              + \omega_i \omega_j \sqrt{\alpha_i \alpha_j}\, T_{ij}} - \tfrac32 \sum_i \omega_i.

    It includes many-body dispersion of all orders. A. Tkatchenko, R. A. DiStasio, R. Car, M.
    Scheffler, Phys. Rev. Lett. 108, 236402 (2012); A. Ambrosetti, A. M. Reilly, R. A. DiStasio, A.
    Tkatchenko, J. Chem. Phys. 140, 18A508 (2014).

    Open systems use all pairs; crystals use Ewald sums on a grid of wave vectors. The cost grows as
    N^3, the memory as N^2 (times 16 frequencies).

    Two steps have no result for strongly polarizable atoms at short distance. The polarizability
    of an atom is the contraction :math:`\tfrac13 \mathrm{Tr} \sum_j \bar\alpha_{ij}` of the
    screened response :math:`\bar\alpha = (\alpha^{-1} + T)^{-1}`. It can be negative although
    :math:`\bar\alpha` is positive definite, for example in clusters of bcc Na, K and Cs. The
    squared frequencies of the coupled oscillators can be negative too. Both are errors here as in
    libMBD (J. Hermann et al., J. Chem. Phys. 159, 174802 (2023); ``mbd_scs.f90``: "Screening leads
    to negative polarizability", ``mbd_hamiltonian.F90``: "CDM Hamiltonian has negative
    eigenvalues").

    Raises
    ------
    InputError
        In the forward pass, in these two cases. The message names the structure, and the atom or
        the number of negative eigenvalues.
    """

    Config: ClassVar[type[HeadConfig]] = MBDConfig
    boundaries: ClassVar[frozenset[Boundary]] = frozenset({"FFF", "TTT"})
    reads_density: bool = False
    long_range: ClassVar[bool] = True

    def __init__(self, config: MBDConfig, context: HeadContext) -> None:
        super().__init__()
        if min(config.k_grid) < 1:
            raise InputError(f"k_grid of the mbd head must be positive, got {config.k_grid}")
        self.beta, self.k_grid, self.max_atoms = config.beta, config.k_grid, config.max_atoms
        self.cutoff = config.cutoff
        self.volume_ratios = VolumeRatios(context)
        self._free = free_atoms(context.elements)

    def check(self, batch: AtomsBatch) -> None:
        """Raise an error for structures that are too large."""
        largest = int(batch.nodes_per_graph.max())
        if largest > self.max_atoms:
            graph = int(batch.nodes_per_graph.argmax())
            raise InputError(
                f"structure {graph} has {largest} atoms, but the mbd head allows {self.max_atoms}, "
                "because its cost grows as N^3 and its memory as N^2: increase its max_atoms, or "
                "use c6"
            )

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        ratios = self.volume_ratios(inputs)
        return self.energy(inputs.geometry, inputs.composition.double(), ratios)

    def energy(self, geometry: Geometry, composition: Tensor, ratios: Tensor) -> Tensor:
        """Compute the energy of atoms with given volumes, as in :meth:`C6Head.energy`."""
        free = self._free
        alpha, c6, radius = (
            composition @ values.to(ratios.device)
            for values in (free.polarizability, free.c6, free.radius)
        )
        atoms = Oscillators(alpha * ratios, c6 * ratios**2, radius * ratios.pow(1 / 3))
        energy = geometry.positions.new_zeros(geometry.num_graphs)
        for chosen in (geometry.open_graphs, geometry.periodic_graphs):
            if bool(chosen.any()):
                rows = chosen.nonzero()[:, 0]
                try:
                    coupled = self._coupled(geometry, chosen, atoms)
                except NotPositiveError as error:
                    raise negative_squares(error.values, rows) from error
                energy = energy.index_copy(0, rows, coupled)
        return energy

    def _coupled(self, geometry: Geometry, chosen: Tensor, atoms: Oscillators) -> Tensor:
        """(G,) energies of the chosen structures, which are all open or all crystals, eV."""
        padding = Padding.of(geometry, chosen)
        crystal = bool(geometry.pbc[chosen].all())
        if crystal:
            pairs = near_pairs(geometry, chosen, padding, self.cutoff)
        else:
            pairs = open_pairs(geometry, chosen, padding)
        screened = self._screened(atoms, padding, pairs, geometry)
        frequency = screened.frequency
        weight = padding.pad(frequency * screened.polarizability.sqrt(), 0.0)
        weight = weight.repeat_interleave(3, 1)
        diagonal = torch.diag_embed(padding.pad(frequency**2, 1.0).repeat_interleave(3, 1))
        reach = self._damping_radius(screened, pairs)
        if not crystal:
            dipoles = padding.matrix(open_tensors(pairs, reach), pairs)
            zero_point = _half_trace(diagonal + weight[:, :, None] * weight[:, None] * dipoles)
        else:
            sums = CrystalDipoles(geometry, chosen, padding, pairs, reach, self.cutoff)
            zero_point = geometry.positions.new_zeros(len(diagonal))
            for fraction, share in k_points(self.k_grid):
                dipoles = sums.at(fraction.to(weight))
                matrix = diagonal + weight[:, :, None] * weight[:, None] * dipoles
                zero_point = zero_point + share * _half_trace(matrix)
        return zero_point - 1.5 * padding.pad(frequency, 1.0).sum(1)

    def _damping_radius(self, atoms: Oscillators, pairs: DipolePairs) -> Tensor:
        """(p,) distance at which the Fermi function is 1/2, A."""
        return self.beta * (atoms.radius[pairs.first] + atoms.radius[pairs.second])

    def _screened(
        self, atoms: Oscillators, padding: Padding, pairs: DipolePairs, geometry: Geometry
    ) -> Oscillators:
        """Oscillators screened by the short-range dipoles of their neighbors."""
        frequencies, weights = frequency_grid()
        reach = self._damping_radius(atoms, pairs)
        each, everyone = [], torch.ones_like(atoms.radius)
        sources = padding.pad(everyone, 0.0)[:, :, None, None]
        sources = sources * torch.eye(3, dtype=reach.dtype, device=reach.device)
        sources = sources.flatten(1, 2)  # (G, 3n, 3): a uniform field
        for u in frequencies:
            alpha = atoms.polarizability / (1 + (u / atoms.frequency) ** 2)
            width = (math.sqrt(2 / math.pi) * alpha / 3).pow(1 / 3)
            width = (width[pairs.first] ** 2 + width[pairs.second] ** 2).sqrt()
            matrix = padding.matrix(gaussian_tensors(pairs, reach, width), pairs)
            inverse = (1 / padding.pad(alpha, 1.0)).repeat_interleave(3, 1)
            matrix = matrix + torch.diag_embed(inverse)
            blocks = torch.linalg.solve(matrix, sources).unflatten(1, (-1, 3))
            blocks = blocks[padding.row, padding.column]
            each.append(blocks.diagonal(dim1=1, dim2=2).sum(1) / 3)
            if not bool((each[-1] > 0).all()):
                raise negative_polarizability(each[-1], u, matrix, padding, geometry)
        screened = torch.stack(each)  # (16, m)
        c6 = 3 / math.pi * (weights.to(screened)[:, None] * screened**2).sum(0)
        growth = (screened[0] / atoms.polarizability[padding.atoms]).pow(1 / 3)
        radius = atoms.radius[padding.atoms] * growth
        filled = (
            everyone.index_copy(0, padding.atoms, values) for values in (screened[0], c6, radius)
        )
        return Oscillators(*filled)


def _half_trace(matrix: Tensor) -> Tensor:
    """(G,) Tr sqrt(A) / 2, the zero-point energies of coupled oscillators, eV."""
    return matrix_root(matrix).diagonal(dim1=1, dim2=2).real.sum(1) / 2


def frequency_grid() -> tuple[list[float], Tensor]:
    r"""Imaginary frequencies u and weights of :math:`\int_0^\infty du`, in eV.

    Gauss-Legendre points x are mapped to u = u_0 (1 + x) / (1 - x). The first point is u = 0 with
    zero weight.
    """
    points, weights = np.polynomial.legendre.leggauss(FREQUENCIES)
    scale = FREQUENCY_SCALE * HARTREE
    frequencies = scale * (1 + points) / (1 - points)
    steps = 2 * scale * weights / (1 - points) ** 2
    return (
        [0.0, *frequencies.tolist()],
        torch.tensor([0.0, *steps.tolist()], dtype=torch.float64),
    )


def k_points(grid: tuple[int, int, int]) -> list[tuple[Tensor, float]]:
    """Points (n + 1/2) / N in reciprocal lattice vectors with weights, one of each pair k, -k."""
    axes = [(torch.arange(n).double() + 0.5) / n for n in grid]
    # Shifted to [-1/2, 1/2], so that few reciprocal vectors are needed.
    points = torch.cartesian_prod(*(torch.where(axis > 0.5, axis - 1, axis) for axis in axes))
    count = len(points)
    # In reverse order, the list contains the opposite points.
    half = (count + 1) // 2
    return [(points[i], (1.0 if 2 * i == count - 1 else 2.0) / count) for i in range(half)]

"""Factories of potentials of other packages, for ``muse-lr audit --calculator``.

    muse-lr audit --calculator benchmarks.exam.potentials:gfn2 --quick

Each imports its package when it is called. The calculators are used as their documents show, with
default settings. :mod:`.adapters` hands over what the exam states in ``atoms.info``: the total
charge and the electric field.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator

from benchmarks.exam.adapters import Adapted, FixedCharges
from muse_lr.backbones.mace.imports import float64_construction, import_mace
from muse_lr.structures.state import CHARGE_KEYS, FIELD_KEY, read_state

#: Elements of molecules and salts; those of xTB and of SO3LR; those of fixed charges, e.
ORGANIC = ("H", "C", "N", "O", "Na", "Cl")
#: Without salts, whose drawn structures let the self-consistency of xTB fail.
MOLECULES = ("H", "C", "N", "O")
BIOMOLECULES = ("H", "C", "N", "O", "Cl")
CHARGES = {"Na": 1.0, "Cl": -1.0}
#: Damping of D4 for PBE (Caldeweyher et al., J. Chem. Phys. 150, 154122 (2019)), pairs alone.
D4_PBE = {"s6": 1.0, "s8": 0.95948085, "a1": 0.38574991, "a2": 4.80688534, "s9": 0.0}
#: Gaussian width of the splitting, cutoff of its real-space part, spacing of the mesh, A.
SPLITTING, REAL_CUTOFF, MESH = 2.5, 14.0, 1.2
#: Relative size of what the Fourier sum leaves out.
FOURIER_ERROR = 1e-10
#: Width of Gaussian charges, A, and cutoff of their waves, 1/A.
WIDTH, WAVES = 1.0, 6.0


def emt() -> Calculator:
    """EMT of ASE."""
    from ase.calculators.emt import EMT

    return Adapted(EMT(), ("Cu", "Au"), ("forces", "stress"))


def lj(smooth: bool = False) -> Calculator:
    """Lennard-Jones of ASE for argon, with its default cutoff of three sigma."""
    from ase.calculators.lj import LennardJones

    inner = LennardJones(sigma=3.4, epsilon=0.0104, smooth=smooth)
    return Adapted(inner, ("Ar",), ("forces", "stress"), cutoff=3 * 3.4)


def lj_smooth() -> Calculator:
    """The same with the smooth cutoff."""
    return lj(smooth=True)


def gfn1() -> Calculator:
    """GFN1-xTB of tblite."""
    return _tblite("GFN1-xTB")


def gfn2() -> Calculator:
    """GFN2-xTB of tblite."""
    return _tblite("GFN2-xTB")


def _tblite(method: str) -> Calculator:
    from tblite.ase import TBLite

    def tell(inner: Calculator, atoms: Atoms) -> None:
        state = read_state(atoms)
        field = np.array(state.field) if any(state.field) else None
        inner.set(charge=state.total_charge, electric_field=field)

    inner = TBLite(method=method, verbosity=0)
    return Adapted(inner, MOLECULES, ("forces", "stress", "charges", "dipole"), tell)


def dftd3() -> Calculator:
    """D3(BJ) of PBE."""
    from dftd3.ase import DFTD3

    return Adapted(DFTD3(method="PBE", damping="d3bj"), ORGANIC, ("forces", "stress"))


def dftd4() -> Calculator:
    """D4 of PBE without its three-body term, which is slow in crystals."""
    from dftd4.ase import DFTD4

    return Adapted(DFTD4(params_tweaks=D4_PBE), ORGANIC, ("forces", "stress"))


def torch_pme_p3m(dtype: str = "float64") -> Calculator:
    """P3M of torch-pme for fixed point charges."""
    return _torch_pme("P3MCalculator", dtype, mesh_spacing=MESH, interpolation_nodes=5)


def torch_pme_ewald(dtype: str = "float64") -> Calculator:
    """The Ewald sum of torch-pme for fixed point charges."""
    wavelength = math.pi * SPLITTING / math.sqrt(2 * math.log(1 / FOURIER_ERROR))
    return _torch_pme("EwaldCalculator", dtype, lr_wavelength=wavelength)


def _torch_pme(kind: str, dtype: str, **options: Any) -> Calculator:
    """Its energy for any boundaries, which it receives as ``periodic``."""
    import torchpme
    from vesin import NeighborList

    potential = torchpme.CoulombPotential(smearing=SPLITTING)
    calculator = getattr(torchpme, kind)(potential, full_neighbor_list=True, **options)
    calculator = calculator.to(getattr(torch, dtype))
    neighbors = NeighborList(cutoff=REAL_CUTOFF, full_list=True)

    def energy_of(
        atoms: Atoms, positions: torch.Tensor, cell: torch.Tensor, charges: torch.Tensor
    ) -> torch.Tensor:
        first, second, shifts = neighbors.compute(
            points=atoms.positions, box=atoms.cell.array, periodic=atoms.pbc, quantities="ijS"
        )
        pairs = torch.from_numpy(np.stack([first, second], axis=1).astype(np.int64))
        vectors = torch.as_tensor(shifts, dtype=positions.dtype) @ cell
        vectors = positions[pairs[:, 1]] - positions[pairs[:, 0]] + vectors
        found = calculator(
            charges=charges[:, None],
            cell=cell,
            positions=positions,
            neighbor_indices=pairs,
            neighbor_distances=torch.linalg.vector_norm(vectors, dim=1),
            periodic=torch.tensor(atoms.pbc),
        )
        return (charges[:, None] * found).sum()

    return FixedCharges(energy_of, CHARGES, dtype, cutoff=REAL_CUTOFF)


def graph_longrange(dtype: str = "float64") -> Calculator:
    """Gaussian charges of graph-longrange, real space for molecules and waves for the others."""
    with float64_construction():
        from graph_longrange.energy import GTOElectrostaticEnergy
        from graph_longrange.kspace import compute_k_vectors_flat
        from graph_longrange.utils import FIELD_CONSTANT

        module = GTOElectrostaticEnergy(
            density_max_l=0,
            density_smearing_width=WIDTH,
            kspace_cutoff=WAVES,
            pbc_handling="auto",
        ).to(getattr(torch, dtype))
    constant = FIELD_CONSTANT / (4 * math.pi)

    def energy_of(
        atoms: Atoms, positions: torch.Tensor, cell: torch.Tensor, charges: torch.Tensor
    ) -> torch.Tensor:
        if atoms.pbc.any() and not atoms.pbc[:2].all():
            raise NotImplementedError("its documents restrict slabs to an open z axis")
        box = cell if atoms.pbc.any() else torch.eye(3, dtype=cell.dtype)
        reciprocal = 2 * math.pi * torch.linalg.inv(box).T
        waves, squares, batch, zero = compute_k_vectors_flat(WAVES, box[None], reciprocal[None])
        energy = module(
            k_vectors=waves,
            k_norm2=squares,
            k_vector_batch=batch,
            k0_mask=zero,
            source_feats=charges[:, None],
            node_positions=positions,
            batch=torch.zeros(len(atoms), dtype=torch.int64),
            volume=torch.linalg.det(box).abs()[None],
            pbc=torch.tensor(atoms.pbc)[None],
        )
        return energy.sum() / constant

    return FixedCharges(energy_of, CHARGES, dtype)


def mace(dtype: str = "float64") -> Calculator:
    """A small MACE with random weights and the repulsion of mace-torch."""
    modules = import_mace()
    return _mace_calculator(modules.ScaleShiftMACE, "MACE", dtype)


def polar_mace(dtype: str = "float64") -> Calculator:
    """A small PolarMACE with random weights, and the settings of its own tests."""
    modules = import_mace()
    options = {
        "kspace_cutoff_factor": 1.5,
        "atomic_multipoles_max_l": 1,
        "atomic_multipoles_smearing_width": 1.5,
        "field_feature_max_l": 1,
        "field_feature_widths": [1.5, 3.0],
        "num_recursion_steps": 2,
        "include_electrostatic_self_interaction": True,
        "add_local_electron_energy": True,
        "fixedpoint_update_config": {
            "type": "AgnosticEmbeddedOneBodyVariableUpdate",
            "potential_embedding_cls": "AgnosticChargeBiasedLinearPotentialEmbedding",
            "nonlinearity_cls": "MLPNonLinearity",
        },
        "field_readout_config": {"type": "OneBodyMLPFieldReadout"},
    }
    return _mace_calculator(modules.PolarMACE, "PolarMACE", dtype, **options)


def _mace_calculator(kind: Any, model_type: str, dtype: str, **options: Any) -> Calculator:
    modules = import_mace()
    from e3nn import o3
    from mace.calculators import MACECalculator

    numbers = [1, 6, 7, 8, 11, 17]
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    if model_type == "PolarMACE":
        block = modules.interaction_classes["RealAgnosticResidualNonLinearInteractionBlock"]
    with float64_construction(), torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind(
            r_max=5.0,
            num_bessel=8,
            num_polynomial_cutoff=5,
            max_ell=2,
            interaction_cls=block,
            interaction_cls_first=block,
            num_interactions=2,
            num_elements=len(numbers),
            atomic_numbers=numbers,
            atomic_energies=np.zeros(len(numbers)),
            avg_num_neighbors=8.0,
            hidden_irreps=o3.Irreps("32x0e + 32x1o"),
            MLP_irreps=o3.Irreps("16x0e"),
            radial_MLP=[32, 32],
            correlation=2,
            gate=torch.nn.functional.silu,
            pair_repulsion=True,
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
            **options,
        )
    inner = MACECalculator(models=[model], default_dtype=dtype, model_type=model_type)
    if model_type == "MACE":
        return Adapted(inner, ORGANIC, ("forces", "stress"), cutoff=5.0)
    provides = ("forces", "stress", "charges", "dipole")
    return Adapted(inner, ORGANIC, provides, _tell_mace, size_consistent=False)


def _tell_mace(inner: Calculator, atoms: Atoms) -> None:
    """Charge and spin; its field is the gradient of the potential."""
    state = read_state(atoms)
    for key in (*CHARGE_KEYS, FIELD_KEY):
        atoms.info.pop(key, None)
    atoms.info |= {"charge": state.total_charge, "spin": state.spin}
    atoms.info["external_field"] = -np.array(state.field)


def so3lr(dtype: str = "float64") -> Calculator:
    """SO3LR with the weights of the wheel."""
    from so3krates_torch.calculator.so3 import SO3LRCalculator

    def tell(inner: Calculator, atoms: Atoms) -> None:
        charge = read_state(atoms).total_charge
        atoms.info.pop("total_charge", None)
        atoms.info["charge"] = charge
        # The calculator sets the default dtype when it is made, and needs it when it is used.
        torch.set_default_dtype(getattr(torch, dtype))

    inner = SO3LRCalculator(default_dtype=dtype, compute_stress=True)
    names = {"charges": "partial_charges"}
    provides = ("forces", "stress", "charges", "dipole")
    return Adapted(inner, BIOMOLECULES, provides, tell, names, coulomb=True)


def chgnet() -> Calculator:
    """CHGNet 0.3.0; it knows crystals only."""
    from chgnet.model.dynamics import CHGNetCalculator

    inner = CHGNetCalculator(use_device="cpu", on_isolated_atoms="ignore")
    return Adapted(inner, ("Na", "Cl"), ("forces", "stress"), periodic=(3,))


def sevennet() -> Calculator:
    """SevenNet-0."""
    from sevenn.calculator import SevenNetCalculator

    inner = SevenNetCalculator("7net-0", device="cpu")
    return Adapted(inner, ("Na", "Cl"), ("forces", "stress"), cutoff=float(inner.cutoff))

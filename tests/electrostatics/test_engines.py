"""The engines against textbooks, torch-pme as its users call it, differences and the reference."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import muse_lr
from charge_systems import FFF, TTT, System, random_structure
from helpers import skewed_salt
from muse_lr.config.registry import SOLVERS, lookup
from muse_lr.electrostatics.base import EVERY_DERIVATIVE
from muse_lr.electrostatics.engines import nvalchemi
from muse_lr.structures.geometry import strained_geometry
from muse_lr.units import COULOMB_CONSTANT

needs_fast = pytest.mark.skipif(
    find_spec("nvalchemiops") is None, reason="needs the extra fast (nvalchemi-toolkit-ops)"
)
ENGINES = [name for name in SOLVERS if name != "reference"]
each_engine = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=needs_fast) if n.startswith("nvalchemi") else n for n in ENGINES],
)
#: Accuracy at which an engine is compared; finer meshes would only be slower.
FINE = {name: max(lookup("solver", name).best_accuracy, 1e-9) for name in ENGINES}
FINE["nvalchemi_pme"] = 1e-5


def tolerance(name: str) -> float:
    """For energies (eV), forces and strain derivatives: the accuracy times their size."""
    return 100 * FINE[name]


class Engine(System):
    """A system of charges that an engine sums; the charges are a function of the geometry."""

    def __init__(self, name, structures, widths=(0.0,), accuracy=None, **keywords):
        super().__init__(structures, 0, widths, accuracy or FINE[name], **keywords)
        self.solver = lookup("solver", name)(widths, accuracy or FINE[name], 6.0)
        self.parameters = torch.tensor([1.0, 0.3, -0.2]).double()

    def energies(self, positions=None, moments=None, strain=None, parameters=None):
        positions = self.positions if positions is None else positions
        geometry = strained_geometry(self.batch, positions, strain)
        if parameters is not None:
            moments = self.learned_charges(geometry, parameters)
        return self.solver.energy(self.density(moments), geometry, ~geometry.open_graphs)

    def learned_charges(self, geometry, parameters):
        sender, receiver = geometry.edge_index
        near = torch.exp(-(geometry.edge_lengths**2) / 4) * self.moments[sender, 0]
        felt = torch.zeros_like(self.moments[:, 0]).index_add(0, receiver, near)
        values = torch.stack([self.moments[:, 0], felt, torch.tanh(felt)])
        return (parameters @ values)[:, None]

    def first_derivatives(self, parameters=None, **keywords):
        """(energies, forces, dE/dstrain, dE/dcharges) without a graph."""
        positions = self.positions.clone().requires_grad_(True)
        strain = self.no_strain.requires_grad_(True)
        moments = self.moments.clone().requires_grad_(True)
        energies = self.energies(positions, moments, strain)
        slopes = torch.autograd.grad(energies.sum(), (positions, strain, moments))
        return [energies.detach(), *slopes]


def charged_crystal(cell="triclinic"):
    return random_structure(5, TTT, cell, seed=3)


@each_engine
@pytest.mark.parametrize(
    ("kind", "distance", "madelung"),
    [
        ("rocksalt", 5.0 / 2, 1.7475645946),
        ("cesiumchloride", 5.0 * 3**0.5 / 2, 1.7626747731),
        ("zincblende", 5.0 * 3**0.5 / 4, 1.6380550534),
    ],
)
def test_madelung_constants(name, kind, distance, madelung):
    system = Engine(name, [bulk("NaCl", kind, a=5.0)])
    system.moments = torch.tensor([[1.0], [-1.0]]).double()
    energy = float(system.energies())
    assert energy * distance / COULOMB_CONSTANT == pytest.approx(-madelung, rel=FINE[name])


@each_engine
@pytest.mark.parametrize("cell", ["cubic", "triclinic", "left_handed"])
def test_points_equal_torch_pme_as_its_users_call_it(name, cell):
    """Its own real-space sum, splitting and half neighbor list; a charged cell."""
    from torchpme import CoulombPotential, EwaldCalculator
    from vesin import NeighborList

    atoms = charged_crystal(cell)
    system = Engine(name, [atoms])
    positions = system.positions.clone().requires_grad_(True)
    lattice = system.batch.cell[0]
    first, second, shift = NeighborList(cutoff=9.0, full_list=False).compute(
        points=atoms.positions, box=atoms.cell.array, periodic=True, quantities="ijS"
    )
    pairs = torch.from_numpy(np.stack([first, second], 1).astype(np.int64))
    image = torch.from_numpy(shift.astype(float)) @ lattice
    vectors = positions[pairs[:, 1]] - positions[pairs[:, 0]] + image
    calculator = EwaldCalculator(CoulombPotential(smearing=1.2), lr_wavelength=0.4).double()
    potential = calculator(
        system.moments, lattice, positions, pairs, torch.linalg.vector_norm(vectors, dim=1)
    )
    energy = COULOMB_CONSTANT * (system.moments * potential).sum()
    (slope,) = torch.autograd.grad(energy, positions)
    ours, our_slope, _, _ = system.first_derivatives()
    assert float(ours) == pytest.approx(float(energy.detach()), abs=tolerance(name))
    torch.testing.assert_close(our_slope, slope, rtol=0, atol=tolerance(name))


@each_engine
@pytest.mark.parametrize("pbc", [TTT, (True, False, True), (False, True, True)])
@pytest.mark.parametrize(
    "widths",
    [(0.0,), (0.45,), (0.0, 0.4, 0.5), (2.0,), (0.4, 2.0)],
    ids=["points", "narrow", "mixed", "wide", "narrow and wide"],
)
def test_widths_net_charges_and_slabs_equal_the_reference(name, pbc, widths):
    structures = [random_structure(n, pbc, seed=n) for n in (3, 4)]
    structures.insert(1, random_structure(2, FFF, seed=9))
    engine = Engine(name, structures, widths)
    exact = Engine("reference", structures, widths, accuracy=1e-10)
    for ours, theirs in zip(engine.first_derivatives(), exact.first_derivatives(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance(name))


@each_engine
def test_wide_charges_have_nothing_in_real_space(name):
    assert lookup("solver", name)((2.0,), 1e-4, 6.0).ewald.cutoff == 0


@each_engine
def test_first_derivatives_against_differences(name):
    """Charges that depend on the geometry; each structure's energy has its own weight."""
    engine = Engine(name, [charged_crystal(), random_structure(4, TTT, seed=1)], (0.0, 0.4))
    weights = torch.tensor([0.3, 2.0]).double()
    rng = np.random.default_rng(0)
    shift = torch.from_numpy(rng.normal(size=engine.positions.shape))
    strain = torch.from_numpy(rng.normal(size=engine.no_strain.shape))

    def energy(step):
        moved, strained = engine.positions + step * shift, step * strain
        return weights @ engine.energies(moved, None, strained, engine.parameters)

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(energy(step), step)
    h = 1e-3
    with torch.no_grad():
        outer, inner = (float(energy(s) - energy(-s)) / (2 * s) for s in (2 * h, h))
    assert float(slope) == pytest.approx((4 * inner - outer) / 3, rel=tolerance(name))


@each_engine
@pytest.mark.parametrize("pbc", [TTT, (True, True, False)])
@pytest.mark.parametrize("loss", ["force_loss", "stress_loss"])
def test_gradients_of_losses_against_differences(name, pbc, loss):
    """d/dparameters of a function of forces or stress; differences of the same mesh are exact."""
    assert loss in lookup("solver", name).supported_derivatives
    # Coarse enough for the meshes of slabs; the mesh's own error is on both sides.
    engine = Engine(name, [random_structure(4, pbc, seed=2)], (0.0, 0.4), accuracy=1e-4)
    rng = np.random.default_rng(1)
    targets = {
        "force_loss": torch.from_numpy(rng.normal(size=engine.positions.shape)),
        "stress_loss": torch.from_numpy(rng.normal(size=engine.no_strain.shape)),
    }

    def value(parameters):
        leaves = {
            "force_loss": engine.positions.clone().requires_grad_(True),
            "stress_loss": engine.no_strain.requires_grad_(True),
        }
        energies = engine.energies(leaves["force_loss"], None, leaves["stress_loss"], parameters)
        (slope,) = torch.autograd.grad(energies.sum(), leaves[loss], create_graph=True)
        return (slope - targets[loss]).square().sum()

    parameters = engine.parameters.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(value, (parameters,), eps=1e-4, atol=1e-6, rtol=1e-7)


@each_engine
def test_hessians_equal_the_reference_where_they_are_declared(name):
    if not lookup("solver", name).supported_derivatives >= EVERY_DERIVATIVE:
        pytest.skip("not declared")
    structures = [random_structure(3, TTT, seed=2)]
    accuracy = max(lookup("solver", name).best_accuracy, 1e-10)
    engine, exact = (
        Engine(n, structures, (0.0, 0.4), accuracy=a)
        for n, a in ((name, accuracy), ("reference", 1e-10))
    )

    def third(system):
        positions = system.positions.clone().requires_grad_(True)
        strain = system.no_strain.requires_grad_(True)
        slopes = [system.energies(positions, None, strain, system.parameters).sum()]
        found = []
        for _ in range(3):
            parts = torch.autograd.grad(slopes[-1], (positions, strain), create_graph=True)
            slopes.append(sum((part * part.detach().cos()).sum() for part in parts))
            found += [part.detach() for part in parts]
        return found

    for ours, theirs in zip(third(engine), third(exact), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e3 * accuracy, atol=1e4 * accuracy)


def salt():
    atoms = skewed_salt((2, 1, 1))
    return atoms, np.where(atoms.numbers == 11, 1.0, -1.0)


def random_charges(number_density):
    rng = np.random.default_rng(0)
    length = (64 / number_density) ** (1 / 3)
    sites = np.stack(np.meshgrid(*3 * [np.arange(4)], indexing="ij"), -1).reshape(-1, 3)
    places = (sites + 0.5 + rng.uniform(-0.3, 0.3, sites.shape)) * length / 4
    charges = rng.normal(size=64)
    return Atoms("H64", places, cell=3 * [length], pbc=True), charges - charges.mean()


@each_engine
@pytest.mark.parametrize("accuracy", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("width", [0.0, 1.2])
@pytest.mark.parametrize("case", ["salt", "dense", "dilute"])
def test_accuracy_is_delivered_or_refused(name, accuracy, width, case):
    """RMS force error over k q_rms^2 (N/V)^(2/3)."""
    solver = lookup("solver", name)
    if accuracy < solver.best_accuracy:
        with pytest.raises(muse_lr.InputError, match=f"down to {solver.best_accuracy:g}"):
            solver((width,), accuracy, 6.0)
        return
    atoms, charges = {
        "salt": salt,
        "dense": lambda: random_charges(0.1),
        "dilute": lambda: random_charges(0.01),
    }[case]()
    forces = []
    for kind, target in ((name, accuracy), ("reference", 1e-10)):
        system = Engine(kind, [atoms], (width,), target)
        system.moments = torch.from_numpy(charges)[:, None]
        forces.append(system.first_derivatives()[1])
    scale = COULOMB_CONSTANT * np.square(charges).mean()
    scale *= (len(atoms) / atoms.get_volume()) ** (2 / 3)
    assert float((forces[0] - forces[1]).square().mean().sqrt()) / scale < accuracy


@each_engine
def test_batch_equals_one_by_one(name):
    """Cells of unlike size and shape, a slab, a lone atom and molecules in between."""
    structures = [
        random_structure(4, TTT, seed=1),
        random_structure(3, FFF, seed=2),
        Atoms("H", cell=[3.0, 4.0, 5.0], pbc=True),
        random_structure(3, (True, True, False), seed=3),
        random_structure(4, TTT, "cubic", seed=4).repeat((2, 1, 1)),
        Atoms("H"),
        random_structure(4, TTT, seed=5),
    ]
    together = Engine(name, structures, (0.4,), 1e-4)
    energies, slopes = together.first_derivatives()[:2]
    assert float(energies[1]) == float(energies[5]) == 0
    for graph, atoms in enumerate(structures):
        if not atoms.pbc.any():
            continue
        mine = together.batch.batch == graph
        alone = Engine(name, [atoms], (0.4,), 1e-4)
        alone.moments = together.moments[mine]
        energy, slope = alone.first_derivatives()[:2]
        torch.testing.assert_close(energies[graph : graph + 1], energy, rtol=0, atol=1e-11)
        torch.testing.assert_close(slopes[mine], slope, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["reference", "pme"])
def test_a_solver_forgets_the_last_cell(name):
    """What is kept from one call to the next is that of resting cells only."""
    structures = [random_structure(5, TTT, cell, seed=3) for cell in ("cubic", "triclinic")]
    slab = structures[0].copy()
    slab.pbc = (True, True, False)
    systems = [Engine(name, [atoms], accuracy=1e-9) for atoms in (*structures, slab)]
    expected = [system.first_derivatives() for system in systems]
    shared = lookup("solver", name)((0.0,), 1e-9, 6.0)
    for system, values in (*zip(systems, expected, strict=True), (systems[0], expected[0])):
        system.solver = shared
        with torch.no_grad():
            assert torch.equal(system.energies(), values[0])
            assert torch.equal(system.energies(), values[0])
        for one, other in zip(system.first_derivatives(), values, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["reference", "pme"])
def test_inference_mode_leaves_nothing_behind(name):
    """Tensors that are made in it cannot be differentiated with."""
    system = Engine(name, [charged_crystal()], accuracy=1e-4)
    with torch.inference_mode():
        energy = float(system.energies())
    assert float(system.energies()) == energy
    energies, slopes = system.first_derivatives()[:2]
    positions = system.positions.clone().requires_grad_(True)
    (again,) = torch.autograd.grad(system.energies(positions).sum(), positions)
    torch.testing.assert_close(again, slopes)
    assert float(energies) == pytest.approx(energy, rel=1e-12)


@each_engine
def test_single_precision_moments_are_summed_in_double(name):
    system = Engine(name, [charged_crystal()], (0.4,), 1e-4)
    single = system.energies(moments=system.moments.float())
    assert single.dtype == torch.float64
    torch.testing.assert_close(single, system.energies(), rtol=1e-6, atol=0)


@each_engine
def test_dipoles_are_refused(name):
    system = System([charged_crystal()], 1)
    geometry = strained_geometry(system.batch, system.positions, None)
    with pytest.raises(muse_lr.InputError, match="charges only"):
        lookup("solver", name)((0.0,), 1e-4, 6.0).energy(
            system.density(), geometry, ~geometry.open_graphs
        )


def test_a_missing_library_is_named(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    nvalchemi.load_library.cache_clear()
    monkeypatch.setattr(nvalchemi, "import_module", absent)
    with pytest.raises(muse_lr.InputError, match=r"pip install 'muse_lr\[fast\]'"):
        nvalchemi.NvalchemiSolver((0.0,), 1e-4, 6.0)


def test_wave_vectors_are_half_of_those_in_the_sphere():
    cells = [random_structure(2, TTT, cell).cell.array for cell in ("cubic", "triclinic")]
    cells.append(np.diag([2.0, 3.0, 9.0]))
    vectors = nvalchemi.wave_vectors(torch.from_numpy(np.stack(cells)), 4.0)
    grid = np.stack(np.meshgrid(*3 * [np.arange(-8, 9)], indexing="ij"), -1).reshape(-1, 3)
    for cell, found in zip(cells, vectors.numpy(), strict=True):
        waves = grid @ (2 * np.pi * np.linalg.inv(cell).T)
        lengths = np.linalg.norm(waves, axis=1)
        expected = waves[(lengths < 4.0) & (lengths > 0)]
        found = found[np.linalg.norm(found, axis=1) > 0]
        both = np.concatenate([found, -found])
        assert both.shape == expected.shape
        distances = np.linalg.norm(both[:, None] - expected[None], axis=2)
        assert distances.min(0).max() < 1e-9


@pytest.mark.gpu
@each_engine
def test_engines_on_a_gpu(name):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    system = Engine(name, [charged_crystal(), random_structure(4, (True, True, False))], (0.4,))
    energies = system.energies()
    system.batch, system.moments = system.batch.to("cuda"), system.moments.to("cuda")
    system.width = system.width.to("cuda")
    torch.testing.assert_close(system.energies().cpu(), energies, rtol=0, atol=1e-8)

"""Derivatives that are written out, against those that torch makes of the same formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from charge_systems import System
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.ewald import pairs, wave_sums
from muse_lr.electrostatics.ewald.waves import wave_numbers
from muse_lr.electrostatics.mesh.mesh_sums import mesh_energy
from muse_lr.electrostatics.mesh.pme import wave_weights
from muse_lr.electrostatics.mesh.splines import spline_weights, spread
from muse_lr.structures.geometry import strained_geometry

pytestmark = pytest.mark.usefixtures("float64")


def chain_of_derivatives(function, inputs):
    """A function (to vectors), and three derivatives of it by all inputs, one after the other."""
    values = [function(*inputs)]
    scalar = (values[0] * torch.arange(1, len(values[0]) + 1)).square().sum()
    for order in (1, 2, 3):
        slopes = torch.autograd.grad(scalar, inputs, create_graph=order < 3)
        values += slopes
        scalar = sum(slope.square().sum() for slope in slopes)
    # The second derivative alone goes another way than the one that is differentiated on.
    slopes = torch.autograd.grad(function(*inputs).sum(), inputs, create_graph=True)
    total = sum(slope.square().sum() for slope in slopes)
    values += torch.autograd.grad(total, inputs, retain_graph=True)
    # And so does that of one input, for which less is computed.
    for each in inputs:
        values += torch.autograd.grad(total, each, retain_graph=True)
    return values


def assert_same(ours, plain, inputs):
    found, expected = chain_of_derivatives(ours, inputs), chain_of_derivatives(plain, inputs)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= 1e-12 * other.abs().max()


def leaves(*tensors):
    return tuple(tensor.clone().requires_grad_(True) for tensor in tensors)


@pytest.mark.parametrize("widths", [[0.0], [0.5], [0.5, 0.7], [0.0, 0.6]], ids=str)
@pytest.mark.parametrize("strained", [True, False])
def test_pairs(widths, strained):
    """Two graphs, images of the same atom, and one skewed cell smaller than the cutoff."""
    rng = np.random.default_rng(0)
    cell = [[4.2, 0, 0], [0.3, 4.5, 0], [-0.5, 0.2, 4.1]]
    crystal = Atoms("NaClNa", rng.uniform(0, 4, (3, 3)), cell=cell, pbc=True)
    slab_positions = [[0, 0, 0], [2, 0.1, 0], [1, 2, 0.3], [0, 2, 2.5]]
    slab = Atoms("Na2Cl2", slab_positions, cell=[5, 5, 5], pbc=(True, True, False))
    system = System([crystal, slab], 0, widths=widths, accuracy=1e-3, cutoff=5.0)
    chosen = torch.ones(2, dtype=torch.bool)
    parameters = system.solver.ewald

    def energy(plain):
        def function(positions, charges, strain=None):
            geometry = strained_geometry(system.batch, positions, strain)
            density = ChargeDensity(charges[:, None], system.width, system.batch.batch, 2)
            options = tuple(widths), parameters.splitting, parameters.cutoff
            found = pairs.find_pairs(density, geometry, chosen, *options)
            assert bool((found.first == found.second).any())
            if plain:
                arguments = geometry.positions, geometry.cell, charges, found
                return pairs.plain_energy(*arguments)
            return pairs.pair_energy(found, charges, geometry)

        return function

    inputs = system.positions, system.moments[:, 0]
    inputs += (system.no_strain,) if strained else ()
    assert_same(energy(plain=False), energy(plain=True), leaves(*inputs))


@pytest.mark.parametrize("with_weights", [True, False])
def test_wave_sums(with_weights):
    generator = torch.Generator().manual_seed(0)
    numbers = wave_numbers((3, 3, 3), torch.ones(1))
    numbers = numbers.keep(torch.rand(7 * 4, generator=generator) < 0.7)
    fractional = torch.rand((2, 5, 3), generator=generator)
    charges = torch.randn((2, 5), generator=generator)
    weights = torch.rand((2, len(numbers.all)), generator=generator)
    inputs = leaves(fractional, charges, weights)[: 3 if with_weights else 2]
    constant = () if with_weights else (weights,)

    def ours(*values):
        return wave_sums.wave_energy(*values, *constant, numbers)

    def plain(*values):
        return wave_sums.plain_energy(*values, *constant, numbers)

    assert_same(ours, plain, inputs)


@pytest.mark.parametrize("size", [(4, 5, 6), (4, 3, 5)])
def test_mesh_sums(size):
    generator = torch.Generator().manual_seed(0)
    inverse = torch.eye(3) * 0.2 + 0.05 * torch.randn((2, 3, 3), generator=generator)
    mesh = torch.randn((2, *size), generator=generator)

    def energy(plain):
        def function(mesh, inverse):
            weights = wave_weights(inverse, size, 6, 0.9)
            if not plain:
                return mesh_energy(mesh, weights)
            factor = torch.fft.rfftn(mesh, dim=(1, 2, 3))
            return (weights * (factor.real**2 + factor.imag**2)).sum((1, 2, 3))

        return function

    assert_same(energy(plain=False), energy(plain=True), leaves(mesh, inverse))


def test_wave_weights_are_those_of_each_wave():
    """exp(-eta^2 k^2) / k^2 over the squares of the splines' transforms, wave by wave."""
    size, order, splitting = (4, 6, 5), 6, 0.9
    cell = np.array([[4.0, 0.3, 0.0], [0.2, 5.0, 0.5], [-0.4, 0.1, 4.5]])
    inverse = torch.from_numpy(np.linalg.inv(cell))[None]
    weights = wave_weights(inverse, size, order, splitting)[0].numpy()
    integers = [np.fft.fftfreq(4, 0.25), np.fft.fftfreq(6, 1 / 6), np.fft.rfftfreq(5, 0.2)]
    for index in np.ndindex(*weights.shape):
        m = np.array([axis[i] for axis, i in zip(integers, index, strict=True)])
        if not m.any():
            assert weights[index] == 0
            continue
        k = 2 * np.pi * np.linalg.inv(cell) @ m
        splines = np.prod(np.sinc(m / size)) ** (-2 * order)
        mirror = 1 if m[2] == 0 else 2
        expected = mirror * splines * np.exp(-(splitting**2) * k @ k) / (k @ k)
        assert weights[index] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [5, 6, 8])
def test_splines(order):
    """They spread the whole charge and its dipole, and differentiate rightly twice."""
    generator = torch.Generator().manual_seed(0)
    charges = torch.randn(6, generator=generator)
    scaled = 10 * torch.randn((6, 3), generator=generator)
    row, size = torch.tensor([0, 0, 1, 1, 1, 2]), (9, 10, 12)
    mesh = spread(charges, scaled, row, 3, size, order)
    expected = torch.zeros(3).index_add(0, row, charges)
    assert torch.allclose(mesh.sum((1, 2, 3)), expected, atol=1e-12)

    def function(charges, scaled):
        return spread(charges, scaled, row, 3, size, order) ** 3

    inputs = leaves(charges, scaled)
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


def test_spline_weights_are_the_b_spline():
    """Against scipy's cardinal B-splines."""
    from scipy.interpolate import BSpline

    offset = torch.linspace(0, 0.99, 7).repeat(3, 1)
    for order in (3, 5, 8):
        spline = BSpline.basis_element(np.arange(order + 1.0), extrapolate=False)
        weights, slopes = spline_weights(offset, order)
        for j in range(order):
            x = offset[0].numpy() + order - 1 - j
            assert np.allclose(weights[0, j], np.nan_to_num(spline(x)), atol=1e-13)
            assert np.allclose(slopes[0, j], np.nan_to_num(spline.derivative()(x)), atol=1e-12)

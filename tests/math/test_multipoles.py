"""Multipoles: frames, Cartesian tensors, translation, pooling, the Boys functions."""

from __future__ import annotations

from importlib.util import find_spec

import mpmath
import numpy as np
import pytest
import torch

import muse_lr
from charge_systems import System, random_structure
from muse_lr.backbones.mace.imports import import_mace
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.boys import boys
from muse_lr.math.harmonics import rotation_matrix, solid_harmonics
from muse_lr.math.multipoles import (
    from_cartesian,
    moments_from_e3nn,
    moments_to_e3nn,
    to_cartesian,
    translate,
)


def point_charges(seed=0, count=7):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=count)), torch.from_numpy(rng.normal(size=(count, 3)))


def moments_of(charges, positions):
    """Racah moments by their definition, sum q R_lm(r)."""
    return torch.cat(
        [(charges[:, None] * solid_harmonics(order, positions)).sum(0) for order in (0, 1, 2)]
    )


def density_of(moments, **options):
    index = torch.zeros(len(moments), dtype=torch.int64)
    return ChargeDensity(moments, torch.zeros(len(moments)).double(), index, 1, **options)


def test_cartesian_tensors_are_those_of_the_charges():
    q, r = point_charges()
    multipoles = to_cartesian(moments_of(q, r)[None])
    dipole = (q[:, None] * r).sum(0)
    second = torch.einsum("n,na,nb->ab", q, r, r)
    quadrupole = (3 * second - torch.eye(3) * second.trace()) / 2
    torch.testing.assert_close(multipoles.dipoles[0], dipole)
    torch.testing.assert_close(multipoles.quadrupoles[0], quadrupole)
    torch.testing.assert_close(from_cartesian(multipoles)[0], moments_of(q, r))


def test_total_moments_are_those_of_the_charges_about_any_origin():
    q, r = point_charges(1)
    origin = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64)
    about = to_cartesian(moments_of(q, r - origin)[None])
    charges = density_of(q[:, None])
    torch.testing.assert_close(charges.dipole(r, origin), about.dipoles)
    torch.testing.assert_close(charges.quadrupole(r, origin), about.quadrupoles)
    # The same charges as one site with all its moments, elsewhere.
    site = torch.tensor([[1.0, 0.5, -0.7]], dtype=torch.float64)
    single = density_of(moments_of(q, r - site)[None])
    torch.testing.assert_close(single.dipole(site, origin), about.dipoles)
    torch.testing.assert_close(single.quadrupole(site, origin), about.quadrupoles)
    torch.testing.assert_close(single.total_charge(), q.sum()[None])


def test_a_rotated_density_has_rotated_tensors():
    q, r = point_charges(2)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=seeded(3))).Q
    blocks = [rotation_matrix(order, turn) for order in (0, 1, 2)]
    turned = torch.block_diag(*blocks) @ moments_of(q, r)
    torch.testing.assert_close(turned, moments_of(q, r @ turn.T))
    quadrupole = to_cartesian(moments_of(q, r)[None]).quadrupoles[0]
    torch.testing.assert_close(
        to_cartesian(turned[None]).quadrupoles[0], turn @ quadrupole @ turn.T
    )


def test_frame_of_e3nn():
    """e3nn's spherical harmonics of the same points, up to one factor for each l."""
    if find_spec("e3nn") is None:
        pytest.skip("needs e3nn, of the extra mace")
    import_mace()
    from e3nn import o3

    q, r = point_charges(4)
    theirs = [
        (q[:, None] * o3.spherical_harmonics(order, r, normalize=False, normalization="norm")).sum(
            0
        )
        for order in (0, 1, 2)
    ]
    moments = moments_of(q, r)[None]
    torch.testing.assert_close(moments_to_e3nn(moments)[0], torch.cat(theirs))
    torch.testing.assert_close(moments_from_e3nn(moments_to_e3nn(moments)), moments)
    dipole = (q[:, None] * r).sum(0)
    torch.testing.assert_close(density_of(moments).e3nn_moments[0, 1:4], dipole)


def test_translation_is_exact():
    q, r = point_charges(5)
    step = torch.tensor([[0.4, -0.8, 1.1]], dtype=torch.float64)
    moved = translate(to_cartesian(moments_of(q, r)[None]), step, 2)
    torch.testing.assert_close(moved[0], moments_of(q, r + step))
    assert translate(to_cartesian(q[:, None]), r, 2).shape == (7, 9)


@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_pooling_conserves_charge_and_dipole(l_max):
    atoms = random_structure(5, seed=6)
    density = System([atoms], 2, seed=7).density()
    density = ChargeDensity(
        density.moments, density.width, density.graph_index, 1, density.moments / 2
    )
    positions = torch.from_numpy(atoms.positions)
    sites = positions[:2] + 0.4
    atom, site = torch.cartesian_prod(torch.arange(5), torch.arange(2)).T
    weights = torch.rand(5, generator=seeded(8), dtype=torch.float64)
    weights = torch.stack([weights, 1 - weights], dim=1).flatten()
    empty = ChargeDensity(
        torch.zeros((2, (l_max + 1) ** 2)).double(),
        torch.full((2,), 1.5).double(),
        torch.zeros(2, dtype=torch.int64),
        1,
    )
    pooled = density.pool(torch.stack([atom, site]), weights, positions[atom] - sites[site], empty)
    assert pooled.l_max == l_max
    torch.testing.assert_close(pooled.total_charge(), density.total_charge(), rtol=0, atol=1e-14)
    torch.testing.assert_close(pooled.width, empty.width)
    torch.testing.assert_close(pooled.spin_moments, pooled.moments / 2)
    if l_max > 0:
        dipole = density.dipole(positions)
        torch.testing.assert_close(pooled.dipole(sites), dipole, rtol=0, atol=1e-13)
    if l_max > 1:
        quadrupole = density.quadrupole(positions)
        torch.testing.assert_close(pooled.quadrupole(sites), quadrupole, rtol=0, atol=1e-12)


def test_moments_that_are_not_numbers_are_refused():
    moments = torch.zeros((3, 4)).double()
    moments[2, 1] = torch.nan
    with pytest.raises(muse_lr.InputError, match="multipoles of atom 2"):
        density_of(moments).check()


def test_boys_functions_are_incomplete_gammas():
    x = torch.cat([torch.tensor([0.0, 1e-9]), torch.linspace(0.01, 80, 90)]).double()
    for order, values in enumerate(boys(x, 8)):
        a = mpmath.mpf(order) + 0.5
        exact = [
            float(mpmath.gammainc(a, 0, t) / (2 * mpmath.mpf(t) ** a)) if t else 1 / (2 * a)
            for t in x.tolist()
        ]
        exact = torch.tensor([float(value) for value in exact], dtype=torch.float64)
        torch.testing.assert_close(values, exact, rtol=3e-14, atol=0)


def test_boys_functions_can_be_differentiated_again_and_again():
    x = torch.tensor([1e-6, 0.7, 3.9, 4.1, 20.0], dtype=torch.float64, requires_grad=True)

    def stacked(argument):
        return torch.stack(boys(argument, 3))

    assert torch.autograd.gradcheck(stacked, (x,))
    assert torch.autograd.gradgradcheck(stacked, (x,))


def seeded(seed):
    return torch.Generator().manual_seed(seed)

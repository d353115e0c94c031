"""Slabs: no field outside of a dipolar one, capacitors, charge, screening."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.structures.state import FIELD_KEY
from muse_lr.testing.checks.comparison import compare
from muse_lr.testing.exam.bench import Bench, charged
from muse_lr.testing.exam.check import Case, Check, Finding, Plot, each, require
from muse_lr.testing.exam.structures import bond_length
from muse_lr.testing.exam.tails import opposite_ions
from muse_lr.testing.measurement import Measurement
from muse_lr.testing.potentials import ModelPotential
from muse_lr.units import COULOMB_CONSTANT

Array = NDArray[np.float64]
#: Thickness of the dipolar slab, and height of the probe above it, A.
THICKNESS, HEIGHT = 38.0, 40.0
#: Distance of molecules and of layers, in bond lengths.
SPACING = 2.2
#: Field on the metal slab, V/A, and its number of layers.
FIELD, LAYERS = 0.05, 8


class Vacuum(Check):
    """A slab does not depend on the length of its open cell vector."""

    name = "slab_vacuum"
    equation = "E(L + 25 Å) = E(L), F' = F, for neutral and charged slabs"
    tolerance, unit = 1e-6, "× max(1, largest value)"
    reason = "the open vector has no meaning for two periodic directions: only rounding may remain"
    meaning = "Adsorption and surface energies depend on the vacuum, those of charged slabs most."
    remedy = "Sum slabs in two dimensions, or correct the sum for dipole and charge."

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Slabs, and the same with a charge if the charges follow it."""
        found = bench.named("slabs")
        if bench.reads_charge:
            found = [*found, *((f"{where}, charge +1", charged(a, 1)) for where, a in found)]
        return each(found, partial(self._measure, bench))

    def _measure(self, bench: Bench, atoms: Atoms) -> Measurement:
        longer, axis = atoms.copy(), int(np.flatnonzero(~atoms.pbc)[0])
        cell = atoms.cell.array.copy()
        cell[axis] *= 1 + 25.0 / max(float(np.linalg.norm(cell[axis])), 1.0)
        longer.set_cell(cell, scale_atoms=False)
        compute = bench.potential.offered(atoms, ("forces", "charges"))
        before, after = (bench.potential.evaluate([a], compute) for a in (atoms, longer))
        return compare(self.name, before, after, self.tolerance, "with 25 A more vacuum")


class DipolarSlab(Check):
    """A polar film of 38 Å has no field outside."""

    name = "dipolar_slab"
    equation = "F = (E(probe down) - E(probe up)) / 2 μ = 0"
    tolerance, unit = 1e-4, "V/Å"
    reason = "summed in three dimensions, such a film makes 0.1 to 3 V/Å; 1e-4 V/Å moves no dipole"
    meaning = "Water films, polar surfaces and electrodes feel the field of their own images."
    remedy = "Sum slabs in two dimensions, or correct the sum for the dipole of the slab."
    needs = ("charges",)
    cost = 2.0

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Layers of the most polar diatomic molecule, and one far above as a probe."""
        bench.needs_coulomb()
        bench.named("slabs")
        where, molecule = bench.dipolar()
        film = polar_film(molecule)
        yield Case(f"film of {where}", film, partial(self._measure, bench, film, molecule))

    def _measure(self, bench: Bench, film: Atoms, molecule: Atoms) -> Measurement:
        dipole = float(bench.charges(molecule) @ molecule.positions[:, 2])
        center, structures = molecule.positions.mean(0), []
        top = np.array([0, 0, film.positions[:, 2].max() + HEIGHT])
        for sign in (1, -1):
            probe = molecule.copy()
            probe.positions = top + sign * (molecule.positions - center)
            structures.append(film + probe)
        energies = bench.potential.energies(structures)
        value = abs(float(energies[1] - energies[0]) / (2 * dipole))
        what = f"field {HEIGHT:g} A above a film of {len(film)} atoms"
        return Measurement(self.name, value, self.tolerance, "V/A", what, bench.inconsistent)


class Capacitor(Check):
    """Two charged layers attract each other with a constant force."""

    name = "capacitor"
    equation = "dE/dh = 2 π k q² / S"
    tolerance, unit = 1e-4, "× force"
    reason = "lateral structure decays as exp(-2 π h / a) and is below 1e-9 here"
    meaning = "Charged surfaces, double layers and electrodes have wrong voltages."
    remedy = "Keep the term with k = 0 of the sum in two dimensions, -2 π |z| / S."
    needs = ("charges",)

    def cases(self, bench: Bench) -> Iterator[Case]:
        """A layer of positive and one of negative ions, 15 to 30 A apart."""
        bench.needs_coulomb()
        bench.named("slabs")
        first, second = opposite_ions(bench)
        side = 4.0
        atoms = Atoms(
            [first, second], [[0, 0, 0], [0, 0, 15.0]], cell=[side, side, 60], pbc=(1, 1, 0)
        )
        yield Case(f"{first} and {second}", atoms, partial(self._measure, bench, atoms, side))

    def _measure(self, bench: Bench, atoms: Atoms, side: float) -> Measurement:
        heights = np.linspace(15.0, 30.0, 7)
        structures = []
        for height in heights:
            moved = atoms.copy()
            moved.positions[1, 2] = height
            structures.append(moved)
        energies = bench.potential.energies(structures)
        charge = float(bench.charges(atoms)[0])
        expected = 2 * np.pi * COULOMB_CONSTANT * charge**2 / side**2
        forces = np.diff(energies) / np.diff(heights)
        value = float(np.abs(forces / expected - 1).max())
        what = f"relative error of the force, expected {expected:.5g} eV/A"
        curves = {"energy": (heights, energies - energies[0])}
        plot = Plot("distance of the layers (Å)", "energy (eV)", curves)
        return Finding(self.name, value, self.tolerance, "", what, plot=plot)


class MetalSlab(Check):
    """Equilibrated charges screen a field like a metal."""

    name = "metal_slab"
    equation = "|mean field deeper than two layers| ≤ 5 % of the applied field"
    tolerance, unit = 0.05, "× applied field"
    reason = "metals screen within a layer; 5 % leave room for models with a hardness"
    meaning = "Electrodes have no image charges, and capacitances are wrong."
    remedy = "Use charges that minimize the energy (qeq, scf); others cannot do this."
    needs = ("charges",)
    cost = 2.0

    def cases(self, bench: Bench) -> Iterator[Case]:
        """A slab of the first element in a field along its normal."""
        bench.named("slabs")
        require(not bench.fixed_charges, "the charges are fixed")
        reason = bench.field_refusal
        require(reason is None, reason or "")
        symbol = bench.elements[0]
        d = 1.15 * bond_length(symbol, symbol)
        layer = Atoms(symbol, cell=[d, d, d * LAYERS + 20], pbc=(1, 1, 0))
        slab = layer.copy()
        for index in range(1, LAYERS):
            above = layer.copy()
            above.positions[:, 2] += index * d
            slab += above
        yield Case(f"{LAYERS} layers of {symbol}", slab, partial(self._measure, bench, slab, d))

    def _measure(self, bench: Bench, slab: Atoms, d: float) -> Measurement:
        charges, dipoles = np.zeros(len(slab)), np.zeros(len(slab))
        for sign in (1, -1):
            slab.info[FIELD_KEY] = [0.0, 0.0, sign * FIELD]
            out = bench.potential.evaluate([slab], ("charges",))
            charges += sign / 2 * out.get("charges")
            if out.moments is not None and out.moments.shape[1] > 1:
                dipoles += sign / 2 * out.moments[:, 2]
        fields = mean_fields(charges, dipoles, d)
        value = float(np.abs(fields[2:-2]).mean() / FIELD)
        subject, metallic = bench.subject, False
        if isinstance(subject, ModelPotential):
            charges_config = subject.model.config.charges
            metallic = charges_config is not None and charges_config.kind in ("qeq", "scf")
        known = "" if metallic else "only charges qeq and scf move through a slab as in a metal"
        heights: Array = d * (np.arange(len(fields), dtype=np.float64) + 0.5)
        curves = {"mean field": (heights, fields)}
        plot = Plot("height (Å)", "field (V/Å)", curves)
        what = "mean field deeper than two layers over the applied one"
        return Finding(self.name, value, self.tolerance, "", what, known, plot)


def polar_film(molecule: Atoms) -> Atoms:
    """Layers of a diatomic molecule along z, :data:`THICKNESS` thick, one molecule in each."""
    length = float(np.ptp(molecule.positions[:, 2]))
    d = SPACING * length
    count = int(np.ceil(THICKNESS / d))
    film = Atoms(cell=[d, d, count * d + 2 * HEIGHT], pbc=(True, True, False))
    for index in range(count):
        layer = molecule.copy()
        layer.positions[:, 2] += index * d
        film += layer
    return film


def mean_fields(charges: Array, dipoles: Array, d: float) -> Array:
    r"""Fields between neighboring layers of square cells of side d, averaged over a period.

    .. math:: F_n = F_0 + \frac{2 \pi k}{S} \Big(\sum_{m \le n} q_m - \sum_{m > n} q_m\Big)
              - \frac{4 \pi k}{S d}\, \frac{p_n + p_{n+1}}{2}

    Parameters
    ----------
    charges, dipoles : ndarray
        (n_layers,) in e and e A along the normal, in the order of the layers.
    d : float
        Distance of the layers and side of the cell, A.

    Returns
    -------
    ndarray
        (n_layers - 1,) in V/A.
    """
    below = np.cumsum(charges)[:-1]
    sheets = 2 * np.pi * COULOMB_CONSTANT / d**2 * (2 * below - charges.sum())
    polarization = 4 * np.pi * COULOMB_CONSTANT / d**3 * (dipoles[:-1] + dipoles[1:]) / 2
    fields: Array = FIELD + sheets - polarization
    return fields

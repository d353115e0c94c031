"""Charges: their sum, their dipole, and the response to displacements."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from ase import Atoms

from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.state import FIELD_KEY, read_state
from muse_lr.testing import checks
from muse_lr.testing.differences import derivative
from muse_lr.testing.exam.bench import Bench, charged
from muse_lr.testing.exam.check import Case, Check, each, require
from muse_lr.testing.exam.symmetry import ALL
from muse_lr.testing.measurement import CheckFailed, Measurement
from muse_lr.testing.potentials import ModelPotential


class TotalCharge(Check):
    """The charges sum to the total charge."""

    name = "total_charge"
    equation = "Σ qᵢ = Q"
    tolerance, unit = 1e-6, "e"
    reason = "an error of 1e-6 e has a potential of 1e-6 V at 14 Å; float64 keeps 1e-12"
    meaning = (
        "A neutral molecule has a field of an ion, and a cell a background that depends on "
        "the structure."
    )
    remedy = "Subtract the excess from the charges, or declare that the total charge is free."
    needs = ("charges",)

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All structures as they are; molecules with a charge if the charges follow it."""
        require(not bench.fixed_charges, "the charges are fixed for each element, and so their sum")
        found = bench.named(*ALL)
        for charge in (1, -1) if bench.reads_charge else ():
            ions = [(f"{where} {charge:+d}", charged(a, charge)) for where, a in found[:2]]
            found = [*found, *ions]
        return each(found, partial(self._measure, bench))

    def _measure(self, bench: Bench, atoms: Atoms) -> Measurement:
        atoms = bench.prepared(atoms)
        try:
            return checks.check_total_charge(bench.potential, atoms, tolerance=self.tolerance)
        except CheckFailed as failure:
            if not isinstance(bench.subject, ModelPotential):
                raise
            model = bench.subject.model.charges
            if model is None or model.exact_total_charge:
                raise
            known = "the charge model declares exact_total_charge: false"
            return Measurement(**{**vars(failure.measurement), "known": known})


class DipoleOfField(Check):
    """The dipole is the negative slope of the energy in a uniform field."""

    name = "dipole_of_field"
    equation = "μ = -dE/dF"
    tolerance, unit = 1e-5, "e Å"
    reason = "1e-5 e Å is 5e-5 debye, a thousandth of the error of good reference dipoles"
    meaning = (
        "Charges and energy do not belong together: spectra, dielectric constants and "
        "electrodes are inconsistent."
    )
    remedy = "Check the sign of -μ·F, units (e Å and V/Å), and that charges minimize the energy."
    needs = ("charges", "dipole")

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Molecules in a field along each axis."""
        reason = bench.field_refusal
        require(reason is None, reason or "")
        return each(bench.named("molecules"), partial(self._measure, bench))

    def _measure(self, bench: Bench, atoms: Atoms) -> Measurement:
        dipole = bench.potential.evaluate([atoms], ("dipole",)).get("dipole")[0]

        def energies(points: object) -> np.ndarray:
            moved = []
            for size in np.asarray(points, dtype=float):
                for axis in np.eye(3):
                    other = atoms.copy()
                    other.info[FIELD_KEY] = (size * axis).tolist()
                    moved.append(other)
            return bench.potential.energies(moved).reshape(-1, 3)

        slope, _ = derivative(energies, self.tolerance, step=1e-2)
        value = float(np.abs(dipole + slope).max())
        what = "largest difference of dipole and -dE/dF"
        return Measurement(self.name, value, self.tolerance, "e A", what)


class BornSumRule(Check):
    """Born effective charges sum to the total charge."""

    name = "born_sum_rule"
    equation = "Σᵢ Z*ᵢ = Q 1"
    tolerance, unit = 1e-6, "e"
    reason = "1e-6 e is far below any splitting of optical modes that could be measured"
    meaning = "A rigid shift makes a dipole: infrared spectra and LO-TO splittings are wrong."
    remedy = "Derive the charges in the polarization as well as the positions."
    needs = ("charges",)

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Molecules and crystals, for models with Born charges."""
        require(
            isinstance(bench.subject, ModelPotential), "needs the Born charges of a muse_lr model"
        )
        return each(bench.named("molecules", "crystals"), partial(self._measure, bench))

    def _measure(self, bench: Bench, atoms: Atoms) -> Measurement:
        model, atoms = bench.subject.model, bench.prepared(atoms)
        batch = AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
        out = model(batch, ("bec", "charges"), create_graph=False)
        assert out.bec is not None
        assert out.charges is not None
        # Charges that vary in a crystal have no exact polarization; the model states the error.
        error = 0.0 if out.bec_error is None else float(out.bec_error.detach().max())
        known = f"the model states an error of {error:.0e} e" if error > self.tolerance else ""
        total = float(out.charges.detach().sum())
        sums = out.bec.detach().cpu().double().numpy().sum(0)
        value = float(np.abs(sums - total * np.eye(3)).max())
        what = (
            f"largest deviation of the sum of Born charges from {read_state(atoms).total_charge:g}"
        )
        return Measurement(self.name, value, self.tolerance, "e", what, known)

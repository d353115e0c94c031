"""The exam of models: charges by nature, declared properties, both precisions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import find

from helpers import fixed_charge_model, painn_section, random_model
from muse_lr import InputError
from muse_lr.testing import Exam, Outputs, Potential, exam
from muse_lr.testing.exam.subject import from_model

ELEMENTS = ("Na", "Cl")


def verdicts(model, *names, elements=ELEMENTS):
    """Status of checks by name."""
    potential, single = from_model(model)
    found = exam.examine(potential, elements, only=names, quick=True, single=single)
    return {result.name: result.status for result in found}


def split_model(**keys):
    charges = {"kind": "split", "by_element": {"Na": 1.0, "Cl": -1.0}, **keys}
    heads = {"coulomb": {"kind": "coulomb"}, "zbl": {"kind": "zbl"}}
    return random_model(painn_section(ELEMENTS, 6.0, charges=charges, heads=heads))


def test_ions_by_nature():
    """The model accepts the sum of its constants only; the exam states it."""
    names = ("total_charge", "leaving_ion", "unlike_fragments", "tail_ion_ion", "born_sum_rule")
    model = split_model(net_charge="refuse")
    assert verdicts(model, *names) == dict.fromkeys(names, "pass")


def test_a_spread_charge_is_known():
    found = verdicts(split_model(net_charge="spread"), "total_charge", "leaving_ion")
    assert found == {"total_charge": "pass", "leaving_ion": "known"}


def test_a_free_total_charge_is_known():
    heads = {"coulomb": {"kind": "coulomb"}}
    section = painn_section(["H", "O"], 4.0, charges={"kind": "latent"}, heads=heads)
    found = verdicts(random_model(section), "total_charge", elements=("H", "O"))
    assert found == {"total_charge": "known"}


@pytest.mark.parametrize("check", ["translation", "supercell", "stress", "far_copies"])
def test_ions_and_charged_cells_are_drawn(check):
    """A total charge that is spread over the atoms: all structures follow it."""
    model = split_model(net_charge="spread")
    members = {"elements": ELEMENTS, "examples": 6, "most_atoms": 4}
    suite = type("Spread", (Exam,), {**members, "potential": lambda self: model})()
    drawn = suite.structures()
    assert find(drawn, lambda atoms: atoms.info and atoms.pbc.all()).info == {"total_charge": 1}
    suite.test_drawn(check)


def test_textbook_charges():
    heads = {"coulomb": {"kind": "coulomb"}, "field": {"kind": "external_field"}}
    model = fixed_charge_model({"Na": 1.0, "Cl": -1.0}, **heads)
    names = ("madelung", "capacitor", "dipolar_slab", "dipole_of_field", "single_precision")
    assert verdicts(model, *names) == dict.fromkeys(names, "pass")


def equilibrated():
    """A model whose charges minimize its energy, and its version in float32."""
    heads = {"coulomb": {"kind": "coulomb"}, "field": {"kind": "external_field"}}
    section = painn_section(ELEMENTS, 4.0, charges={"kind": "qeq"}, heads=heads)
    return from_model(random_model(section, weights=None))


@pytest.mark.parametrize(("share", "status"), [(1.0, "pass"), (0.5, "fail")])
def test_half_of_the_charges_do_not_screen(monkeypatch, share, status):
    potential, _ = equilibrated()
    evaluate = potential.evaluate

    def changed(structures, compute=()):
        out = evaluate(structures, compute)
        return out if out.charges is None else replace(out, charges=share * out.charges)

    monkeypatch.setattr(potential, "evaluate", changed)
    (result,) = exam.examine(potential, ELEMENTS, only=["metal_slab"], quick=True)
    assert result.status == status, result


def test_born_charges_that_do_not_sum(monkeypatch):
    model = split_model(net_charge="refuse")
    potential, _ = from_model(model)
    forward = potential.model.forward

    def shifted(*arguments, **options):
        out = forward(*arguments, **options)
        return out if out.bec is None else replace(out, bec=out.bec + 1e-3 * torch.eye(3))

    monkeypatch.setattr(potential.model, "forward", shifted)
    (result,) = exam.examine(potential, ELEMENTS, only=["born_sum_rule"], quick=True)
    assert result.status == "fail"


def test_a_potential_that_supports_nothing():
    class Nothing(Potential):
        provides = frozenset()

        def evaluate(self, structures, compute=()):
            raise NotImplementedError("no licence")

    with pytest.raises(InputError, match="supports no structure of the exam: no licence"):
        exam.examine(Nothing(), ELEMENTS)


def test_a_potential_that_always_crashes_fails():
    class Crashing(Potential):
        provides = frozenset()

        def evaluate(self, structures, compute=()) -> Outputs:
            raise ZeroDivisionError

    (result,) = exam.examine(Crashing(), ELEMENTS, only=["rotation"])
    assert (result.status, result.why) == (
        "fail",
        "the calculation crashed: ZeroDivisionError",
    )
    assert result.structure is not None

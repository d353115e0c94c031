"""The table of docs/choosing_charges.md agrees with the registry and with the benchmark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import muse_lr
from muse_lr.config.registry import CHARGES, lookup
from muse_lr.model.born_charges import impossible_responses

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "choosing_charges.md").read_text(encoding="utf-8")
BENCHMARK = (ROOT / "benchmarks" / "results" / "charge_models.md").read_text(encoding="utf-8")
#: Constants that `fixed` needs.
KEYS: dict[str, dict[str, Any]] = {"fixed": {"by_element": {"Na": 1, "Cl": -1}}}


def rows() -> dict[str, list[str]]:
    """Kind -> the other cells of its row."""
    table = PAGE.split("<!-- kinds -->")[1].split("<!-- /kinds -->")[0]
    cells = [line.strip("|").split("|") for line in table.strip().splitlines()[2:]]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in cells}


def charges(kind: str, **keys: object) -> Any:
    """The charge model of a small model with this kind."""
    section = {"kind": kind, **KEYS.get(kind, {}), **keys}
    backbone = {"kind": "painn", "cutoff": 4.0, "channels": 4, "layers": 1}
    model = muse_lr.build_model(
        {"elements": ["Na", "Cl"], "backbone": backbone, "charges": section}
    )
    return model.charges


def test_every_kind_has_a_row_and_a_place_among_the_questions():
    assert set(rows()) == set(CHARGES)
    questions = PAGE.split("## The kinds beside each other")[0]
    for kind in CHARGES:
        assert f"`{kind}`" in questions or f"kind: {kind}" in questions, kind


@pytest.mark.parametrize("kind", CHARGES)
def test_rows_are_what_the_classes_declare(kind):
    total, consistent, responds, l_max, _ = rows()[kind]
    model = lookup("charges", kind)
    assert (total == "exact") == model.exact_total_charge
    assert (responds == "yes") == model.reads_field
    assert (l_max == "2") == model.has_multipoles
    if kind == "split":
        assert consistent == "with `net_charge: refuse`"
        assert charges(kind, net_charge="refuse").size_consistent
        assert not charges(kind).size_consistent
    else:
        built = model if model.needs_charges else charges(kind)
        assert (consistent == "yes") == built.size_consistent


@pytest.mark.parametrize("kind", CHARGES)
def test_costs_are_those_of_the_benchmark(kind):
    measured = re.search(rf"^\| {kind} \| 768 \| \d+ \| (\S+) \|$", BENCHMARK, re.M)
    assert rows()[kind][-1] == ("–" if measured is None else measured[1])


def test_labels_are_possible_as_the_page_says():
    crystal = torch.ones(1, 3, dtype=torch.bool)
    still = {"l_max": 1, "charge_response": False}
    for kind in ("latent", "conserved", "fukui", "qet"):
        assert "bec" not in impossible_responses(charges(kind), crystal)
        assert "polarization" in impossible_responses(charges(kind), crystal)
    for kind in ("fixed", "split"):
        assert not {"bec", "polarization"} & set(impossible_responses(charges(kind), crystal))
    for kind in ("induced", "scf"):
        found = impossible_responses(charges(kind, **still), crystal)
        assert set(found) == {"polarization"}
        exact = charges(kind, charges_at_rest="elements", **still)
        assert not impossible_responses(exact, crystal)
    for kind in ("qeq", "induced", "scf"):
        assert {"bec", "dielectric"} <= set(impossible_responses(charges(kind), crystal))
        assert "polarizability" not in impossible_responses(charges(kind), ~crystal)

"""Info keys by which errors can be divided: few values, of text or short numbers."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from muse_lr.data.check import check_file
from muse_lr.data.check_text import format_report
from muse_lr.data.info_keys import MOST_VALUES, dividing_keys


def infos(**values: list) -> list[dict]:
    """Frames with these values of their keys; None: without the key."""
    count = max(map(len, values.values()))
    return [
        {key: found[i] for key, found in values.items() if found[i] is not None}
        for i in range(count)
    ]


def test_text_numbers_and_truth_values_with_their_counts():
    found = dividing_keys(
        infos(phase=["gas"] * 4 + ["ice"] * 8, n=[2] * 6 + [10] * 6, hot=[True, False] * 6)
    )
    assert found == {
        "hot": {"False": 6, "True": 6}, "n": {"2": 6, "10": 6}, "phase": {"gas": 4, "ice": 8}
    }  # fmt: skip
    assert list(found["n"]) == ["2", "10"], "numbers are in their order, not in that of text"


@pytest.mark.parametrize(
    "values",
    [
        ["one"] * 40,
        list(range(40)),
        [f"frame {i}" for i in range(40)],
        [i % (MOST_VALUES + 1) for i in range(40)],
        [-76.4389 - 0.01 * (i % 2) for i in range(40)],  # energies of two monomers
        [np.arange(3)] * 40,
        ["rare", "other"] * 9 + [None] * 22,
    ],
)
def test_what_does_not_divide(values):
    assert dividing_keys(infos(key=values)) == {}


def test_labels_and_states_are_left_out():
    values = [0, 1] * 10
    frames = infos(REF_energy=values, total_charge=values, spin=values, mine=values, n=values)
    assert set(dividing_keys(frames, ["mine"])) == {"n"}


def test_the_check_names_them(tmp_path):
    frames = []
    for k in range(24):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=k)
        atoms.info.update(REF_energy=-10.0 + 0.01 * k, phase=("gas", "ice")[k % 2], n=k % 6, id=k)
        frames.append(atoms)
    ase.io.write(tmp_path / "a.xyz", frames)
    report = check_file(tmp_path / "a.xyz")
    assert set(report.dividing) == {"phase", "n"}
    lines = [line for line in format_report(report).splitlines() if "for --by KEY" in line]
    assert lines[0].split("KEY")[1].strip() == "n (6 values); phase (gas on 12, ice on 12)"

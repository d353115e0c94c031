"""Units are stated with every metric."""

from __future__ import annotations

from muse_lr.data.labels import LABELS
from muse_lr.reporting.metric_units import METRIC_UNITS, errors_text, units_of


def test_errors_with_units_in_the_usual_order():
    metrics = {"forces_mae": 45.678, "forces_rmse": 60.0, "energy_mae": 8.1, "node_share": 0.5}
    text = errors_text(metrics)
    assert text == "energy MAE 8.1 meV/atom; forces MAE 45.68, RMSE 60 meV/Å"
    row = {"epoch": 1, "valid_energy_mae": 8.1, "valid_energy_rmse": 9.0, "valid_dielectric_mae": 2}
    assert errors_text(row, ("mae",), "valid_") == "energy MAE 8.1 meV/atom; dielectric MAE 2"
    assert errors_text({}) == ""


def test_every_label_has_a_unit_that_programs_can_read():
    assert set(METRIC_UNITS) == {*LABELS, "relative_energy"}
    metrics = {f"{label}_mae": 1.0 for label in METRIC_UNITS} | {"node_share_level1": 0.5}
    units = units_of(metrics)
    assert "node_share_level1" not in units
    assert len(units) == len(METRIC_UNITS)
    assert all(unit.isascii() for unit in units.values())
    expected = {"energy_mae": "meV/atom", "stress_mae": "meV/A^3", "polarizability_mae": "e A^2/V"}
    assert expected.items() <= units.items()

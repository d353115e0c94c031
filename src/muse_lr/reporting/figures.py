"""Convert predictions to the data of the figures, for the reports of runs and studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from muse_lr.reporting.metric_units import METRIC_UNITS, RELATIVE_ENERGY
from muse_lr.reporting.plots import Curve, InteractionPanel, ParityPanel
from muse_lr.reporting.predictions import Predictions, baseline_energy

Array = NDArray[np.float64]

#: Interaction energies below this value (eV) count as numerical noise.
NEGLIGIBLE = 1e-8


def parity_panels(predictions: Predictions) -> list[ParityPanel]:
    """One panel per labeled quantity; the energy is per atom, without its atomic part."""
    panels = []
    for label, quantity in predictions.quantities.items():
        if label == RELATIVE_ENERGY:  # the same points, shifted
            continue
        about, title = METRIC_UNITS[label], label
        x, y, unit = quantity.reference, quantity.predicted, about.data_unit
        if label == "energy":
            baseline, name = baseline_energy(predictions)
            x, y = x - baseline[quantity.frame], y - baseline[quantity.frame]
            atoms = predictions.num_atoms[quantity.frame]
            x, y, unit = x / atoms, y / atoms, "eV/atom"
            title = f"energy minus {name}"
        panels.append(ParityPanel(title, x, y, unit, about.unit, about.scale))
    return panels


def reference_charges(predictions: Predictions) -> dict[int, Array]:
    """Labels of the charges by atomic number, e; empty without labels."""
    quantity = predictions.quantities.get("charges")
    if quantity is None:
        return {}
    return {int(z): quantity.reference[quantity.element == z] for z in np.unique(quantity.element)}


def distance_errors(predictions: Predictions) -> tuple[Array, Array] | None:
    """Distance (A) and absolute energy error (meV) of each frame with both; None without any."""
    quantity = predictions.quantities.get("energy")
    if quantity is None:
        return None
    distance = predictions.distance[quantity.frame]
    known = np.isfinite(distance)
    if not known.any():
        return None
    return distance[known], 1000.0 * np.abs(quantity.predicted - quantity.reference)[known]


def scan_curves(tests: Sequence[Predictions]) -> dict[str, dict[str, Curve]]:
    """Map scan and name to a curve of the interaction energy.

    The points of a scan are collected from all test sets. Names are "reference", "energy" (total
    of the model) and the energy terms that are not zero.
    """
    names = list(dict.fromkeys(name for test in tests for name in test.interaction))
    scans = sorted({scan for test in tests for scan in test.scan if scan})
    curves: dict[str, dict[str, Curve]] = {}
    for scan in scans:
        found = {name: _scan_curve(tests, scan, name) for name in names}
        found = {name: curve for name, curve in found.items() if _worth_drawing(name, curve)}
        if any(name != "reference" for name in found):
            curves[scan] = found
    return curves


def interaction_panels(curves: Mapping[str, Mapping[str, Curve]]) -> list[InteractionPanel]:
    """One panel per scan with the total ("model") and the energy terms of one model."""
    panels = []
    for scan, lines in curves.items():
        named = {"model": lines["energy"]} if "energy" in lines else {}
        named |= {n: curve for n, curve in lines.items() if n not in ("energy", "reference")}
        panels.append(InteractionPanel(scan, lines.get("reference"), named))
    return panels


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Mean over seeds at the points that all curves share, with the range as a band."""
    shared = sorted(set.intersection(*({round(float(v), 6) for v in c.x} for c in curves)))
    rows = []
    for curve in curves:
        at = {round(float(x), 6): y for x, y in zip(curve.x, curve.y, strict=True)}
        rows.append([at[x] for x in shared])
    values = np.asarray(rows, dtype=np.float64)
    if len(curves) == 1:
        return Curve(np.asarray(shared), values[0])
    return Curve(np.asarray(shared), values.mean(0), values.min(0), values.max(0))


def _scan_curve(tests: Sequence[Predictions], scan: str, name: str) -> Curve:
    points: dict[float, float] = {}
    for test in tests:
        values = test.interaction.get(name)
        if values is None:
            continue
        for i, label in enumerate(test.scan):
            if label == scan and np.isfinite(values[i]) and np.isfinite(test.distance[i]):
                points[float(test.distance[i])] = float(values[i])
    x = sorted(points)
    return Curve(np.asarray(x), np.asarray([points[d] for d in x]))


def _worth_drawing(name: str, curve: Curve) -> bool:
    if len(curve.x) < 2:
        return False
    return name in ("reference", "energy") or bool((np.abs(curve.y) > NEGLIGIBLE).any())

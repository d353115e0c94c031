"""Units of the errors of each label, in reports, in the terminal and in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricUnit:
    """Units of the errors of one label in the reports.

    Attributes
    ----------
    unit, scale : str, float
        Unit of the metrics and conversion from the unit of the data: metric = scale * error.
    data_unit : str
        Unit of the values (parity plots).
    per_atom : bool
        Whether errors are divided by the number of atoms.
    """

    unit: str
    scale: float
    data_unit: str
    per_atom: bool = False

    @property
    def plain(self) -> str:
        """The unit in ASCII, for files that programs read: ``"meV/A^3"``."""
        return self.unit.translate(_ASCII)


_ASCII = str.maketrans({"Å": "A", "\u00a0": " ", "²": "^2", "³": "^3"})
#: Energies relative to the mean of their composition, which have errors like a label.
RELATIVE_ENERGY = "relative_energy"
METRIC_UNITS = {
    "energy": MetricUnit("meV/atom", 1000.0, "eV", per_atom=True),
    RELATIVE_ENERGY: MetricUnit("meV/atom", 1000.0, "eV", per_atom=True),
    "forces": MetricUnit("meV/Å", 1000.0, "eV/Å"),
    "stress": MetricUnit("meV/Å³", 1000.0, "eV/Å³"),
    "dipole": MetricUnit("e\u00a0Å", 1.0, "e\u00a0Å"),
    "quadrupole": MetricUnit("e\u00a0Å²", 1.0, "e\u00a0Å²"),
    "charges": MetricUnit("e", 1.0, "e"),
    "potential": MetricUnit("V", 1.0, "V"),
    "bec": MetricUnit("e", 1.0, "e"),
    "polarization": MetricUnit("e\u00a0Å", 1.0, "e\u00a0Å"),
    "polarizability": MetricUnit("e\u00a0Å²/V", 1.0, "e\u00a0Å²/V"),
    "dielectric": MetricUnit("", 1.0, ""),
}
#: Statistics of the errors of a label, as they end the names of metrics.
KINDS = ("mae", "rmse")


def errors_text(
    metrics: Mapping[str, float], kinds: Sequence[str] = KINDS, prefix: str = ""
) -> str:
    """Describe metrics with units: ``"energy MAE 8.1, RMSE 10 meV/atom; forces MAE ..."``.

    Parameters
    ----------
    metrics : mapping
        ``{prefix}{label}_{kind}`` -> value; other keys are left out.
    kinds : sequence of str
        Statistics that are described, of ``KINDS``.
    prefix : str
        Of the names of the metrics, such as ``"valid_"``.
    """
    parts = []
    for label, about in METRIC_UNITS.items():
        known = {kind: metrics.get(f"{prefix}{label}_{kind}") for kind in kinds}
        values = [f"{kind.upper()} {v:.4g}" for kind, v in known.items() if v is not None]
        if values:
            parts.append(f"{label} {', '.join(values)} {about.unit}".rstrip())
    return "; ".join(parts)


def units_of(metrics: Mapping[str, float]) -> dict[str, str]:
    """Unit of each metric ``{label}_mae`` and ``{label}_rmse``, in ASCII; without other metrics."""
    known = {f"{label}_{kind}": v.plain for label, v in METRIC_UNITS.items() for kind in KINDS}
    return {metric: known[metric] for metric in metrics if metric in known}

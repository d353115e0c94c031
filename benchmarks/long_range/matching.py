"""Settings of equal error: a peer at its best for a given cost, ours no worse than that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.long_range.callers import Caller, Ours, Structures
from benchmarks.long_range.exact import exact_forces, relative_error
from benchmarks.long_range.water import charges_of

#: Smearings that a peer may choose from at a cutoff, as shares of it.
SMEARING_SHARES = np.linspace(0.10, 0.30, 21)
#: Steps of our accuracy.
ACCURACIES = np.geomspace(1e-2, 1e-7, 101)


@dataclass(frozen=True)
class Setting:
    """A caller and its measured force error."""

    caller: Caller
    text: str
    error: float


class Judge:
    """Measures errors of callers on the same structures."""

    def __init__(self, structures: Structures) -> None:
        self.structures = structures
        parts = [exact_forces(each, charges_of(each)) for each in structures.atoms]
        self.exact = np.concatenate(parts)
        self.volume = sum(each.get_volume() for each in structures.atoms)

    def error(self, caller: Caller) -> float:
        """RMS force error over k q_rms^2 (N/V)^(2/3)."""
        charges = self.structures.numpy_charges
        return relative_error(caller.forces(), self.exact, charges, self.volume)

    def best_smearing(self, build: Callable[[float], Caller], text: str) -> Setting:
        """The peer at its most accurate smearing; the cost does not depend on it."""
        settings = []
        for share in SMEARING_SHARES:
            smearing = float(share) * self.structures.cutoff
            caller = build(smearing)
            label = f"{text}, smearing {smearing:.2f}"
            settings.append(Setting(caller, label, self.error(caller)))
        return min(settings, key=lambda setting: setting.error)

    def match(self, limit: float, solver: str) -> Setting:
        """Ours at the coarsest accuracy whose measured error is no larger than ``limit``.

        The error falls with the accuracy but for steps of the mesh, so a bisection finds the
        place and the next finer accuracies are tried in turn.
        """
        low, high = 0, len(ACCURACIES) - 1
        while low < high:
            middle = (low + high) // 2
            if self._ours(ACCURACIES[middle], solver).error <= limit:
                high = middle
            else:
                low = middle + 1
        for accuracy in ACCURACIES[low:]:
            setting = self._ours(accuracy, solver)
            if setting.error <= limit:
                return setting
        return setting

    def _ours(self, accuracy: float, solver: str) -> Setting:
        caller = Ours(self.structures, float(accuracy), solver)
        return Setting(caller, f"{caller.engine()}, accuracy {accuracy:.1e}", self.error(caller))

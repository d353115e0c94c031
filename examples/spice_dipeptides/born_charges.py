"""Born charges and dipoles that charges learned from energies and forces give.

    python examples/spice_dipeptides/born_charges.py MODEL [MODEL ...] --fit VALID --test TEST ...

Charges that are learned from energies and forces are screened by the electrons that the model does
not have, Z* = sqrt(eps_inf) Z and mu* = sqrt(eps_inf) mu (P. Zhong et al., arXiv:2504.05169). The
one factor is fitted to the Born charges of the first file and kept for the others. Errors are root
mean squares over all components; r is Pearson's, which no factor changes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import muse_lr
from muse_lr.data.labels import LABELS
from muse_lr.data.reading import Frame, read_frames
from muse_lr.model.energy_model import EnergyModel
from muse_lr.structures.batch import AtomsBatch

Array = NDArray[np.float64]
GRAPHS = 8


@dataclass(frozen=True)
class Comparison:
    """Reference and prediction of Born charges (e) and dipoles (e A), flat."""

    bec: tuple[Array, Array]
    dipole: tuple[Array, Array]

    def scale(self) -> float:
        """The factor that brings the predicted Born charges closest to the reference."""
        reference, predicted = self.bec
        return float(reference @ predicted / (predicted @ predicted))


def compare(model: EnergyModel, frames: list[Frame]) -> Comparison:
    """What the model says of the labeled structures."""
    bec, dipole = [], []
    for batch, chunk in batches(model, frames):
        out = model(batch, ("bec", "dipole"))
        assert out.bec is not None
        assert out.dipole is not None
        reference = np.concatenate([frame.labels["bec"] for frame in chunk])
        bec.append((reference.ravel(), out.bec.detach().double().numpy().ravel()))
        for frame, found in zip(chunk, out.dipole.detach().double().numpy(), strict=True):
            if "dipole" in frame.labels:
                dipole.append((frame.labels["dipole"], found))
    first, second = (
        (np.concatenate([r for r, _ in pairs]), np.concatenate([p for _, p in pairs]))
        for pairs in (bec, dipole)
    )
    return Comparison(first, second)


def batches(model: EnergyModel, frames: list[Frame]) -> Iterator[tuple[AtomsBatch, list[Frame]]]:
    """The structures, a few at a time."""
    for start in range(0, len(frames), GRAPHS):
        chunk = frames[start : start + GRAPHS]
        yield AtomsBatch.from_ase([f.atoms for f in chunk], cutoff=model.cutoff), chunk


def rmse(pair: tuple[Array, Array], scale: float) -> float:
    """Root mean square of reference - scale x prediction."""
    return float(np.sqrt(np.mean((pair[0] - scale * pair[1]) ** 2)))


def labeled(path: Path) -> list[Frame]:
    """The structures of a file that have Born charges; theirs have the displacement first."""
    frames = read_frames([path], {"bec": "REF_bec.T"}, partial=tuple(LABELS))
    return [frame for frame in frames if "bec" in frame.labels]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--fit", type=Path, required=True, help="Structures for the factor.")
    parser.add_argument("--test", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    tests = {path.name.split(".")[0]: labeled(path) for path in args.test}
    print("model  test  sqrt(eps_inf)  bec RMSE (e)  unscaled  r  dipole RMSE (e A)  r")
    for path in args.models:
        model = muse_lr.load_model(path).eval()
        scale = compare(model, labeled(args.fit)).scale()
        for name, frames in tests.items():
            known = [f for f in frames if set(f.atoms.symbols) <= set(model.elements)]
            found = compare(model, known)
            print(
                f"{path.parent.name}  {name} ({len(known)} of {len(frames)})  {scale:.3f}  "
                f"{rmse(found.bec, scale):.4f}  {rmse(found.bec, 1.0):.4f}  "
                f"{np.corrcoef(found.bec)[0, 1]:.4f}  {rmse(found.dipole, scale):.4f}  "
                f"{np.corrcoef(found.dipole)[0, 1]:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

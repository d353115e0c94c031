"""MACE with this package's product basis beside MACE with mace-torch's own.

    python -m benchmarks.mace_product [--sizes 1000 2000 4000] [--repeats 3]

Energy and forces of rattled NaCl by one model, whose products of features are evaluated by
muse_lr.backbones.mace.product and by mace-torch's contraction (e3nn, no cuequivariance) in turn, in
one process on one thread; the numbers are the same. Results go to benchmarks/results.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

import muse_lr
from benchmarks.coarse_nodes import SALT, model, systems
from benchmarks.long_range.timing import seconds_of
from benchmarks.peers.machine import describe_machine
from muse_lr.utils.files import atomic_write

RESULTS = Path(__file__).resolve().parent / "results"


class MaceTorchProduct(nn.Module):
    """mace-torch's contractions, called as its SymmetricContraction calls them."""

    def __init__(self, contractions: nn.ModuleList) -> None:
        super().__init__()
        self.contractions = contractions

    def forward(self, features: Tensor, composition: Tensor) -> Tensor:
        return torch.cat([c(features, composition) for c in self.contractions], dim=-1)


def pair() -> dict[str, muse_lr.EnergyModel]:
    """The same model twice."""
    found = {name: model("mace", ["Cl", "Na"], multiscale=False) for name in ("ours", "mace-torch")}
    for product in found["mace-torch"].backbone.products:
        basis = product.symmetric_contractions
        product.symmetric_contractions = MaceTorchProduct(basis.contractions)
    return found


def row(size: int, repeats: int) -> str:
    """The measured line of a size."""
    salt = systems(size)[SALT]
    models = pair()
    batch = muse_lr.AtomsBatch.from_ase([salt], cutoff=models["ours"].cutoff)
    forces = {name: one(batch, ("forces",)).forces for name, one in models.items()}
    apart = float((forces["ours"] - forces["mace-torch"]).abs().max())
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(repeats):
        for name, one in models.items():
            seconds[name].append(seconds_of(lambda one=one: one(batch, ("forces",)), "cpu"))
    ours, theirs = (min(seconds[name]) / len(salt) * 1e6 for name in ("ours", "mace-torch"))
    return f"| {len(salt)} | {theirs:.0f} | {ours:.0f} | {theirs / ours:.2f} | {apart:.0e} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1000, 2000, 4000])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    muse_lr.tune_malloc()
    lines = [
        "| atoms | mace-torch's (us/atom) | ours (us/atom) | ratio | forces apart (eV/A) |",
        "|--:|--:|--:|--:|--:|",
    ]
    print("\n".join(lines), flush=True)
    for size in args.sizes:
        lines.append(row(size, args.repeats))
        print(lines[-1], flush=True)
    text = [
        "# MACE's product basis",
        "",
        *lines,
        "",
        f"MACE 64x0e + 64x1o, two layers of 5 A, {SALT}; processor time of one thread, float32, "
        f"least of {args.repeats}, in turn; {describe_machine('mace-torch', 'e3nn')}.",
        "",
        f"`python -m benchmarks.mace_product --sizes {' '.join(map(str, args.sizes))} "
        f"--repeats {args.repeats}`",
        "",
    ]
    with atomic_write(RESULTS / "mace_product.md") as handle:
        handle.write("\n".join(text))


if __name__ == "__main__":
    main()

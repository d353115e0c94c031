"""A model of induced charges that learns electrostatics and induction of dimers."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

import muse_lr
from benchmarks.sapt_dispersion import MEV
from muse_lr.charges.induction_models import InducedCharges
from muse_lr.charges.polarization import PolarizationMap, Response
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.ewald.open_sum import open_energy
from muse_lr.structures.geometry import Geometry, strained_geometry
from muse_lr.structures.graph import NodeFeatures

CONFIGURATION = {
    "backbone": {"kind": "painn", "cutoff": 4.0, "channels": 32, "layers": 2},
    "charges": {
        "kind": "induced",
        "l_max": 1,
        "width": 0.7,
        "steps": 4,
        "charge_response": False,
    },
    "heads": {"coulomb": {"kind": "coulomb"}},
}
BATCH = 32
LEARNING_RATE = 5e-3
#: Errors count relative to this much (meV) and a tenth of the label.
SCALE, SHARE = 4.0, 0.1


def monomers(dimer: Atoms) -> list[Atoms]:
    """Both, with their total charges."""
    size = int(dimer.info["n_a"])
    parts = [(slice(None, size), "charge_a"), (slice(size, None), "charge_b")]
    return [
        Atoms(
            dimer.symbols[atoms],
            dimer.positions[atoms],
            info={"total_charge": int(dimer.info[key])},
        )
        for atoms, key in parts
    ]


@dataclass(frozen=True)
class Dimers:
    """Some dimers, as a batch of their monomers and as a batch of dimers.

    Attributes
    ----------
    monomers, dimers : AtomsBatch
        With the atoms in the same order.
    labels : Tensor
        (n, 2) E_elst and E_ind, meV.
    """

    monomers: muse_lr.AtomsBatch
    dimers: muse_lr.AtomsBatch
    labels: Tensor

    @classmethod
    def of(cls, dimers: list[Atoms], cutoff: float) -> Dimers:
        """As the model needs them."""
        parts = [part for dimer in dimers for part in monomers(dimer)]
        whole = [
            Atoms(d.symbols, d.positions, info={"total_charge": int(d.info["total_charge"])})
            for d in dimers
        ]
        labels = [[d.info["E_elst"] * MEV, d.info["E_ind"] * MEV] for d in dimers]
        return cls(
            muse_lr.AtomsBatch.from_ase(parts, cutoff=cutoff),
            muse_lr.AtomsBatch.from_ase(whole, cutoff=cutoff),
            torch.tensor(labels, dtype=torch.float64),
        )


class Components:
    """Electrostatic and induction energy of dimers from the charges of their monomers.

    What a monomer has alone, its dipoles induced by its own charges, makes the electrostatic
    energy; with both monomers in one field the rest is induction. The features are those of the
    lone monomers, so nothing else changes.
    """

    def __init__(self, model: muse_lr.EnergyModel) -> None:
        assert isinstance(model.charges, InducedCharges)
        self.model, self.charges = model, model.charges
        self._inputs: tuple[NodeFeatures, Tensor] | None = None
        model.charges.register_forward_pre_hook(self._keep)

    def _keep(self, _: torch.nn.Module, arguments: tuple) -> None:
        self._inputs = arguments[0], arguments[1]

    def __call__(self, batch: Dimers) -> Tensor:
        """(n, 2) in meV."""
        self.model(batch.monomers)
        assert self._inputs is not None
        features, composition = self._inputs
        rest = self.charges.multipoles_at_rest(features, composition)
        width = self.charges.atom_widths(composition.double())
        response = Response(
            rest,
            self.charges.susceptibilities(features, composition),
            torch.zeros_like(rest[:, :, 0]),
        )
        apart = strained_geometry(batch.monomers, batch.monomers.positions, None)
        together = strained_geometry(batch.dimers, batch.dimers.positions, None)
        totals = batch.monomers.total_charge[:, None]
        alone = PolarizationMap(apart, width, self.charges.solver, totals, charges=False)
        response = replace(response, reference=alone.at_rest(response))
        totals = batch.dimers.total_charge[:, None]
        both = PolarizationMap(together, width, self.charges.solver, totals, charges=False)
        own = self.charges.polarized(alone, response, apart)
        mutual = self.charges.polarized(both, response, together)
        lone = self._coulomb(own, width, apart).view(-1, 2).sum(1)
        electrostatic = self._coulomb(own, width, together) - lone
        lone = lone + alone.work(response, own).view(-1, 2).sum(1)
        energy = self._coulomb(mutual, width, together) + both.work(response, mutual)
        return torch.stack([electrostatic, energy - lone - electrostatic], 1) * MEV

    @staticmethod
    def _coulomb(moments: Tensor, width: Tensor, geometry: Geometry) -> Tensor:
        density = ChargeDensity(moments[:, :, 0], width, geometry.graph_index, geometry.num_graphs)
        return open_energy(density, geometry)


def fit(dimers: list[Atoms], epochs: int, seed: int = 0) -> muse_lr.EnergyModel:
    """The charge model, from E_elst and E_ind."""
    torch.manual_seed(seed)
    elements = sorted({symbol for dimer in dimers for symbol in dimer.symbols})
    model = muse_lr.build_model({"elements": elements, **CONFIGURATION}).train()
    components = Components(model)
    order = np.random.default_rng(seed).permutation(len(dimers))
    chunks = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
    batches = [Dimers.of([dimers[i] for i in chunk], model.cutoff) for chunk in chunks]
    optimizer = torch.optim.Adam(
        (p for p in model.parameters() if p.requires_grad), lr=LEARNING_RATE
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(batches))
    start = time.monotonic()
    for epoch in range(epochs):
        losses = []
        for i in np.random.default_rng((seed, epoch)).permutation(len(batches)):
            optimizer.zero_grad()
            error = components(batches[i]) - batches[i].labels
            weight = SCALE + SHARE * batches[i].labels.abs()
            loss = torch.nn.functional.smooth_l1_loss(error / weight, torch.zeros_like(error))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        spent = time.monotonic() - start
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, {spent:.0f} s", flush=True)
    return model.eval()


def predict(model: muse_lr.EnergyModel, dimers: list[Atoms]) -> NDArray[np.float64]:
    """(n, 2) electrostatic and induction energies, meV."""
    components = Components(model)
    with torch.no_grad():
        found = [
            components(Dimers.of(dimers[i : i + BATCH], model.cutoff))
            for i in range(0, len(dimers), BATCH)
        ]
    return torch.cat(found).numpy()

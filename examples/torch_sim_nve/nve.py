"""Constant-energy dynamics of several crystals of NaCl at once, with torch-sim.

    python examples/torch_sim_nve/nve.py [MODEL] [--steps 100] [--device cpu]

Without a model file, a model with fixed charges and a short-range repulsion is built. The drift of
the total energy of each system is printed. Needs the extra ``torch-sim``.
"""

from __future__ import annotations

import argparse

import torch_sim
from ase.build import bulk

import muse_lr
from muse_lr.interfaces.torch_sim import TorchSimModel

#: Charges of the ions with the repulsion of their cores.
SALT = {
    "elements": ["Na", "Cl"],
    "backbone": None,
    "charges": {"kind": "fixed", "by_element": {"Na": 0.8, "Cl": -0.8}, "width": 0.5},
    "heads": {"coulomb": {"kind": "coulomb", "cutoff": 5.0}, "zbl": {"kind": "zbl", "range": 1.5}},
}


def main(arguments: list[str] | None = None) -> None:
    """Run the dynamics and print the drift."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="model file; default: fixed charges")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    model = TorchSimModel(options.model or muse_lr.build_model(SALT), device=options.device)
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    systems = [salt.repeat(shape) for shape in ((1, 1, 1), (2, 1, 1), (2, 2, 1))]

    def run(steps: int) -> torch_sim.SimState:
        return torch_sim.integrate(
            systems,
            model,
            integrator=torch_sim.nve,
            n_steps=steps,
            temperature=300.0,
            timestep=0.001,  # ps
            seed=0,
        )

    def total(state: torch_sim.SimState) -> list[float]:
        kinetic = torch_sim.calc_kinetic_energy(
            momenta=state.momenta, masses=state.masses, system_idx=state.system_idx
        )
        return (state.energy + kinetic).tolist()

    start, end = total(run(1)), total(run(options.steps))
    for atoms, first, last in zip(systems, start, end, strict=True):
        drift = 1000 * (last - first) / len(atoms)
        print(f"{len(atoms)} atoms: total energy {last:.6f} eV, drift {drift:+.4f} meV/atom")


if __name__ == "__main__":
    main()

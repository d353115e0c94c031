"""Ten small models that cover every backbone, charge family, hierarchy and dispersion head.

Their configurations, weights, structures, energies, forces and stress are kept in ``fixtures/``.
``python tests/regression/models.py`` writes the fixtures again; do so only where a change of the
energies is intended.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ase import Atoms

import muse_lr
from muse_lr import testing

FIXTURES = Path(__file__).parent / "fixtures"
ELEMENTS = ["H", "C", "O", "Na", "Cl"]
PAINN = {"kind": "painn", "cutoff": 3.5, "channels": 8, "layers": 2}
MACE = {**PAINN, "kind": "mace"}
SO3KRATES = {**PAINN, "kind": "so3krates"}
MUSE = {"kind": "muse", "levels": 1, "radius": 2.4, "cutoff": 5.0, "tensor_channels": 4}
COULOMB = {"coulomb": {"kind": "coulomb"}}

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "painn_conserved": {
        "backbone": {**PAINN, "num_radial": 6},
        "charges": {"kind": "conserved", "l_max": 1},
        "heads": {**COULOMB, "repulsion": {"kind": "zbl"}},
    },
    "mace_latent": {
        "backbone": {**MACE, "l_max": 1},
        "charges": {"kind": "latent"},
        "heads": COULOMB,
    },
    "so3krates_split": {
        "backbone": {**SO3KRATES, "l_max": 2},
        "charges": {"kind": "split"},
        "heads": COULOMB,
    },
    "painn_muse": {
        "backbone": PAINN,
        "multiscale": {
            **MUSE,
            "levels": 2,
            "inner_fraction": 0.6,
            "backbone": {"kind": "painn", "num_radial": 20},
        },
        "charges": {"kind": "conserved"},
        "heads": {**COULOMB, "c6": {"kind": "c6"}},
    },
    "mace_muse_fukui": {
        "backbone": MACE,
        "multiscale": {**MUSE, "crowding_fraction": 0.5},
        "charges": {"kind": "fukui", "spin": True},
        "heads": COULOMB,
    },
    "painn_ewald_mp_qeq": {
        "backbone": PAINN,
        "multiscale": {"kind": "ewald_mp", "num_radial": 8},
        "charges": {"kind": "qeq"},
        "heads": COULOMB,
    },
    "painn_virtual_nodes_induced": {
        "backbone": PAINN,
        "multiscale": {"kind": "virtual_nodes"},
        "charges": {"kind": "induced"},
        "heads": COULOMB,
    },
    "fixed_d3": {
        "backbone": None,
        "charges": {
            "kind": "fixed",
            "by_element": {"H": 0.4, "C": 0.1, "O": -0.8, "Na": 1.0, "Cl": -1.0},
            "width": 0,
        },
        "heads": {
            "coulomb": {"kind": "coulomb", "exclusion_radius": 2.0},
            "d3": {"kind": "d3", "functional": "pbe"},
        },
    },
    "painn_scf_field_features": {
        "backbone": PAINN,
        "charges": {"kind": "scf", "l_max": 1},
        "heads": {**COULOMB, "features": {"kind": "field_features"}},
    },
    "painn_qet_mbd": {
        "backbone": PAINN,
        "charges": {"kind": "qet"},
        "heads": {**COULOMB, "mbd": {"kind": "mbd"}},
    },
}


def structures(name: str) -> list[Atoms]:
    """A charged molecule, a crystal and, where all parts support it, a slab."""
    options = {"minimum_distance": 1.6 if "mbd" in name else 1.1}
    charge = {} if name.startswith("fixed") else {"charge": 1}
    found = [
        testing.structures.molecule(ELEMENTS, 1, **charge, **options),
        testing.structures.crystal(ELEMENTS[:4], 2, **options),
    ]
    if "mbd" in name:
        return found
    return [*found, testing.structures.slab(ELEMENTS[1:4], 3, **options)]


def batch_of(data: list[dict[str, Any]], cutoff: float) -> muse_lr.AtomsBatch:
    """The kept structures as a batch."""
    atoms = [
        Atoms(
            numbers=item["numbers"].numpy(),
            positions=item["positions"].numpy(),
            cell=item["cell"].numpy(),
            pbc=item["pbc"].numpy(),
            info=item["info"],
        )
        for item in data
    ]
    return muse_lr.AtomsBatch.from_ase(atoms, cutoff=cutoff)


def results(model: muse_lr.EnergyModel, data: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Energies, named energies, forces and stress of the kept structures."""
    out = model(batch_of(data, model.cutoff), compute=("forces", "stress"))
    parts = {f"energy.{part}": value.detach() for part, value in out.energy_parts.items()}
    return {
        "energy": out.energy.detach(),
        "forces": out.forces.detach(),
        "stress": out.stress.detach(),
        **parts,
    }


def plain(atoms: Atoms) -> dict[str, Any]:
    """A structure as tensors."""
    return {
        "numbers": torch.as_tensor(atoms.numbers),
        "positions": torch.as_tensor(atoms.positions),
        "cell": torch.as_tensor(atoms.cell.array),
        "pbc": torch.as_tensor(atoms.pbc),
        "info": dict(atoms.info),
    }


def main() -> None:
    """Write all fixtures."""
    FIXTURES.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    for name, configuration in CONFIGURATIONS.items():
        e0 = {element: -1.5 - i for i, element in enumerate(ELEMENTS)}
        config = {"elements": ELEMENTS, "e0": e0, "multiscale": None, **configuration}
        torch.manual_seed(0)
        model = muse_lr.build_model(config).to(torch.float64).eval()
        testing.randomize_weights(model, seed=1)
        data = [plain(atoms) for atoms in structures(name)]
        content = {
            "config": model.config.model_dump(mode="json"),
            "state": {key: value.detach().clone() for key, value in model.state_dict().items()},
            "structures": data,
            "results": results(model, data),
        }
        torch.save(content, FIXTURES / f"{name}.pt")
        print(name, content["results"]["energy"].tolist())


if __name__ == "__main__":
    main()

"""Compute the ``ion_pairs`` set: wB97X/def2-SVPD of ionic and neutral dimers, 2.5 to 15 A.

Every configuration is planned from one seed, computed with PySCF (density fitting) starting from
the superposed densities of its charged fragments, and appended as one extended-XYZ frame to
``part-K.xyz``. Killed runs resume: what ships already or is in a part is skipped.
``assemble.py`` checks and splits the parts.

    python -m benchmarks.datasets.ion_pairs compute --worker 0 --workers 2 --out build/ion_pairs
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write
from ase.units import Bohr, Hartree

from benchmarks.datasets.fragments import CHARGES, fragment
from benchmarks.datasets.shipped import shipped_names

SEED = 20261120
CATIONS = [name for name, q in CHARGES.items() if q == 1]
ANIONS = [name for name, q in CHARGES.items() if q == -1]
NEUTRALS = [name for name, q in CHARGES.items() if q == 0]
RANDOM = {"ion-ion": 330, "ion-molecule": 170, "molecule-molecule": 80}
SCAN_DISTANCES = (2.6, 3.0, 3.4, 3.8, 4.3, 4.8, 5.4, 6.0, 6.7, 7.5, 8.5, 10.0, 12.0, 15.0)
SCANS = [
    ("ammonium", "formate"),
    ("sodium", "chloride"),
    ("methylammonium", "acetate"),
    ("sodium", "water"),
    ("chloride", "water"),
    ("water", "formamide"),
]
NEAR_LIMIT = 7.0
# Two atoms of different fragments never come closer than the sum of these (A).
CONTACT = {1: 0.63, 6: 1.35, 7: 1.26, 8: 1.08, 11: 0.90, 17: 1.35}


@dataclass(frozen=True)
class Plan:
    """One configuration: two fragments, their placement and where it belongs."""

    name: str
    pair: tuple[str, str]
    kind: str
    distance: float
    thermal: bool
    scan: str
    atoms: Atoms
    size_first: int


def _kind(pair: tuple[str, str]) -> str:
    charged = sum(CHARGES[name] != 0 for name in pair)
    return ("molecule-molecule", "ion-molecule", "ion-ion")[charged]


def _rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def _contact_free(first: Atoms, second: Atoms) -> bool:
    limit = np.array([CONTACT[z] for z in first.numbers])[:, None]
    limit = limit + np.array([CONTACT[z] for z in second.numbers])
    gaps = np.linalg.norm(first.positions[:, None] - second.positions, axis=-1)
    return bool((gaps >= limit).all())


def _place(pair, distance, thermal, rng) -> Atoms | None:
    """Two fragments with random orientations, centers of mass ``distance`` apart."""
    parts = [fragment(name) for name in pair]
    first, second = (Atoms(p.numbers, p.sample(rng, thermal) @ _rotation(rng).T) for p in parts)
    second.positions += [0, 0, distance]
    return first + second if _contact_free(first, second) else None


def _scan_plans() -> list[Plan]:
    plans = []
    for pair in SCANS:
        rng = np.random.default_rng([SEED, SCANS.index(pair)])
        label = "-".join(pair)
        while True:  # an orientation that is free of contacts at the third distance and beyond
            state = rng.bit_generator.state
            if _place(pair, SCAN_DISTANCES[2], False, rng) is not None:
                break
        for distance in SCAN_DISTANCES:
            rng.bit_generator.state = state
            atoms = _place(pair, distance, False, rng)
            if atoms is not None:
                name = f"scan-{label}-{distance:.2f}"
                size = len(fragment(pair[0]).numbers)
                plans.append(Plan(name, pair, _kind(pair), distance, False, label, atoms, size))
    return plans


def _random_plans() -> list[Plan]:
    pairs = {
        "ion-ion": list(itertools.product(CATIONS, ANIONS)),
        "ion-molecule": list(itertools.product(CATIONS + ANIONS, NEUTRALS)),
        "molecule-molecule": list(itertools.combinations_with_replacement(NEUTRALS, 2)),
    }
    rng = np.random.default_rng(SEED)
    plans = []
    for kind, count in RANDOM.items():
        for i in range(count):
            pair = pairs[kind][i % len(pairs[kind])]
            thermal = rng.random() < 0.75
            near = rng.random() < 0.75
            atoms = None
            while atoms is None:
                distance = rng.uniform(2.5, NEAR_LIMIT) if near else rng.uniform(NEAR_LIMIT, 15.0)
                atoms = _place(pair, distance, thermal, rng)
            name = f"{kind}-{i:03d}"
            size = len(fragment(pair[0]).numbers)
            plans.append(Plan(name, pair, kind, distance, thermal, "", atoms, size))
    return plans


def plan() -> list[Plan]:
    """All configurations in a fixed random order, so that an early stop leaves a balanced set."""
    plans = _random_plans() + _scan_plans()
    order = np.random.default_rng(SEED + 1).permutation(len(plans))
    return [plans[i] for i in order]


def _mean_field(numbers, positions, charge):
    from pyscf import dft, gto

    mol = gto.M(
        atom=[(int(z), tuple(r)) for z, r in zip(numbers, positions, strict=True)],
        unit="Angstrom",
        basis="def2-svpd",
        charge=charge,
        spin=0,
        verbose=0,
    )
    mf = dft.RKS(mol).density_fit()
    mf.xc = "wb97x"
    mf.grids.level = 3
    mf.conv_tol = 1e-9
    return mf


def _converge(mf, guess=None) -> float:
    """Converge on a coarse grid first: the last iterations decide the result, not the way there."""
    level, tolerance = mf.grids.level, mf.conv_tol
    mf.grids.level, mf.conv_tol = 1, 1e-5
    mf.kernel(dm0=guess)
    mf.grids.reset()
    mf.grids.level, mf.conv_tol = level, tolerance
    energy = mf.kernel(dm0=mf.make_rdm1())
    if not mf.converged:
        mf = mf.newton()
        energy = mf.kernel(dm0=mf.make_rdm1())
    if not mf.converged:
        raise RuntimeError("SCF did not converge")
    return float(energy)


def compute(item: Plan) -> Atoms:
    """Energy, forces, dipole, fragment charge and interaction energy of one configuration."""
    n = item.size_first
    numbers, positions = item.atoms.numbers, item.atoms.positions
    monomers = []
    for part, name in zip((slice(0, n), slice(n, None)), item.pair, strict=True):
        mf = _mean_field(numbers[part], positions[part], CHARGES[name])
        monomers.append((_converge(mf), mf.make_rdm1()))
    charge = sum(CHARGES[name] for name in item.pair)
    mf = _mean_field(numbers, positions, charge)
    size = monomers[0][1].shape[0]
    guess = np.zeros((mf.mol.nao, mf.mol.nao))
    guess[:size, :size] = monomers[0][1]
    guess[size:, size:] = monomers[1][1]
    energy = _converge(mf, guess)
    gradient = mf.nuc_grad_method().kernel()
    # Meta-Loewdin populations are robust to diffuse functions; Mulliken's are not.
    _, atomic = mf.mulliken_meta(mf.mol, mf.make_rdm1(), verbose=0)
    dipole = mf.dip_moment(unit="AU", verbose=0)

    atoms = Atoms(numbers, positions)
    atoms.arrays["REF_forces"] = -gradient * Hartree / Bohr
    atoms.info.update(
        REF_energy=energy * Hartree,
        REF_dipole=np.asarray(dipole) * Bohr,
        total_charge=charge,
        name=item.name,
        pair="-".join(item.pair),
        kind=item.kind,
        distance=item.distance,
        thermal=item.thermal,
        scan=item.scan or "none",
        size_first=n,
        fragment_charge=float(np.sum(atomic[:n])),
        REF_interaction_energy=(energy - monomers[0][0] - monomers[1][0]) * Hartree,
        REF_monomer_energies=np.array([m[0] for m in monomers]) * Hartree,
    )
    return atoms


def _done(out: Path) -> set[str]:
    """Names of the configurations that ship already or that a part holds."""
    names = shipped_names("ion_pairs")
    for part in sorted(out.glob("part-*.xyz")):
        names |= {atoms.info["name"] for atoms in read(part, ":", format="extxyz")}
    return names


def run_worker(out: Path, worker: int, workers: int) -> None:
    """Compute every ``workers``-th configuration that no part holds yet."""
    from pyscf import lib

    lib.num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    done = _done(out)
    todo = [p for p in plan()[worker::workers] if p.name not in done]
    start = time.time()
    for i, item in enumerate(todo):
        try:
            atoms = compute(item)
        except RuntimeError as error:
            print(f"{item.name}: {error}", flush=True)
            continue
        write(out / f"part-{worker}.xyz", atoms, format="extxyz", append=True)
        left = (time.time() - start) / (i + 1) * (len(todo) - i - 1)
        print(
            f"{i + 1}/{len(todo)} {item.name} {item.distance:.2f} A "
            f"q {atoms.info['fragment_charge']:+.3f} "
            f"E_int {atoms.info['REF_interaction_energy']:+.3f} eV, {left / 60:.0f} min to go",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["compute"])
    parser.add_argument("--out", type=Path, default=Path("build/ion_pairs"))
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    run_worker(args.out, args.worker, args.workers)


if __name__ == "__main__":
    main()

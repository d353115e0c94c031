"""Check, split and compress what was computed into the files that ship with the package.

Reads ``part-*.xyz`` of ``ion_pairs`` and ``rattled_salts``, complete or not, writes
``src/muse_lr/datasets/*.xyz.xz`` and the tables of its README. Deterministic: the same parts give
the same bytes, and a frame's split depends on its name only, so more data never moves old data.

    python -m benchmarks.datasets.assemble
"""

from __future__ import annotations

import argparse
import hashlib
import io
import lzma
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write

from benchmarks.datasets.fragments import CHARGES
from benchmarks.datasets.ion_pairs import NEAR_LIMIT
from benchmarks.datasets.shipped import DATASETS, shipped_frames
from muse_lr.utils.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261122
VALID, TEST = 0.10, 0.12
DECIMALS = 8
MAX_BYTES = 3_000_000
MAX_LEAK = 0.02  # e, beyond NEAR_LIMIT
MAX_NET_FORCE = 0.05  # eV/A, per component
SAME_GEOMETRY = 1e-4  # A
LARGE = 64  # atoms of a salt that only a test sees
SPLITS = {
    "ion_pairs": ("train", "valid", "test_near", "test_far"),
    "rattled_salts": ("train", "valid", "test", "test_large"),
}
Splits = dict[str, list[Atoms]]


class DataError(RuntimeError):
    """A frame that must not ship."""


def gather(folder: Path) -> list[Atoms]:
    """All frames of a set in the order of their names: those in parts and those that ship already.

    So that a computation can go on where nothing but the shipped files is left of it.
    """
    parts = [atoms for p in sorted(folder.glob("part-*.xyz")) for atoms in read(p, ":", "extxyz")]
    computed = {atoms.info["name"] for atoms in parts}
    shipped = [a for a in shipped_frames(folder.name) if a.info["name"] not in computed]
    return sorted(parts + shipped, key=lambda atoms: atoms.info["name"])


def draw(name: str) -> float:
    """A uniform number in [0, 1) that depends on the name and the seed only."""
    digest = hashlib.sha256(f"{SEED}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _drawn_split(name: str, test: str) -> str:
    number = draw(name)
    if number < VALID:
        return "valid"
    return test if number < VALID + TEST else "train"


def ion_pair_split(atoms: Atoms) -> str:
    """Far pairs are a test, and so are the scans: interaction curves are never trained on."""
    if atoms.info["distance"] > NEAR_LIMIT:
        return "test_far"
    if atoms.info["scan"] != "none":
        return "test_near"
    return _drawn_split(atoms.info["name"], "test_near")


def salt_split(atoms: Atoms) -> str:
    """The largest cells are a test of their own."""
    return "test_large" if len(atoms) == LARGE else _drawn_split(atoms.info["name"], "test")


def net_force(atoms: Atoms) -> float:
    """Largest component of the sum of the forces (eV/A)."""
    return float(np.abs(atoms.arrays["REF_forces"].sum(0)).max())


def leak(atoms: Atoms) -> float:
    """How far the charge of the first fragment is from its integer (e)."""
    expected = CHARGES[fragment_names(atoms)[0]]
    return abs(atoms.info["fragment_charge"] - expected)


def fragment_names(atoms: Atoms) -> list[str]:
    return atoms.info["pair"].split("-")


def _center_distance(atoms: Atoms) -> float:
    n = atoms.info["size_first"]
    gap = atoms[n:].get_center_of_mass() - atoms[:n].get_center_of_mass()
    return float(np.linalg.norm(gap))


def _geometry(atoms: Atoms) -> tuple[object, ...]:
    """Equal for two frames that are the same to :data:`SAME_GEOMETRY`, moved or rotated."""
    distances = np.sort(atoms.get_all_distances(mic=atoms.pbc.all()), axis=None)
    return (*sorted(atoms.numbers), *np.round(distances[len(atoms) :] / SAME_GEOMETRY))


def check_all(frames: Sequence[Atoms]) -> None:
    """Refuse non-finite labels, net forces and anything that is there twice."""
    names, geometries = set(), set()
    for atoms in frames:
        name, geometry = atoms.info["name"], _geometry(atoms)
        labels = [v for k, v in atoms.info.items() if k.startswith("REF_")]
        if not all(np.isfinite(v).all() for v in [*labels, atoms.arrays["REF_forces"]]):
            raise DataError(f"{name}: a label is not finite")
        if net_force(atoms) > MAX_NET_FORCE:
            raise DataError(f"{name}: net force {net_force(atoms):.3f} eV/A")
        if name in names or geometry in geometries:
            raise DataError(f"{name}: there twice")
        names.add(name)
        geometries.add(geometry)


def check_pair(atoms: Atoms) -> None:
    """Refuse a pair whose charge or distance contradicts its fragments; note their charges."""
    name = atoms.info["name"]
    charges = [CHARGES[part] for part in fragment_names(atoms)]
    atoms.info["fragment_total_charges"] = np.array(charges)
    charge = sum(charges)
    if charge != atoms.info["total_charge"]:
        raise DataError(f"{name}: total charge {atoms.info['total_charge']}, fragments {charge}")
    if abs(_center_distance(atoms) - atoms.info["distance"]) > SAME_GEOMETRY:
        raise DataError(f"{name}: centers of mass are {_center_distance(atoms):.4f} A apart")


def without_leaks(frames: Sequence[Atoms]) -> tuple[list[Atoms], list[Atoms]]:
    """Frames that may ship, and far ones whose fragments do not keep their integer charges."""
    kept, leaking = [], []
    for atoms in frames:
        far = atoms.info["distance"] > NEAR_LIMIT
        (leaking if far and leak(atoms) > MAX_LEAK else kept).append(atoms)
    return kept, leaking


def split(frames: Sequence[Atoms], name: str, rule: Callable[[Atoms], str]) -> Splits:
    """Frames by split, every split present."""
    parts: Splits = {key: [] for key in SPLITS[name]}
    for atoms in frames:
        parts[rule(atoms)].append(atoms)
    return parts


def frame_text(atoms: Atoms) -> str:
    """One extended-XYZ frame, floats rounded, without padding."""
    rounded = Atoms(atoms.numbers, atoms.positions, pbc=atoms.pbc)
    rounded.cell = np.round(atoms.cell.array, DECIMALS)
    rounded.arrays["REF_forces"] = atoms.arrays["REF_forces"]
    for key, value in atoms.info.items():
        if isinstance(value, np.ndarray):
            # A stress is written as nine numbers, which more programs read than a nested list.
            rounded.info[key] = np.round(value.ravel(), DECIMALS) + 0.0  # no negative zeros
        else:
            rounded.info[key] = round(value, DECIMALS) if isinstance(value, float) else value
    buffer = io.StringIO()
    write(buffer, rounded, format="extxyz")
    return re.sub(r"^ +| +(?=\n)|(?<= ) +", "", buffer.getvalue(), flags=re.MULTILINE)


def compress(frames: Sequence[Atoms]) -> bytes:
    text = "".join(frame_text(atoms) for atoms in frames)
    return lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return "\n".join([_row(head), _row(["---"] * len(head)), *map(_row, rows)])


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if values else ""


def _force_rms(frames: Sequence[Atoms]) -> str:
    if not frames:
        return ""
    forces = np.concatenate([atoms.arrays["REF_forces"] for atoms in frames])
    return f"{np.sqrt(np.mean(forces**2)):.2f}"


def describe_pairs(parts: Splits, leaking: Sequence[Atoms]) -> str:
    """Table and checks of ``ion_pairs``, in Markdown."""
    kinds = ("ion-ion", "ion-molecule", "molecule-molecule")
    rows = []
    for key, frames in parts.items():
        count = Counter(atoms.info["kind"] for atoms in frames)
        distances = [atoms.info["distance"] for atoms in frames]
        interactions = [atoms.info["REF_interaction_energy"] for atoms in frames]
        in_scan = sum(atoms.info["scan"] != "none" for atoms in frames)
        ranges = [_range(distances), _range(interactions), _force_rms(frames)]
        counts = [len(frames), *(count[kind] for kind in kinds), in_scan]
        rows.append([f"ion_pairs_{key}", *counts, *ranges])
    head = ["file", "frames", *kinds, "of scans", "distance (A)", "interaction (eV)"]
    frames = [atoms for part in parts.values() for atoms in part]
    text = _table([*head, "forces RMS (eV/A)"], rows)
    text += f"\n\n- {len(frames)} frames; largest net force "
    text += f"{max(map(net_force, frames), default=0):.3f} eV/A per component.\n"
    if parts["test_far"]:
        worst = max(parts["test_far"], key=leak)
        text += (
            f"- Largest deviation of a fragment's charge from its integer beyond {NEAR_LIMIT:g} A: "
            f"{leak(worst):.4f} e ({worst.info['pair']} at {worst.info['distance']:.2f} A).\n"
        )
    names = ", ".join(f"{a.info['name']} ({leak(a):.3f} e)" for a in leaking) or "none"
    return text + f"- Left out because they leak more than {MAX_LEAK} e: {names}.\n"


def describe_salts(parts: Splits) -> str:
    """Table and checks of ``rattled_salts``, in Markdown."""
    salts = ("NaCl", "NaKCl")
    rows = []
    for key, frames in parts.items():
        count = Counter(atoms.info["salt"] for atoms in frames)
        sizes = sorted({len(atoms) for atoms in frames})
        energies = {
            salt: [a.info["REF_energy"] / len(a) for a in frames if a.info["salt"] == salt]
            for salt in salts
        }
        counts = [len(frames), *(count[salt] for salt in salts), ", ".join(map(str, sizes))]
        ranges = [*(_range(energies[salt]) for salt in salts), _force_rms(frames)]
        rows.append([f"rattled_salts_{key}", *counts, *ranges])
    head = ["file", "frames", *salts, "atoms", *(f"{salt} (eV/atom)" for salt in salts)]
    frames = [atoms for part in parts.values() for atoms in part]
    text = _table([*head, "forces RMS (eV/A)"], rows)
    text += f"\n\n- {len(frames)} frames; largest net force "
    return text + f"{max(map(net_force, frames), default=0):.1e} eV/A per component.\n"


def insert(readme: str, marker: str, text: str) -> str:
    """``readme`` with ``text`` between the begin and the end of ``marker``."""
    begin, end = f"<!-- begin {marker} -->\n", f"<!-- end {marker} -->"
    before, rest = readme.split(begin)
    return before + begin + text + end + rest.split(end)[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--out", type=Path, default=DATASETS)
    args = parser.parse_args()

    pairs, leaking = without_leaks(gather(args.build / "ion_pairs"))
    salts = gather(args.build / "rattled_salts")
    check_all([*pairs, *salts])
    for atoms in pairs:
        check_pair(atoms)
    sets = {
        "ion_pairs": split(pairs, "ion_pairs", ion_pair_split),
        "rattled_salts": split(salts, "rattled_salts", salt_split),
    }
    files = {
        f"{name}_{key}.xyz.xz": compress(frames)
        for name, parts in sets.items()
        for key, frames in parts.items()
    }
    total = sum(map(len, files.values()))
    if total > MAX_BYTES:
        raise DataError(f"{total} bytes, at most {MAX_BYTES} may ship")
    for name, data in files.items():
        with atomic_write(args.out / name, "wb") as handle:
            handle.write(data)
    tables = {
        "ion_pairs": describe_pairs(sets["ion_pairs"], leaking),
        "rattled_salts": describe_salts(sets["rattled_salts"]),
        "size": f"All files together: {total / 1000:.0f} kB.\n",
    }
    readme = (args.out / "README.md").read_text(encoding="utf-8")
    for marker, text in tables.items():
        print(text)
        readme = insert(readme, marker, text)
    with atomic_write(args.out / "README.md") as handle:
        handle.write(readme)


if __name__ == "__main__":
    main()

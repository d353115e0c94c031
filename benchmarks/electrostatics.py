"""Rows 1 and 2 of the performance suite and the scaling of particle-mesh Ewald.

    python -m benchmarks.electrostatics [--device cuda] [--quick]

Everything runs in one process on one thread, candidates in turn, with the same memory allocator
settings, neighbor list (6 A) and precision (float64). torch-pme is set up by its own tuning, as
its users would; beside that, each peer gets the smearing at which it is most accurate for given
meshes or wavelengths. Ours gets the coarsest accuracy whose measured force error is no larger.
Ratios are medians over rounds, in each of which both were timed; where our error is more than twice
the peer's, or the peer's more than four times ours at our coarsest accuracy, none is printed.
Results go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import csv
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.long_range import scaling
from benchmarks.long_range.callers import Caller, Nvalchemi, Structures, TorchPME
from benchmarks.long_range.matching import Judge, Setting
from benchmarks.long_range.timing import take_turns
from benchmarks.long_range.water import water_box
from benchmarks.peers.machine import describe_machine
from muse_lr import tune_malloc

RESULTS = Path(__file__).resolve().parent / "results"
CUTOFF = 6.0
CELLS = 16
SCALING_ACCURACY = 1e-4
#: A peer whose error is this many times ours at our coarsest accuracy is not compared with it.
COARSER = 4.0


@dataclass(frozen=True)
class Line:
    """One comparison at equal force error."""

    row: str
    structures: str
    peer: str
    peer_error: float
    ours: str
    our_error: float
    peer_ms: float
    our_ms: float
    ratio: float

    def cells(self) -> list[str]:
        """Texts of a table's row."""
        ratio = "refused: errors" if np.isnan(self.ratio) else f"**{self.ratio:.2f}**"
        return [
            self.row,
            self.structures,
            self.peer,
            f"{self.peer_error:.1e}",
            self.ours,
            f"{self.our_error:.1e}",
            f"{self.peer_ms:.1f}",
            f"{self.our_ms:.1f}",
            ratio,
        ]


HEAD = [
    "row",
    "structures",
    "peer",
    "its error",
    "ours",
    "our error",
    "its ms",
    "our ms",
    "ratio",
]


def compare(
    row: str, name: str, peer: Setting, ours: Setting, arguments: argparse.Namespace
) -> Line:
    """Time a peer and ours in turn."""
    question = "step" if row == "1" else "force_loss_step"
    tasks = {"peer": getattr(peer.caller, question), "ours": getattr(ours.caller, question)}
    times = take_turns(tasks, arguments.seconds, arguments.device)
    ratio = float(np.median(times["peer"] / times["ours"]))
    library = type(peer.caller).__name__
    equal = ours.error <= 2 * peer.error and peer.error <= COARSER * ours.error
    line = Line(
        row,
        name,
        f"{library} {peer.text}",
        peer.error,
        ours.text,
        ours.error,
        1e3 * float(np.median(times["peer"])),
        1e3 * float(np.median(times["ours"])),
        ratio if equal else float("nan"),
    )
    print("| " + " | ".join(line.cells()) + " |", flush=True)
    return line


def box_peers(
    structures: Structures, meshes: tuple[int, int]
) -> Iterator[tuple[str, Callable[[float], Caller]]]:
    """Mesh sums of one large box."""
    length = structures.atoms[0].cell.lengths().max()
    for mesh in meshes:
        for nodes in (4, 5):
            # torch-pme takes the power of two above 2 L / spacing + 1.
            options = {"mesh_spacing": 2.001 * length / (mesh - 1), "interpolation_nodes": nodes}
            build = partial(torchpme, structures, "P3MCalculator", options)
            yield f"P3M {mesh}^3, {nodes} nodes", build
        if has_nvalchemi():
            yield f"PME {mesh}^3", partial(nvalchemi, structures, {"mesh_dimensions": (mesh,) * 3})


def cell_peers(
    structures: Structures, wavelengths: tuple[float, ...]
) -> Iterator[tuple[str, Callable[[float], Caller]]]:
    """Ewald sums of many small cells."""
    for wavelength in wavelengths:
        options = {"lr_wavelength": wavelength}
        build = partial(torchpme, structures, "EwaldCalculator", options)
        yield f"Ewald, wavelength {wavelength:g}", build
        if has_nvalchemi():
            cutoff = np.pi / wavelength
            yield f"Ewald, k < {cutoff:.2f}", partial(nvalchemi, structures, {"k_cutoff": cutoff})


def tuned_peers(judge: Judge, kind: str, accuracies: tuple[float, ...]) -> Iterator[Setting]:
    """torch-pme as its documentation says to call it."""
    for accuracy in accuracies:
        caller, text = TorchPME.tuned(judge.structures, kind, accuracy)
        yield Setting(caller, text, judge.error(caller))


def torchpme(structures: Structures, kind: str, options: dict, smearing: float) -> Caller:
    """A calculator of torch-pme."""
    return TorchPME(structures, kind, smearing, **options)


def nvalchemi(structures: Structures, options: dict, smearing: float) -> Caller:
    """A sum of nvalchemi-toolkit-ops."""
    return Nvalchemi(structures, smearing, **options)


def has_nvalchemi() -> bool:
    """Whether nvalchemi-toolkit-ops can be imported."""
    try:
        import nvalchemiops.torch.interactions.electrostatics  # noqa: F401
    except ImportError:
        return False
    return True


def lines(arguments: argparse.Namespace) -> Iterator[Line]:
    """All comparisons."""
    device, solver = arguments.device, arguments.solver
    boxes = {"1k": (7, (32, 64)), "10k": (15, (64, 128))}
    for name, (edge, meshes) in boxes.items():
        if arguments.quick and name == "10k":
            continue
        structures = Structures([water_box((edge,) * 3)], CUTOFF, device)
        judge = Judge(structures)
        text = f"{len(structures.charges)} atoms"
        for peer in [
            *tuned_peers(judge, "P3MCalculator", (1e-3, 1e-4)),
            *(judge.best_smearing(build, label) for label, build in box_peers(structures, meshes)),
        ]:
            yield compare("1", text, peer, judge.match(peer.error, solver), arguments)
    for name, shape in {"48": (2, 2, 4), "192": (4, 4, 4)}.items():
        boxes_of_water = [water_box(shape, seed) for seed in range(CELLS)]
        structures = Structures(boxes_of_water, CUTOFF, device)
        judge = Judge(structures)
        text = f"{CELLS} cells of {name} atoms"
        wavelengths = cell_peers(structures, (1.0, 0.75, 0.6))
        for peer in [
            *tuned_peers(judge, "EwaldCalculator", (1e-3, 1e-6)),
            *(judge.best_smearing(build, label) for label, build in wavelengths),
        ]:
            yield compare("2", text, peer, judge.match(peer.error, solver), arguments)


def summary(results: list[Line]) -> list[str]:
    """The range of ratios of each row against torch-pme."""
    text = []
    for row in ("1", "2"):
        against = [line for line in results if line.row == row and line.peer.startswith("TorchPME")]
        words = [f"- Row {row}:"]
        for tuned, how in ((True, "tuned by itself"), (False, "at its best smearing")):
            ratios = [line.ratio for line in against if ("tune_" in line.peer) == tuned]
            if np.isnan(ratios).all():
                words.append(f"nothing comparable {how}")
                continue
            low, high = np.nanmin(ratios), np.nanmax(ratios)
            words.append(f"{low:.2f} to {high:.2f} times torch-pme {how}")
        text.append(f"{words[0]} {', '.join(words[1:])}.")
    return text


def scaling_table(sizes: list[scaling.Size]) -> list[str]:
    """The scaling as a table in Markdown."""
    rows = ["| atoms | ms | us per atom | time over N log N | MB before | MB peak |"]
    rows.append("|---|---|---|---|---|---|")
    for size in sizes:
        rows.append(
            f"| {size.atoms} | {1e3 * size.seconds:.1f} | {size.microseconds_per_atom:.2f} "
            f"| {size.against(sizes[0]):.2f} | {size.before:.0f} | {size.peak:.0f} |"
        )
    return rows


def plot(sizes: list[scaling.Size], path: Path) -> None:
    """Time per atom and memory against the number of atoms."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    atoms = np.array([size.atoms for size in sizes])
    times = np.array([size.microseconds_per_atom for size in sizes])
    left.loglog(atoms, times, "o-", label="measured")
    left.loglog(atoms, times[0] * np.log(atoms) / np.log(atoms[0]), "--", label="N log N")
    left.set(xlabel="atoms", ylabel="microseconds per atom", ylim=(0.3 * times.min(), None))
    left.legend()
    right.loglog(atoms, [size.peak for size in sizes], "o-")
    right.set(xlabel="atoms", ylabel="peak memory / MB")
    figure.savefig(path, dpi=150)


def write(results: list[Line], sizes: list[scaling.Size], device: str) -> None:
    """Tables and the plot, into benchmarks/results."""
    stem = "electrostatics" if device == "cpu" else f"electrostatics_{device}"
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{stem}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Line)])
        writer.writeheader()
        writer.writerows(asdict(line) for line in results)
    with (RESULTS / f"{stem}_scaling.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(scaling.Size)])
        writer.writeheader()
        writer.writerows(asdict(size) for size in sizes)
    options = "" if device == "cpu" else f" --device {device}"
    packages = ["torch-pme", "vesin"] + (["nvalchemi-toolkit-ops"] if has_nvalchemi() else [])
    text = [
        f"# {stem}",
        "",
        f"`python -m benchmarks.electrostatics{options}`; {describe_machine(*packages)}; one "
        "thread, float64, neighbor list of 6 A for all; times are processor times.",
        "",
        "Row 1: energy, forces and dE/dq. Row 2: gradient of a force loss by the charges. Errors: "
        "RMS of the force error over k q_rms^2 (N/V)^(2/3).",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
        *("| " + " | ".join(line.cells()) + " |" for line in results),
        "",
        *summary(results),
        "",
        f"One box of water, accuracy {SCALING_ACCURACY:g}, energy, forces and dE/dq:",
        "",
        *scaling_table(sizes),
        "",
        f"![time per atom and memory]({stem}.png)",
        "",
    ]
    (RESULTS / f"{stem}.md").write_text("\n".join(text))
    plot(sizes, RESULTS / f"{stem}.png")


def main() -> int:
    """Run the suite."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--solver", default="auto", help="ours; auto lets the dispatch choose")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each comparison")
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing written")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("skipped: no CUDA device")
        return 0
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    tune_malloc()
    print("| " + " | ".join(HEAD) + " |", flush=True)
    results = list(lines(arguments))
    print("\n".join(summary(results)))
    edges = [7, 10] if arguments.quick else [7, 10, 15, 22, 32]
    options = (SCALING_ACCURACY, CUTOFF, arguments.solver, arguments.device)
    sizes = scaling.measure(edges, *options)
    print("\n".join(scaling_table(sizes)))
    if not arguments.quick:
        write(results, sizes, arguments.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())

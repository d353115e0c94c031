"""Checks of test data against the data that a model is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ase import Atoms
from ase.data import atomic_numbers

from muse_lr.data.composition import outside_span
from muse_lr.data.findings import CheckReport, Finding
from muse_lr.data.formats import place, printable, read_indexed
from muse_lr.data.isolated import is_isolated
from muse_lr.data.reading import Frame
from muse_lr.data.vacuum import enumerated
from muse_lr.structures.state import read_state

#: A structure and where it comes from: ``"file.xyz, frame 12"``.
Sourced = tuple[Atoms, str]
#: Labels whose keys must agree.
TRAINED = ("energy", "forces", "stress")


def read_sourced(file: str) -> list[Sourced]:
    """Read the structures of a file with their sources."""
    name, structures = read_indexed(file)
    return [(atoms, place(name, frame)) for frame, atoms in structures]


def check_tests(
    train: Sequence[Atoms], tests: Mapping[str, Sequence[Sourced]], fitted: bool = True
) -> Iterator[Finding]:
    """Yield what is wrong with test sets for a model that is trained on other structures.

    Parameters
    ----------
    train : sequence of ase.Atoms
        Training and validation structures.
    tests : mapping of str to sequence of (ase.Atoms, str)
        Name of each test set -> its structures with their sources.
    fitted : bool
        Whether E0s are fitted to the training energies.
    """
    known = {symbol for atoms in train for symbol in atoms.get_chemical_symbols()}
    for name, structures in tests.items():
        text = unknown_elements(known, structures)
        if text is not None:
            yield Finding("error", f"elements of {name}", f"test set {name}: {text}")
            continue
        text = undetermined_energies(train, structures) if fitted else None
        if text is not None:
            yield Finding("warning", f"composition of {name}", f"test set {name}: {text}")
        for what, text in unknown_states(train, [atoms for atoms, _ in structures]).items():
            yield Finding("warning", f"{what} of {name}", f"test set {name}: {text}")


def check_keys(train: Sequence[CheckReport], tests: Mapping[str, CheckReport]) -> Iterator[Finding]:
    """Yield labels that a test set has under other keys than the training data.

    A configuration names the keys of the training data, so that these labels would not be read.
    """
    for name, report in tests.items():
        for label in TRAINED:
            ours = [key for file in train for key in file.labels.get(label, ())]
            theirs = list(report.labels.get(label, ()))
            if ours and theirs and not set(ours) & set(theirs):
                key, other = printable(ours[0]), printable(theirs[0])
                yield Finding(
                    "error",
                    f"{label} key of {name}",
                    f"test set {name}: the {label} is under {other!r}, but under {key!r} in the "
                    "training data: give both the same name",
                )


def composition_notes(train: Sequence[Frame], tests: Mapping[str, Sequence[Frame]]) -> list[str]:
    """Notes on test sets with energies that E0s fitted to the training frames do not determine."""
    structures = [frame.atoms for frame in train if "energy" in frame.labels]
    labeled = {
        name: [(frame.atoms, frame.source) for frame in frames if "energy" in frame.labels]
        for name, frames in tests.items()
    }
    texts = {name: undetermined_energies(structures, found) for name, found in labeled.items()}
    return [f"test set {name}: {text}" for name, text in texts.items() if text is not None]


def unknown_elements(known: set[str], structures: Sequence[Sourced]) -> str | None:
    """Say which frames contain elements that the training data lack; None if there are none."""
    lacking = [(set(atoms.get_chemical_symbols()) - known, source) for atoms, source in structures]
    found = [(symbols, source) for symbols, source in lacking if symbols]
    if not found:
        return None
    symbols = sorted(set().union(*(s for s, _ in found)), key=lambda symbol: atomic_numbers[symbol])
    does, it = ("does", "it") if len(symbols) == 1 else ("do", "them")
    contain = "contains" if len(found) == 1 else "contain"
    return (
        f"{len(found)} of {len(structures)} frames {contain} {enumerated(symbols)}, which {does} "
        f"not occur in the training data (the first is {found[0][1]}): a model cannot learn an "
        f"element that it has not seen. Add frames with {it} to the training data, or leave these "
        "frames out of the test set"
    )


def unknown_states(train: Sequence[Atoms], structures: Sequence[Atoms]) -> dict[str, str]:
    """Say which total charges and spins the training data lack; empty if none."""
    ours, theirs = ([read_state(atoms) for atoms in frames] for frames in (train, structures))
    known_spins, spins = {s.spin for s in ours}, [s.spin for s in theirs if s.spin_stated]
    found = {}
    for what, known, values in (
        ("total charge", {s.total_charge for s in ours}, [s.total_charge for s in theirs]),
        ("spin", known_spins, spins),
    ):
        counts = Counter(value for value in values if value not in known)
        if counts:
            parts = [f"{count} with {value:g}" for value, count in sorted(counts.items())]
            do = "does" if len(counts) == 1 else "do"
            found[what] = (
                f"{counts.total()} of {len(structures)} frames have a {what} that {do} not occur "
                f"in the training data ({enumerated(parts)}). Their energies are an extrapolation: "
                "add such frames to the training data"
            )
    return found


def undetermined_energies(train: Sequence[Atoms], structures: Sequence[Sourced]) -> str | None:
    """Say which frames have energies that fitted E0s do not determine; None if there are none."""
    tested = [(atoms, source) for atoms, source in structures if not is_isolated(atoms)]
    outside = outside_span(train, [atoms for atoms, _ in tested])
    if not outside:
        return None
    atoms, source = tested[outside[0]]
    return (
        f"the composition of {len(outside)} of {len(structures)} frames is no combination of those "
        f"in training, such as {atoms.get_chemical_formula()} ({source}). E0s that are fitted to "
        "the training energies leave an unknown constant in the energies of such frames, of up to "
        "several eV for each atom; forces are not affected. Give model.e0 (energies of isolated "
        "atoms), or train on such compositions too"
    )

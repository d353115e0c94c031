"""Hold out a test set from the training file, where there is no other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ase import Atoms

from muse_lr.data.formats import place, printable
from muse_lr.data.isolated import is_isolated
from muse_lr.data.scaffold.survey import Survey
from muse_lr.data.selection import random_subset
from muse_lr.data.together import check_tests
from muse_lr.errors import InputError

#: Name of the test set.
NAME = "held_out"
#: Fraction of the frames that are held out, and the most and fewest of them.
SHARE, MOST, FEWEST = 0.1, 200, 2
#: Fewest frames from which a test set is held out.
FEWEST_FRAMES = 10
#: Number of random test sets that are tried.
ATTEMPTS = 20


def hold_out(found: Survey) -> Survey:
    """Hold out the last frames of a trajectory, or others at random, if there is no test set.

    Frames of a trajectory that are drawn at random have neighbors among the training frames that
    are almost equal. The last frames of a file are a fair test only if all frames have the same
    atoms.

    Raises
    ------
    InputError
        If there are too few frames, or if each element of a test frame cannot stay in training.
    """
    if found.tests:
        return found
    total = len(found.structures)
    if total < FEWEST_FRAMES:
        raise InputError(
            f"{printable(found.train)}: {total} frames are too few to hold out a test set: give "
            "one with --test"
        )
    count = min(MOST, max(FEWEST, round(SHARE * total)))
    trajectory, last = found.report.trajectory, range(total - count, total)
    if trajectory is not None and trajectory.one_system and _is_fair(found.structures, last):
        text = f"the last {count} frames of the training file, in which neighbors are alike"
        return _divided(found, last, (f"@:{total - count}", f"@{total - count}:"), text)
    for seed in range(ATTEMPTS):
        chosen = random_subset(total, count, seed, "")
        if _is_fair(found.structures, chosen):
            text = f",seed={seed}" if seed else ""
            selections = f"@random=-{count}{text}", f"@random={count}{text}"
            what = f"{count} random frames of the training file"
            return _warned(_divided(found, chosen, selections, what))
    raise InputError(
        f"{printable(found.train)}: no random test set leaves all elements for training: give one "
        "with --test"
    )


def _is_fair(structures: Sequence[Atoms], chosen: Sequence[int]) -> bool:
    """Whether the elements of the test frames stay in training, and none is an isolated atom."""
    tested = [structures[i] for i in chosen]
    rest = set(range(len(structures))) - set(chosen)
    known = {symbol for i in rest for symbol in set(structures[i].get_chemical_symbols())}
    missing = {symbol for atoms in tested for symbol in atoms.get_chemical_symbols()} - known
    return not missing and not any(map(is_isolated, tested))


def _warned(found: Survey) -> Survey:
    """The survey with a warning on random test frames of a trajectory."""
    notes = [finding.message for finding in found.report.findings if finding.kind == "trajectory"]
    return replace(found, warnings=[*found.warnings, *notes])


def _divided(
    found: Survey, chosen: Sequence[int], selections: tuple[str, str], text: str
) -> Survey:
    """The survey with its frames divided; ``selections`` give the training and the test frames."""
    tested = set(chosen)
    rest, test = selections
    structures = [atoms for i, atoms in enumerate(found.structures) if i not in tested]
    sourced = [(found.structures[i], place(found.train, i)) for i in sorted(tested)]
    findings = check_tests(structures, {NAME: sourced}, found.report.fits_e0)
    return replace(
        found,
        train=f"{found.train}{rest}",
        structures=structures,
        tests={NAME: f"{found.train}{test}"},
        test_structures={NAME: [atoms for atoms, _ in sourced]},
        warnings=[finding.message for finding in findings],
        held_out=text,
    )

"""Labels that are not defined for a structure: reasons and refusals."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from muse_lr.data.formats import printable
from muse_lr.data.labels import applies
from muse_lr.errors import InputError

REASONS = {
    "stress": "a stress needs a periodic structure with a volume",
    "dipole": "the dipole of a crystal depends on the choice of its periodic images",
    "quadrupole": "the quadrupole of a periodic structure depends on the choice of its images",
    "dielectric": "a dielectric tensor is that of a crystal, which is periodic along three axes",
}


def why_undefined(label: str, atoms: Atoms) -> str | None:
    """Reason why a label is not defined for a structure; None if it is."""
    if applies(label, atoms):
        return None
    if label != "polarization":
        return REASONS[label]
    if atoms.pbc.any():
        return "the polarization of a charged structure depends on the origin"
    return "a structure without periodic axes has a dipole instead of a polarization"


def refuse_undefined(atoms: Atoms, label: str, key: str) -> None:
    """Raise an error for a stress of a periodic structure that has no volume."""
    if label == "stress" and atoms.pbc.any() and not applies(label, atoms):
        raise InputError(
            f"there is a stress under {key!r}, but the cell has no volume, because it has no "
            "vector along the open direction: give this vector, or remove the label"
        )


def undefined_text(label: str, found: Sequence[tuple[str, str]]) -> str:
    """Describe the frames with a label that is not defined for them.

    Parameters
    ----------
    label : str
    found : sequence of (str, str)
        Key and reason of each frame.
    """
    counts: dict[str, int] = {}
    for _, reason in found:
        counts[reason] = counts.get(reason, 0) + 1
    keys = " or ".join(repr(printable(key)) for key in dict.fromkeys(key for key, _ in found))
    several = len(counts) > 1
    reasons = "; ".join(
        f"{reason} ({count} frames)" if several else reason for reason, count in counts.items()
    )
    number = f"{len(found)} frame{'s have' if len(found) > 1 else ' has'}"
    return f"{number} a {label} under {keys} that cannot be used: {reasons}"

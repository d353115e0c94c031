"""Who sits the exam: the models of a study here, and potentials of other packages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from muse_lr.ablate.study import load_study
from muse_lr.errors import InputError, nearest

STUDY = Path(__file__).resolve().parent / "study.yaml"
#: Checks of energies at short distance, which a dispersion or Coulomb energy alone cannot pass.
WHOLE_ENERGY = ("curvature", "dimer_holes", "compression_holes")


@dataclass(frozen=True)
class Entry:
    """A potential.

    Attributes
    ----------
    name : str
        Name of its factory in :mod:`benchmarks.exam.potentials`, or of its variant in the study.
    title : str
        What it is, for the table.
    packages : tuple of str
        Distributions whose versions stand beside it.
    module : str
        What is imported; the potential is left out where this is missing.
    ours : bool
    install : str
        Arguments of ``pip install``.
    pins : dict of str to str
        Distribution -> the only version that serves.
    partial : bool
        Whether it is a part of an energy; :data:`WHOLE_ENERGY` is left out then.
    note : str
        Origin of the weights, and the like.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    module: str = "muse_lr"
    ours: bool = False
    install: str = ""
    pins: dict[str, str] = field(default_factory=dict)
    partial: bool = False
    note: str = ""

    def missing(self) -> str:
        """What has to be installed; empty if nothing."""
        found = all(find_spec(name) for name in self.module.split())
        if found and all(metadata.version(name) == pin for name, pin in self.pins.items()):
            return ""
        return f"pip install {self.install}"

    def versions(self) -> dict[str, str]:
        """Versions of its packages."""
        return {name: metadata.version(name) for name in self.packages}


#: Distribution and module of a backbone that another package makes.
BACKBONES = {
    "mace": ("mace-torch", "mace"),
    "so3krates": ("So3krates-torch", "so3krates_torch"),
}
MACE_NOTE = "random weights: the package ships none, and they are downloaded at first use"
TBLITE_NOTE = "H, C, N, O; a crash is a self-consistency that does not converge, or a field"
PEERS = (
    Entry("emt", "EMT", ("ase",), "ase", install="ase", note="Cu and Au"),
    Entry("lj", "Lennard-Jones", ("ase",), "ase", install="ase", note="argon, default cutoff"),
    Entry(
        "lj_smooth",
        "Lennard-Jones, `smooth=True`",
        ("ase",),
        "ase",
        install="ase",
        note="argon, default cutoff",
    ),
    Entry("gfn1", "GFN1-xTB", ("tblite",), "tblite", install="tblite", note=TBLITE_NOTE),
    Entry("gfn2", "GFN2-xTB", ("tblite",), "tblite", install="tblite", note=TBLITE_NOTE),
    Entry(
        "dftd3",
        "D3(BJ) of PBE",
        ("dftd3",),
        "dftd3",
        install="dftd3",
        partial=True,
        note="dispersion alone, default cutoffs",
    ),
    Entry(
        "dftd4",
        "D4 of PBE (pairs)",
        ("dftd4",),
        "dftd4",
        install="dftd4",
        partial=True,
        note="dispersion alone, default cutoffs, without the three-body term, with which crystals "
        "take too long",
    ),
    Entry(
        "torch_pme_p3m",
        "P3M",
        ("torch-pme",),
        "torchpme",
        install="torch-pme",
        partial=True,
        note="point charges Na +1, Cl -1 alone",
    ),
    Entry(
        "torch_pme_ewald",
        "Ewald",
        ("torch-pme",),
        "torchpme",
        install="torch-pme",
        partial=True,
        note="point charges Na +1, Cl -1 alone",
    ),
    Entry(
        "graph_longrange",
        "Gaussian charges, `auto`",
        ("graph-longrange",),
        "graph_longrange",
        install="graph-longrange==0.4.4",
        pins={"graph-longrange": "0.4.4"},
        partial=True,
        note="charges Na +1, Cl -1 of width 1 Å alone",
    ),
    Entry("mace", "MACE", ("mace-torch",), "mace", install="mace-torch", note=MACE_NOTE),
    Entry(
        "polar_mace",
        "PolarMACE",
        ("mace-torch", "graph-longrange"),
        "mace graph_longrange",
        install="mace-torch==0.3.16 graph-longrange==0.4.0",
        pins={"mace-torch": "0.3.16", "graph-longrange": "0.4.0"},
        note=MACE_NOTE,
    ),
    Entry(
        "so3lr",
        "SO3LR",
        ("So3krates-torch",),
        "so3krates_torch",
        install="So3krates-torch",
        note="weights of the wheel, default long-range cutoff of 12 Å",
    ),
    Entry(
        "chgnet",
        "CHGNet 0.3.0",
        ("chgnet",),
        "chgnet pymatgen",
        install="chgnet",
        note="weights of the wheel; float32",
    ),
    Entry(
        "sevennet",
        "SevenNet-0",
        ("sevenn",),
        "sevenn",
        install="sevenn",
        note="weights of the wheel; float32; needs e3nn 0.5, and so its own environment",
    ),
)


def ours() -> tuple[Entry, ...]:
    """The variants of the study."""
    entries = []
    for name in load_study(STUDY).variants:
        backbone, _, parts = name.partition("_")
        distribution, module = BACKBONES.get(backbone, ("", ""))
        packages = ("muse_lr", distribution) if distribution else ("muse_lr",)
        title = f"{backbone}, {parts}"
        modules = f"muse_lr {module}".strip()
        install = f"'muse_lr[{backbone}]'" if module else ""
        entries.append(Entry(name, title, packages, modules, True, install))
    return tuple(entries)


def chosen(names: Sequence[str] = ()) -> list[Entry]:
    """Entries by name or by the groups ``ours`` and ``peers``; all of them without names.

    Raises
    ------
    InputError
        For an unknown name.
    """
    groups = {"ours": ours(), "peers": PEERS}
    entries = {entry.name: entry for group in groups.values() for entry in group}
    found: dict[str, Entry] = {}
    for name in names or groups:
        if name not in groups and name not in entries:
            known = ", ".join((*groups, *entries))
            hint = nearest(name, [*groups, *entries])
            raise InputError(f"--only: there is no potential {name!r}{hint}; known: {known}")
        for entry in groups.get(name) or (entries[name],):
            found.setdefault(entry.name, entry)
    return list(found.values())

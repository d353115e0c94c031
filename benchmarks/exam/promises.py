"""What the documents of other packages say about what they fail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """A statement of a document.

    Attributes
    ----------
    checks : tuple of str
        Checks that it is about; empty for all.
    text : str
        What the document says, in our words or quoted.
    address : str
        Where it says so.
    """

    checks: tuple[str, ...]
    text: str
    address: str

    @property
    def sentence(self) -> str:
        """The statement with its address."""
        return f"{self.text} ({self.address})"


TORCH_PME = "https://github.com/lab-cosmo/torch-pme"
MACE = "https://github.com/ACEsuit/mace"
ASE = "https://ase-lib.org/ase/calculators"
SMOOTH = (
    "smooth_separation",
    "smooth_displacement",
    "smooth_strain",
    "smooth_rearrangement",
)
FAR = (
    "far_copies",
    "unlike_fragments",
    "leaving_ion",
    "tail_ion_ion",
    "tail_ion_dipole",
    "tail_dipole_dipole",
    "tail_neutral",
    "madelung",
)
SYMMETRIES = ("translation", "rotation", "reflection", "equivalent_cell", "left_handed_cell")
SLABS = ("slab_vacuum", "dipolar_slab", "capacitor")

OPEN_TORCH_PME = Promise(
    (*FAR, "rotation", "translation", "reflection"),
    "Of `periodic`, the docstring of `Calculator.forward` says that it indicates which directions "
    "are periodic and which are not. With none, three-dimensional sums are returned. The change "
    "that introduced it names the corrections for no and one periodic direction as the next step.",
    f"{TORCH_PME}/pull/200",
)
TBLITE = "https://tblite.readthedocs.io/en/latest/users/ase.html"
FIELD_OF_TBLITE = Promise(
    ("dipole_of_field", "metal_slab"),
    "The docstring of its calculator lists `electric_field`, a vector in V/Å. The library below "
    "refuses a numpy array, and the conversion of units a list.",
    TBLITE,
)
STEP = (
    'A request for smooth cutoffs describes it: "Due to the realspace cutoff a step function is '
    'introduced in the dispersion energy"; the widths of the smooth cutoff are zero by default.'
)
PROMISES: dict[str, tuple[Promise, ...]] = {
    "emt": (
        Promise(
            (),
            'The page presents it as "a simple calculator that can be used for quick '
            'demonstrations and tests".',
            f"{ASE}/emt.html",
        ),
    ),
    "lj": (
        Promise(
            SMOOTH,
            "The page says that the energy is shifted to zero at the cutoff, where the forces "
            "jump, and offers `smooth=True`.",
            f"{ASE}/others.html",
        ),
    ),
    "lj_smooth": (
        Promise(
            SMOOTH,
            "The page promises a continuous energy and continuous forces, and nothing of force "
            "constants.",
            f"{ASE}/others.html",
        ),
    ),
    "gfn1": (
        Promise(
            (),
            "The page lists energy, forces, stress for periodic boundaries, dipole and charges.",
            TBLITE,
        ),
        FIELD_OF_TBLITE,
    ),
    "gfn2": (
        Promise(
            (),
            "The page lists energy, forces, stress for periodic boundaries, dipole and charges.",
            TBLITE,
        ),
        FIELD_OF_TBLITE,
        Promise(SMOOTH, STEP, "https://github.com/tblite/tblite/issues/325"),
    ),
    "dftd3": (Promise(SMOOTH, STEP, "https://github.com/dftd3/simple-dftd3/issues/182"),),
    "dftd4": (Promise(SMOOTH, STEP, "https://github.com/dftd4/dftd4/issues/361"),),
    "torch_pme_p3m": (OPEN_TORCH_PME,),
    "torch_pme_ewald": (OPEN_TORCH_PME,),
    "graph_longrange": (
        Promise(
            SLABS,
            'The page lists "Correction terms to energy and features for handling slab geometries, '
            'as well as molecules in boxes".',
            "https://pypi.org/project/graph-longrange/",
        ),
        Promise(
            SLABS,
            "The documents of mace-scf, which uses it, restrict slabs to an open z axis; they do "
            "not restrict the charge.",
            "https://mace-scf.readthedocs.io/en/latest/concepts/boundary_conditions.html",
        ),
    ),
    "polar_mace": (
        Promise(
            ("stress",),
            "`MACECalculator` lists `stress` among the properties of PolarMACE. An issue reports "
            "that the strain of the long-range energy is left out.",
            f"{MACE}/issues/1642",
        ),
        Promise(
            ("total_charge", "dipole_of_field", *FAR, *SLABS),
            'The release notes say that "global charge and spin constraints are enforced" and '
            "that the model responds to external electric fields.",
            f"{MACE}/releases",
        ),
    ),
    "so3lr": (
        Promise(
            (*FAR, *SLABS, *SMOOTH),
            "The page says of the cutoff of the Coulomb sum that it introduces systematic errors, "
            "and offers PME for models that are trained with it.",
            "https://pypi.org/project/So3krates-torch/",
        ),
    ),
    "chgnet": (
        Promise(
            (),
            'The page calls it a "universal neural network potential" for crystals, with energy, '
            "forces, stress and magnetic moments.",
            "https://github.com/CederGroupHub/chgnet",
        ),
    ),
    "sevennet": (
        Promise(
            (),
            "The page of the calculator lists energy, forces and stress.",
            "https://github.com/MDIL-SNU/SevenNet",
        ),
    ),
}

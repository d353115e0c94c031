"""What ends a check: crashes, refusals, missing properties; and frames as structures."""

from __future__ import annotations

from ase import Atoms

from muse_lr.testing import exam
from testing.exam.toys import Ions, verdict


def test_a_crash_is_a_failure_and_the_exam_goes_on():
    class Fragile(Ions):
        def one(self, atoms, compute):
            if len(atoms) == 4:
                raise RuntimeError("stack smashed\nat line 7")
            return super().one(atoms, compute)

    crashed, fine = exam.examine(
        Fragile(), ["Na", "Cl"], only=["rotation", "dimer_holes"], quick=True
    )
    assert (crashed.status, fine.status) == ("fail", "pass")
    assert crashed.why.endswith("RuntimeError: stack smashed at line 7")
    assert len(crashed.structure) == 4
    assert crashed.value is None


def test_a_refusal_is_a_skip_with_its_reason():
    class Molecular(Ions):
        def one(self, atoms, compute):
            if atoms.pbc.any():
                raise NotImplementedError("molecules only")
            return super().one(atoms, compute)

    assert verdict("rotation", Molecular()).status == "pass"
    result = verdict("supercell", Molecular())
    assert (result.status, result.why) == ("skipped", "molecules only")


def test_properties_that_are_missing():
    class Bare(Ions):
        provides = frozenset()

    assert verdict("rotation", Bare()).status == "pass"
    result = verdict("forces", Bare())
    assert (result.status, result.why) == ("skipped", "the potential does not compute forces")


def test_frames_are_the_base():
    frame = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.6]], info={"energy": 1.0})
    made = exam.from_frames([frame], quick=True)
    assert [name for name, _ in made.molecules] == ["frame 0 (ClNa)"]
    assert made.molecules[0][1].info == {}
    assert made.crystals
    assert exam.examine(Ions(), made, only=["forces"])[0].status == "pass"

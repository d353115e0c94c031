"""What works without the extras, and what the errors say where one is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from muse_lr import InputError
from muse_lr.backbones.mace.imports import import_mace
from muse_lr.train.record import Record

WITHOUT_EXTRAS = """
import sys
extras = ("e3nn", "mace", "so3krates_torch", "tensorboard", "tad_dftd3", "phonopy", "nvalchemiops")
sys.modules.update(dict.fromkeys(extras))  # None: importing the name raises ModuleNotFoundError
import ase.build
import muse_lr

model = muse_lr.build_model({
    "elements": ["O", "H"],
    "backbone": {"kind": "painn"},
    "multiscale": {"kind": "muse"},
    "charges": {"kind": "conserved"},
    "heads": {"coulomb": {"kind": "coulomb"}},
})
water = ase.build.molecule("H2O")
water.calc = muse_lr.Calculator(model)
assert water.get_forces().shape == (3, 3)
try:
    muse_lr.build_model({"elements": ["O", "H"], "backbone": {"kind": "mace"}})
except muse_lr.InputError as error:
    print(error)
"""


@pytest.mark.slow
def test_painn_muse_and_coulomb_work_without_the_extras():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "pip install 'muse_lr[mace]'" in done.stdout


@pytest.mark.parametrize("absent", ["mace", "e3nn"])
def test_the_mace_backbone_names_its_extra(monkeypatch, absent):
    monkeypatch.setitem(sys.modules, absent, None)
    for name in [name for name in sys.modules if name.startswith("mace.")]:
        monkeypatch.delitem(sys.modules, name)
    if absent == "e3nn":
        monkeypatch.delitem(sys.modules, "mace", raising=False)
    with pytest.raises(InputError, match=r"pip install 'muse_lr\[mace\]'"):
        import_mace.__wrapped__()


def test_tensorboard_names_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=r"pip install 'muse_lr\[tensorboard\]'"):
        Record(tmp_path, tensorboard=True).open([])

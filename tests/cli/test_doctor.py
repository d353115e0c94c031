"""muse-lr doctor: what it lists, and what makes it fail."""

from __future__ import annotations

from importlib import metadata

import pytest

from muse_lr.cli import doctor
from muse_lr.cli.main import main
from muse_lr.config import plugins, registry

GOOD = plugins.Plugin("head", "good", "muse_lr.heads.zbl:ZBLHead", "good-heads", "1.2")
ABSENT = plugins.Plugin("head", "absent", "no_such_module_here:Head", "absent-heads", "0.1")
TAKEN = plugins.Plugin("head", "coulomb", "muse_lr.heads.zbl:ZBLHead", "taken-heads", "3")


def test_the_packages_are_those_of_the_metadata(monkeypatch):
    lines = [
        "torch>=2.6",
        'tool>=1; extra == "test"',
        'mace-torch>=0.3.13; extra == "mace"',
        'mace-torch>=0.3.13; extra == "all"',
        'old>=1; python_version < "3.12" and extra == "fast"',
        'muse_lr[fast,mace]; extra == "all"',
        'openmm>=8; extra == "peers"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    packages = {"torch": None, "tool": "test", "mace-torch": "mace", "old": "fast"}
    assert doctor.declared_packages() == packages


def test_the_installation_declares_the_core():
    packages = doctor.declared_packages()
    core = {name for name, extra in packages.items() if extra is None}
    assert {"torch", "numpy", "scipy", "ase", "vesin", "pydantic"} <= core
    assert "muse_lr" not in packages


@pytest.mark.parametrize("extra", [None, "mace"])
def test_only_a_missing_package_of_the_core_fails(monkeypatch, capsys, extra):
    monkeypatch.setattr(doctor, "declared_packages", lambda: {"no-such-package-here": extra})
    assert main(["doctor"]) == (2 if extra is None else 0)
    remedy = "no-such-package-here" if extra is None else "'muse_lr[mace]'"
    assert f"pip install {remedy}" in capsys.readouterr().out


def test_plugins_are_listed_and_broken_ones_do_not_fail(monkeypatch, capsys):
    found = (ABSENT, TAKEN, GOOD)
    for module in (plugins, registry):
        monkeypatch.setattr(module, "find_plugins", lambda: found)
    assert main(["doctor"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " plugin " in line]
    assert lines == [
        "  BROKEN   plugin head.absent of absent-heads 0.1: "
        "there is no module 'no_such_module_here'; install it",
        "  BROKEN   plugin head.coulomb of taken-heads 3: muse_lr has this name already",
        "  ok       plugin head.good of good-heads 1.2",
    ]

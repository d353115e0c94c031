"""Parts from other distributions: found by name, loaded only with trust when a file names code."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch
from ase.build import molecule

import muse_lr
from muse_lr.cli.main import main
from muse_lr.config.overrides import apply_override
from muse_lr.config.plugins import find_plugins
from muse_lr.config.registry import broken_plugins, kinds, lookup, origins
from muse_lr.interfaces.ase import Calculator
from muse_lr.model.serialization import load_model, model_state, save_model
from muse_lr.testing import as_potential

#: A head that adds a constant energy to each structure, and what is wrong with others.
MODULE = """
from muse_lr.config.schema import Strict
from muse_lr.heads.base import Head, HeadConfig

class ConstantConfig(HeadConfig):
    energy: float = 1.5

class Constant(Head):
    Config = ConstantConfig

    def __init__(self, config, context):
        super().__init__()
        self.energy = config.energy

    def forward(self, inputs):
        return inputs.geometry.cell.new_full((inputs.geometry.num_graphs,), self.energy)

class NoConfig(Head):
    def forward(self, inputs):
        return inputs.geometry.cell.new_zeros(inputs.geometry.num_graphs)

class OtherConfig(NoConfig):
    class Config(Strict):
        pass

class NoForward(Head):
    Config = ConstantConfig

class NoPart:
    Config = ConstantConfig
"""
SMALL = {"elements": ["H", "O"], "backbone": {"channels": 4, "layers": 1}, "charges": None}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that makes a distribution with entry points and a module importable."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def add(name: str, parts: dict[str, str], source: str = MODULE, version: str = "1.0") -> None:
        for old in site.glob(f"{name}-*.dist-info"):
            old.rename(site / f"{old.name}.removed")
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(head)
        (info / "top_level.txt").write_text(f"{name}\n")
        lines = [f"{key} = {value}" for key, value in parts.items()]
        (info / "entry_points.txt").write_text("\n".join(["[muse_lr.parts]", *lines, ""]))
        (site / f"{name}.py").write_text(source)
        find_plugins.cache_clear()

    yield add
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(site) in sys.modules[name].__file__:
            del sys.modules[name]
    monkeypatch.undo()
    find_plugins.cache_clear()


def with_head(kind: str) -> muse_lr.EnergyModel:
    return muse_lr.build_model({**SMALL, "heads": {"extra": {"kind": kind}}})


def energy(model: muse_lr.EnergyModel) -> float:
    batch = muse_lr.AtomsBatch.from_ase([molecule("H2O")], cutoff=model.cutoff)
    return float(model(batch).energy_parts["extra"][0])


def test_an_entry_point_is_a_name_like_those_of_the_package(install):
    install("plug_a", {"head.constant": "plug_a:Constant"})
    assert "constant" in kinds("head")
    assert broken_plugins() == []
    assert energy(with_head("constant")) == 1.5
    model = muse_lr.build_model({**SMALL, "heads": {"constant": {"energy": 2}}})
    assert model.config.heads["constant"].kind == "constant"  # the name of a head is its kind
    with pytest.raises(muse_lr.InputError, match="did you mean 'constant'"):
        with_head("constnt")
    with pytest.raises(muse_lr.InputError, match=r"extra\.enrgy: unknown key .*'energy'"):
        muse_lr.build_model({**SMALL, "heads": {"extra": {"kind": "constant", "enrgy": 2}}})


def test_a_module_in_the_working_directory(tmp_path, monkeypatch, install):
    (tmp_path / "local_head.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    model = with_head("local_head:Constant")
    assert sys.path == before
    assert energy(model) == 1.5
    assert model_state(model)["plugins"] == [
        {"slot": "head", "kind": "local_head:Constant", "distribution": "", "version": ""}
    ]
    del sys.modules["local_head"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent_module:Head", "no module 'absent_module'; install it"),
        ("plug_a.inner:Head", r"no module 'plug_a\.inner'"),
        ("plug_a:Absent", "module 'plug_a' has no 'Absent'"),
        ("plug_a:NoPart", r"NoPart is not derived from muse_lr\.heads\.base\.Head"),
        ("plug_a:ConstantConfig", "is not derived from"),
        ("plug_a:NoConfig", "NoConfig has no Config"),
        ("plug_a:OtherConfig", "Config of OtherConfig is not derived"),
        ("plug_a:NoForward", "NoForward does not define forward"),
        ("plug_a:", "package.module:Class is needed"),
        ("../plug_a:Constant", "package.module:Class is needed"),
        ("plug_a:Constant.Config", "package.module:Class is needed"),
        ("muse_lr.charges.fixed:FixedCharges", "is not derived from"),
    ],
)
def test_what_is_no_head_is_refused(install, kind, message):
    install("plug_a", {})
    with pytest.raises(muse_lr.InputError, match=message) as caught:
        with_head(kind)
    assert "heads.extra.kind: head kind" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('two\\nlines')", "importing plug_b failed: RuntimeError: two lines"),
        ("import absent_module", "importing plug_b failed: No module named 'absent_module'"),
        ("import plug_", "importing plug_b failed: No module named 'plug_'"),
        ("import sys; sys.exit(3)", "importing plug_b failed: SystemExit: 3"),
        ("def broken(", "importing plug_b failed: SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_harms_no_other_model(
    install, source, message, tmp_path, capsys
):
    install("plug_a", {"head.constant": "plug_a:Constant"})
    install("plug_b", {"head.broken": "plug_b:Head"}, source)
    (line,) = broken_plugins()
    assert line.startswith("head.broken of plug_b: ")
    assert message in line
    assert "\n" not in line
    with pytest.raises(muse_lr.InputError, match="plug_b"):
        with_head("broken")
    assert energy(with_head("constant")) == 1.5
    save_model(with_head("constant"), tmp_path / "model.pt")
    assert main(["info", str(tmp_path / "model.pt")]) == 0
    out, err = capsys.readouterr()
    assert "constant" in out
    assert err == f"muse-lr: {line}\n"


def test_doctor_lists_broken_plugins(install, capsys):
    install("plug_b", {"head.broken": "plug_b:Head"}, "1 / 0")
    main(["doctor"])
    assert "ZeroDivisionError" in "".join(capsys.readouterr())


def test_a_name_of_the_package_cannot_be_taken(install, tmp_path):
    install("plug_a", {"head.zbl": "plug_a:Constant", "heads.x": "plug_a:Constant"})
    assert broken_plugins() == [
        "head.zbl of plug_a: muse_lr has this name already",
        "heads.x of plug_a: the slots are backbone, multiscale, charges, head",
    ]
    assert lookup("head", "zbl").__module__ == "muse_lr.heads.zbl"
    # The plugin is not used, so that a file does not depend on it.
    model = with_head("zbl")
    assert origins(model.config.model_dump(mode="json")) == []


def test_a_name_that_two_distributions_register_is_ambiguous(install):
    install("plug_a", {"head.constant": "plug_a:Constant"})
    install("plug_b", {"head.constant": "plug_b:Constant"})
    assert broken_plugins() == [
        "head.constant of plug_a: plug_b has this name too",
        "head.constant of plug_b: plug_a has this name too",
    ]
    with pytest.raises(muse_lr.InputError, match="registered by plug_a and plug_b: uninstall"):
        with_head("constant")
    assert energy(with_head("plug_b:Constant")) == 1.5


def test_a_derived_builtin_must_free_its_kind(install):
    module = "from muse_lr.heads.zbl import ZBLHead\n\n\nclass Mine(ZBLHead):\n    pass\n"
    install("plug_a", {}, module)
    with pytest.raises(muse_lr.InputError, match="declare `kind: str`"):
        with_head("plug_a:Mine")


def test_an_installed_part_needs_no_trust(install, tmp_path):
    install("plug_a", {"head.constant": "plug_a:Constant"})
    model = with_head("constant")
    assert model_state(model)["plugins"] == [
        {"slot": "head", "kind": "constant", "distribution": "plug_a", "version": "1.0"}
    ]
    save_model(model, tmp_path / "model.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert energy(load_model(tmp_path / "model.pt")) == 1.5
        assert Calculator(tmp_path / "model.pt").model.config == model.config


def test_another_version_warns_and_a_missing_distribution_is_named(install, tmp_path, monkeypatch):
    install("plug_a", {"head.constant": "plug_a:Constant"})
    save_model(with_head("constant"), tmp_path / "model.pt")
    install("plug_a", {"head.constant": "plug_a:Constant"}, version="2.0")
    with pytest.warns(UserWarning, match=r"'constant' of plug_a 1\.0; .*plug_a 2\.0"):
        load_model(tmp_path / "model.pt")
    install("plug_a", {}, version="3.0")
    with pytest.raises(muse_lr.InputError, match=r"'constant' of plug_a 1\.0, which is not inst"):
        load_model(tmp_path / "model.pt")


def test_a_class_that_a_file_names_needs_trust(install, tmp_path, capsys):
    install("plug_a", {})
    path = tmp_path / "model.pt"
    save_model(with_head("plug_a:Constant"), path)
    for load in (load_model, Calculator):
        with pytest.raises(muse_lr.InputError, match=r"plug_a:Constant.*trust=True"):
            load(path)
    assert energy(load_model(path, trust=True)) == 1.5
    assert energy(Calculator(path, trust=True).model) == 1.5
    assert main(["info", str(path)]) == 2
    assert "trust=True or --trust" in capsys.readouterr().err
    assert main(["info", "--trust", str(path)]) == 0


def test_an_entry_point_does_not_run_a_file_of_the_working_directory(
    install, tmp_path, monkeypatch
):
    """A distribution whose module is gone: a file of that name that lies about is none of its."""
    install("plug_a", {"head.constant": "lies_about:Constant"})
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "lies_about.py").write_text(spy(tmp_path / "executed"))
    monkeypatch.chdir(folder)
    with pytest.raises(muse_lr.InputError, match="there is no module 'lies_about'"):
        with_head("constant")
    assert not (tmp_path / "executed").exists()
    with_head("lies_about:Constant")  # the user names it
    assert (tmp_path / "executed").exists()
    del sys.modules["lies_about"]


def test_a_part_that_nests_another_does_not_get_around_trust(install, tmp_path):
    """The gate is at the import: a key that only a plugin knows is not searched for names."""
    nesting = MODULE.replace(
        "        self.energy = config.energy\n",
        "        self.energy = config.energy\n"
        "        from muse_lr.config.registry import lookup\n"
        "        if config.inner:\n            lookup('head', config.inner)\n",
    ).replace("energy: float = 1.5", "energy: float = 1.5\n    inner: str = ''")
    install("plug_a", {"head.constant": "plug_a:Constant"}, nesting)
    install("plug_b", {}, spy(tmp_path / "executed"))
    state = model_state(with_head("constant"))
    state["config"]["heads"]["extra"]["inner"] = "plug_b:Constant"
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(muse_lr.InputError, match=r"plug_b:Constant.*trust=True"):
        load_model(tmp_path / "model.pt")
    assert not (tmp_path / "executed").exists()
    load_model(tmp_path / "model.pt", trust=True)
    assert (tmp_path / "executed").exists()


def test_an_override_to_a_class_from_outside_drops_the_keys_of_the_former_kind(install):
    install("plug_a", {})
    raw = {"model": {"heads": {"extra": {"kind": "coulomb", "accuracy": 1e-3}}}}
    kind = "model.heads.extra.kind"
    switched = apply_override(raw, kind, "plug_a:Constant")
    assert switched["model"]["heads"]["extra"] == {"kind": "plug_a:Constant"}
    with pytest.raises(muse_lr.InputError, match="not derived from"):
        apply_override(raw, kind, "plug_a:NoPart")


def test_what_a_part_declares_is_what_the_checks_expect(install):
    """A head from outside that sums the charges may have a Coulomb tail, whatever its class."""
    declares = MODULE.replace(
        "    Config = ConstantConfig\n", "    Config = ConstantConfig\n    {}\n", 1
    )
    install("plug_a", {}, declares.format("sums_coulomb = True"))
    install("plug_b", {}, declares.format("reads_potential = True"))
    install("plug_c", {})
    charges = {"kind": "latent"}
    found = {}
    for name in ("plug_a", "plug_b", "plug_c"):
        heads = {"extra": {"kind": f"{name}:Constant"}}
        model = muse_lr.build_model({**SMALL, "charges": charges, "heads": heads})
        found[name] = as_potential(model).coulomb
    assert found == {"plug_a": True, "plug_b": None, "plug_c": False}


def test_a_backbone_without_parameters(install):
    source = """
import torch
from muse_lr.backbones.base import Backbone, BackboneConfig
from muse_lr.structures.graph import NodeFeatures

class Analytic(Backbone):
    Config = BackboneConfig
    tensor_channels = {}
    scalar_channels = 1

    def __init__(self, config, elements):
        super().__init__()
        self.config, self.cutoff, self.layers = config, config.cutoff, 1

    def forward(self, graph, initial=None):
        node = graph.edge_index[1]
        energies = graph.composition.new_zeros(len(graph.composition))
        return NodeFeatures(energies[:, None]), energies.index_add(0, node, 1 / graph.edge_lengths)
"""
    install("plug_a", {}, source)
    model = muse_lr.build_model({**SMALL, "backbone": {"kind": "plug_a:Analytic"}, "heads": {}})
    batch = muse_lr.AtomsBatch.from_ase([molecule("H2O")], cutoff=model.cutoff)
    inverse = 1 / molecule("H2O").get_all_distances()[np.triu_indices(3, 1)]
    assert float(model(batch).energy[0]) == pytest.approx(2 * inverse.sum(), rel=1e-6)


def spy(marker) -> str:
    """A module that leaves a file behind when it is imported."""
    return f"open({str(marker)!r}, 'w').close()\n{MODULE}"


def test_an_untrusted_class_is_not_imported(install, tmp_path):
    install("plug_a", {}, spy(tmp_path / "executed"))
    state = model_state(muse_lr.build_model({**SMALL, "heads": {}}))
    sections = [
        {"heads": {"extra": {"kind": "plug_a:Constant"}}},
        {"backbone": {"kind": "plug_a:Constant"}},
        {"charges": {"kind": "plug_a:Constant"}},
        {"multiscale": {"kind": "plug_a:Constant"}},
        {"multiscale": {"kind": "muse", "backbone": "plug_a:Constant"}},
        {"multiscale": {"kind": "muse", "backbone": {"kind": "plug_a:Constant"}}},
        # The schema reads bytes as text, which a search for text does not find.
        {"multiscale": {"kind": "muse", "backbone": b"plug_a:Constant"}},
        {"multiscale": {"kind": "muse", "backbone": bytearray(b"plug_a:Constant")}},
    ]
    for section in sections:
        torch.save({**state, "config": {**state["config"], **section}}, tmp_path / "model.pt")
        with pytest.raises(muse_lr.InputError, match=r"plug_a:Constant.*trust=True"):
            load_model(tmp_path / "model.pt")
    assert not (tmp_path / "executed").exists()


def test_trust_inside_a_file_does_not_count(install, tmp_path):
    install("plug_a", {}, spy(tmp_path / "executed"))
    state = model_state(muse_lr.build_model({**SMALL, "heads": {}}))
    head = {"kind": "plug_a:Constant", "trust": True}
    state["config"]["heads"] = {"extra": head}
    torch.save({**state, "trust": True}, tmp_path / "model.pt")
    with pytest.raises(muse_lr.InputError, match=r"plug_a:Constant.*trust=True"):
        load_model(tmp_path / "model.pt")
    assert not (tmp_path / "executed").exists()


def test_nothing_is_imported_until_it_is_used(install, tmp_path):
    install("plug_a", {"head.constant": "plug_a:Constant"}, spy(tmp_path / "executed"))
    with_head("zbl")
    assert not (tmp_path / "executed").exists()
    with_head("constant")
    assert (tmp_path / "executed").exists()

"""The registry of parts and solvers by name.

Each part of the package has one line here. The values are import paths, so that the registry does
not import the parts. Parts of other packages are given as ``package.module:Class`` or registered by
an entry point of their distribution (:mod:`muse_lr.config.plugins`).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from muse_lr.config.plugins import (
    Plugin,
    external_kinds,
    find_plugins,
    load_external,
    owner_of,
)
from muse_lr.errors import InputError, nearest

BACKBONES = {
    "mace": "muse_lr.backbones.mace.backbone:MaceBackbone",
    "painn": "muse_lr.backbones.painn:PaiNN",
    "so3krates": "muse_lr.backbones.so3krates.backbone:So3kratesBackbone",
}
MULTISCALE = {
    "ewald_mp": "muse_lr.multiscale.ewald_mp:EwaldMessagePassing",
    "muse": "muse_lr.multiscale.muse.hierarchy:Muse",
    "virtual_nodes": "muse_lr.multiscale.virtual_nodes:VirtualNodes",
}
CHARGES = {
    "backbone": "muse_lr.charges.from_backbone:BackboneCharges",
    "conserved": "muse_lr.charges.readout:ConservedCharges",
    "fixed": "muse_lr.charges.fixed:FixedCharges",
    "fukui": "muse_lr.charges.fukui:FukuiCharges",
    "induced": "muse_lr.charges.induction_models:InducedCharges",
    "latent": "muse_lr.charges.readout:LatentCharges",
    "qeq": "muse_lr.charges.equilibration:EquilibratedCharges",
    "qet": "muse_lr.charges.qet:QETCharges",
    "scf": "muse_lr.charges.induction_models:SelfConsistentCharges",
    "split": "muse_lr.charges.split:SplitCharges",
}
HEADS = {
    "bond_barrier": "muse_lr.heads.bond_barrier:BondBarrierHead",
    "c6": "muse_lr.heads.dispersion.c6:C6Head",
    "coulomb": "muse_lr.heads.coulomb:CoulombHead",
    "d3": "muse_lr.heads.dispersion.d3:D3Head",
    "external_field": "muse_lr.heads.external_field:ExternalFieldHead",
    "field_features": "muse_lr.heads.field_features.head:FieldFeaturesHead",
    "mbd": "muse_lr.heads.dispersion.mbd:MBDHead",
    "zbl": "muse_lr.heads.zbl:ZBLHead",
}
SOLVERS = {
    "reference": "muse_lr.electrostatics.ewald.reference:ReferenceSolver",
    "pme": "muse_lr.electrostatics.mesh.pme:PMESolver",
    "torchpme": "muse_lr.electrostatics.engines.torchpme:TorchPMESolver",
    "torchpme_pme": "muse_lr.electrostatics.engines.torchpme:TorchPMEMeshSolver",
    "nvalchemi": "muse_lr.electrostatics.engines.nvalchemi:NvalchemiSolver",
    "nvalchemi_pme": "muse_lr.electrostatics.engines.nvalchemi:NvalchemiMeshSolver",
}

SLOTS = {
    "backbone": BACKBONES,
    "multiscale": MULTISCALE,
    "charges": CHARGES,
    "head": HEADS,
    "solver": SOLVERS,
}
#: The base class that a part of another package must inherit from.
BASES = {
    "backbone": "muse_lr.backbones.base:Backbone",
    "multiscale": "muse_lr.multiscale.base:Multiscale",
    "charges": "muse_lr.charges.base:ChargeModel",
    "head": "muse_lr.heads.base:Head",
}


def kinds(slot: str) -> list[str]:
    """All kinds of a slot, including those of installed plugins."""
    taken = SLOTS[slot]
    plugins = [plugin.kind for plugin in find_plugins() if plugin.slot == slot]
    return sorted({*taken, *plugins})


def lookup(slot: str, kind: object) -> Any:
    """The class of a ``kind`` in ``slot`` (a key of :data:`SLOTS`).

    Parameters
    ----------
    slot : str
    kind : str
        A registered name, or ``package.module:Class``.

    Raises
    ------
    InputError
        If the kind is not registered, or if the class cannot be used in this slot.
    """
    entries = SLOTS[slot]
    if isinstance(kind, str) and kind in entries:
        return _load(entries[kind])
    base = BASES.get(slot)
    if isinstance(kind, str) and base is not None:
        if ":" in kind:
            return load_external(slot, kind, _load(base))
        plugins = _plugins_of(slot, kind)
        if len(plugins) > 1:
            owners = " and ".join(plugin.distribution for plugin in plugins)
            raise InputError(
                f"{slot} kind {kind!r} is registered by {owners}: uninstall all but one of them, "
                "or name the class as package.module:Class"
            )
        if plugins:
            return plugins[0].load(_load(base))
    known = kinds(slot)
    raise InputError(
        f"unknown {slot} kind {kind!r}{nearest(str(kind), known)}; known: {', '.join(known)}"
    )


def origins(config: Mapping[str, Any]) -> list[dict[str, str]]:
    """Kind, distribution and version of the plugins in a ``model`` section.

    The distribution of a part that is named as ``package.module:Class`` is empty if the module
    belongs to none.
    """
    found = []
    for slot, kind in dict.fromkeys(external_kinds(config)):
        plugins = _plugins_of(slot, kind)
        if kind in SLOTS[slot]:
            continue  # a plugin of the same name is not used
        if ":" in kind:
            name, version = owner_of(kind.split(":")[0])
        elif plugins:
            name, version = plugins[0].distribution, plugins[0].version
        else:
            continue
        found.append({"slot": slot, "kind": kind, "distribution": name, "version": version})
    return found


def plugin_problems(plugin: Plugin) -> list[str]:
    """Why a plugin cannot be used; empty if it can. Imports the plugin."""
    if plugin.slot not in BASES:
        return [f"the slots are {', '.join(BASES)}"]
    found = []
    others = {other.distribution for other in _plugins_of(plugin.slot, plugin.kind)}
    others -= {plugin.distribution}
    if plugin.kind in SLOTS[plugin.slot]:
        found.append("muse_lr has this name already")
    elif others:
        found.append(f"{', '.join(sorted(others))} has this name too")
    try:
        plugin.load(_load(BASES[plugin.slot]))
    except InputError as error:
        found.append(str(error).removeprefix(f"{plugin.label}: "))
    return found


def broken_plugins() -> list[str]:
    """One line for each problem of an installed plugin. Imports all plugins."""
    return [
        f"{plugin.name} of {plugin.distribution}: {problem}"
        for plugin in find_plugins()
        for problem in plugin_problems(plugin)
    ]


def _plugins_of(slot: str, kind: str) -> list[Plugin]:
    return [plugin for plugin in find_plugins() if (plugin.slot, plugin.kind) == (slot, kind)]


def _load(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(module), name)

"""What can be plugged in, by name. A new part is one file and one line here.

The values are import paths, so that naming a part does not import the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

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
    "backbone": "muse_lr.charges.from_backbone:OwnCharges",
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


def lookup(slot: str, kind: object) -> Any:
    """The class registered as ``kind`` in ``slot`` (a key of :data:`SLOTS`).

    Raises
    ------
    InputError
        If nothing of that name is registered.
    """
    entries = SLOTS[slot]
    if not isinstance(kind, str) or kind not in entries:
        known = ", ".join(entries) or "none yet"
        raise InputError(
            f"unknown {slot} kind {kind!r}{nearest(str(kind), entries)}; known: {known}"
        )
    module, name = entries[kind].split(":")
    return getattr(import_module(module), name)

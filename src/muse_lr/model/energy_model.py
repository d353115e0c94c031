"""The energy model: it composes the parts and sums their energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from ase.data import atomic_numbers
from torch import Tensor, nn

from muse_lr.config.registry import lookup
from muse_lr.electrostatics.base import EVERY_DERIVATIVE, Derivative
from muse_lr.errors import InputError
from muse_lr.heads.base import Head
from muse_lr.model.assembly import Parts, build_parts
from muse_lr.model.config import ModelConfig, e0_numbers
from muse_lr.model.derivatives import add_derivatives
from muse_lr.model.energies import evaluate_energies
from muse_lr.model.output import ModelOutput
from muse_lr.model.requests import Selection, requested, selected
from muse_lr.model.response import BY_FIELD, BY_POSITIONS, RESPONSES, compute_responses
from muse_lr.model.text import model_text
from muse_lr.model.validation import check_batch
from muse_lr.structures.geometry import strained_geometry

if TYPE_CHECKING:
    from muse_lr.model.compilation.compiled_model import CompiledProgram
    from muse_lr.structures.batch import AtomsBatch


class EnergyModel(nn.Module):
    """E = sum_i E0(Z_i) + E_backbone + E_multiscale + sum over heads E_head[density, geometry].

    Parameters
    ----------
    config : ModelConfig

    Attributes
    ----------
    config : ModelConfig
        Complete configuration, from which the same model can be built again.
    cutoff : float
        Neighbor-list cutoff that the parts need, A.
    size_consistent : bool
        Whether every part is size-consistent.
    program : CompiledProgram or None
        What :func:`muse_lr.compile_model` made; it is used where it gives what is requested.

    Raises
    ------
    InputError
        If the parts are not compatible.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        elements = config.elements
        if elements is None and config.backbone is not None:
            elements = lookup("backbone", config.backbone.kind).default_elements(config.backbone)
        if elements is None:
            raise InputError("model.elements is needed to build a model without data")
        self.elements = elements
        self.program: CompiledProgram | None = None
        parts = build_parts(config, elements)
        self.backbone, self.multiscale = parts.backbone, parts.multiscale
        self.charges = parts.charges
        # A list, because a head may have a name that torch does not allow for a module.
        self.head_names = tuple(parts.heads)
        self.head_list = nn.ModuleList(parts.heads.values())
        self._freeze_idle_parameters()
        self._dtype_marker: Tensor
        # Keeps the dtype of a model without parameters.
        self.register_buffer("_dtype_marker", torch.zeros(()), persistent=False)
        self._element_index: Tensor
        index = torch.full((len(atomic_numbers) + 1,), -1, dtype=torch.int64)
        index[[atomic_numbers[element] for element in elements]] = torch.arange(len(elements))
        self.register_buffer("_element_index", index, persistent=False)
        built = {"backbone": self.backbone, "multiscale": self.multiscale}
        effective = {slot: part.config for slot, part in built.items() if part is not None}
        self.config = config.model_copy(update={"elements": elements, **effective})
        own = None if self.backbone is None else self.backbone.atomic_energies
        self.set_e0(config.e0 if config.e0 is not None else own)
        weights = [] if self.backbone is None else list(self.backbone.parameters())
        if weights:  # those from a file keep their precision
            self.to(weights[0].dtype)

    def _freeze_idle_parameters(self) -> None:
        """Freeze the parameters of tensor features if no part of the model uses the features."""
        if self.backbone is None or any(p.reads_tensors for p in self.parts.named().values()):
            return
        for name in self.backbone.tensor_parameters:
            self.backbone.get_parameter(name).requires_grad_(False)

    def set_e0(self, e0: Mapping[str, float] | str | None) -> None:
        """Set the energies of the isolated atoms, eV; None and "zero" set all of them to zero.

        They are stored as Python numbers, so that casting the model does not round them.
        """
        e0 = e0_numbers(e0, self.elements)
        self.config = self.config.model_copy(update={"e0": e0})
        self._e0 = tuple((e0 or dict.fromkeys(self.elements, 0.0)).values())

    @property
    def cutoff(self) -> float:
        """Neighbor-list cutoff that the parts need, A."""
        return max((part.cutoff for part in self.parts.named().values()), default=0.0) or 1.0

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the features and charges; energies are always summed in float64."""
        return self._dtype_marker.dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters and buffers."""
        return self._dtype_marker.device

    def composition(self, batch: AtomsBatch) -> Tensor:
        """(n_atoms, n_elements) one-hot elements of the atoms, in the precision of the model."""
        species = self._element_index[batch.numbers]
        return nn.functional.one_hot(species, len(self.elements)).to(self.dtype)

    def isolated_energies(self, batch: AtomsBatch) -> Tensor:
        """(n_atoms,) E0 of the element of each atom, eV, float64."""
        e0 = torch.tensor(self._e0, dtype=torch.float64, device=self.device)
        return e0[self._element_index[batch.numbers]]

    @property
    def size_consistent(self) -> bool:
        """Whether the energies of distant copies add up, apart from long-range tails."""
        return all(part.size_consistent for part in self.parts.named().values())

    @property
    def heads(self) -> dict[str, Head]:
        """The heads by name."""
        return dict(zip(self.head_names, cast("list[Head]", list(self.head_list)), strict=True))

    @property
    def parts(self) -> Parts:
        """The parts by slot."""
        return Parts(self.backbone, self.multiscale, self.charges, self.heads)

    def forward(
        self,
        batch: AtomsBatch,
        compute: Sequence[str] | str = (),
        create_graph: bool | None = None,
        only: Sequence[str] | str | None = None,
    ) -> ModelOutput:
        """Compute energies and the requested quantities.

        Parameters
        ----------
        batch : AtomsBatch
            The cutoff of its neighbor lists must be at least :attr:`cutoff`.
        compute : sequence of str, or str
            Any of forces, stress, parts (forces or stress of each named energy too), charges,
            dipole, quadrupole, polarization, potential, bec (Born effective charges),
            polarizability, dielectric (the electronic dielectric tensor).
        create_graph : bool, optional
            Whether the derivatives can be differentiated again. Default: only in training mode.
        only : sequence of str, or str, optional
            Energies to evaluate: e0, backbone (all its terms), multiscale, charges, heads by name.
            The output has their sum and its derivatives. E0 is left out unless it is named. Parts
            that neither these energies nor ``compute`` need are not evaluated. Default: all.

        Raises
        ------
        InputError
            For a structure that is not supported, an unknown name, or an argument of another type.
        """
        compute = requested(compute, create_graph, self.charges is not None)
        chosen = selected(only, self.parts, compute)
        self.check(batch)
        program = None if create_graph or only is not None else self.program
        if program is not None and program.serves(self, batch, compute):
            return program(self, batch, compute)
        keep = self.training if create_graph is None else create_graph
        return self._evaluate(batch, compute, chosen, keep)

    def _evaluate(
        self, batch: AtomsBatch, compute: Sequence[str], chosen: Selection, keep: bool
    ) -> ModelOutput:
        """:meth:`forward` of a checked batch; ``keep`` for derivatives that can be derived."""
        forces, stress = "forces" in compute, "stress" in compute
        responses = set(compute) & set(RESPONSES)
        by_positions, by_field = bool(responses & BY_POSITIONS), bool(responses & BY_FIELD)
        positions = batch.positions
        if (forces or by_positions) and not positions.requires_grad:
            positions = positions.detach().requires_grad_(True)
        size = (batch.num_graphs, 3, 3)
        strain = positions.new_zeros(size).requires_grad_(True) if stress else None
        derived = forces or stress or by_positions or by_field or "potential" in responses
        with torch.set_grad_enabled(torch.is_grad_enabled() or derived):
            geometry = strained_geometry(batch, positions, strain)
            if by_field:
                geometry = replace(geometry, field=geometry.field.detach().requires_grad_(True))
            derivatives = self._derivatives(batch, compute, keep)
            options = derivatives, "potential" in responses, chosen
            output = evaluate_energies(self, batch, geometry, *options)
            if responses and self.charges is not None:
                asked = geometry, positions, responses, keep
                vars(output).update(compute_responses(output, self.charges, self.heads, *asked))
            if forces or stress:
                leaves = (positions if forces else None, strain)
                add_derivatives(output, geometry, *leaves, keep, "parts" in compute)
        if "charges" in compute and output.density is not None:
            output.charges = output.density.charges
        return output

    def _derivatives(
        self, batch: AtomsBatch, compute: Sequence[str], keep: bool
    ) -> frozenset[Derivative]:
        """Derivatives of the energy that will be computed, by which solvers are selected."""
        own_leaves = batch.positions.requires_grad or batch.cell.requires_grad
        # The potential is a derivative with respect to the charges. Few solvers support the second.
        if own_leaves or (keep and (not self.training or "potential" in compute)):
            return EVERY_DERIVATIVE
        asked: set[Derivative] = {"forces"}
        if "stress" in compute:
            asked.add("stress")
        if keep and "forces" in compute:
            asked.add("force_loss")
        if keep and "stress" in compute:
            asked.add("stress_loss")
        return frozenset(asked)

    def check(self, batch: AtomsBatch) -> None:
        """Raise an :class:`InputError` for structures that the model does not support."""
        check_batch(batch, self._element_index >= 0, self.cutoff, self.parts)

    def __repr__(self) -> str:
        return model_text(self)

    def tree(self) -> str:
        """All modules of the model with their sizes, as torch prints them."""
        return super().__repr__()

    def knows(self, numbers: Tensor) -> Tensor:
        """(n,) bool: whether the model supports these atomic numbers."""
        return self._element_index[numbers] >= 0

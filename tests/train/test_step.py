"""A step divided into micro-batches and ranks is the same step."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from helpers import painn_section, random_model
from muse_lr.data.dataset import Dataset, divide
from muse_lr.data.reading import Frame
from muse_lr.train.config import BatchConfig, MicroBatchConfig, TrainingConfig
from muse_lr.train.evaluate import evaluate
from muse_lr.train.losses import label_counts
from muse_lr.train.ranks import Ranks
from muse_lr.train.step import add_gradients
from training_data import labeled_frames

MUSE = {"kind": "muse", "levels": 1, "radius": 2.4, "cutoff": 5.0, "tensor_channels": 4}
SHORT = {"charges": None, "heads": {}}
SECTIONS = {
    "short_range": SHORT,
    "charges": {},
    "both": {"multiscale": MUSE},
}


@dataclass
class OneOf(Ranks):
    """One of several ranks, without processes: ``counts`` are those of the whole step."""

    rank: int
    size: int
    counts: Tensor

    def sum(self, values: Tensor) -> Tensor:
        return self.counts if values.shape == self.counts.shape else values


def dataset_of(cutoff: float, labels: tuple[str, ...]) -> Dataset:
    """Ion and water at different distances; dipoles and forces on some of them only."""
    frames = []
    for index, atoms in enumerate(labeled_frames(9)):
        if index % 3 == 2:  # sizes differ, and so do the counts of labels
            atoms += Atoms("Na", [[0, 9.0, index]])
            atoms.info["total_charge"] += 1
            atoms.arrays["REF_forces"] = np.ones((5, 3))
        found = {
            "energy": np.array(atoms.info["REF_energy"]),
            "forces": atoms.arrays["REF_forces"],
            "dipole": np.array(atoms.info["REF_dipole"]),
        }
        keep = [label for label in found if label != "dipole" or index % 2]
        keep = [label for label in keep if label != "forces" or index % 4]
        frames.append(Frame(atoms, {label: found[label] for label in keep}, str(index)))
    return Dataset.from_frames(frames, cutoff, labels)


def gradients(model, dataset, config, ranks) -> tuple[float, Tensor]:
    model.zero_grad()
    indices = list(range(len(dataset)))
    loss = add_gradients(model, dataset, indices, config, ranks)
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return float(loss), torch.cat([g.flatten() for g in found])


_prepared: dict[str, SimpleNamespace] = {}


def prepared(name: str) -> SimpleNamespace:
    if name not in _prepared:
        weights = {"energy": 1.0, "forces": 10.0} | ({} if name == "short_range" else {"dipole": 2})
        section = painn_section(["H", "O", "Na", "Cl"], **SECTIONS[name])
        model = random_model(section).train()
        dataset = dataset_of(model.cutoff, tuple(weights))
        _prepared[name] = SimpleNamespace(model=model, dataset=dataset, weights=weights, whole={})
    return _prepared[name]


@pytest.mark.parametrize("name", SECTIONS)
@given(
    graphs=st.none() | st.integers(1, 9),
    edges=st.none() | st.integers(1, 60),
    size=st.integers(1, 3),
    function=st.sampled_from(["huber", "mse"]),
)
def test_gradients_do_not_depend_on_the_division(name, graphs, edges, size, function):
    case = prepared(name)
    keys = {"loss": case.weights, "loss_function": function}
    whole = TrainingConfig(**keys)
    if function not in case.whole:
        case.whole[function] = gradients(case.model, case.dataset, whole, Ranks())
    loss, expected = case.whole[function]
    batch = case.dataset.batch(range(len(case.dataset)))
    counts = label_counts(batch, tuple(case.weights))
    assert len(set(counts.tolist())) == len(counts), "labels are missing on some structures"
    divided = TrainingConfig(**keys, micro_batch={"graphs": graphs, "edges": edges})
    parts = [
        gradients(case.model, case.dataset, divided, OneOf(rank, size, counts))
        for rank in range(size)
    ]
    assert sum(part[0] for part in parts) == pytest.approx(loss, rel=1e-12)
    found = torch.stack([part[1] for part in parts]).sum(0)
    assert float((found - expected).norm()) <= 1e-12 * float(expected.norm())


def test_the_limits_divide(monkeypatch):
    """Several parts are computed, none above the limit but a structure that is above it alone."""
    case = prepared("short_range")
    edges = np.array([s.edge_index.shape[1] for s in case.dataset.structures])
    limit = int(edges.min()) * 2
    parts = case.dataset.micro_batches(range(9), None, limit)
    assert [i for part in parts for i in part] == list(range(9))
    assert len(parts) > 2
    assert all(edges[part].sum() <= limit or len(part) == 1 for part in parts)
    calls = []
    forward = type(case.model).forward
    monkeypatch.setattr(
        type(case.model), "forward", lambda self, *a, **k: calls.append(1) or forward(self, *a, **k)
    )
    config = TrainingConfig(loss=case.weights, micro_batch={"edges": limit})
    gradients(case.model, case.dataset, config, Ranks())
    assert len(calls) == len(parts)


def test_an_evaluation_does_not_depend_on_the_division():
    case = prepared("charges")
    whole = evaluate(case.model, case.dataset, BatchConfig(graphs=9))
    parts = evaluate(case.model, case.dataset, BatchConfig(graphs=9), MicroBatchConfig(edges=20))
    case.model.train()
    assert parts.metrics == pytest.approx(whole.metrics, rel=1e-9)
    for one, two in zip(whole.frames, parts.frames, strict=True):
        assert two.info["muse_energy"] == pytest.approx(one.info["muse_energy"], abs=1e-9)


@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    count=st.none() | st.integers(1, 10),
    limit=st.none() | st.integers(1, 60),
)
def test_groups_are_as_large_as_the_limits_allow(sizes, count, limit):
    order = list(range(len(sizes)))[::-1]
    sizes = np.array(sizes)
    groups = divide(order, sizes[order], count, limit)
    assert [i for group in groups for i in group] == order
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        total = sizes[group].sum()
        assert group
        assert count is None or len(group) <= count
        assert limit is None or total <= limit or len(group) == 1
        if following is not None:
            full = count is not None and len(group) == count
            assert full or (limit is not None and total + sizes[following[0]] > limit)

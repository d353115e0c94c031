"""What all tests share: one thread, a known default dtype, Hypothesis profiles."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

#: "full": the whole matrix, with few drawn structures for each of its hundreds of combinations (the
#: first that Hypothesis draws is a single atom, so that less than four would test little); "deep":
#: the pairwise cover with many; anything else: the pairwise cover with few, without slow tests.
MODE = os.environ.get("MUSE_LR_TEST")

_COMMON = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "print_blob": False,
    # Explaining a failure costs as much again as shrinking it, minutes each.
    "phases": (Phase.explicit, Phase.generate, Phase.shrink),
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("few", max_examples=4, **_COMMON)
settings.register_profile("many", max_examples=25, **_COMMON)
settings.load_profile("many" if MODE == "deep" else "few")

torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests, unless the full matrix or a marker was asked for."""
    if MODE == "full" or config.getoption("markexpr"):
        return
    skip = pytest.mark.skip(reason="slow: set MUSE_LR_TEST=full or use -m slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _default_dtype_does_not_leak() -> Iterator[None]:
    """No test, and nothing it calls, may leave another default dtype behind."""
    before = torch.get_default_dtype()
    yield
    after = torch.get_default_dtype()
    torch.set_default_dtype(before)
    assert after == before, f"the default dtype was left at {after}"


@pytest.fixture
def float64() -> Iterator[None]:
    """Make new tensors and modules float64 within one test."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)

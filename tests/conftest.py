"""Shared by all tests: one thread, a known default dtype, Hypothesis profiles, times."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

#: "full": every combination of parts with few drawn structures each, and the slow tests; "deep": a
#: pairwise cover of the parts with many structures; "quick": each part once with the fewest
#: structures, and the folders of QUICK; anything else: each part twice, with few structures.
MODE = os.environ.get("MUSE_LR_TEST")
QUICK = ("config", "math", "model/test_contract.py", "regression", "structures")
#: Processor time above which a test should be marked slow, and above which it fails without the
#: mark, s. That of its child processes counts. Cores of one kind differ by a factor of two.
SHOULD, LIMIT = 20.0, 60.0
ROOT = Path(__file__).parent

_COMMON = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "print_blob": False,
    # Explaining a failure costs as much again as shrinking it, minutes each.
    "phases": (Phase.explicit, Phase.generate, Phase.shrink),
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
# The first structure that Hypothesis draws is a single atom: one example would test little.
settings.register_profile("fewest", max_examples=2, **_COMMON)
settings.register_profile("few", max_examples=4, **_COMMON)
settings.register_profile("many", max_examples=25, **_COMMON)
settings.load_profile({"deep": "many", "quick": "fewest"}.get(MODE or "", "few"))

torch.set_num_threads(1)

_seconds: dict[str, float] = defaultdict(float)
_counts: dict[str, int] = defaultdict(int)


def _is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests, unless the full matrix or a marker was asked for."""
    if MODE == "quick":
        chosen = tuple(str(ROOT / name) for name in QUICK)
        left_out = [item for item in items if not str(item.path).startswith(chosen)]
        items[:] = [item for item in items if str(item.path).startswith(chosen)]
        config.hook.pytest_deselected(items=left_out)
    if MODE == "full" or config.getoption("markexpr"):
        return
    skip = pytest.mark.skip(reason="slow: set MUSE_LR_TEST=full or use -m slow")
    for item in items:
        if _is_slow(item):
            item.add_marker(skip)


_started: dict[str, float] = {}


def _processor_time() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Start the clock of a test."""
    _started[item.nodeid] = _processor_time()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Name a test that takes longer than SHOULD without the mark, and fail it above LIMIT."""
    outcome = yield
    report = outcome.get_result()
    if report.when != "call" or not report.passed:
        return
    seconds = _processor_time() - _started.pop(item.nodeid)
    if seconds > SHOULD and MODE not in ("full", "deep") and not _is_slow(item):
        text = (
            f"{item.nodeid} took {seconds:.0f} s: mark it slow, or make it shorter than "
            f"{SHOULD:.0f} s"
        )
        if seconds > LIMIT:
            report.outcome, report.longrepr = "failed", text
        else:
            item.warn(pytest.PytestWarning(text))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the time of each folder."""
    folder = "/".join(Path(report.nodeid.split("::")[0]).parts[:2])
    _seconds[folder] += report.duration
    _counts[folder] += report.when == "call"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the time of each folder, over all processes."""
    terminalreporter.section("seconds by folder")
    for folder, seconds in sorted(_seconds.items(), key=lambda pair: -pair[1]):
        terminalreporter.write_line(f"{seconds:8.1f}  {_counts[folder]:5d} tests  {folder}")


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

"""Options of pytest for the physics exam: ``pytest --audit module:factory``.

The plugin is loaded with every run of pytest. It therefore imports nothing but pytest until
``--audit`` is given.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from muse_lr.testing.exam import Bench


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    group = parser.getgroup("audit", "physics exam of an interatomic potential (muse_lr)")
    group.addoption(
        "--audit",
        metavar="MODULE:FACTORY",
        help="add one test for each check of the exam to the potential that the factory makes",
    )
    group.addoption("--audit-elements", metavar="H,O", help="elements of the structures")
    group.addoption("--audit-quick", action="store_true", help="fewer and smaller structures")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker ``audit``, by which ``-m audit`` selects the exam alone."""
    config.addinivalue_line("markers", "audit: a check of the physics exam")


@pytest.hookimpl(tryfirst=True)  # before -k and -m select
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the checks if ``--audit`` is given."""
    if config.getoption("audit") is None:
        return
    from muse_lr.errors import InputError
    from muse_lr.testing.exam import CHECKS

    audit = Audit.from_parent(session, name="audit", nodeid="audit")
    try:
        audit.bench.require_support()
    except InputError as error:
        raise pytest.UsageError(str(error)) from error
    items += [CheckItem.from_parent(audit, name=name) for name in CHECKS]


class Audit(pytest.Collector):
    """The exam of one potential; its checks share what they find out about it."""

    def collect(self) -> list[pytest.Item]:
        """Nothing: the plugin adds the checks."""
        return []

    @cached_property
    def bench(self) -> Bench:
        """Potential and structures of the options."""
        from muse_lr.errors import InputError
        from muse_lr.testing.exam import Bench, from_elements
        from muse_lr.testing.exam.subject import elements_of, from_factory

        potential, single = from_factory(self.config.getoption("audit"), "--audit")
        given = (self.config.getoption("audit_elements") or "").split(",")
        elements = [word for word in given if word] or list(elements_of(potential))
        if not elements:
            raise InputError(
                "--audit-elements is needed, such as --audit-elements H,O: the calculator has no "
                "list `elements`"
            )
        quick = self.config.getoption("audit_quick")
        return Bench(potential, from_elements(elements, quick), quick, single)


class CheckItem(pytest.Item):
    """One check of the exam."""

    parent: Audit

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.add_marker("audit")

    def runtest(self) -> None:
        """Run the check; what is declared is an expected failure."""
        from muse_lr.testing.exam import check_class, run_check
        from muse_lr.testing.suite import report

        report(run_check(check_class(self.name), self.parent.bench))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where a failure is listed."""
        return self.path, None, f"audit: {self.name}"

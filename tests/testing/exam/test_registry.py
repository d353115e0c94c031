"""Names and texts of the checks."""

from __future__ import annotations

import re

import pytest

from muse_lr.testing import exam


@pytest.mark.parametrize("name", exam.CHECKS)
def test_every_check_is_described(name):
    check = exam.check_class(name)
    assert check.name == name
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
    assert check.tolerance > 0
    for text in (check.title(), check.equation, check.reason, check.meaning, check.remedy):
        assert len(text) > 6
    assert check.remedy.endswith(".")
    assert check.meaning.endswith(".")


def test_the_order_is_that_of_the_exam():
    chosen = exam.chosen_checks(["forces", "translation"])
    assert [check.name for check in chosen] == ["translation", "forces"]
    assert [check.name for check in exam.chosen_checks()] == list(exam.CHECKS)


def test_structures_are_the_same_every_time():
    first, second = (exam.from_elements(["H", "O"]) for _ in range(2))
    for kind in ("molecules", "crystals", "slabs", "perfect", "atoms"):
        for (name, a), (other, b) in zip(getattr(first, kind), getattr(second, kind), strict=True):
            assert name == other
            assert a == b

"""Suggestions of error messages."""

from __future__ import annotations

import pytest

from muse_lr.errors import nearest


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [
        ("REF_enrgy", ["REF_energy", "REF_dipole"], "REF_energy"),
        ("NA", ["Na", "Cl"], "Na"),
        ("C", ["H", "Cl"], None),  # chemical symbols
        ("REF_forces", ["REF_energy", "REF_dipole"], None),
    ],
)
def test_only_near_words_are_suggested(word, known, found):
    assert nearest(word, known) == (f" (did you mean '{found}'?)" if found else "")

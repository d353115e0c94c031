"""The documentation says what is so."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import muse_lr.model.build

ROOT = Path(__file__).resolve().parents[2]


def test_readme_example():
    results = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert results.attempted >= 8
    assert results.failed == 0


def test_module_example():
    assert doctest.testmod(muse_lr.model.build).failed == 0


def test_generated_pages_are_up_to_date():
    script = ROOT / "docs" / "generate.py"
    result = subprocess.run([sys.executable, str(script), "--check"], capture_output=True)
    assert result.returncode == 0, result.stderr.decode()


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"

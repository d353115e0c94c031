"""The documentation says what is so."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import muse_lr.model.build
from muse_lr.ablate.proposal.text import next_command
from muse_lr.cli.main import build_parser

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


PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """Anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    counts: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ +(.+)$", text, re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)  # links by their text
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{counts[slug]}" if counts[slug] else slug)
        counts[slug] += 1
    return found


def broken_links(page: Path) -> list[str]:
    """Targets of the relative links of a page without a file or heading."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    broken = []
    for target in re.findall(r"\]\(<?([^)\s>]+)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A title: `zbl`\n\n## Two\n\n[a](#a-title-zbl) [b](page.md#two) [c](#three)\n"
    )
    assert broken_links(page) == ["#three"]
    page.write_text("[a](missing.md)\n\n```\n# Not a heading [b](missing_too.md)\n```\n")
    assert broken_links(page) == ["missing.md"]


def test_every_page_is_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in readme, page.name


def commands(page: Path) -> list[list[str]]:
    """Arguments of the commands of a page that stand on lines of their own."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^ *muse-lr (.+)$", text, re.M)
    return [shlex.split(line, comments=True) for line in lines if "..." not in line]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "examples" / "README.md"], ids=str)
def test_commands_have_arguments_that_exist(page):
    for arguments in commands(page):
        build_parser().parse_args(arguments)
        for argument in arguments:
            if argument.startswith(("examples/", "src/")):
                assert (ROOT / argument).exists(), argument


def test_readme_has_the_command_that_study_prints():
    printed = shlex.split(next_command(Path("DATA"), 2))[1:]
    for page in (ROOT / "README.md", ROOT / "docs" / "first_study.md"):
        assert printed in commands(page)

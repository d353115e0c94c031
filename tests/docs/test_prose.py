"""The checker of the prose finds long sentences, idioms and British spellings, in text only."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "prose.py"
LONG = " ".join(["word"] * 41) + "."


def _load():
    spec = importlib.util.spec_from_file_location("prose", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["prose"] = module
    spec.loader.exec_module(module)
    return module


prose = _load()


@pytest.fixture
def check(tmp_path):
    def findings(text: str) -> list[str]:
        page = tmp_path / "page.md"
        page.write_text(text, encoding="utf-8")
        idioms = prose.read_idioms(SCRIPT.with_name("idioms.txt"))
        return [line.removeprefix(f"{page}:") for line in prose.findings(page, idioms)]

    return findings


def test_long_sentence_is_found_where_it_starts(check):
    assert check(f"# Title\n\nA short one. {LONG}\n") == [
        "3: 41 words: word word word word word word ..."
    ]
    assert check(f"- One.\n- Two,\n  with a second line.\n  {LONG}\n")[0].startswith("4: 41 words")
    assert check(f"- *Cost.* {LONG}\n")[0].startswith("1: 41 words")
    assert check(LONG.replace("word ", "", 1)) == []


def test_idiom_is_found_across_lines(check):
    (found,) = check("The model is right.\nThe table shows who\nsums the energy.\n")
    assert found.startswith("2: idiom")
    assert found.endswith("who sums")


def test_british_spelling_is_found_in_text_tables_and_headings(check):
    found = check("# Neighbours\n\nThe polarisability.\n\n| normalised |\n|---|\n")
    assert [line.rsplit(" ", 1)[1] for line in found] == [
        "Neighbours",
        "polarisability",
        "normalised",
    ]
    assert check("Noise, a precise bus, characteristic, polarization; realistic analyses.") == []


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n# who sums {LONG}\n```\n",
        f"~~~~\nwho sums neighbours\n~~~\n{LONG}\n~~~~\n",
        f"A formula\n\n    who sums neighbours {LONG}\n\nfollows.\n",
        f"| a | b |\n|---|---|\n| who sums | {LONG} |\n",
        f"# Who sums {LONG}\n",
        f"<!-- who sums neighbours\n{LONG} -->\n",
        "A list\n\n```\nx\n```\n\nof `who\nsums neighbours`, [text](neighbours.md#who-sums).\n",
        f"The energy is $neighbours = {LONG[:-1]}$.\n",
    ],
    ids=["fence", "tildes", "indented", "table", "heading", "comment", "spans", "formula"],
)
def test_what_is_not_prose_is_ignored(check, text):
    assert check(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Sums by Grimme et al. follow J. Chem. Phys. 132, e.g. in crystals.",
        "The run is at 300 K. Then it ends.",
        "`split` is exact. `qeq` is not. h are the features.",
    ],
)
def test_sentences_end_at_full_stops_only(text):
    expected = {"S": 1, "T": 2, "`": 3}[text[0]]
    assert len(list(prose.sentences(prose.clean(text)))) == expected


def test_command_reports_and_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"{LONG}\n", encoding="utf-8")
    command = [sys.executable, str(SCRIPT), str(page)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout.startswith(f"{page}:1: 41 words")
    page.write_text("Short.\n", encoding="utf-8")
    assert subprocess.run(command, capture_output=True).returncode == 0

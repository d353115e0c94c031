"""Check the prose of the guides: sentence length, private idioms, British spellings.

python docs/prose.py [FILE ...]

Spellings are checked in tables and headings too, the rest in running text only. Code, formulas
between dollar signs, link targets and HTML comments are ignored. docs/idioms.txt lists the idioms.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
GUIDES = re.compile(
    "architecture|audit|backbones|charge_statistics|charges|charges_response|choosing_charges"
    "|dispersion|dynamics|electrostatics|faq|first_study|heads|hessians|mace_files|own_loop"
    "|own_parts|phonons"
    "|sizes_and_memory|testing|training"
)
MAX_WORDS = 40

_STEMS = (
    "character|crystall|diagonal|discret|emphas|equal|factor|final|general|harmon|initial|ion|item"
    "|linear|local|maxim|minim|neutral|normal|optim|organ|orthogonal|parallel|paramete?r|penal"
    "|polar|quant|random|real|recogn|regular|serial|special|standard|summar|symmetr|synchron|visual"
)
BRITISH = re.compile(
    rf"\b\w*(?:{_STEMS})is(?:e[ds]?|ers?|ing|ations?|abilit(?:y|ies)|able)\b"
    r"|\b\w*(?:neighbour|behaviour|colour|favour|honour|sulphur)\w*"
    r"|\b(?:centre[sd]?|(?:kilo|centi|milli|micro|nano)?metres?|analys(?:ed?|ing)|grey|licences?"
    r"|(?:un)?(?:label|model|travel|cancel)l(?:ed|ing))\b",
    re.IGNORECASE,
)
ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|al|cf|vs|resp|approx|incl|Eqs?|Figs?|Refs?|Secs?|Nos?|Phys|Rev|Lett|Chem"
    r"|Comput|Sci|Theory|Mater|Commun|Nat|Proc|Soc|Am|Int|Ser|Acad|Natl|Dr|Prof)"
    r"|(?<!\d )\b[A-Z])\.$"  # an initial, but not the unit that ends "at 300 K."
)
SENTENCE_END = re.compile(r"[.!?][\"'”)\]*_]*(?:\s+|$)")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
FENCE = re.compile(r"\s*(`{3,}|~{3,})")
ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+")
LINK_DEFINITION = re.compile(r"\s*\[[^\]]+\]:\s")


@dataclass(frozen=True)
class Block:
    """A paragraph, list item, heading or table row; its lines are separated by newlines."""

    line: int
    text: str
    prose: bool


def _blank(match: re.Match[str], word: str = "") -> str:
    """Replace a match by a word and keep its line breaks."""
    return word + "\n" * match.group().count("\n")


def clean(text: str) -> str:
    """The text of a block as it is read: one word for code or a formula, links by their text."""
    text = CODE_SPAN.sub(lambda match: _blank(match, "Code"), text)
    text = re.sub(r"(\$\$?)(?=\S)[^$]+?(?<=\S)\1", lambda m: _blank(m, "Formula"), text)
    text = re.sub(r"(?<=\])(?:\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^\]]*\])", _blank, text)
    text = re.sub(r"<?\bhttps?://[^\s>)]+>?", "Link", text)
    return re.sub(r"</?[A-Za-z][^<>]*>", _blank, text)


def blocks(text: str) -> Iterator[Block]:
    """Split a Markdown page into the blocks that a reader sees, without code and comments."""
    text = re.sub(r"<!--.*?-->", _blank, text, flags=re.S)
    fence = ""
    lines: list[str] = []
    start, in_list = 0, False
    for number, line in enumerate([*text.splitlines(), ""], 1):
        stripped = re.sub(r"^(?:>\s?)+", "", line).strip()
        marker, item, row = FENCE.match(line), ITEM.match(line), stripped.startswith(("|", "#"))
        indented = not lines and not in_list and line.startswith(("    ", "\t"))
        code = bool(fence) or marker is not None or indented
        if lines and (item or row or code or not stripped):
            yield Block(start, clean("\n".join(lines)), prose=True)
            lines = []
        if fence:
            fence = "" if marker and marker[1].startswith(fence) else fence
        elif marker:
            fence = marker[1]
        elif row:
            in_list = in_list and line.startswith(" ")
            yield Block(number, clean(stripped), prose=False)
        elif stripped and not code and not LINK_DEFINITION.match(line):
            in_list = bool(item) or (in_list and (bool(lines) or line.startswith(" ")))
            start = start if lines else number
            lines.append(line[item.end() :].strip() if item else stripped)


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """The sentences of a block, each with its offset."""
    start = 0
    for end in SENTENCE_END.finditer(text):
        if end.end() == len(text) or not ABBREVIATION.search(text[start : end.start() + 1]):
            yield start, text[start : end.end()]
            start = end.end()
    if text[start:]:
        yield start, text[start:]


def read_idioms(path: Path) -> list[re.Pattern[str]]:
    """The patterns of a file, one per line; lines that start with # are comments."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [re.compile(line, re.IGNORECASE) for line in lines if line and line[0] != "#"]


def findings(path: Path, idioms: list[re.Pattern[str]]) -> Iterator[str]:
    """One line for each finding in a page."""
    for block in blocks(path.read_text(encoding="utf-8")):
        text = block.text.replace("\n", " ")
        found = [(m.start(), f"British spelling: {m[0]}") for m in BRITISH.finditer(text)]
        for start, sentence in sentences(text) if block.prose else ():
            words = [word for word in sentence.split() if any(map(str.isalnum, word))]
            if len(words) > MAX_WORDS:
                found.append((start, f"{len(words)} words: {' '.join(words[:6])} ..."))
            for idiom in idioms:
                if m := idiom.search(sentence):
                    found.append((start + m.start(), f"idiom /{idiom.pattern}/: {m[0]}"))
        for offset, message in sorted(found):
            yield f"{path}:{block.line + block.text.count(chr(10), 0, offset)}: {message}"


def default_pages() -> list[Path]:
    """README.md, CONTRIBUTING.md and the guides, as far as they exist."""
    guides = [page for page in sorted(DOCS.glob("*.md")) if GUIDES.fullmatch(page.stem)]
    return [*DOCS.parent.glob("README.md"), *DOCS.parent.glob("CONTRIBUTING.md"), *guides]


def main() -> int:
    """Check the pages; the exit status is 1 if anything is found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="default: README and the guides")
    pages = parser.parse_args().files or default_pages()
    idioms = read_idioms(DOCS / "idioms.txt")
    problems = [problem for page in pages for problem in findings(page, idioms)]
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())

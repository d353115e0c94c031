"""The results of the exam as Markdown: a table, and what failed in detail."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.exam.execute import record_file
from benchmarks.exam.promises import PROMISES
from benchmarks.exam.roster import Entry
from benchmarks.peers.machine import describe_machine
from muse_lr.config.yaml import load_yaml
from muse_lr.reporting.audit.tables import printed
from muse_lr.utils.files import atomic_write

Record = Mapping[str, Any]
CONFIG = Path(__file__).resolve().parent / "config.yaml"
STATUSES = ("pass", "fail", "known", "skipped")
COLUMNS = ("potential", "version", "exam", *STATUSES, "failed: value (tolerance)", "s")
COMMAND = "python -m benchmarks.exam --out runs/exam"


def read_records(entries: Iterable[Entry], out: Path) -> dict[str, Record]:
    """Records by name; those of the whole exam where there are both."""
    found = {}
    for entry in entries:
        for quick in (False, True):
            path = record_file(entry, out, quick)
            if path.exists():
                found[entry.name] = json.loads(path.read_text(encoding="utf-8"))
                break
    return found


@dataclass(frozen=True)
class Page:
    """Rows and sections of a page that was written before, by the name of the potential.

    They stay where no record of the potential is at hand: packages that cannot be installed
    together are examined in different environments, on different days.
    """

    rows: dict[str, str]
    sections: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Page:
        """Read a page; one that does not exist is empty."""
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        rows = [line for line in text.splitlines() if line.startswith("| ")]
        _, *sections = re.split(r"^### ", text, flags=re.MULTILINE)
        ends = (re.split(r"^## ", section, flags=re.MULTILINE)[0] for section in sections)
        return cls(
            {row.split(" | ")[0].removeprefix("| "): row for row in rows},
            {section.splitlines()[0].rpartition(" ")[0]: f"### {section}" for section in ends},
        )


def table(entries: Sequence[Entry], records: Mapping[str, Record], before: Page) -> str:
    """The Markdown table, one row for each potential."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|:--|:--|:--|" + "--:|" * len(STATUSES) + ":--|--:|"]
    for entry in entries:
        if entry.name in records:
            cells = _cells(entry, records[entry.name])
        elif _name(entry) in before.rows:
            lines.append(before.rows[_name(entry)])
            continue
        else:
            missing = entry.missing()
            state = f"not installed: `{missing}`" if missing else "not run"
            cells = [_name(entry), state, *[""] * (len(COLUMNS) - 2)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report(entries: Sequence[Entry], records: Mapping[str, Record], before: Page) -> str:
    """The page of benchmarks/results."""
    peers = [entry for entry in entries if not entry.ours]
    own = [entry for entry in entries if entry.ours]
    lines = [
        "# The physics exam of models and of other packages",
        "",
        f"{describe_machine('ase')}, one thread. Command: `{COMMAND}`.",
        "",
        *_head(own),
        "",
        table(entries, records, before),
        "",
        *_notes(entries),
        "",
        "## Failures of our models",
        "",
        *_sections(own, records, before),
        "## Failures of other packages",
        "",
        "Each with its reproducer and with what the documents of the package promise.",
        "",
        *_sections(peers, records, before),
    ]
    return "\n".join(lines).rstrip() + "\n"


def write_report(entries: Sequence[Entry], out: Path, page: Path) -> str:
    """Write the page, with what it had for potentials without a record; return its table."""
    records, before = read_records(entries, out), Page.read(page)
    with atomic_write(page) as handle:
        handle.write(report(entries, records, before))
    return table(entries, records, before)


def schedule() -> str:
    """The training of our models, in words."""
    config = load_yaml(CONFIG)
    training, charges = config["training"], config["model"]["charges"]["kind"]
    return (
        f"Our models have 32 channels, two layers of 5 Å and `{charges}` charges. They were "
        f"trained on `ion_pairs`, which ships with the package: {training['epochs']} epochs of "
        f"batches of {training['batch']['graphs']}, with the learning rate "
        f"{training['learning_rate']:g}, all alike (`benchmarks/exam/study.yaml`)."
    )


def _head(own: Sequence[Entry]) -> list[str]:
    lines = [
        "Numbers of checks that passed, failed, are known (the potential declares the reason) or "
        "were skipped. `s` is processor time. `quick` and `whole` are the extents of the exam.",
    ]
    return [*lines, "", schedule()] if own else lines


def _notes(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        if entry.note:
            yield f"- {_name(entry)}: {entry.note}."
    partial = [_name(entry) for entry in entries if entry.partial]
    if partial:
        yield (
            f"- {', '.join(partial)} are parts of an energy: `curvature`, `dimer_holes` and "
            "`compression_holes` are left out."
        )


def _name(entry: Entry) -> str:
    if entry.ours:
        return entry.title
    return f"{entry.title} of {entry.packages[0]}"


def _cells(entry: Entry, record: Record) -> list[str]:
    counts = Counter(result["status"] for result in record["results"])
    failed = [result for result in record["results"] if result["status"] == "fail"]
    versions = ", ".join(
        version if index == 0 else f"{package} {version}"
        for index, (package, version) in enumerate(record["versions"].items())
    )
    extent = "quick" if record["quick"] else "whole"
    return [
        _name(entry),
        versions,
        extent,
        *(str(counts[status]) for status in STATUSES),
        "; ".join(map(_measured, failed)) or "–",
        f"{record['processor_seconds']:.0f}",
    ]


def _measured(result: Record) -> str:
    if result["value"] is None:
        what = "crash" if result["tolerance"] is None else "not finite"
        return f"`{result['name']}` ({what})"
    value = printed(result["value"], result["unit"])
    tolerance = f"{result['tolerance']:.3g}".replace("e-0", "e-")
    return f"`{result['name']}` {value} ({tolerance})"


def _sections(
    entries: Sequence[Entry], records: Mapping[str, Record], before: Page
) -> Iterator[str]:
    empty = True
    for entry in entries:
        if entry.name not in records and _name(entry) in before.sections:
            empty = False
            yield from (*before.sections[_name(entry)].rstrip().splitlines(), "")
            continue
        record = records.get(entry.name, {"results": []})
        failed = [result for result in record["results"] if result["status"] == "fail"]
        if failed:
            empty = False
            yield from _section(entry, record, failed)
    if empty:
        yield from ("None.", "")


def _section(entry: Entry, record: Record, failed: Sequence[Record]) -> Iterator[str]:
    version = next(iter(record["versions"].values()))
    who = f"runs/exam/study/{entry.name}/seed-0/model.pt"
    if not entry.ours:
        who = f"--calculator benchmarks.exam.potentials:{entry.name}"
    names = " ".join(result["name"] for result in failed)
    quick = " --quick" if record["quick"] else ""
    yield from (f"### {_name(entry)} {version}", "")
    for result in failed:
        yield f"- {_measured(result)}: {_reason(result)}."
    yield from ("", f"    muse-lr audit {who}{quick} --only {names}", "")
    promises = PROMISES.get(entry.name, ())
    broken = {result["name"] for result in failed}
    for promise in promises:
        if broken & set(promise.checks) or not promise.checks:
            yield f"- {promise.sentence}"
    if promises:
        yield ""


def _reason(result: Record) -> str:
    """What was measured, without the path of a structure."""
    text = str(result["why"]).split("; structure: ")[0].rstrip(".")
    return text.replace("|", "\\|")

"""Format a check report as text for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from muse_lr.data.findings import CheckReport, Finding
from muse_lr.data.formats import place, printable
from muse_lr.data.labels import LABELS

#: Largest numbers of frames listed per kind of finding, and of keys listed.
NAMED_FRAMES = 6
NAMED_KEYS = 24
#: Largest number of values, with their frames, of a key that divides the frames.
NAMED_VALUES = 4


def format_report(report: CheckReport) -> str:
    """Format the statistics, then errors and warnings: one line per kind, with its frames."""
    rows = list(_statistics(report)) if report.n_frames else []
    width = max((len(name) for name, _ in rows), default=0)
    lines = [printable(report.path)]
    lines += [f"  {name:<{width}}  {text}" for name, text in rows]
    lines.append(_summary(_groups(report.findings)))
    return "\n".join([*lines, *filter(None, [format_findings(report.findings)])])


def format_findings(findings: Iterable[Finding]) -> str:
    """One line for each kind of finding, and the frames that it concerns."""
    groups = _groups(findings)
    return "\n".join(
        line for (severity, _), group in groups.items() for line in _format_group(severity, group)
    )


def finding_lines(findings: Iterable[Finding], source: str) -> list[str]:
    """One sentence for each kind of finding, with the first place: ``"a.xyz, frame 3: ..."``."""
    lines = []
    for group in _groups(findings).values():
        more = f" (and {len(group) - 1:,} more)" if len(group) > 1 else ""
        lines.append(f"{place(source, group[0].frame)}: {group[0].message}{more}")
    return lines


def _groups(findings: Iterable[Finding]) -> dict[tuple[str, str], list[Finding]]:
    """Findings by severity and kind."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    return groups


def _statistics(report: CheckReport) -> Iterable[tuple[str, str]]:
    low, high = report.sizes
    atoms = sum(report.elements.values())
    yield "frames", f"{report.n_frames:,}"
    yield "atoms", f"{low if low == high else f'{low} to {high}'} per frame, {atoms:,} in total"
    yield "elements", _counted(report.elements)
    yield "boundaries", _counted(report.boundaries)
    yield "total charge", _stated(report.total_charges, report.n_frames, "not stated: 0")
    yield "spin", _stated(report.spins, report.n_frames, "not stated: the lowest possible")
    for label, counts in report.labels.items():
        parts = [
            f"{printable(key)}, on "
            + ("all frames" if count == report.n_frames else f"{count:,} frames")
            for key, count in counts.items()
        ]
        yield label, f"{'; '.join(parts)}{_range(report, label)}"
    if report.fit is not None:
        e0 = ", ".join(f"{symbol} {value:.6g}" for symbol, value in report.fit.e0.items())
        rank = f"rank {report.fit.rank} of {len(report.fit.e0)}"
        yield "E0 fit", f"residual {1000 * report.fit.rms:.3g} meV/atom rms, {rank}"
        yield "", f"{e0} eV"
    if report.isolated:
        values = ", ".join(f"{symbol} {value:.8g}" for symbol, value in report.isolated.items())
        yield "isolated atoms", f"{values} eV"
    others = [
        printable(key) if count == report.n_frames else f"{printable(key)} ({count:,})"
        for key, count in report.keys.items()
    ]
    if others:
        more = f" and {len(others) - NAMED_KEYS} more" if len(others) > NAMED_KEYS else ""
        yield "other keys", ", ".join(others[:NAMED_KEYS]) + more
    if report.dividing:
        keys = [_divided(key, counts) for key, counts in report.dividing.items()]
        more = f" and {len(keys) - NAMED_KEYS} more" if len(keys) > NAMED_KEYS else ""
        yield "for --by KEY", "; ".join(keys[:NAMED_KEYS]) + more


def _divided(key: str, counts: Mapping[str, int]) -> str:
    """A key by which errors can be divided, with its values if they are few."""
    if len(counts) > NAMED_VALUES:
        return f"{printable(key)} ({len(counts)} values)"
    values = ", ".join(f"{printable(value)} on {count:,}" for value, count in counts.items())
    return f"{printable(key)} ({values})"


def _range(report: CheckReport, label: str) -> str:
    if label == "energy" and report.energy_range is not None:
        low, high = report.energy_range
        return f"; {low:.6g} to {high:.6g} eV/atom"
    if label == "forces" and report.force_rms is not None:
        return f"; {report.force_rms:.3g} rms, {report.force_max:.3g} largest, eV/A"
    return f"; {LABELS[label].unit}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _stated(counts: Mapping[str, int], n_frames: int, otherwise: str) -> str:
    stated = [f"{value} on {count:,}" for value, count in counts.items()]
    if len(stated) == 1 and sum(counts.values()) == n_frames:
        return next(iter(counts))
    if sum(counts.values()) < n_frames:
        silent = n_frames - sum(counts.values())
        stated.append(f"{otherwise} on {silent:,}" if stated else otherwise)
    return ", ".join(stated)


def _summary(groups: Iterable[tuple[str, str]]) -> str:
    counts = Counter(severity for severity, _ in groups)
    parts = [
        f"{counts[severity]} {severity}{'s' * (counts[severity] > 1)}"
        for severity in ("error", "warning", "note")
        if counts[severity]
    ]
    if not set(counts) - {"note"}:
        parts.insert(0, "Nothing wrong was found")
    return ", ".join(parts) + (":" if counts else ".")


def _format_group(severity: str, findings: list[Finding]) -> list[str]:
    first = findings[0]
    where = "" if first.frame is None else f"frame {first.frame}: "
    lines = [f"  {severity:<8} {where}{first.message}"]
    if len(findings) > 1:
        frames = list(dict.fromkeys(str(f.frame) for f in findings[1:] if f.frame is not None))
        if frames:
            more = f" and {len(frames) - NAMED_FRAMES:,} more" * (len(frames) > NAMED_FRAMES)
            lines.append(f"{'':<11}the same in frames {', '.join(frames[:NAMED_FRAMES])}{more}")
        else:
            lines += [f"  {severity:<8} {finding.message}" for finding in findings[1:]]
    return lines

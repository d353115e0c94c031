"""Compare values of runs among the variants of a study, and say in words what differs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muse_lr.reporting.runs import flatten
from muse_lr.reporting.wording import code, listed, number

#: Longest value that is written out.
LONGEST = 60
#: A digest, which says nothing to a reader.
DIGEST = re.compile(r"[0-9a-f]{16}")
NOT_SET = "not set"
#: Title of the list of what differs.
UNEQUAL = "Not equal for all variants:"


@dataclass(frozen=True)
class Facts:
    """Values of one run that should be equal for all variants.

    Attributes
    ----------
    variant : str
    seed : int
    measured : dict
        Values that depend on the seed. They are compared between runs of the same seed.
    settings : dict
        Values that do not depend on the seed. They are compared between all runs.
    weights : dict of (str, str) to str
        (Part, its settings) -> digest of its initial weights. Only parts of equal settings are
        compared.
    """

    variant: str
    seed: int
    measured: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    weights: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass
class Equality:
    """What is equal for all variants, what is not, and what could not be compared.

    Attributes
    ----------
    equal, unequal : list of str
        Phrases; one for each topic.
    uncompared : list of str
        Topics that no common seed of all variants allows to compare.
    variants : int
        Number of variants.
    paired : bool
        Whether at least two variants have a common seed.
    """

    equal: list[str] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)
    uncompared: list[str] = field(default_factory=list)
    variants: int = 0
    paired: bool = True

    def gap(self) -> str:
        """Sentence on what could not be compared; empty if all was compared."""
        if not self.uncompared:
            return ""
        start = "No seed is common to all variants"
        if not self.paired:
            start = "No two variants have a common seed"
        return f"{start}. Not compared: {', '.join(self.uncompared)}."

    def agreement(self) -> str:
        """Sentence on what is equal; empty if nothing is."""
        if not self.equal:
            return ""
        complete = not self.unequal and not self.uncompared
        start = "All that was compared is equal" if complete else "Equal"
        return f"{start} for all variants: {', '.join(self.equal)}."

    def headline(self) -> str:
        """Sentence on how much is equal; empty if nothing is."""
        if not self.equal:
            return ""
        count = len(self.equal)
        total = count + len(self.unequal)
        which = f"All {count}" if count == total else f"{count} of {total}"
        return f"{which} settings and measurements that were compared are equal for all variants."

    def lines(self, short: bool = False) -> list[str]:
        """Lines for the terminal; none for one variant alone.

        ``short`` counts what is equal instead of listing it.
        """
        if self.variants < 2:
            return []
        found = [f"- {phrase}" for phrase in self.unequal]
        if found:
            found.insert(0, UNEQUAL)
        equal = self.headline() if short else self.agreement()
        return [*found, *filter(None, (self.gap(), equal))]


def compare(facts: Sequence[Facts]) -> Equality:
    """Compare the values of runs: settings between all, measured values seed by seed.

    A measured value is equal only if all variants have it for one common seed. A value that some
    runs did not record counts as different; one that none recorded is left out.
    """
    variants = {fact.variant for fact in facts}
    found = Equality(variants=len(variants))
    found.paired = any(len(_of_seed(facts, fact.seed)) > 1 for fact in facts)
    for name in dict.fromkeys(name for fact in facts for name in fact.measured):
        values = {(f.seed, f.variant): f.measured.get(name) for f in facts}
        if any(value is not None for value in values.values()):
            common = any(
                _of_seed(facts, fact.seed) == variants and fact.measured.get(name) is not None
                for fact in facts
            )
            _judge(found, name, values, _first_different(values), common)
    _compare_weights(found, facts, variants)
    for name in dict.fromkeys(name for fact in facts for name in fact.settings):
        values = {(f.seed, f.variant): f.settings.get(name) for f in facts}
        if any(value is not None for value in values.values()):
            different = _different_sets(values) or _first_different(values)
            _judge(found, name, values, different, True)
    _compare_seeds(found, facts)
    return found


def describe(name: str, values: Mapping[str, Any]) -> str:
    """Say which variants have which value; for a section, of the keys that differ.

    ``"steps: 416 in `short_range`, `charges`; 976 in `muse`"``, and without values where they are
    digests or long: ``"batches: `a` and `b` differ from `c`"``.
    """
    if not all(isinstance(value, dict) for value in values.values()):
        return f"{name}: {_groups(values)}"
    sections = {variant: flatten(value) for variant, value in values.items()}
    keys = dict.fromkeys(key for section in sections.values() for key in section)
    parts = []
    for key in keys:
        found = {variant: section.get(key, NOT_SET) for variant, section in sections.items()}
        if len(set(map(_key, found.values()))) > 1:
            parts.append(f"{key} {_groups(found)}")
    return f"{name}: {' | '.join(parts)}"


def text_of(value: Any) -> str:
    """A short value in words; empty for a digest or a long value."""
    text = _words(value)
    return "" if DIGEST.fullmatch(text) or len(text) > LONGEST else text


def _of_seed(facts: Sequence[Facts], seed: int) -> set[str]:
    return {fact.variant for fact in facts if fact.seed == seed}


def _judge(
    found: Equality,
    name: str,
    values: Mapping[tuple[int, str], Any],
    different: Mapping[str, Any],
    common: bool,
) -> None:
    """Add a topic to what is equal, to what is not, or to what was not compared."""
    if different:
        found.unequal.append(describe(name, different))
    elif not common:
        found.uncompared.append(name)
    else:
        texts = {text_of(value) for value in values.values()}
        shown = texts.pop() if len(texts) == 1 else ""
        found.equal.append(f"{name} ({shown})" if shown else name)


def _compare_weights(found: Equality, facts: Sequence[Facts], variants: set[str]) -> None:
    equal: list[str] = []
    for part, settings in dict.fromkeys(key for fact in facts for key in fact.weights):
        having = [fact for fact in facts if (part, settings) in fact.weights]
        values = {(f.seed, f.variant): f.weights[part, settings] for f in having}
        different = _first_different(values)
        if different:
            found.unequal.append(describe(f"initial weights of {part}", different))
        elif any(len(_of_seed(having, fact.seed)) > 1 for fact in having):
            equal.append(part)
        elif len({fact.variant for fact in having}) > 1:
            found.uncompared.append(f"initial weights of {part}")
    if equal:
        names = ", ".join(dict.fromkeys(equal))
        found.equal.append(f"initial weights of parts with equal settings ({names})")


def _compare_seeds(found: Equality, facts: Sequence[Facts]) -> None:
    seeds: dict[str, list[int]] = {}
    for fact in facts:
        seeds.setdefault(fact.variant, []).append(fact.seed)
    texts = {variant: ", ".join(map(str, sorted(values))) for variant, values in seeds.items()}
    if len(set(texts.values())) > 1:
        found.unequal.append(describe("seeds", texts))
    elif texts:
        found.equal.append(f"seeds ({next(iter(texts.values()))})")


def _first_different(values: Mapping[tuple[int, str], Any]) -> dict[str, Any]:
    """Values by variant for the first seed whose variants differ; empty if none do."""
    for seed in dict.fromkeys(seed for seed, _ in values):
        found = {variant: value for (other, variant), value in values.items() if other == seed}
        if len(set(map(_key, found.values()))) > 1:
            return found
    return {}


def _different_sets(values: Mapping[tuple[int, str], Any]) -> dict[str, Any]:
    """Values by variant, of all its seeds, if the variants differ; else empty."""
    sets: dict[str, dict[str, Any]] = {}
    for (_, variant), value in sorted(values.items(), key=lambda item: _key(item[1])):
        sets.setdefault(variant, {})[_key(value)] = value
    if len({tuple(found) for found in sets.values()}) == 1:
        return {}
    lists = {variant: list(found.values()) for variant, found in sets.items()}
    order = dict.fromkeys(variant for _, variant in values)
    return {v: lists[v][0] if len(lists[v]) == 1 else lists[v] for v in order}


def _groups(values: Mapping[str, Any]) -> str:
    groups: dict[str, list[str]] = {}
    for variant, value in values.items():
        groups.setdefault(_key(value), []).append(code(variant))
    firsts = [next(v for v in values.values() if _key(v) == key) for key in groups]
    texts = [text_of(value) for value in firsts]
    if len(set(texts)) < len(texts):  # differ in digits or folders that are not shown
        texts = [str(value) if len(str(value)) <= 2 * LONGEST else "" for value in firsts]
        texts = ["" if DIGEST.fullmatch(text) else text for text in texts]
    if all(texts):
        pairs = zip(texts, groups.values(), strict=True)
        return "; ".join(f"{text} in {', '.join(variants)}" for text, variants in pairs)
    first, *others = map(listed, groups.values())
    verb = "differs" if len(next(iter(groups.values()))) == 1 else "differ"
    return f"{first} {verb} from {' and from '.join(others)}"


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return value.rpartition("/")[2]
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_words, value))
    return str(value)

"""The rules of one route, asked together: which of them may hold for an event."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import orjson

from services.detect.engine.clauses import Clause, Literal
from services.detect.engine.field_index import FieldIndex
from services.detect.engine.keywords import may_hold_keyword, prefilter
from services.detect.engine.layout import ROUNDS, Rarity, guess, lay_out
from services.detect.engine.memo import Memo
from services.detect.engine.remembered import RememberedField
from services.detect.rules.fields import Aliases, View
from services.detect.rules.model import (
    ANYWHERE,
    AllOf,
    AtLeast,
    Item,
    Node,
    Not,
    SameAs,
    Selection,
)

__all__ = ["Bucket"]

_ABSENT: Any = object()
_ABSENTS = repeat(_ABSENT)
_STEADY_SHARE = 0.12
SAMPLE = 512
_SPARSE = 16
# Command lines, scripts and paths, before any event was seen.
_LIVELY = frozenset({
    "CommandLine", "ParentCommandLine", "ScriptBlockText", "Payload", "TargetFilename",
    "TargetObject", "Details", "Data", "Message", "message", "QueryName", "ContextInfo",
    "Hashes", "HostApplication",
})  # fmt: skip


class Bucket:
    """Rules by position; what it says of an event is never too little, and seldom too much."""

    def __init__(self, rules: Sequence[tuple[Node, Sequence[Clause]]], aliases: Aliases) -> None:
        self._rules = rules
        self._aliases = aliases
        self._every = (1 << len(rules)) - 1
        self._literals = _literals(node for node, _ in rules)
        self._names = sorted(self._literals)
        self._sample: list[dict[str, tuple[Any, ...] | None]] | None = []
        self._seen = 0
        self._stride = 1
        self._build(frozenset(_LIVELY), guess)

    def candidates(self, fields: Mapping[str, Any], text: bytes | None) -> int:
        """Return a bit for each rule that may hold; *text* is the event's JSON, if at hand."""
        if self._sample is not None:
            self._learn(fields)
        get = fields.get
        raw = tuple(map(get, self._columns, _ABSENTS))
        key: Any = (raw, tuple(map(type, raw)))
        if self._paths:
            key = (key, self._path_values(fields))
        try:
            known = self._steady_memo.get(key)
        except TypeError:  # an object or array, not to be kept
            known = self._steady_bits(fields)
        else:
            if known is None:
                known = self._steady_bits(fields)
                self._steady_memo.keep(key, known, _size(raw))
        possible, last = known
        if not possible & ~last:
            return possible
        for name, memo, field in self._lively:
            value = get(name, _ABSENT)
            bits = memo.get(value) if type(value) is str else None
            last |= field.bits(fields) if bits is None else bits
        if possible & self._keyword_rules & ~last:
            last |= self._keyword_bits(fields, text)
        return possible & last

    def _steady_bits(self, fields: Mapping[str, Any]) -> tuple[int, int]:
        met = self._free
        for field in self._steady:
            met |= field.bits(fields)
        size, every = len(self._rules), self._every
        possible = every
        for number in range(ROUNDS):
            possible &= met >> (number * size)
        return possible, (met >> (ROUNDS * size)) & every

    def _keyword_bits(self, fields: Mapping[str, Any], text: bytes | None) -> int:
        if self._keyword_index is None:
            return 0
        if self._keyword_filter is not None:
            if text is None:
                try:
                    text = orjson.dumps(fields)
                except TypeError:  # numbers or text that JSON cannot hold
                    text = b"\xff"
            if not may_hold_keyword(self._keyword_filter, text):
                return 0
        return self._keyword_index.bits(View(fields, self._aliases).values[ANYWHERE])

    def _path_values(self, fields: Mapping[str, Any]) -> tuple[Any, ...]:
        values = View(fields, self._aliases).values
        found = []
        for name in self._paths:
            value = values[name]
            found.append(value if value is None else tuple((type(v), v) for v in value))
        return tuple(found)

    def _build(self, lively: frozenset[str], rarity: Rarity) -> None:
        layout = lay_out(self._rules, lively, rarity)
        aliases = self._aliases
        shift = ROUNDS * layout.rules
        self._free = layout.free
        self._steady = [
            RememberedField(FieldIndex(name, literals), aliases, 2_000)
            for name, literals in layout.steady.items()
        ]
        self._paths = tuple(name for name in layout.steady if _is_path(name, aliases))
        columns = [name for name in layout.steady if name not in self._paths]
        self._columns = tuple(
            dict.fromkeys(column for name in columns for column in (name, *aliases.get(name, ())))
        )
        self._steady_memo: Memo[Any, tuple[int, int]] = Memo(10_000, 4 << 20, 4096)
        lively_fields = [
            RememberedField(FieldIndex(name, _shifted(literals, shift)), aliases, 5_000)
            for name, literals in layout.lively.items()
            if name != ANYWHERE
        ]
        self._lively = [(field.name, field.memo, field) for field in lively_fields]
        keywords = _shifted(layout.lively.get(ANYWHERE, ()), shift)
        self._keyword_rules = 0
        for _, bit in keywords:
            self._keyword_rules |= bit
        self._keyword_index = FieldIndex(ANYWHERE, keywords) if keywords else None
        self._keyword_filter = prefilter(literal for literal, _ in keywords) if keywords else None

    def _learn(self, fields: Mapping[str, Any]) -> None:
        """Take the event into the sample; rebuild by what the sample tells once it is whole."""
        self._seen += 1
        sample = self._sample
        if sample is None or self._seen % self._stride:
            return
        values = View(fields, self._aliases).values
        sample.append({name: values[name] for name in self._names})
        if len(sample) == SAMPLE:
            self._build(_lively(sample, self._names), _counted(sample, self._literals))
            # A burst at the start may tell little of what comes: look once more, over a while.
            self._sample = [] if self._stride == 1 else None
            self._stride = _SPARSE


def _shifted(literals: Iterable[tuple[Literal, int]], shift: int) -> list[tuple[Literal, int]]:
    return [(literal, bit >> shift) for literal, bit in literals]


def _is_path(name: str, aliases: Aliases) -> bool:
    return any("." in each for each in (name, *aliases.get(name, ())))


def _size(raw: tuple[Any, ...]) -> int:
    return sum(len(value) if type(value) is str else 8 for value in raw)


def _lively(sample: Sequence[Mapping[str, Any]], names: Sequence[str]) -> frozenset[str]:
    """Return the fields whose values are so many that remembering what each means is no use."""
    room = max(16, int(_STEADY_SHARE * len(sample)))
    return frozenset(name for name in names if len({str(values[name]) for values in sample}) > room)


def _literals(nodes: Iterable[Node]) -> dict[str, list[Literal]]:
    """Return what rules ask of each field, but for keywords."""
    found: dict[str, dict[Literal, None]] = {}
    waiting = list(nodes)
    while waiting:
        match waiting.pop():
            case Item(field=name, groups=groups) if name != ANYWHERE:
                own = found.setdefault(name, {})
                for group in groups:
                    if not any(isinstance(test, SameAs) for test in group):
                        own[Literal(name, group, True)] = None
            case Selection(node=inner) | Not(node=inner):
                waiting.append(inner)
            case AllOf(nodes=inner_nodes) | AtLeast(nodes=inner_nodes):
                waiting.extend(inner_nodes)
            case _:
                pass
    return {name: list(own) for name, own in found.items()}


def _counted(sample: Sequence[Mapping[str, Any]], by_field: Mapping[str, list[Literal]]) -> Rarity:
    """Return the share of the sample's events for which a literal holds."""
    shares: dict[Literal, float] = {}
    for name, literals in by_field.items():
        index = FieldIndex(name, [(literal, 1 << at) for at, literal in enumerate(literals)])
        counts: Counter[int] = Counter()
        for values, times in Counter(_hashable(row[name]) for row in sample).items():
            bits = index.bits(values)
            while bits:
                low = bits & -bits
                counts[low.bit_length() - 1] += times
                bits ^= low
        for at, literal in enumerate(literals):
            # What was never seen is not all equally rare: long literals are rarer.
            shares[literal] = counts[at] / len(sample) + 0.1 * guess(literal) / len(sample)

    def rarity(literal: Literal) -> float:
        share = shares.get(Literal(literal.field, literal.tests, True))
        if share is None:
            return guess(literal)
        return share if literal.positive else 1 - share

    return rarity


def _hashable(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if values is None:
        return None
    return tuple(v if isinstance(v, str) else str(v) for v in values)

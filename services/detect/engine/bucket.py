"""The rules of one route, asked together: which of them may hold for an event."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

import orjson

from services.detect.engine.clauses import Clause, Literal
from services.detect.engine.field_index import FieldIndex
from services.detect.engine.keywords import may_hold_keyword, prefilter
from services.detect.engine.layout import ROUNDS, guess, lay_out
from services.detect.engine.memo import Memo
from services.detect.rules.fields import Aliases, View
from services.detect.rules.model import ANYWHERE

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

    def __init__(self, clauses: Sequence[Sequence[Clause]], aliases: Aliases) -> None:
        self._clauses = clauses
        self._aliases = aliases
        self._every = (1 << len(clauses)) - 1
        self._names = sorted({lit.field for own in clauses for c in own for lit in c} - {ANYWHERE})
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
        for name, memo, absent, index in self._lively:
            value = get(name, _ABSENT)
            if type(value) is str:
                bits = memo.get(value)
                if bits is None:
                    bits = index.bits((value,))
                    memo.keep(value, bits, len(value))
            elif value is _ABSENT and absent is not None:
                bits = absent
            else:
                bits = index.bits(View(fields, self._aliases).values[name])
            last |= bits
        if possible & self._keyword_rules & ~last:
            last |= self._keyword_bits(fields, text)
        return possible & last

    def _steady_bits(self, fields: Mapping[str, Any]) -> tuple[int, int]:
        view = View(fields, self._aliases)
        met = self._free
        for name, memo, index in self._steady:
            value = fields.get(name)
            if type(value) is str:
                bits = memo.get(value)
                if bits is None:
                    bits = index.bits((value,))
                    memo.keep(value, bits, len(value))
            else:
                bits = index.bits(view.values[name])
            met |= bits
        size, every = len(self._clauses), self._every
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

    def _build(self, lively: frozenset[str], rarity: Any) -> None:
        layout = lay_out(self._clauses, lively, rarity)
        aliases = self._aliases
        shift = ROUNDS * layout.rules
        self._free = layout.free
        self._steady = [
            (name, Memo[str, int](2_000, 1 << 20, 1024), FieldIndex(name, literals))
            for name, literals in layout.steady.items()
        ]
        self._paths = tuple(name for name in layout.steady if _is_path(name, aliases))
        columns = [name for name in layout.steady if name not in self._paths]
        self._columns = tuple(
            dict.fromkeys(column for name in columns for column in (name, *aliases.get(name, ())))
        )
        self._steady_memo: Memo[Any, tuple[int, int]] = Memo(10_000, 4 << 20, 4096)
        self._lively = []
        for name, literals in layout.lively.items():
            if name == ANYWHERE:
                continue
            index = FieldIndex(name, [(literal, bit >> shift) for literal, bit in literals])
            absent = None if name in aliases or "." in name else index.bits(None)
            self._lively.append((name, Memo[str, int](5_000, 4 << 20, 4096), absent, index))
        keywords = [(lit, bit >> shift) for lit, bit in layout.lively.get(ANYWHERE, ())]
        self._keyword_rules = 0
        for _, bit in keywords:
            self._keyword_rules |= bit
        self._keyword_index = FieldIndex(ANYWHERE, keywords) if keywords else None
        self._keyword_filter = prefilter(literal for literal, _ in keywords)

    def _learn(self, fields: Mapping[str, Any]) -> None:
        """Take the event into the sample; rebuild by what the sample tells once it is whole."""
        self._seen += 1
        sample = self._sample
        if sample is None or self._seen % self._stride:
            return
        values = View(fields, self._aliases).values
        sample.append({name: values[name] for name in self._names})
        if len(sample) == SAMPLE:
            self._build(_lively(sample, self._names), _counted(sample, self._clauses))
            # A burst at the start may tell little of what comes: look once more, over a while.
            self._sample = [] if self._stride == 1 else None
            self._stride = _SPARSE


def _is_path(name: str, aliases: Aliases) -> bool:
    return any("." in each for each in (name, *aliases.get(name, ())))


def _size(raw: tuple[Any, ...]) -> int:
    return sum(len(value) if type(value) is str else 8 for value in raw)


def _lively(sample: Sequence[Mapping[str, Any]], names: Sequence[str]) -> frozenset[str]:
    """Return the fields that make too many different tuples."""
    room = max(8, int(_STEADY_SHARE * len(sample)))
    columns = {name: [str(values[name]) for values in sample] for name in names}
    by_kinds = sorted(names, key=lambda name: len(set(columns[name])))
    tuples = [""] * len(sample)
    lively = set()
    for name in by_kinds:
        joined = list(map("\0".join, zip(tuples, columns[name], strict=True)))
        if len(set(joined)) <= room:
            # Numbered anew each time, so that they do not grow.
            numbers = {text: str(number) for number, text in enumerate(dict.fromkeys(joined))}
            tuples = [numbers[text] for text in joined]
        else:
            lively.add(name)
    return frozenset(lively)


def _counted(sample: Sequence[Mapping[str, Any]], clauses: Sequence[Sequence[Clause]]) -> Any:
    """Return the share of the sample's events for which a literal holds."""
    by_field: dict[str, list[Literal]] = {}
    for literal in dict.fromkeys(lit for own in clauses for c in own for lit in c):
        if literal.field != ANYWHERE:
            by_field.setdefault(literal.field, []).append(literal)
    shares: dict[Literal, float] = {}
    for name, literals in by_field.items():
        asked = [Literal(name, literal.tests, True) for literal in literals]
        index = FieldIndex(name, [(literal, 1 << at) for at, literal in enumerate(asked)])
        counts: Counter[int] = Counter()
        for values, times in Counter(_hashable(row[name]) for row in sample).items():
            bits = index.bits(values)
            while bits:
                low = bits & -bits
                counts[low.bit_length() - 1] += times
                bits ^= low
        for at, literal in enumerate(literals):
            share = counts[at] / len(sample)
            # What was never seen is not all equally rare: long literals are rarer.
            shares[literal] = share + 0.1 * guess(literal) / len(sample) if literal.positive else 1 - share

    def rarity(literal: Literal) -> float:
        return shares[literal] if literal in shares else guess(literal)

    return rarity


def _hashable(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if values is None:
        return None
    return tuple(v if isinstance(v, str) else str(v) for v in values)

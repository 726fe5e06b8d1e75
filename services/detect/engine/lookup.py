"""A layout of a route's rules, ready to be asked which of them may hold for an event."""

from collections.abc import Callable, Iterable, Mapping
from itertools import repeat
from typing import Any

import orjson

from services.detect.engine.clauses import Literal, compared
from services.detect.engine.field_index import FieldIndex
from services.detect.engine.keywords import may_hold_keyword, prefilter
from services.detect.engine.layout import ROUNDS, Layout
from services.detect.engine.memo import Memo
from services.detect.engine.remembered import Kind, RememberedField, kinds
from services.detect.rules.evaluate import check
from services.detect.rules.fields import Aliases, View
from services.detect.rules.model import ANYWHERE, Node

__all__ = ["Lookup"]

_ABSENT: Any = object()
_ABSENTS = repeat(_ABSENT)
_Lively = tuple[str, Callable[[Any], int | None], Callable[[Mapping[str, Any]], int]]
_Known = tuple[int, int, tuple[_Lively, ...], bool]
"""What steady fields say: the rules that are possible, those that need nothing more, the fields to
be looked at for the others, and whether any of these has keywords."""


class Lookup:
    """What it says of an event is never too little, and seldom too much."""

    def __init__(self, layout: Layout, aliases: Aliases, conditions: Iterable[Node]) -> None:
        """Take a layout of rules with these *conditions*."""
        self._aliases = aliases
        self._size, self._every = layout.rules, (1 << layout.rules) - 1
        shift = ROUNDS * layout.rules
        self._free = layout.free
        self._steady = [
            RememberedField(FieldIndex(name, literals), aliases, 2_000, kinds())
            for name, literals in layout.steady.items()
        ]
        self._paths = tuple(name for name in layout.steady if _is_path(name, aliases))
        columns = [name for name in layout.steady if name not in self._paths]
        self._columns = tuple(
            dict.fromkeys(column for name in columns for column in (name, *aliases.get(name, ())))
        )
        # What compares two fields has no clauses: it is asked here, once for the same values.
        asked = {name for name in layout.steady if name not in self._paths}
        self._comparing = [
            (1 << rule, check(node))
            for rule, node in enumerate(conditions)
            if (names := compared(node)) and names <= asked
        ]
        self._steady_memo: Memo[Any, _Known] = Memo(10_000, 4 << 20, 4096)
        self._kinds_memo: Memo[tuple[Kind, ...], _Known] = Memo(4_000, 4_000, 1)
        self._lively: list[tuple[int, _Lively]] = []
        for name, each in layout.lively.items():
            if name != ANYWHERE:
                literals = _shifted(each, shift)
                field = RememberedField(FieldIndex(name, literals), aliases, 5_000, int)
                self._lively.append((_rules(literals), (name, field.memo.get, field.of)))
        keywords = _shifted(layout.lively.get(ANYWHERE, ()), shift)
        self._keyword_rules = _rules(keywords)
        self._keyword_index = FieldIndex(ANYWHERE, keywords) if keywords else None
        self._keyword_filter = prefilter(literal for literal, _ in keywords) if keywords else None

    def candidates(self, fields: Mapping[str, Any], text: bytes | None) -> int:
        """Return a bit for each rule that may hold; *text* is the event's JSON, if at hand."""
        get = fields.get
        raw = tuple(map(get, self._columns, _ABSENTS))
        key: Any = (*raw, *map(type, raw))
        if self._paths:
            key = (key, self._path_values(fields))
        try:
            known = self._steady_memo.get(key)
        except TypeError:  # an object or array, not to be kept
            known = self._steady_bits(fields)
        else:
            if known is None:
                known = self._compared(fields, self._steady_bits(fields))
                self._steady_memo.keep(key, known, _size(raw))
        possible, last, lively, keywords = known
        for name, remembered, of in lively:
            value = get(name)
            bits = remembered(value) if type(value) is str else None
            last |= of(fields) if bits is None else bits
        if keywords and possible & self._keyword_rules & ~last:
            last |= self._keyword_bits(fields, text)
        return possible & last

    def _steady_bits(self, fields: Mapping[str, Any]) -> _Known:
        # New tuples of values are often of values that all mean what others meant.
        each = tuple([field.of(fields) for field in self._steady])
        known = self._kinds_memo.get(each)
        if known is None:
            met = self._free
            for kind in each:
                met |= kind.bits
            possible = every = self._every
            for number in range(ROUNDS):
                possible &= met >> (number * self._size)
            last = (met >> (ROUNDS * self._size)) & every
            left = possible & ~last
            lively = tuple(field for rules, field in self._lively if left & rules)
            known = possible, last, lively, bool(left & self._keyword_rules)
            self._kinds_memo.keep(each, known, 1)
        return known

    def _compared(self, fields: Mapping[str, Any], known: _Known) -> _Known:
        """Return *known* without the rules that are refuted by how steady fields compare."""
        possible = known[0]
        for bit, holds in self._comparing:
            if possible & bit and not holds(View(fields, self._aliases)):
                possible &= ~bit
        return (possible, *known[1:])

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


def _shifted(literals: Iterable[tuple[Literal, int]], shift: int) -> list[tuple[Literal, int]]:
    return [(literal, bit >> shift) for literal, bit in literals]


def _rules(literals: Iterable[tuple[Literal, int]]) -> int:
    found = 0
    for _, bit in literals:
        found |= bit
    return found


def _is_path(name: str, aliases: Aliases) -> bool:
    return any("." in each for each in (name, *aliases.get(name, ())))


def _size(raw: tuple[Any, ...]) -> int:
    return sum(len(value) if type(value) is str else 8 for value in raw)

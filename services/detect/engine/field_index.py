"""All literals of one field in one automaton: a value in, the bits of what it satisfies out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ahocorasick_rs import AhoCorasick

from services.detect.engine.clauses import Literal
from services.detect.engine.needles import BEGIN, END, Needle, needle_of
from services.detect.rules.evaluate import check_test
from services.detect.rules.fields import View, texts_of
from services.detect.rules.model import Test, Text
from services.detect.rules.text import Kind, fold, one_dash

__all__ = ["FieldIndex", "Values"]

Values = tuple[Any, ...] | None
"""A field's values as rules read them: None where it is absent."""

_WINDOW = 1 << 16


@dataclass(slots=True)
class _Effect:
    """Bits to set, and bits to clear, when something is found."""

    sets: int = 0
    clears: int = 0


@dataclass(slots=True)
class _Found:
    sets: int = 0
    clears: int = 0

    def add(self, effect: _Effect) -> None:
        self.sets |= effect.sets
        self.clears |= effect.clears


@dataclass(slots=True)
class _Plan:
    """What is looked for, while it is being collected."""

    scanned: dict[str, _Effect] = field(default_factory=dict)
    wholes: dict[str, _Effect] = field(default_factory=dict)
    asked: dict[Test, _Effect] = field(default_factory=dict)
    any_text: _Effect = field(default_factory=_Effect)
    not_ascii: int = 0


class FieldIndex:
    """Literals of one field with their bits; a bit set by any literal that may hold."""

    def __init__(self, name: str, literals: Iterable[tuple[Literal, int]]) -> None:
        """Take literals with the bit of each; no two negative ones may share a bit."""
        found = list(literals)
        self._name = name
        self._dashed = any(
            isinstance(test, Text) and test.dashes for literal, _ in found for test in literal.tests
        )
        plan = _Plan()
        self._default = 0
        for literal, bit in found:
            if not literal.positive:
                self._default |= bit
            for test in literal.tests:
                self._plan(plan, test, bit, positive=literal.positive)
        self._wholes = plan.wholes
        self._any_text = plan.any_text
        self._not_ascii = plan.not_ascii
        self._asked: list[tuple[Callable[[View], bool], _Effect]] = [
            (check_test(name, test), effect) for test, effect in plan.asked.items()
        ]
        self._effects = list(plan.scanned.values())
        self._overlap = max(map(len, plan.scanned), default=0)
        self._automaton = AhoCorasick(list(plan.scanned)) if plan.scanned else None

    def _plan(self, plan: _Plan, test: Test, bit: int, *, positive: bool) -> None:
        needle = needle_of(test, one_dash=self._dashed)
        if needle is None:
            if isinstance(test, Text) and test.kind is Kind.ANY:
                effect = plan.any_text
            else:
                effect = plan.asked.setdefault(test, _Effect())
        elif not positive and not needle.exact:
            return  # that it is found proves nothing, so it refutes nothing
        else:
            effect = _of_needle(plan, needle)
            if needle.ascii_only:
                plan.not_ascii |= bit
        if positive:
            effect.sets |= bit
        else:
            effect.clears |= bit

    def bits(self, values: Values) -> int:
        """Return the bits of all literals that may hold for *values*."""
        found = _Found()
        texts = [fold(text) for value in values or () for text in texts_of(value)]
        if texts:
            found.add(self._any_text)
            self._look(texts, found)
        if self._asked:
            view = View({} if values is None else {self._name: list(values)}, {})
            for holds, effect in self._asked:
                if holds(view):
                    found.add(effect)
        return found.sets | (self._default & ~found.clears)

    def _look(self, texts: list[str], found: _Found) -> None:
        if self._dashed:
            texts = [_one_dash(text) for text in texts]
        for text in texts:
            if (effect := self._wholes.get(text)) is not None:
                found.add(effect)
        if self._automaton is None:
            return
        row = BEGIN + (END + BEGIN).join(texts) + END
        if not row.isascii():
            found.sets |= self._not_ascii
            row = row.encode("utf-8", "replace").decode()
        trusted = row.count(BEGIN) == row.count(END) == len(texts)
        sets = clears = 0
        for index in self._scan(row):
            effect = self._effects[index]
            sets |= effect.sets
            clears |= effect.clears
        found.sets |= sets
        if trusted:  # else a value pretends to begin or end where it does not
            found.clears |= clears

    def _scan(self, row: str) -> Iterable[int]:
        scan = self._automaton.find_matches_as_indexes  # type: ignore[union-attr]  # asked before
        if len(row) <= _WINDOW:
            return {match[0] for match in scan(row, overlapping=True)}
        hits: set[int] = set()
        for start in range(0, len(row), _WINDOW):
            window = row[start : start + _WINDOW + self._overlap]
            hits.update(match[0] for match in scan(window, overlapping=True))
        return hits


def _of_needle(plan: _Plan, needle: Needle) -> _Effect:
    if needle.whole:
        return plan.wholes.setdefault(needle.text, _Effect())
    return plan.scanned.setdefault(needle.text, _Effect())


def _one_dash(text: str) -> str:
    return text.replace("/", "-") if text.isascii() else one_dash(text)

"""All literals of one field in one automaton: a value in, the bits of what it satisfies out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ahocorasick_rs import AhoCorasick

from services.detect.engine.clauses import Literal
from services.detect.engine.needles import BEGIN, END, Needle, needle_of, shortest
from services.detect.rules.evaluate import check_test
from services.detect.rules.fields import View, texts_of
from services.detect.rules.model import Matches, Test, Text
from services.detect.rules.regex import Regex, Together
from services.detect.rules.text import Kind, fold, one_dash

__all__ = ["WINDOW", "FieldIndex", "Values"]

Values = tuple[Any, ...] | None
"""A field's values as rules read them: None where it is absent."""

WINDOW = 1 << 16
# Of regular expressions that repeat little, one automaton finds many at once. Others (".{1000,}")
# would need a state of it for every text.
_SMALL, _TOGETHER = 130, 256


@dataclass(slots=True)
class _Effect:
    """Bits to set and bits to clear where something is found; some only once a test confirms it."""

    sets: int = 0
    clears: int = 0
    confirm: "dict[Test, _Effect]" = field(default_factory=dict)
    asked: "list[_Asked]" = field(default_factory=list)

    def put(self, bit: int, *, positive: bool) -> None:
        if positive:
            self.sets |= bit
        else:
            self.clears |= bit


class _Scan:
    """The texts that are looked for in one form of a value, and what finding each means."""

    __slots__ = ("_automaton", "_effects", "_overlap", "_wholes", "needles", "trusted")

    def __init__(self) -> None:
        self.trusted = True
        """Whether the last texts looked at begin and end where it seems."""
        self.needles: dict[str, _Effect] = {}
        self._wholes: dict[str, _Effect] = {}

    def __bool__(self) -> bool:
        return bool(self.needles or self._wholes)

    def effect(self, needle: Needle) -> _Effect:
        """Return what finding *needle* means, to be added to."""
        where = self._wholes if needle.whole else self.needles
        return where.setdefault(needle.text, _Effect())

    def close(self, asked: "Callable[[Mapping[Test, _Effect]], list[_Asked]]") -> None:
        """Build the automaton; nothing is added after."""
        self._effects = list(self.needles.values())
        for effect in (*self._effects, *self._wholes.values()):
            effect.asked = asked(effect.confirm)
        self._overlap = max(map(len, self.needles), default=0)
        self._automaton = AhoCorasick(list(self.needles)) if self.needles else None

    def look(self, texts: list[str]) -> list[_Effect]:
        """Return what *texts* hold; a thing that is found often may stand there often."""
        found = [self._wholes[text] for text in texts if text in self._wholes]
        if self._automaton is None:
            return found
        row = BEGIN + (END + BEGIN).join(texts) + END
        self.trusted = row.count(BEGIN) == row.count(END) == len(texts)
        if not row.isascii():  # half a surrogate pair cannot be scanned
            clean = row.encode("utf-8", "replace").decode()
            self.trusted = self.trusted and clean == row
            row = clean
        found.extend(map(self._effects.__getitem__, self._hits(row)))
        return found

    def quick(self, text: str) -> list[_Effect]:
        """Return what *text* holds: ASCII, no longer than WINDOW, without BEGIN or END."""
        whole = self._wholes.get(text)
        found = [] if whole is None else [whole]
        if self._automaton is not None:
            row = f"{BEGIN}{text}{END}"
            matches = self._automaton.find_matches_as_indexes(row, overlapping=True)
            if matches:
                found.extend(map(self._effects.__getitem__, {match[0] for match in matches}))
        return found

    def _hits(self, row: str) -> Iterable[int]:
        scan = self._automaton.find_matches_as_indexes  # type: ignore[union-attr]  # asked before
        if len(row) <= WINDOW:
            return {match[0] for match in scan(row, overlapping=True)}
        hits: set[int] = set()
        for start in range(0, len(row), WINDOW):
            window = row[start : start + WINDOW + self._overlap]
            hits.update(match[0] for match in scan(window, overlapping=True))
        return hits


@dataclass(slots=True)
class _Asked:
    """A test that must be asked itself, of texts of at least so many characters."""

    holds: Callable[[View], bool]
    search: Callable[[str], bool] | None
    """The same of one text as it is written, if it is a regular expression."""
    effect: _Effect
    shortest: int
    number: int | None
    """Its number among those that are searched for together."""


class FieldIndex:
    """Literals of one field with their bits: those of all literals that hold for a value."""

    def __init__(self, name: str, literals: Iterable[tuple[Literal, int]]) -> None:
        """Take literals with the bit of each; no two opposites may share a bit."""
        self.name = name
        self._plain, self._dashed = _Scan(), _Scan()
        self._any_text = _Effect()
        self._default = 0
        always: dict[Test, _Effect] = {}
        beyond_ascii: dict[Test, _Effect] = {}
        together: dict[Test, Regex] = {}
        for literal, bit in literals:
            if not literal.positive:
                self._default |= bit
            for test in literal.tests:
                if isinstance(test, Matches) and test.regex.size <= _SMALL:
                    together[test] = test.regex
                needle = needle_of(test)
                effect = self._effect(test, needle, always)
                effect.put(bit, positive=literal.positive)
                if needle is not None and needle.ascii_only:
                    effect = beyond_ascii.setdefault(test, _Effect())
                    effect.put(bit, positive=literal.positive)
        chosen = list(together)[:_TOGETHER]
        self._numbers = {test: number for number, test in enumerate(chosen)}
        self._together = Together([together[test] for test in chosen]) if chosen else None
        self._always, self._beyond_ascii = self._asked(always), self._asked(beyond_ascii)
        self._plain.close(self._asked)
        self._dashed.close(self._asked)
        self._has_dashed = bool(self._dashed)

    def _effect(self, test: Test, needle: Needle | None, always: dict[Test, _Effect]) -> _Effect:
        if needle is None:
            any_text = isinstance(test, Text) and test.kind is Kind.ANY
            return self._any_text if any_text else always.setdefault(test, _Effect())
        effect = (self._dashed if needle.dashes else self._plain).effect(needle)
        return effect if needle.exact else effect.confirm.setdefault(test, _Effect())

    def _asked(self, tests: Mapping[Test, _Effect]) -> list[_Asked]:
        return [
            _Asked(
                check_test(self.name, test),
                test.regex.search if isinstance(test, Matches) else None,
                effect,
                shortest(test),
                self._numbers.get(test),
            )
            for test, effect in tests.items()
        ]

    def of_text(self, text: str) -> int:
        """Return the bits of the literals that hold for the one value *text*: the common case."""
        if not text.isascii() or BEGIN in text or END in text or len(text) > WINDOW:
            return self.bits((text,))
        low = text.lower()
        sets, clears = self._any_text.sets, self._any_text.clears
        asked = self._always
        hits = self._plain.quick(low)
        if self._has_dashed:
            hits += self._dashed.quick(low.replace("/", "-"))
        for effect in hits:
            sets |= effect.sets
            clears |= effect.clears
            if effect.asked:
                asked = asked + effect.asked
        view = found = None
        for each in asked:
            if len(text) < each.shortest:
                continue
            if self._together is not None and each.number is not None:
                if found is None:
                    found = self._together.search(text)
                holds = each.number in found
            elif each.search is not None:
                holds = each.search(text)
            else:
                view = view or View({self.name: text}, {})
                holds = each.holds(view)
            if holds:
                sets |= each.effect.sets
                clears |= each.effect.clears
        return sets | (self._default & ~clears)

    def bits(self, values: Values) -> int:
        """Return the bits of the literals that hold for *values*."""
        written = [text for value in values or () for text in texts_of(value)]
        asked = self._always
        sets = clears = 0
        if written:
            texts = [fold(text) for text in written]
            hits = self._plain.look(texts)
            if self._has_dashed:
                hits += self._dashed.look([_one_dash(text) for text in texts])
            for effect in hits:
                sets |= effect.sets
                clears |= effect.clears
                if effect.asked:
                    asked = asked + effect.asked
            sets |= self._any_text.sets
            clears |= self._any_text.clears
            if not (self._plain.trusted and self._dashed.trusted):
                clears = self._any_text.clears
            if self._beyond_ascii and not all(map(str.isascii, written)):
                asked = asked + self._beyond_ascii
        if asked:
            longest = max(map(len, written), default=0)
            view = View({} if values is None else {self.name: list(values)}, {})
            for each in asked:
                if longest >= each.shortest and each.holds(view):
                    sets |= each.effect.sets
                    clears |= each.effect.clears
        return sets | (self._default & ~clears)


def _one_dash(text: str) -> str:
    return text.replace("/", "-") if text.isascii() else one_dash(text)

"""The query language: text into a tree, or a refusal that says where and what. Pure.

::

    EventID:4625 AND user:alice        a field, at any depth, in any spelling of its case
    NOT (a:1 OR b:2)  -a:1  !a:1       no operator between two conditions means AND
    "pass the hash"  mimikatz          anywhere in the event as it was sent
    Image:*\\\\cmd.exe  user:al?ce       * any characters, ? one
    rows:>=1000  rows:[10 TO 99}       numbers as numbers, all else as text; { } leave the end out
    user:(alice OR bob)                several values
    user:*  _exists_:user              the field is there

A value is compared whole and without regard to case. A backslash makes the next special character
an ordinary one; before any other it is itself, so ``C:\\Windows`` needs no care.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["All", "And", "Exists", "Field", "Node", "Not", "Or", "QueryError", "Range", "Text",
           "Value", "parse"]  # fmt: skip

MAX_LENGTH = 8192
MAX_TERMS = 200
MAX_DEPTH = 40
_SPECIAL = frozenset(' \t\r\n"():[]{}*?\\<>=!-')
_ENDS_WORD = frozenset(' \t\r\n"()')
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class QueryError(ValueError):
    """The query cannot be read; *position* counts characters from 0."""

    def __init__(self, position: int, message: str, expected: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.position, self.message, self.expected = position, message, list(expected)


@dataclass(frozen=True, slots=True)
class Value:
    """Text to compare with: literal pieces with wildcards (``*``, ``?``) between them."""

    parts: tuple[str | Literal["*", "?"], ...]
    wild: tuple[bool, ...]

    @property
    def literal(self) -> str | None:
        """Return the text when it has no wildcard."""
        return None if any(self.wild) else "".join(self.parts)


@dataclass(frozen=True, slots=True)
class All:
    """Every event."""


@dataclass(frozen=True, slots=True)
class Text:
    """The event, as it was sent, contains this."""

    value: Value


@dataclass(frozen=True, slots=True)
class Field:
    """A field of that name has this value."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Exists:
    """A field of that name is there."""

    name: str


@dataclass(frozen=True, slots=True)
class Range:
    """A field lies between bounds; None is no bound."""

    name: str
    low: str | None
    high: str | None
    low_included: bool
    high_included: bool

    @property
    def numbers(self) -> tuple[float | None, float | None] | None:
        """Return the bounds as numbers when they are numbers."""
        found = [b for b in (self.low, self.high) if b is not None]
        if not all(_NUMBER.fullmatch(b) for b in found):
            return None
        low, high = (None if b is None else float(b) for b in (self.low, self.high))
        return low, high


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    item: "Node"


@dataclass(frozen=True, slots=True)
class And:
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    items: tuple["Node", ...]


Node = All | Text | Field | Exists | Range | Not | And | Or


def parse(query: str) -> Node:
    """Return the tree of *query* (empty or ``*``: every event); QueryError."""
    if len(query) > MAX_LENGTH:
        raise QueryError(MAX_LENGTH, f"a query has at most {MAX_LENGTH} characters")
    return _Parser(query).whole()


class _Parser:
    """Recursive descent over characters: the language has no tokens that hold everywhere."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.terms, self.depth = text, 0, 0, 0

    def whole(self) -> Node:
        self.skip()
        if self.at == len(self.text):
            return All()
        node = self.either()
        if self.at < len(self.text):
            raise QueryError(
                self.at, f"{self.text[self.at]!r} closes nothing", ["AND", "OR", "the end"]
            )
        return node

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def word_here(self, *words: str) -> str | None:
        """Return which of *words* stands here as a word of its own."""
        for word in words:
            if self.text.startswith(word, self.at):
                after = self.text[self.at + len(word) : self.at + len(word) + 1]
                if after == "" or after in ' \t\r\n()"':
                    return word
        return None

    def take(self, *words: str) -> bool:
        if word := self.word_here(*words):
            self.at += len(word)
            self.skip()
            return True
        return False

    def either(self) -> Node:
        items = [self.both()]
        while self.take("OR", "||"):
            items.append(self.both())
        return items[0] if len(items) == 1 else Or(tuple(items))

    def both(self) -> Node:
        items = [self.single()]
        while True:
            joined = self.take("AND", "&&")
            ends = self.at == len(self.text) or self.peek() == ")" or self.word_here("OR", "||")
            if ends and not joined:
                return items[0] if len(items) == 1 else And(tuple(items))
            items.append(self.single())

    def single(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise QueryError(self.at, f"nested deeper than {MAX_DEPTH}")
        try:
            return self._single()
        finally:
            self.depth -= 1

    def _single(self) -> Node:
        if self.at == len(self.text) or self.peek() == ")" or self.word_here("AND", "OR"):
            found = self.word_here("AND", "OR") or self.peek() or "the end"
            raise QueryError(
                self.at, f"a condition is missing before {found}", ["field:value", "word", "("]
            )
        if self.take("NOT"):
            return Not(self.single())
        if self.peek() in "-!" and self.text[self.at + 1 : self.at + 2].strip():
            self.at += 1
            return Not(self.single())
        if self.peek() == "(":
            opened = self.at
            self.at += 1
            self.skip()
            node = self.either()
            self.close(")", opened)
            return node
        return self.clause()

    def close(self, bracket: str, opened: int) -> None:
        if self.peek() != bracket:
            raise QueryError(self.at, f"{self.text[opened]!r} at {opened} is not closed", [bracket])
        self.at += 1
        self.skip()

    def clause(self) -> Node:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise QueryError(self.at, f"more than {MAX_TERMS} conditions")
        begun = self.at
        if self.peek() == '"':
            value = self.quoted()
            if self.peek() != ":":
                self.skip()
                return Text(value)
            name = value.literal or ""
        else:
            found = self.name()
            if found is None:
                return self.free_text(begun)
            name = found
        self.at += 1  # the colon
        if not name or len(name) > 256:
            raise QueryError(begun, "a field has a name of 1 to 256 characters")
        return self.condition(name)

    def name(self) -> str | None:
        """Return the name before a colon; None when no colon follows: then it is free text."""
        at = self.at
        made: list[str] = []
        while at < len(self.text):
            char = self.text[at]
            if char == ":":
                self.at = at
                return "".join(made)
            if char == "\\" and self.text[at + 1 : at + 2] in (" ", ":", "\\"):
                at += 1
                char = self.text[at]
            elif char in _ENDS_WORD or char in "*?[]{}<>=":
                return None
            made.append(char)
            at += 1
        return None

    def free_text(self, begun: int) -> Node:
        value = self.word()
        if not value.parts:
            raise QueryError(
                begun, f"{self.peek()!r} is not expected here", ["field:value", "word"]
            )
        self.skip()
        if all(value.wild):
            return All()
        return Text(value)

    def condition(self, name: str) -> Node:
        here = self.peek()
        if name == "_exists_":
            node: Node = Exists(self._plain("the name of a field"))
        elif here == "(":
            return self.values(name)
        elif here in ("[", "{"):
            node = self.range(name)
        elif here in ("<", ">"):
            node = self.comparison(name)
        else:
            value = self.quoted() if here == '"' else self.word()
            if not value.parts and here != '"':
                raise QueryError(
                    self.at, f"{name}: has no value", ["value", '"phrase"', "[a TO b]", ">=", "*"]
                )
            only_stars = bool(value.parts) and all(
                wild and part == "*" for part, wild in zip(value.parts, value.wild, strict=True)
            )
            node = Exists(name) if only_stars else Field(name, value)
        self.skip()
        return node

    def values(self, name: str) -> Node:
        """``field:(a OR b)``: the names in the brackets are values."""
        opened = self.at
        self.at += 1
        self.skip()
        items: list[Node] = []
        joined: str | None = None
        while self.peek() != ")":
            if self.at == len(self.text):
                raise QueryError(self.at, f"'(' at {opened} is not closed", [")"])
            if items:
                word = self.word_here("AND", "OR") or "OR"
                if joined not in (None, word):
                    raise QueryError(self.at, "AND and OR between values need brackets")
                joined = word
                self.take("AND", "OR")
            self.terms += 1
            if self.terms > MAX_TERMS:
                raise QueryError(self.at, f"more than {MAX_TERMS} conditions")
            negated = self.take("NOT")
            one = self.condition(name)
            items.append(Not(one) if negated else one)
        self.close(")", opened)
        if not items:
            raise QueryError(opened, f"{name}: has no value", ["value"])
        if len(items) == 1:
            return items[0]
        return And(tuple(items)) if joined == "AND" else Or(tuple(items))

    def comparison(self, name: str) -> Node:
        operator = re.match(r"[<>]=?", self.text[self.at :])
        assert operator is not None  # noqa: S101 - the caller saw the first character
        self.at += operator.end()
        bound = self._plain("a bound")
        included = operator[0].endswith("=")
        if operator[0][0] == ">":
            return Range(name, bound, None, included, included)
        return Range(name, None, bound, included, included)

    def range(self, name: str) -> Node:
        opened = self.at
        low_included = self.peek() == "["
        self.at += 1
        self.skip()
        low = self._bound()
        if not self.take("TO"):
            raise QueryError(self.at, "a range is written [from TO to]", ["TO"])
        high = self._bound()
        closing = self.peek()
        if closing not in ("]", "}"):
            raise QueryError(
                self.at, f"{self.text[opened]!r} at {opened} is not closed", ["]", "}"]
            )
        self.at += 1
        return Range(name, low, high, low_included, closing == "]")

    def _bound(self) -> str | None:
        if self.peek() == "*":
            self.at += 1
            self.skip()
            return None
        return self._plain("a bound")

    def _plain(self, what: str) -> str:
        begun = self.at
        value = self.quoted() if self.peek() == '"' else self.word(stop="]}")
        if not value.literal:
            raise QueryError(begun, f"{what} is expected", [what])
        self.skip()
        return value.literal

    def quoted(self) -> Value:
        opened = self.at
        self.at += 1
        made: list[str] = []
        while True:
            char = self.peek()
            if not char:
                raise QueryError(opened, "the quotation that begins here has no end", ['"'])
            if char == "\\" and self.text[self.at + 1 : self.at + 2] in ('"', "\\"):
                self.at += 1
                char = self.peek()
            elif char == '"':
                self.at += 1
                return Value(("".join(made),), (False,))
            made.append(char)
            self.at += 1

    def word(self, stop: str = "") -> Value:
        parts: list[str] = []
        wild: list[bool] = []
        made: list[str] = []

        def flush() -> None:
            if made:
                parts.append("".join(made))
                wild.append(False)
                made.clear()

        while char := self.peek():
            if char in _ENDS_WORD or char in stop:
                break
            if char == "\\" and self.text[self.at + 1 : self.at + 2] in _SPECIAL - {""}:
                following = self.text[self.at + 1 : self.at + 2]
                if following:
                    self.at += 1
                made.append(following or char)
            elif char in "*?":
                flush()
                parts.append(char)
                wild.append(True)
            else:
                made.append(char)
            self.at += 1
        flush()
        return Value(tuple(parts), tuple(wild))

"""YAML or JSON to a small tree that knows its lines, so that a refusal can say where."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import yaml

__all__ = [
    "MAX_BYTES", "Fields", "LineError", "Listing", "Node", "Scalar", "Table", "fields", "node_of",
    "plain", "read",
]  # fmt: skip

# An operator's own file, not text from strangers (those get 256 KiB, §5.3): room for a large
# estate, and still a bound.
MAX_BYTES = 32 << 20
MAX_DEPTH = 32

_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\.")


class LineError(Exception):
    """The file cannot be taken; ``line`` counts from 1, ``why`` is a sentence."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line, self.why = line, why


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value; quoted text stays text."""

    value: str | int | bool | None
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A sequence."""

    items: tuple["Node", ...]
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping."""

    entries: dict[str, "Node"]
    line: int


Node = Scalar | Listing | Table


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def read(text: str) -> Node:
    """Return the one document of *text*; LineError for anything else, anchors and tags included."""
    if len(text) > MAX_BYTES:
        raise LineError(1, f"file is larger than {MAX_BYTES >> 20} MiB")
    if text.lstrip().startswith("{"):
        text = _json_as_yaml(text)
    try:
        events = yaml.parse(text, Loader=yaml.CSafeLoader)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                root = _node(next(events), events, 0)
                next(events)  # the end of the document
                following = next(events)
                if isinstance(following, yaml.DocumentStartEvent):
                    raise LineError(_line(following), "a second document")
                return root
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise LineError(mark.line + 1 if mark else 1, f"not YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise LineError(1, f"not YAML: {str(error).splitlines()[0]}") from None
    raise LineError(1, "the file is empty")


def _json_as_yaml(text: str) -> str:
    """JSON is YAML but for two things: tabs between tokens, and pairs of escaped surrogates."""

    def pair(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        high, low = int(match[1], 16), int(match[2], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))

    return _SURROGATES.sub(pair, text.replace("\t", " "))


def _node(event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
    line = _line(event)
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        raise LineError(line, "YAML anchors and aliases are not allowed")  # alias bombs, §5.3
    if getattr(event, "tag", None) is not None:
        raise LineError(line, "YAML tags are not allowed")
    if depth > MAX_DEPTH:
        raise LineError(line, f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(event, yaml.ScalarEvent):
        quoted = event.style in {"'", '"', "|", ">"}
        return Scalar(event.value if quoted else _plain(event.value), event.value, line)
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_node(event, events, depth + 1))
        return Listing(tuple(items), line)
    entries: dict[str, Node] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = _node(event, events, depth + 1)
        if not isinstance(key, Scalar):
            raise LineError(key.line, "a key must be a plain word")
        if key.text in entries:
            raise LineError(key.line, f"key {key.text!r} stands twice")
        entries[key.text] = _node(next(events), events, depth + 1)
    return Table(entries, line)


def _plain(text: str) -> str | int | bool | None:
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _INT.fullmatch(text) else text


class Fields:
    """The fields of one table, read by type; a wrong type is a LineError that names the field."""

    def __init__(self, table: Table, what: str) -> None:
        self._table, self._what = table, what
        self.line = table.line

    def _get(self, key: str) -> Node | None:
        node = self._table.entries.get(key)
        return None if isinstance(node, Scalar) and node.value is None else node

    def has(self, key: str) -> bool:
        return self._get(key) is not None

    def line_of(self, key: str) -> int:
        node = self._get(key)
        return node.line if node else self.line

    def text_or_none(self, key: str) -> str | None:
        node = self._get(key)
        return None if node is None else _text(node, f"{self._what}: {key}")

    def text(self, key: str) -> str:
        node = self._get(key)
        if node is None:
            raise LineError(self.line, f"{self._what} has no {key}")
        return _text(node, f"{self._what}: {key}")

    def number_or_none(self, key: str, least: int, most: int) -> int | None:
        node = self._get(key)
        if node is None:
            return None
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise LineError(
                node.line, f"{self._what}: {key} must be a whole number from {least} to {most}"
            )
        return value

    def flag(self, key: str, default: bool) -> bool:
        node = self._get(key)
        if node is None:
            return default
        if not isinstance(node, Scalar) or not isinstance(node.value, bool):
            raise LineError(node.line, f"{self._what}: {key} must be true or false")
        return node.value

    def instant_or_none(self, key: str) -> datetime | None:
        text = self.text_or_none(key)
        if text is None:
            return None
        line = self.line_of(key)
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            raise LineError(line, f"{self._what}: {key} {text!r} is not RFC 3339") from None
        if instant.tzinfo is None:
            raise LineError(line, f"{self._what}: {key} {text!r} has no offset from UTC")
        return instant.astimezone(UTC)

    def texts(self, key: str) -> tuple[tuple[str, int], ...]:
        """Return the texts of a list (or of one text) with their lines; empty when absent."""
        node = self._get(key)
        if node is None:
            return ()
        items = node.items if isinstance(node, Listing) else (node,)
        return tuple((_text(item, f"{self._what}: {key}"), item.line) for item in items)

    def items(self, key: str) -> tuple[Node, ...]:
        """Return the items of a list; empty when absent."""
        node = self._get(key)
        if node is None:
            return ()
        if not isinstance(node, Listing):
            raise LineError(node.line, f"{self._what}: {key} must be a list")
        return node.items

    def table(self, key: str) -> Node | None:
        return self._get(key)


def fields(node: Node, what: str, allowed: Sequence[str]) -> Fields:
    """Return the fields of *node*; LineError when it is no table or has a key not in *allowed*."""
    if not isinstance(node, Table):
        raise LineError(node.line, f"{what} must be a table with {', '.join(allowed)}")
    for key, value in node.entries.items():
        if key not in allowed:
            raise LineError(
                value.line, f"{what}: unknown key {key!r} (known: {', '.join(allowed)})"
            )
    return Fields(node, what)


def plain(node: Node) -> object:
    """Return *node* as plain lists, dictionaries and values, without its lines."""
    match node:
        case Scalar(value):
            return value
        case Listing(items):
            return [plain(item) for item in items]
        case Table(entries):
            return {key: plain(value) for key, value in entries.items()}


def node_of(value: object, line: int = 1) -> Node:
    """Return plain lists, dictionaries and values as a tree; the other way round of `plain`.

    LineError for what no file could say.
    """
    match value:
        case dict():
            return Table({str(key): node_of(item, line) for key, item in value.items()}, line)
        case list():
            return Listing(tuple(node_of(item, line) for item in value), line)
        case None | bool() | int() | str():
            return Scalar(value, "" if value is None else str(value), line)
        case _:
            raise LineError(line, f"{type(value).__name__} has no place here")


def _text(node: Node, what: str) -> str:
    if not isinstance(node, Scalar) or node.value is None:
        raise LineError(node.line, f"{what} must be text")
    text = node.text.strip()
    if not text or any(ord(c) < 32 and c != "\n" for c in text):
        raise LineError(node.line, f"{what} is empty or holds control characters")
    return text

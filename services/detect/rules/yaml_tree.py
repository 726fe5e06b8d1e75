"""YAML to a small tree that knows its lines, for text from strangers: no anchors, tags, bombs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from .model import RefusedError

MAX_BYTES = 512 * 1024  # the largest public rule, a list of driver hashes, has 295 kB
MAX_DEPTH = 32

_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,99})", re.ASCII)
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,99})\.[0-9]{1,99}", re.ASCII)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value; *text* is what stands in the file."""

    value: Value
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A sequence."""

    items: tuple["Tree", ...]
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; *lines* says where each key stands."""

    entries: dict[str, "Tree"]
    lines: dict[str, int]
    line: int


Tree = Scalar | Listing | Table


class _TooDeepError(RefusedError):
    """Reading on costs more than the rest of the file is worth."""


def documents(text: str) -> Iterator[Tree | RefusedError]:
    """Yield the tree of each document, or why that one document is refused.

    Raises RefusedError where the text is no YAML at all: nothing after that place can be read.
    """
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair would be an error
    if len(text) > MAX_BYTES:
        raise RefusedError(1, f"longer than {MAX_BYTES // 1024} KiB")
    events = yaml.parse(text, Loader=yaml.CSafeLoader)
    try:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                yield _document(events)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise RefusedError(mark.line + 1 if mark else 1, f"not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise RefusedError(line, f"not YAML: {error.reason}") from None


def _document(events: Iterator[yaml.Event]) -> Tree | RefusedError:
    try:
        return _tree(next(events), events, 0)
    except _TooDeepError:
        raise
    except RefusedError as refusal:
        _skip(events, refusal)
        return refusal


def _skip(events: Iterator[yaml.Event], refusal: RefusedError) -> None:
    """Read on to the end of the refused document, so that its neighbours do not suffer."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.DocumentEndEvent):
            return
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        # libyaml takes time quadratic in the depth, so deep text is left where it is.
        if depth > MAX_DEPTH:
            raise refusal


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark else 1


def _tree(event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Tree:
    line = _line(event)
    if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) or event.anchor:
        raise RefusedError(line, "YAML anchors and aliases are not allowed")
    if event.tag is not None:
        raise RefusedError(line, f"YAML tag {event.tag} is not allowed")
    if depth > MAX_DEPTH:
        raise _TooDeepError(line, f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(event, yaml.ScalarEvent):
        unquoted = event.implicit[0]
        return Scalar(_resolve(event.value) if unquoted else event.value, event.value, line)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Tree] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_tree(event, events, depth + 1))
        return Listing(tuple(items), line)
    return _table(events, depth, line)


def _table(events: Iterator[yaml.Event], depth: int, line: int) -> Table:
    entries: dict[str, Tree] = {}
    lines: dict[str, int] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        at = _line(event)
        key = _tree(event, events, depth + 1)
        if not isinstance(key, Scalar):
            raise RefusedError(at, "a key must be a plain word, not a list or map")
        if key.text == "<<":
            raise RefusedError(at, "YAML merge keys are not allowed")
        if key.text in entries:
            raise RefusedError(
                at, f"key {key.text!r} stands twice (first in line {lines[key.text]})"
            )
        lines[key.text] = at
        entries[key.text] = _tree(next(events), events, depth + 1)
    return Table(entries, lines, line)


def _resolve(text: str) -> Value:
    """Return what an unquoted *text* means.

    YAML 1.2, with less: only decimal numbers as people write them are numbers. 0x3e7, 0815, 1e5
    and dates stay text, as logs carry them as text and a converted number would never be found.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def plain(tree: Tree) -> object:
    """Return *tree* as plain Python values, without lines."""
    match tree:
        case Scalar():
            return tree.value
        case Listing():
            return [plain(item) for item in tree.items]
        case Table():
            return {key: plain(value) for key, value in tree.entries.items()}

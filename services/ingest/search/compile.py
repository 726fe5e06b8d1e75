"""The tree into SQL for files with known columns. Pure; whatever a user wrote is a parameter.

What a file does not have at all needs no reading: a condition on it is decided here, and a file
where the whole query comes out false is never opened.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from services.ingest.search.language import (
    All,
    And,
    Exists,
    Field,
    Node,
    Not,
    Or,
    Range,
    Text,
    Value,
)
from services.ingest.store.layout import field_column

__all__ = ["SOURCE_NAMES", "Parameters", "Schema", "condition", "relevant", "value_of"]

_PLACEHOLDER = re.compile(r"\$(p\d+)\b")

# Fields of the envelope, by the names that people may call them.
_ENVELOPE = {
    "id": "id::VARCHAR",
    "source": "source_id",
    "source_id": "source_id",
    "tenant": "tenant",
    "region": "region",
    "datacenter": "datacenter",
    "service": "service",
    "server": "server",
    "product": "product",
    "category": "category",
    "logsource.product": "product",
    "logsource.category": "category",
    "logsource.service": "logsource_service",
}


SOURCE_NAMES = frozenset({"source", "source_id"})


@dataclass(frozen=True, slots=True)
class Schema:
    """What the files of a group have in common: paths with a column, paths in ``rest``, and the
    source, where a query speaks of it."""

    paths: frozenset[str]
    others: frozenset[str] | None
    source_id: str | None = None

    def columns(self, name: str) -> list[str]:
        """Return the SQL of every column that *name* means, at any depth."""
        wanted, suffix = name.lower(), f".{name.lower()}"
        found = [_ENVELOPE[wanted]] if wanted in _ENVELOPE else []
        if wanted in SOURCE_NAMES and self.source_id == "":
            found = []
        return found + [
            field_column(path)
            for path in sorted(self.paths)
            if path == wanted or path.endswith(suffix)
        ]

    def has_others(self, name: str) -> bool:
        """Tell whether *name* may stand in ``rest``."""
        wanted, suffix = name.lower(), f".{name.lower()}"
        return self.others is None or any(p == wanted or p.endswith(suffix) for p in self.others)


@dataclass(slots=True)
class Parameters:
    """Values on their way into a prepared statement."""

    values: dict[str, Any] = field(default_factory=dict)

    def add(self, value: Any) -> str:
        """Return the placeholder of *value*."""
        for name, known in self.values.items():
            if type(known) is type(value) and known == value:
                return f"${name}"
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"${name}"

    def used_in(self, query: str) -> dict[str, Any]:
        """Return those that *query* speaks of: a condition may have come to nothing."""
        return {name: self.values[name] for name in set(_PLACEHOLDER.findall(query))}


def relevant(node: Node, names: Sequence[str]) -> set[str]:
    """Return the fields that *node* and *names* speak of: files are grouped by which they have."""
    found = {name.lower() for name in names}
    pending = [node]
    while pending:
        match pending.pop():
            case Field(name, _) | Exists(name) | Range(name, _, _, _, _):
                found.add(name.lower())
            case Not(item):
                pending.append(item)
            case And(items) | Or(items):
                pending += items
            case All() | Text():
                pass
    return found


def condition(node: Node, schema: Schema, parameters: Parameters) -> str | bool:
    """Return SQL that is true for the events that *node* means, or the answer for all of them."""
    match node:
        case All():
            return True
        case Text(value):
            return _text(value, parameters)
        case Field(name, value):
            if schema.source_id is not None and name.lower() in SOURCE_NAMES:
                # A file is of one source: those of others are not even opened.
                if _is(schema.source_id, value):
                    return True
                schema = replace(schema, source_id="")
            return _any(name, schema, parameters, lambda at: _equals(at, value, parameters))
        case Exists(name):
            return _any(name, schema, parameters, lambda at: f"{at} IS NOT NULL")
        case Range():
            return _any(node.name, schema, parameters, lambda at: _between(at, node, parameters))
        case Not(item):
            inner = condition(item, schema, parameters)
            return not inner if isinstance(inner, bool) else f"NOT coalesce({inner}, false)"
        case And(items):
            return _join("AND", items, schema, parameters)
        case Or(items):
            return _join("OR", items, schema, parameters)


def _join(word: str, items: Sequence[Node], schema: Schema, parameters: Parameters) -> str | bool:
    decides = word == "OR"
    parts = []
    for item in items:
        part = condition(item, schema, parameters)
        if part is decides:
            return decides
        if isinstance(part, str):
            parts.append(part)
    if not parts:
        return not decides
    return "(" + f" {word} ".join(parts) + ")"


def _any(
    name: str, schema: Schema, parameters: Parameters, test: Callable[[str], str]
) -> str | bool:
    tests = [test(column) for column in schema.columns(name)]
    if schema.has_others(name):
        tests.append(f"len({_in_rest(name, parameters, test('entry.v'))}) > 0")
    return "(" + " OR ".join(tests) + ")" if tests else False


def _in_rest(name: str, parameters: Parameters, test: str) -> str:
    whole, suffix = parameters.add(name.lower()), parameters.add(f".{name.lower()}")
    return (
        f"list_filter(rest, lambda entry: (entry.k = {whole} OR ends_with(entry.k, {suffix}))"
        f" AND {test})"
    )


def _is(text: str, value: Value) -> bool:
    """Tell whether *text* is what *value* means."""
    pattern = "".join(
        {"*": ".*", "?": "."}[part] if wild else re.escape(part.lower())
        for part, wild in zip(value.parts, value.wild, strict=True)
    )
    return re.fullmatch(pattern, text.lower(), re.DOTALL) is not None


def _equals(at: str, value: Value, parameters: Parameters) -> str:
    literal = value.literal
    if literal is None:
        return f"lower({at}) LIKE {parameters.add(_pattern(value).lower())} ESCAPE '\\'"
    if literal.lower() == literal.upper():  # digits and signs: nothing to fold, faster to find
        return f"{at} = {parameters.add(literal)}"
    return f"lower({at}) = {parameters.add(literal.lower())}"


def _pattern(value: Value) -> str:
    pieces = []
    for part, wild in zip(value.parts, value.wild, strict=True):
        if wild:
            pieces.append("%" if part == "*" else "_")
        else:
            pieces.append(part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_"))
    return "".join(pieces)


def _between(at: str, node: Range, parameters: Parameters) -> str:
    numbers = node.numbers
    bounds: tuple[Any, Any] = numbers or (node.low, node.high)
    subject = f"TRY_CAST({at} AS DOUBLE)" if numbers else f"lower({at})"
    tests = []
    for bound, included, sign in (
        (bounds[0], node.low_included, ">"),
        (bounds[1], node.high_included, "<"),
    ):
        if bound is not None:
            value = bound if numbers else str(bound).lower()
            tests.append(f"{subject} {sign}{'=' if included else ''} {parameters.add(value)}")
    return "(" + " AND ".join(tests or [f"{at} IS NOT NULL"]) + ")"


def _text(value: Value, parameters: Parameters) -> str:
    """The event as sent: JSON may have written a character in one of three ways.

    RE2 is linear in the text, and almost three times as fast as folding the case of all of it.
    """
    spellings = dict.fromkeys(
        "".join(
            {"*": ".*", "?": "."}[part] if wild else re.escape(written(part))
            for part, wild in zip(value.parts, value.wild, strict=True)
        )
        .removeprefix(".*")
        .removesuffix(".*")
        for written in (str, _as_json, _as_ascii_json)
    )
    return f"regexp_matches(raw, {parameters.add('|'.join(spellings))}, 'is')"


def _as_json(text: str) -> str:
    return orjson.dumps(text).decode()[1:-1]


def _as_ascii_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def value_of(name: str, schema: Schema, parameters: Parameters) -> str:
    """Return SQL for the text of field *name*, NULL where an event has none."""
    parts = schema.columns(name)
    if schema.has_others(name):
        parts.append(f"{_in_rest(name, parameters, 'true')}[1].v")
    if not parts:
        return "CAST(NULL AS VARCHAR)"
    return parts[0] if len(parts) == 1 else f"coalesce({', '.join(parts)})"

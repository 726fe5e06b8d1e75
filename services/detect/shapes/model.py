"""Shapes, and how the table of them is read; `shapes.yml` says what its words mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.detect.rules.fields import texts_of
from services.detect.rules.model import LogSource
from services.detect.rules.text import fold

__all__ = ["Names", "Shape", "ShapeError", "read_shapes"]

_KEYS = {
    "shape", "when", "logsource", "service_from", "line", "spread", "names", "instead", "says",
}  # fmt: skip
Names = tuple[tuple[str, tuple[str, ...]], ...]


class ShapeError(Exception):
    """The table cannot be read; the message says where."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One way in which events are wrapped."""

    name: str
    when: tuple[tuple[str, frozenset[str]], ...]
    logsource: LogSource
    service_from: str | None
    line: tuple[str, ...]
    spread: tuple[str, ...]
    names: Names
    instead: Names
    says: tuple[tuple[str, str], ...] = ()


def read_shapes(table: Sequence[Mapping[str, Any]]) -> tuple[Shape, ...]:
    """Return the shapes of *table*, or raise ShapeError."""
    return tuple(_shape(entry) for entry in table)


def _shape(entry: Mapping[str, Any]) -> Shape:
    name = entry.get("shape", "?")
    if unknown := set(entry) - _KEYS:
        raise ShapeError(f"shape {name}: unknown key {min(unknown)!r}")
    if not entry.get("when"):
        raise ShapeError(f"shape {name}: nothing says when it holds")
    when = tuple(
        (path, frozenset(fold(text) for value in values for text in texts_of(value)))
        for path, values in entry["when"].items()
    )
    return Shape(
        name=name,
        when=when,
        logsource=LogSource.of(entry.get("logsource", {})),
        service_from=entry.get("service_from"),
        line=tuple(entry.get("line", ())),
        spread=tuple(entry.get("spread", ())),
        names=_names(entry.get("names", {})),
        instead=_names(entry.get("instead", {})),
        says=tuple(entry.get("says", {}).items()),
    )


def _names(table: Mapping[str, Sequence[str]]) -> Names:
    return tuple((name, tuple(paths)) for name, paths in table.items())

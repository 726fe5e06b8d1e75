"""An event under the table of shapes: unwrapped, named, and told which log it is.

Pure: the event given is never changed.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import orjson

from services.detect.rules.fields import read, texts_of
from services.detect.rules.match import Event
from services.detect.rules.model import LogSource
from services.detect.rules.text import fold
from services.detect.shapes.model import Shape
from services.detect.shapes.table import default_shapes
from services.detect.shapes.windows_event import flatten, is_windows_event
from services.detect.shapes.windows_xml import fields_of_xml
from shared.lines.syslog import parse_line

__all__ = ["fields_of_line", "shaped"]

_UNKNOWN = LogSource()
_WINDOWS = LogSource("windows")
_MAX_LINE = 256 * 1024
# Lines without a year are not dated by what is read here, so any year will do.
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)

Fields = Mapping[str, Any]


def shaped(
    fields: Fields,
    logsource: LogSource | Mapping[str, Any] = _UNKNOWN,
    text: bytes | None = None,
) -> Event:
    """Return the event of *fields* as rules read it; *logsource* is what its envelope says.

    What is no JSON object, or of no known shape, comes back as it is.
    """
    if not isinstance(fields, dict):
        return Event(fields, logsource, text)
    hint = logsource
    given = fields
    if is_windows_event(fields):
        fields = flatten(fields)
        if not hint:
            hint = _WINDOWS
    waiting = _waiting(fields, -1)
    while waiting:
        number, shape = waiting.pop(0)
        if not _holds(shape, fields):
            continue
        known = hint if isinstance(hint, LogSource) else LogSource.of(hint)
        own = _own_logsource(shape, fields)
        if known.product is not None and own.product not in (None, known.product):
            continue
        fields = _under(shape, fields)
        if own != _UNKNOWN:
            hint = _filled(known, own)
        waiting = _waiting(fields, number)
    return Event(fields, hint, text if fields is given else None)


def _waiting(fields: Fields, after: int) -> list[tuple[int, Shape]]:
    """Return the shapes, by number, that may hold for *fields* and come *after* another one."""
    possible = _possible(_asked_for().intersection(fields))
    return [(number, shape) for number, shape in possible if number > after]


@cache
def _asked_for() -> frozenset[str]:
    """Return the keys that tell shapes from each other."""
    paths = [path for shape in default_shapes() for path, _ in shape.when]
    return frozenset(paths) | {path.partition(".")[0] for path in paths}


@lru_cache(maxsize=4_096)
def _possible(keys: frozenset[str]) -> tuple[tuple[int, Shape], ...]:
    """Return the shapes of which nothing is missing in events with these keys."""
    return tuple(
        (number, shape)
        for number, shape in enumerate(default_shapes())
        if all(path in keys or path.partition(".")[0] in keys for path, _ in shape.when)
    )


def _holds(shape: Shape, fields: Fields) -> bool:
    for path, accepted in shape.when:
        value = fields.get(path)
        if type(value) is str:  # by far the most common
            if accepted and fold(value) not in accepted:
                return False
            continue
        found = read(fields, path)
        if found is None or all(value is None for value in found):
            return False
        if accepted and not any(
            fold(text) in accepted for value in found for text in texts_of(value)
        ):
            return False
    return True


def _own_logsource(shape: Shape, fields: Fields) -> LogSource:
    own = shape.logsource
    if shape.service_from is None:
        return own
    found = read(fields, shape.service_from) or ()
    service = next((fold(value) for value in found if isinstance(value, str)), None)
    return LogSource(own.product, own.category, service)


def _filled(known: LogSource, own: LogSource) -> LogSource:
    """Return *known*, or *own* where nothing is known; a product alone takes the rest of *own*."""
    if known == _UNKNOWN:
        return own
    if known.product == own.product and known.category is None and known.service is None:
        return own
    return known


def _under(shape: Shape, fields: Fields) -> Fields:
    """Return *fields* with what *shape* adds; new names never replace the event's own."""
    found: dict[str, Any] = {}
    for path in shape.line:
        for value in read(fields, path) or ():
            if isinstance(value, str) and len(value) <= _MAX_LINE:
                found.update(fields_of_line(value))
    for path in shape.spread:
        for value in read(fields, path) or ():
            if isinstance(value, dict):
                found.update({key.replace(" ", ""): inner for key, inner in value.items()})
    found.update(fields)
    for name, paths in shape.names:
        if name not in found and read(fields, name) is None:
            _take(found, fields, name, paths)
    for name, text in shape.says:
        found.setdefault(name, text)
    for name, paths in shape.instead:
        _take(found, fields, name, paths)
    return found


def _take(into: dict[str, Any], fields: Fields, name: str, paths: Sequence[str]) -> None:
    for path in paths:
        values = read(into, path)
        if values is not None and any(value is not None for value in values):
            into[name] = values[0] if len(values) == 1 else list(values)
            return


def fields_of_line(line: str) -> dict[str, Any]:
    """Return the fields of an event that some shipper passes on as text."""
    text = line.strip()
    if text[:1] == "{":
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            return {}
        if not isinstance(document, dict):
            return {}
        return flatten(document) if is_windows_event(document) else document
    if text.startswith("<Event") and (found := fields_of_xml(text)):
        return found
    parsed = parse_line(text, _ANY_TIME)
    parsed.pop("time", None)
    return parsed

"""Events as they are stored: a type name, a schema version, and canonical JSON (RFC 8785).

Stored bytes never change. When a class changes in a way that a default cannot bridge, the schema
number is raised, and an upcaster from the older number is added here (delivery reference §2.5).
Schema 1 was written in clear; since schema 2 what may be personal is in boxes (`sealing`).
A golden fixture of each (type, schema) in tests/unit/cases/golden has to decode for ever.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, get_args

import msgspec

from services.cases.domain.events import Event
from services.cases.sealing.box import BOXES, AlteredBoxError, Keys, open_boxes

__all__ = [
    "EVENT_TYPES", "SCHEMA", "SCHEMAS", "Encoded", "Plain", "Stored", "UnknownEventError",
    "decode", "decode_as", "key_ids", "open_plain", "plain_of",
]  # fmt: skip

SCHEMA: Final = 2
EVENT_TYPES: Final[Mapping[str, type[Event]]] = {
    f"{cls.__name__}.v1": cls for cls in get_args(Event)
}

Plain = dict[str, Any]
T = TypeVar("T")


def _nothing_sealed(plain: Plain) -> Plain:
    return {**plain, BOXES: []}


UPCASTERS: Final[Mapping[int, Callable[[Plain], Plain]]] = {1: _nothing_sealed}
"""Schema → what makes the next one of it."""
SCHEMAS: Final = (*UPCASTERS, SCHEMA)


class UnknownEventError(Exception):
    """A stored event that this program cannot read: readers stop rather than skip it."""


class Encoded(msgspec.Struct, frozen=True):
    """An event ready for the log."""

    type: str
    schema: int
    data: str


class Stored(msgspec.Struct, frozen=True):
    """An event as it was read from the log, with the place that its boxes are bound to."""

    type: str
    schema: int
    data: str
    stream_id: object
    event_id: object


def plain_of(event: object) -> Plain:
    """Return *event* as JSON has it: what JSON cannot say (NaN, a UUID) is settled."""
    plain: Plain = msgspec.json.decode(msgspec.json.encode(event))
    return plain


def key_ids(schema: int, data: str) -> list[str]:
    """Return the data keys without which an event that is stored cannot be read."""
    if schema < SCHEMA or f'"{BOXES}":[' not in data:
        return []
    boxes = msgspec.json.decode(data, type=_Boxes).sealed
    return [key_id for box in boxes for key_id in box.keys]


class _Box(msgspec.Struct):
    keys: list[str]


class _Boxes(msgspec.Struct):
    sealed: list[_Box] = []


def decode(stored: Stored, keys: Keys) -> Event:
    """Return the event that was stored; UnknownEventError for a type or schema from the future."""
    return decode_as(EVENT_TYPES, stored, keys)


def decode_as(types: Mapping[str, type[T]], stored: Stored, keys: Keys) -> T:
    """Return what was stored of one of *types*; UnknownEventError if it is none of them.

    AlteredBoxError when a sealed part is not what was sealed.
    """
    plain = open_plain(types, stored, keys)
    try:
        return msgspec.convert(plain, types[stored.type])
    except msgspec.ValidationError as error:
        raise UnknownEventError(f"{stored.type} schema {stored.schema}: {error}") from error


def open_plain(types: Mapping[str, type[Any]], stored: Stored, keys: Keys) -> Plain:
    """Return the JSON of what was stored, its boxes opened; refuses like `decode_as`."""
    cls, what = types.get(stored.type), f"{stored.type} schema {stored.schema}"
    if cls is None or stored.schema not in SCHEMAS:
        raise UnknownEventError(f"{what} is not known to this program")
    try:
        plain: Plain = msgspec.json.decode(stored.data, type=dict[str, Any])
        for schema in range(stored.schema, SCHEMA):
            plain = UPCASTERS[schema](plain)
        open_boxes(cls, plain, (stored.stream_id, stored.event_id, stored.type), keys)
    except msgspec.ValidationError as error:
        raise UnknownEventError(f"{what}: {error}") from error
    except (KeyError, IndexError, TypeError, msgspec.DecodeError) as error:
        raise AlteredBoxError(f"{what}: a sealed part is not where it was: {error!r}") from error
    return plain

"""Events as they are stored: a type name, a schema version, and canonical JSON (RFC 8785).

Stored bytes never change. When a class changes in a way that a default cannot bridge, its schema
number is raised, and an upcaster from the older number is added here (delivery reference §2.5).
A golden fixture of each (type, schema) in tests/unit/cases/golden has to decode for ever.
"""

from collections.abc import Mapping
from typing import Final, get_args

import msgspec

from services.cases.domain.events import Event
from services.cases.ledger.canonical import canonical

__all__ = ["EVENT_TYPES", "SCHEMA", "Encoded", "UnknownEventError", "decode", "encode"]

SCHEMA: Final = 1
EVENT_TYPES: Final[Mapping[str, type[Event]]] = {
    f"{cls.__name__}.v1": cls for cls in get_args(Event)
}
_NAMES = {cls: name for name, cls in EVENT_TYPES.items()}


class UnknownEventError(Exception):
    """A stored event that this program cannot read: readers stop rather than skip it."""


class Encoded(msgspec.Struct, frozen=True):
    """An event ready for the log."""

    type: str
    schema: int
    data: str


def encode(event: Event) -> Encoded:
    """Return *event* as it is stored."""
    # Through JSON and back: what JSON cannot say (NaN, a UUID) is settled before it is canonical.
    plain = msgspec.json.decode(msgspec.json.encode(event))
    return Encoded(_NAMES[type(event)], SCHEMA, canonical(plain))


def decode(type_: str, schema: int, data: str) -> Event:
    """Return the event that was stored; UnknownEventError for a type or schema from the future."""
    cls = EVENT_TYPES.get(type_)
    if cls is None or schema != SCHEMA:
        raise UnknownEventError(f"{type_} schema {schema} is not known to this program")
    try:
        return msgspec.json.decode(data, type=cls)
    except msgspec.ValidationError as error:
        raise UnknownEventError(f"{type_} schema {schema}: {error}") from error

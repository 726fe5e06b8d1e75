"""Events as they are stored, under keys that are derived from whom they are for: tests only."""

import atexit
import hashlib
import json
import tempfile
from functools import cache
from pathlib import Path
from uuid import UUID, uuid5

from services.cases.aggregates import ALL_TYPES, name_of, stored_form
from services.cases.codec import Encoded, Stored, decode_as, plain_of
from services.cases.domain.events import Event
from services.cases.evidence.domain.events import EvidenceEvent
from services.cases.ledger.canonical import canonical
from services.cases.review.domain.events import ReviewEvent
from services.cases.sealing.box import Keys, Subject, put_away, subjects

__all__ = ["EVENT_ID", "STREAM_ID", "in_clear", "keys_of", "master_key", "opened", "read_golden",
           "sealed", "stored", "write_golden"]  # fmt: skip

STREAM_ID, EVENT_ID = UUID(int=0x5EA1), UUID(int=0xE7E47)

Any = Event | EvidenceEvent | ReviewEvent


def _key(subject: Subject) -> tuple[str, bytes]:
    return str(uuid5(STREAM_ID, subject)), hashlib.sha256(subject.encode()).digest()


def keys_of(event: Any) -> dict[str, bytes | None]:
    """Return the keys under which `sealed` seals *event*."""
    return dict(_key(subject) for subject in subjects(type(event), plain_of(event)))


def in_clear(event: Any) -> Encoded:
    """Return *event* as schema 1 stored it."""
    return Encoded(name_of(event), 1, canonical(plain_of(event)))


def sealed(event: Any) -> Encoded:
    """Return *event* as it is stored today, at a place that is always the same."""
    plain = plain_of(event)
    of = {subject: _key(subject) for subject in subjects(type(event), plain)}
    put_away(type(event), plain, (STREAM_ID, EVENT_ID, name_of(event)), of)
    return stored_form(event, plain)


def stored(encoded: Encoded) -> Stored:
    return Stored(encoded.type, encoded.schema, encoded.data, STREAM_ID, EVENT_ID)


def opened(encoded: Encoded, keys: Keys) -> Any:
    """Return what is read of *encoded* with *keys*."""
    event: Any = decode_as(ALL_TYPES, stored(encoded), keys)
    return event


def write_golden(path: Path, event: Any) -> None:
    """Write the fixture of *event*; one that is there never changes."""
    if path.exists():
        return
    encoded = sealed(event)
    keys = {key_id: key.hex() for key_id, key in keys_of(event).items() if key is not None}
    document = {
        "type": encoded.type,
        "schema": encoded.schema,
        "stream_id": str(STREAM_ID),
        "event_id": str(EVENT_ID),
        "keys": keys,
        "data": json.loads(encoded.data),
    }
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def read_golden(path: Path) -> tuple[Stored, dict[str, bytes | None]]:
    """Return what is stored in a fixture of any schema, and the keys that open it."""
    document = json.loads(path.read_text())
    at = (document.get("stream_id", STREAM_ID), document.get("event_id", EVENT_ID))
    keys = {key_id: bytes.fromhex(key) for key_id, key in document.get("keys", {}).items()}
    data = json.dumps(document["data"])
    return Stored(document["type"], document["schema"], data, *at), {**keys}


@cache
def master_key() -> Path:
    """Return the file of a master key, for services that are made and never run."""
    with tempfile.NamedTemporaryFile("w", prefix="tocsin-", suffix=".key", delete=False) as file:
        file.write("5e" * 32)
    path = Path(file.name)
    atexit.register(path.unlink, missing_ok=True)
    return path

"""A log of any size, filled by COPY: valid to the last leaf, so `tocsin verify` finds it intact.

Incidents are told in different ways and to different ends, some hundred at a time, their events
interleaved as they would be; one in fifty is restricted. What is personal is sealed, each incident
under a key of its own, as the service does it.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid5

import asyncpg
import msgspec

from services.cases.aggregates import ALL_TYPES
from services.cases.codec import SCHEMA
from services.cases.domain import events as e
from services.cases.domain.events import Event
from services.cases.domain.vocabulary import State
from services.cases.ledger.canonical import canonical
from services.cases.ledger.leaf import leaf_of
from services.cases.sealing.box import INCIDENT, Subject, put_away, subjects
from services.cases.sealing.kek import KEY_BYTES, Keks
from services.cases.sealing.vault import Vault
from shared.clock import rfc3339
from tests.support.golden_events import one_of_each
from tests.support.incidents import story
from tests.support.sealing import in_clear

__all__ = ["EACH", "SERVICES", "WORDS", "fill", "incident_of", "long_incident"]

WORDS = ("beacon", "phishing", "credential", "exfiltration", "ransom", "lateral", "token", "macro")
SERVICES = 50
EACH = 20  # events of an incident
AT_ONCE = 64  # incidents that are worked on at the same time
BATCH = 20_000
FIRST = datetime(2025, 11, 1, tzinfo=UTC)
STEP = timedelta(seconds=10)  # from one event of the log to the next
_SPACE = UUID("6b1f2a52-7c39-4b63-9a3e-0d5f5c2b7a11")
_ENDS = (State.CONFIRMED, State.OPENED, State.CLOSED, State.FALSE_POSITIVE, State.INVESTIGATING)
_AT = re.compile(r'"at":"[^"]*"')

EVENTS = (
    "position", "stream_id", "version", "event_id", "type", "schema", "data", "actor",
    "occurred_at", "recorded_at", "command_id",
)  # fmt: skip
COMMANDS = (
    "command_id", "digest", "stream_id", "first_version", "last_version", "last_position",
    "recorded_at",
)  # fmt: skip


KEYS = ("key_id", "scope", "subject", "kek", "wrapped")


@dataclass(frozen=True, slots=True)
class Template:
    """An event as it is stored, with places for what differs: %N, %T, %S, %W, %I and the time."""

    type: str
    before: str
    after: str
    actor: str
    persons: frozenset[Subject]

    def plain(self, names: dict[str, str], at: str) -> dict[str, Any]:
        text = f'{self.before}"at":"{at}"{self.after}'
        if "%" in text:
            for place, name in names.items():
                text = text.replace(place, name)
        return msgspec.json.decode(text, type=dict[str, Any])


class Keys:
    """The keys of the log that is made: an incident's own, and those of the persons in it."""

    def __init__(self, keks: Keks, persons: Mapping[Subject, tuple[str, bytes]]) -> None:
        self._keks, self._persons = keks, persons
        self._used: set[tuple[int, str]] = set()
        self.made: list[tuple[UUID, str, bytes, str, bytes]] = []
        self.uses: list[tuple[UUID, UUID]] = []
        self._all: dict[int, tuple[str, bytes]] = {}

    def of(self, number: int, persons: frozenset[Subject]) -> dict[Subject, tuple[str, bytes]]:
        """Return the keys for an event of incident *number* about *persons*."""
        if number not in self._all:
            key_id, key = UUID(int=(3 << 100) + number), os.urandom(KEY_BYTES)
            wrapped = self._keks.wrap(key, str(key_id).encode())
            subject = incident_of(number).bytes
            self.made.append((key_id, "incident", subject, self._keks.current, wrapped))
            self._all[number] = str(key_id), key
        found = {INCIDENT: self._all[number]}
        for name in persons - {INCIDENT}:
            found[name] = self._persons[name]
            if (number, name) not in self._used:
                self._used.add((number, name))
                self.uses.append((UUID(found[name][0]), incident_of(number)))
        return found


def incident_of(number: int) -> UUID:
    """Return the id of the incident of that *number*."""
    return uuid5(_SPACE, f"incident {number}")


def _template(event: Event) -> Template:
    stored = in_clear(event)
    before, after = _AT.split(stored.data, maxsplit=1)
    plain = msgspec.json.decode(stored.data, type=dict[str, Any])
    persons = frozenset(subjects(ALL_TYPES[stored.type], plain))
    return Template(stored.type, before, after, event.actor.id, persons)


@cache
def _story(kind: int) -> tuple[Template, ...]:
    """Return EACH templates: a story to one of five ends, then notes; kind ≥ 5 is restricted."""
    each = one_of_each()
    told = story(_ENDS[kind % len(_ENDS)])
    opened, note = told[0], each["NoteAdded.v1"]
    assert isinstance(opened, e.IncidentOpened)
    assert isinstance(note, e.NoteAdded)
    events: list[Event] = [
        replace(opened, number="TOCSIN-2026-%N", title="%T on host-%N", services=("svc-%S",)),
        *told[1:],
    ]
    if kind >= len(_ENDS):
        events.insert(4, each["AccessRestricted.v1"])
    place = UUID("00000000-0000-0000-0000-0000000000ff")
    notes = [replace(note, note_id=place, text=f"%W seen, case %N.{n}") for n in range(EACH)]
    found = [_template(event) for event in [*events, *notes][: max(EACH, len(events))]]
    return tuple(
        replace(
            t, before=t.before.replace(str(place), "%I"), after=t.after.replace(str(place), "%I")
        )
        for t in found
    )


def _kind(number: int) -> int:
    return number % len(_ENDS) + (len(_ENDS) if number % 50 == 7 else 0)


def _turns(incidents: int) -> Iterator[tuple[int, int, Template]]:
    """Yield incident, version and event, AT_ONCE incidents taking turns."""
    for first in range(0, incidents, AT_ONCE):
        several = [(n, _story(_kind(n))) for n in range(first, min(first + AT_ONCE, incidents))]
        for version in range(1, max(len(told) for _, told in several) + 1):
            for number, told in several:
                if version <= len(told):
                    yield number, version, told[version - 1]


def _long(number: int, events: int) -> Iterator[tuple[int, int, Template]]:
    told = _story(0)
    for version in range(1, events + 1):
        yield number, version, told[min(version, len(told)) - 1]


def long_incident(incidents: int) -> UUID:
    """Return the id of the one long incident that `fill` puts behind *incidents* others."""
    return incident_of(incidents)


async def fill(dsn: str, vault: Vault, incidents: int, long: int = 1_000) -> int:
    """Fill the empty log of the database with *incidents* and one of *long* events.

    Returns the number of events. *dsn* is an administrator's: the service itself cannot do this.
    """
    templates = [t for kind in range(2 * len(_ENDS)) for t in _story(kind)]
    persons = frozenset[Subject]().union(*(t.persons for t in templates)) - {INCIDENT}
    known = await vault.for_sealing(incident_of(incidents + 1), incident_of(0), persons)
    keys = Keys(vault.keks, known)
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "cases"})
    try:
        position = await connection.fetchval("SELECT position FROM log_head WHERE id = 1")
        assert position == 0, "the log is not empty"
        batch: list[dict[str, object]] = []

        async def write() -> None:
            async with connection.transaction():
                await connection.copy_records_to_table(
                    "events", columns=EVENTS, records=[tuple(r[c] for c in EVENTS) for r in batch]
                )
                await connection.copy_records_to_table(
                    "leaves", columns=("position", "hash"),
                    records=[(r["position"], leaf_of(r)) for r in batch],
                )  # fmt: skip
                await connection.copy_records_to_table(
                    "commands", columns=COMMANDS,
                    records=[
                        (r["command_id"], "bench", r["stream_id"], r["version"], r["version"],
                         r["position"], r["recorded_at"])
                        for r in batch
                    ],
                )  # fmt: skip
                await connection.copy_records_to_table("data_keys", columns=KEYS, records=keys.made)
                await connection.executemany(
                    "INSERT INTO key_uses VALUES ($1, $2) ON CONFLICT DO NOTHING", keys.uses
                )
                await connection.execute("UPDATE log_head SET position = $1", position)
            batch.clear()
            keys.made.clear()
            keys.uses.clear()

        for source in (_turns(incidents), _long(incidents, long)):
            for number, version, template in source:
                position += 1
                at = FIRST + STEP * position
                names = {
                    "%N": f"{number:06d}",
                    "%T": WORDS[number % 8],
                    "%S": str(number % SERVICES),
                    "%W": WORDS[(number + version) % 8],
                    "%I": str(UUID(int=(number << 32) + version)),
                }
                event_id = UUID(int=(1 << 100) + position)
                plain = template.plain(names, rfc3339(at).replace(".000000", ""))
                place = (incident_of(number), event_id, template.type)
                put_away(ALL_TYPES[template.type], plain, place, keys.of(number, template.persons))
                batch.append(
                    {
                        "position": position,
                        "stream_id": incident_of(number),
                        "version": version,
                        "event_id": event_id,
                        "type": template.type,
                        "schema": SCHEMA,
                        "data": canonical(plain),
                        "actor": template.actor,
                        "occurred_at": at,
                        "recorded_at": at,
                        "command_id": UUID(int=(2 << 100) + position),
                    }
                )
                if len(batch) == BATCH:
                    await write()
        await write()
        await connection.execute(
            "ANALYZE events; ANALYZE leaves; ANALYZE commands; ANALYZE data_keys"
        )
    finally:
        await connection.close()
    return int(position)

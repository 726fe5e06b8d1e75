"""A log of any size, filled by COPY: valid to the last leaf, so `tocsin verify` finds it intact.

Incidents are told in different ways and to different ends, some hundred at a time, their events
interleaved as they would be; one in fifty is restricted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import UUID, uuid5

import asyncpg

from services.cases.domain import events as e
from services.cases.domain.events import Event
from services.cases.domain.vocabulary import State
from services.cases.ledger.leaf import leaf_of
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


@dataclass(frozen=True, slots=True)
class Template:
    """An event as it is stored, with places for what differs: %N, %T, %S, %W, %I and the time."""

    type: str
    schema: int
    before: str
    after: str
    actor: str

    def data(self, names: dict[str, str], at: str) -> str:
        text = f'{self.before}"at":"{at}"{self.after}'
        if "%" in text:
            for place, name in names.items():
                text = text.replace(place, name)
        return text


def incident_of(number: int) -> UUID:
    """Return the id of the incident of that *number*."""
    return uuid5(_SPACE, f"incident {number}")


def _template(event: Event) -> Template:
    stored = in_clear(event)
    before, after = _AT.split(stored.data, maxsplit=1)
    return Template(stored.type, stored.schema, before, after, event.actor.id)


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


async def fill(dsn: str, incidents: int, long: int = 1_000) -> int:
    """Fill the empty log of the database with *incidents* and one of *long* events.

    Returns the number of events. *dsn* is an administrator's: the service itself cannot do this.
    """
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
                await connection.execute("UPDATE log_head SET position = $1", position)
            batch.clear()

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
                batch.append(
                    {
                        "position": position,
                        "stream_id": incident_of(number),
                        "version": version,
                        "event_id": UUID(int=(1 << 100) + position),
                        "type": template.type,
                        "schema": template.schema,
                        "data": template.data(names, rfc3339(at).replace(".000000", "")),
                        "actor": template.actor,
                        "occurred_at": at,
                        "recorded_at": at,
                        "command_id": UUID(int=(2 << 100) + position),
                    }
                )
                if len(batch) == BATCH:
                    await write()
        await write()
        await connection.execute("ANALYZE events; ANALYZE leaves; ANALYZE commands")
    finally:
        await connection.close()
    return int(position)

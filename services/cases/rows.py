"""The rows of the views of incidents, and how they are written beside those that are there."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.cases.domain.events import IncidentSplit
from services.cases.store import Recorded
from services.cases.views import Document
from services.cases.views.access import seers
from services.cases.views.detail import project
from services.cases.views.indicators import outcomes
from services.cases.views.links import change_other, other_end
from services.cases.views.listing import summarise
from services.cases.views.searchable import people_of, searchable
from services.cases.views.timeline import entry
from services.cases.views.waiting import next_due, waiting

__all__ = [
    "INSERT_INCIDENT", "TIMELINE_COLUMNS", "WORK_COLUMNS", "Entry", "Opened", "Rows", "json_text",
    "save", "save_splits",
]  # fmt: skip

Entry = tuple[int, UUID, int, str]
"""A row of the timeline, its columns in the order of TIMELINE_COLUMNS."""

TIMELINE_COLUMNS = ("position", "incident_id", "version", "entry")
WORK_COLUMNS = (
    "incident_id", "kind", "ref", "person", "roles", "not_by", "what", "since", "due",
)  # fmt: skip

INSERT_INCIDENT = (
    "INSERT INTO incidents (incident_id, opened_position, version, position, state, severity,"
    " summary, document, priority, owning_team, source_kind, services, regions, people, search,"
    " restricted, next_due)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
    " to_tsvector('simple', $15), $16, $17)"
)
_SAVE = (
    f"{INSERT_INCIDENT}"
    " ON CONFLICT (incident_id) DO UPDATE SET version = excluded.version,"
    " position = excluded.position, state = excluded.state, severity = excluded.severity,"
    " summary = excluded.summary, document = excluded.document, priority = excluded.priority,"
    " owning_team = excluded.owning_team, people = excluded.people, search = excluded.search,"
    " restricted = excluded.restricted, next_due = excluded.next_due"
)
_TIMELINE = "INSERT INTO timeline (position, incident_id, version, entry) VALUES ($1, $2, $3, $4)"
_INDICATOR = (
    "INSERT INTO incident_indicators (incident_id, indicator_id, attack_vector, outcome)"
    " VALUES ($1, $2, $3, $4) ON CONFLICT (incident_id, indicator_id) DO UPDATE"
    " SET attack_vector = excluded.attack_vector, outcome = excluded.outcome"
    " WHERE (incident_indicators.attack_vector, incident_indicators.outcome)"
    " IS DISTINCT FROM (excluded.attack_vector, excluded.outcome)"
)
_SHUT = "DELETE FROM incident_access WHERE incident_id = ANY($1)"
_ACCESS = "INSERT INTO incident_access (incident_id, person, until) VALUES ($1, $2, $3)"
_DONE = "DELETE FROM work WHERE incident_id = ANY($1)"
_WORK = "INSERT INTO work VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
_SPLIT = "INSERT INTO splits (new_id, origin_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"


def json_text(document: Document) -> str:
    """Return *document* as it is stored: the same content is the same text."""
    return msgspec.json.encode(document, order="sorted").decode()


def _stored(name: str | None) -> str | None:
    """Return *name* as a column can hold it: JSON knows NUL, PostgreSQL's text does not."""
    return name and name.replace("\0", " ")


@dataclass(frozen=True, slots=True)
class Opened:
    """An incident as its rows show it: its id, the position where it was opened, its document."""

    key: UUID
    position: int
    document: Document

    def incident(self) -> tuple[Any, ...]:
        """Return the values of INSERT_INCIDENT."""
        document = self.document
        short = summarise(document)
        return (
            self.key,
            self.position,
            document["version"],
            document["position"],
            document["state"],
            short["severity"],
            json_text(short),
            json_text(document),
            short["priority"],
            _stored(short["owning_team"]),
            document["source"]["kind"],
            [_stored(name) for name in document["services"]],
            [_stored(name) for name in document["regions"]],
            people_of(document),
            searchable(document),
            document["access"]["restricted"],
            next_due(document),
        )

    def access(self) -> Iterator[tuple[UUID, str, datetime | None]]:
        for person, until in seers(self.document):
            yield self.key, person, until

    def work(self) -> Iterator[tuple[Any, ...]]:
        """Yield a row of WORK_COLUMNS for each thing that the incident waits for."""
        rows = {(wait.kind, wait.ref): wait for wait in waiting(self.document)}
        for wait in rows.values():
            yield (
                self.key,
                wait.kind,
                _stored(wait.ref),
                _stored(wait.person),
                [role.value for role in wait.roles],
                _stored(wait.not_by),
                _stored(wait.what),
                wait.since,
                wait.due,
            )

    def indicators(self) -> Iterator[tuple[UUID, UUID, str, str | None]]:
        """Yield one row an indicator; of one that was linked twice the last word counts."""
        rows = {indicator: (vector, what) for indicator, vector, what in outcomes(self.document)}
        for indicator, (vector, what) in rows.items():
            yield self.key, indicator, vector, what


@dataclass(slots=True)
class Rows:
    """The incidents that a run of events touches, and the timeline's new entries."""

    opened: dict[UUID, int] = field(default_factory=dict)
    documents: dict[UUID, Document] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def apply(self, events: Iterable[Recorded]) -> None:
        for r in events:
            other = other_end(r.event)
            if other is not None and other in self.documents:
                self.documents[other] = change_other(self.documents[other], r)
            self.entries.append(self.own(r))

    def own(self, r: Recorded) -> Entry:
        """Take in what *r* changes of its own incident; return its entry of the timeline."""
        document = project(self.documents.get(r.stream_id), r)
        self.opened.setdefault(r.stream_id, r.position)
        self.documents[r.stream_id] = document
        return r.position, r.stream_id, r.version, json_text(entry(document, r))

    def incidents(self) -> list[Opened]:
        return [Opened(key, self.opened[key], document) for key, document in self.documents.items()]


async def save(driver: Any, rows: Rows) -> None:
    """Write *rows* in the caller's transaction, over those that are there."""
    found = rows.incidents()
    await driver.executemany(_SAVE, [x.incident() for x in found])
    await driver.execute(_SHUT, [x.key for x in found])
    await driver.executemany(_ACCESS, [row for x in found for row in x.access()])
    await driver.execute(_DONE, [x.key for x in found])
    await driver.executemany(_WORK, [row for x in found for row in x.work()])
    await driver.executemany(_TIMELINE, rows.entries)
    await driver.executemany(_INDICATOR, [row for x in found for row in x.indicators()])


async def save_splits(driver: Any, events: Iterable[Recorded]) -> None:
    """Write what was split off in *events*; of two that name one id the first has it."""
    rows = [(r.event.new_id, r.stream_id) for r in events if isinstance(r.event, IncidentSplit)]
    if rows:
        await driver.executemany(_SPLIT, rows)

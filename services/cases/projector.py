"""Keeps the views in step with the log: rows and cursor are one transaction."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
import structlog
from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.evidence.projection import EvidenceBatch
from services.cases.fingerprint import VIEWS, Fingerprints, fingerprints
from services.cases.postgres import COLUMNS, recorded
from services.cases.review.projection import ReviewBatch
from services.cases.store import Recorded, RecordedEvidence, RecordedReview
from services.cases.views import Document
from services.cases.views.access import seers
from services.cases.views.detail import project
from services.cases.views.indicators import outcomes
from services.cases.views.links import change_other, other_end
from services.cases.views.listing import summarise
from services.cases.views.searchable import people_of, searchable
from services.cases.views.timeline import entry

__all__ = ["GapError", "Projector", "Rebuilt"]

BATCH = 200
REBUILD_BATCH = 2_000
NAME = "incidents"

log = structlog.get_logger()
_position = Gauge("tocsin_cases_projected_position", "Position that the views have reached")

_LOCK = "SELECT position FROM projections WHERE name = $1 FOR UPDATE"
_CURSOR = "UPDATE projections SET position = $1 WHERE name = $2 AND position = $3 RETURNING 1"
_NEXT = f"SELECT {COLUMNS} FROM events WHERE position > $1 ORDER BY position LIMIT $2"  # noqa: S608 - constants only
_LOAD = "SELECT incident_id, opened_position, document FROM incidents WHERE incident_id = ANY($1)"
_SAVE = (
    "INSERT INTO incidents (incident_id, opened_position, version, position, state, severity,"
    " summary, document, priority, owning_team, source_kind, services, regions, people, search,"
    " restricted)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
    " to_tsvector('simple', $15), $16)"
    " ON CONFLICT (incident_id) DO UPDATE SET version = excluded.version,"
    " position = excluded.position, state = excluded.state, severity = excluded.severity,"
    " summary = excluded.summary, document = excluded.document, priority = excluded.priority,"
    " owning_team = excluded.owning_team, people = excluded.people, search = excluded.search,"
    " restricted = excluded.restricted"
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

_SPLIT = "INSERT INTO splits (new_id, origin_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"


class GapError(Exception):
    """The log has a hole or another worker moved the cursor: nothing was written."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to: the events projected, and a hash of each view before and after."""

    events: int
    before: Fingerprints
    after: Fingerprints

    @property
    def differing(self) -> list[str]:
        """Return the views that were not what the log says."""
        return [view for view in VIEWS if self.before[view] != self.after[view]]


@dataclass(slots=True)
class _Batch:
    """The rows that a run of events touches."""

    opened: dict[UUID, int] = field(default_factory=dict)
    documents: dict[UUID, Document] = field(default_factory=dict)
    entries: list[tuple[int, UUID, int, str]] = field(default_factory=list)

    def apply(self, events: Iterable[Recorded]) -> None:
        for r in events:
            other = other_end(r.event)
            if other is not None and other in self.documents:
                self.documents[other] = change_other(self.documents[other], r)
            document = project(self.documents.get(r.stream_id), r)
            self.opened.setdefault(r.stream_id, r.position)
            self.documents[r.stream_id] = document
            self.entries.append((r.position, r.stream_id, r.version, _json(entry(document, r))))


def _row(key: UUID, opened: int, document: Document) -> tuple[Any, ...]:
    """Return the values of _SAVE."""
    short = summarise(document)
    return (
        key,
        opened,
        document["version"],
        document["position"],
        document["state"],
        short["severity"],
        _json(short),
        _json(document),
        short["priority"],
        _stored(short["owning_team"]),
        document["source"]["kind"],
        [_stored(name) for name in document["services"]],
        [_stored(name) for name in document["regions"]],
        people_of(document),
        searchable(document),
        document["access"]["restricted"],
    )


def _stored(name: str | None) -> str | None:
    """Return *name* as a column can hold it: JSON knows NUL, PostgreSQL's text does not."""
    return name and name.replace("\0", " ")


def _touched(events: Sequence[Recorded]) -> set[UUID]:
    """Return the incidents whose documents *events* change: their own, and other ends of links."""
    others = {other for r in events if (other := other_end(r.event)) is not None}
    return {r.stream_id for r in events} | others


def _json(document: Document) -> str:
    return msgspec.json.encode(document, order="sorted").decode()


class Projector:
    """Runs the views forward; `reached` gives readers their own writes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._running = asyncio.Lock()
        self._moved = asyncio.Condition()
        self.position = 0

    async def once(self) -> int:
        """Project the next events, if there are any; return how many."""
        async with self._running, self._engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            async with driver.transaction():
                done, position = await self._advance(driver, BATCH)
        await self._announce(position)
        return done

    async def rebuild(self) -> Rebuilt:
        """Project everything anew; readers see the old rows until it is all there.

        One transaction: a rebuild that is interrupted, or refused, leaves the views as they were.
        """
        async with self._running, self._engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            async with driver.transaction():
                before = await driver.fetchval(_LOCK, NAME)
                was = await fingerprints(driver)
                for view in VIEWS:
                    await driver.execute(f"DELETE FROM {view}")  # noqa: S608 - constants only
                await driver.execute("UPDATE projections SET position = 0 WHERE name = $1", NAME)
                position = 0
                while position < before:  # up to where the live views are, so that both compare
                    position = (await self._advance(driver, min(REBUILD_BATCH, before - position)))[
                        1
                    ]
                now = await fingerprints(driver)
        await self._announce(position)
        log.info("views rebuilt", events=position)
        return Rebuilt(position, was, now)

    async def reached(self, position: int, limit: float = 2.0) -> bool:
        """Bring the views to *position*; False if they are not there within *limit* seconds."""
        try:
            async with asyncio.timeout(limit):
                while self.position < position and await self.once():
                    pass
        except Exception:
            log.warning("views are behind", position=position, at=self.position, exc_info=True)
        return self.position >= position

    async def moved(self, beyond: int, limit: float) -> bool:
        """Wait until the views are beyond a position, or *limit* seconds; tell which."""
        try:
            async with asyncio.timeout(limit), self._moved:
                await self._moved.wait_for(lambda: self.position > beyond)
        except TimeoutError:
            return False
        return True

    async def _announce(self, position: int) -> None:
        if position > self.position:
            async with self._moved:
                self.position = position
                self._moved.notify_all()
            _position.set(position)

    async def _advance(self, driver: Any, limit: int) -> tuple[int, int]:
        """Project up to *limit* events in the caller's transaction; return count and position."""
        cursor: int = await driver.fetchval(_LOCK, NAME)
        events = [recorded(row) for row in await driver.fetch(_NEXT, cursor, limit)]
        if not events:
            return 0, cursor
        last = cursor + len(events)
        if [r.position for r in events] != list(range(cursor + 1, last + 1)):
            raise GapError(f"positions after {cursor} are not contiguous")
        batch = _Batch()
        of_incidents = [r for r in events if isinstance(r, Recorded)]
        for row in await driver.fetch(_LOAD, list(_touched(of_incidents))):
            batch.opened[row["incident_id"]] = row["opened_position"]
            batch.documents[row["incident_id"]] = json.loads(row["document"])
        batch.apply(of_incidents)
        of_evidence = [r for r in events if isinstance(r, RecordedEvidence)]
        await EvidenceBatch().apply(driver, of_evidence)
        of_reviews = [r for r in events if isinstance(r, RecordedReview)]
        await ReviewBatch().apply(driver, of_incidents, of_reviews)
        await driver.executemany(
            _SAVE,
            [_row(key, batch.opened[key], document) for key, document in batch.documents.items()],
        )
        await driver.execute(_SHUT, list(batch.documents))
        await driver.executemany(
            _ACCESS,
            [
                (key, person, until)
                for key, document in batch.documents.items()
                for person, until in seers(document)
            ],
        )
        await driver.executemany(_TIMELINE, batch.entries)
        await driver.executemany(
            _INDICATOR,
            [
                (key, indicator, vector, outcome)
                for key, document in batch.documents.items()
                for indicator, vector, outcome in outcomes(document)
            ],
        )
        await driver.executemany(
            _SPLIT,
            [
                (row["new_id"], key)
                for key, document in batch.documents.items()
                for row in document["split_off"]
            ],
        )
        if await driver.fetchval(_CURSOR, last, NAME, cursor) is None:
            raise GapError(f"the cursor was not at {cursor}")
        return len(events), last

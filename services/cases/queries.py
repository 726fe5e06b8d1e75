"""What the read side asks of PostgreSQL: views, and for auditors the log as it is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.aggregates import ALL_TYPES, id_name
from services.cases.codec import Stored, key_ids, open_plain
from services.cases.domain.accuracy import Counts
from services.cases.filters import Filters
from services.cases.need_to_know import MEMBER, UP_TO_DATE, VISIBLE
from services.cases.sealing.box import Keys
from services.cases.sealing.vault import Vault
from services.cases.views import Document
from services.cases.views.indicators import OUTCOMES

__all__ = ["Queries", "Row"]

_LIST = """
    SELECT opened_position, summary FROM incidents i
    WHERE opened_position < :before AND {visible}{where} ORDER BY opened_position DESC LIMIT :limit
"""
# Apart, so that those that everybody sees are counted in an index alone (incidents_counted).
_COUNT = f"""
    SELECT state, severity, sum(n)::bigint AS n FROM (
        SELECT state, severity, count(*) AS n FROM incidents i
        WHERE NOT i.restricted AND {UP_TO_DATE}{{where}} GROUP BY 1, 2
        UNION ALL
        SELECT state, severity, count(*) FROM incidents i
        WHERE i.restricted AND {MEMBER} AND {UP_TO_DATE}{{where}} GROUP BY 1, 2
    ) each GROUP BY 1, 2
"""  # noqa: S608 - constants only
_ONE = text("SELECT version, document FROM incidents WHERE incident_id = :id")
_TIMELINE = text("""
    SELECT version, entry FROM timeline
    WHERE incident_id = :id AND version > :after ORDER BY version LIMIT :limit
""")
_FEED = text("""
    SELECT position, entry FROM timeline
    WHERE position > :after AND (cast(:id AS uuid) IS NULL OR incident_id = :id)
    ORDER BY position LIMIT :limit
""")
_PROJECTED = text("SELECT position FROM projections WHERE name = 'incidents'")
_RAW = (
    "SELECT position, stream_id, version, event_id, type, schema, data, actor, occurred_at,"
    " recorded_at, command_id FROM events"
)
_LEAF = text("SELECT hash FROM leaves WHERE position = :position")
_LOG = text(f"{_RAW} WHERE position > :after ORDER BY position LIMIT :limit")
_STREAM = text(f"{_RAW} WHERE stream_id = :id AND version > :after ORDER BY version LIMIT :limit")

_RECORD = text(f"""
    SELECT indicator_id, attack_vector, outcome, count(*) AS n FROM incident_indicators o
    JOIN incidents i ON i.incident_id = o.incident_id
    WHERE outcome IS NOT NULL AND o.incident_id <> :id AND indicator_id IN
        (SELECT indicator_id FROM incident_indicators WHERE incident_id = :id) AND {VISIBLE}
    GROUP BY indicator_id, attack_vector, outcome
""")  # noqa: S608 - constants only
_SHARED = text(f"""
    SELECT i.incident_id, i.summary, count(*) AS n FROM incident_indicators mine
    JOIN incident_indicators theirs ON theirs.indicator_id = mine.indicator_id
        AND theirs.incident_id <> mine.incident_id
    JOIN incidents i ON i.incident_id = theirs.incident_id
    WHERE mine.incident_id = :id AND {VISIBLE}
    GROUP BY i.incident_id, i.summary, i.opened_position
    ORDER BY n DESC, i.opened_position DESC LIMIT :limit
""")  # noqa: S608 - constants only

_UNOPENED = text("""
    SELECT s.origin_id, s.new_id FROM splits s
    WHERE NOT EXISTS (SELECT 1 FROM incidents i WHERE i.incident_id = s.new_id) LIMIT 100
""")

LAST = 2**63 - 1
MOST_HOPS = 64


@dataclass(frozen=True, slots=True)
class Row:
    """A document with the number that orders it."""

    key: int
    document: Document


def _raw(row: Any, keys: Keys | None) -> Document:
    """Return an event of the log; without *keys* its data as they are stored, sealed."""
    fields = dict(row._mapping)
    if keys is None:
        fields["data"] = orjson.loads(fields["data"])
    else:
        stored = Stored(row.type, row.schema, row.data, row.stream_id, row.event_id)
        fields["data"] = open_plain(ALL_TYPES, stored, keys)
    fields[id_name(row.type)] = fields.pop("stream_id")
    return fields


class Queries:
    """Reads; never writes."""

    def __init__(self, engine: AsyncEngine, vault: Vault) -> None:
        self._engine, self._vault = engine, vault

    async def _rows(self, statement: Any, **values: Any) -> Sequence[Any]:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement, values)).all()

    async def incidents(
        self, filters: Filters, *, person: str, before: int | None, limit: int
    ) -> list[Row]:
        """Return the newest incidents opened before a position that *person* may see."""
        rows = await self._rows(
            text(_LIST.format(where=filters.where(), visible=VISIBLE)),
            **filters.given(),
            person=person,
            before=before or LAST,
            limit=limit,
        )
        return [Row(r.opened_position, orjson.loads(r.summary)) for r in rows]

    async def counts(self, filters: Filters, person: str) -> list[tuple[str, str | None, int]]:
        """Return how many incidents *person* may see, by state and severity."""
        query = _COUNT.format(where=filters.where())
        rows = await self._rows(text(query), **filters.given(), person=person)
        return [(r.state, r.severity, r.n) for r in rows]

    async def incident(self, incident_id: UUID) -> Document | None:
        """Return the incident in full, if it is known."""
        rows = await self._rows(_ONE, id=incident_id)
        document: Document | None = orjson.loads(rows[0].document) if rows else None
        return document

    async def canonical(self, document: Document) -> str:
        """Return the id of the incident as which this one goes on: its own, unless merged."""
        found: Document = document
        for _ in range(MOST_HOPS):
            if found["merged_into"] is None:
                break
            following = await self.incident(UUID(found["merged_into"]))
            if following is None:  # not projected yet
                return str(found["merged_into"])
            found = following
        return str(found["incident_id"])

    async def record(self, incident_id: UUID, person: str) -> dict[tuple[UUID, str], Counts]:
        """Return what the incident's indicators came to in other incidents, by vector."""
        found: dict[tuple[UUID, str], Counts] = {}
        for r in await self._rows(_RECORD, id=incident_id, person=person):
            key = (r.indicator_id, r.attack_vector)
            counts = Counts(*(r.n if r.outcome == outcome else 0 for outcome in OUTCOMES))
            found[key] = found.get(key, Counts()) + counts
        return found

    async def unopened_splits(self) -> list[tuple[UUID, UUID]]:
        """Return origin and new id of what was split off and has not been opened."""
        return [(r.origin_id, r.new_id) for r in await self._rows(_UNOPENED)]

    async def sharing(self, incident_id: UUID, person: str, limit: int) -> list[Row]:
        """Return incidents that have indicators in common with this one, the most first."""
        rows = await self._rows(_SHARED, id=incident_id, person=person, limit=limit)
        return [Row(r.n, orjson.loads(r.summary)) for r in rows]

    async def timeline(self, incident_id: UUID, after: int, limit: int) -> list[Row]:
        """Return timeline entries of one incident beyond a version."""
        rows = await self._rows(_TIMELINE, id=incident_id, after=after, limit=limit)
        return [Row(r.version, orjson.loads(r.entry)) for r in rows]

    async def feed(self, after: int, incident_id: UUID | None, limit: int) -> list[Row]:
        """Return timeline entries of all incidents, or of one, beyond a position."""
        rows = await self._rows(_FEED, id=incident_id, after=after, limit=limit)
        return [Row(r.position, orjson.loads(r.entry)) for r in rows]

    async def projected(self) -> int:
        """Return the position that the views have reached."""
        return int((await self._rows(_PROJECTED))[0].position)

    async def _events(self, rows: Sequence[Any], sealed: bool) -> list[Document]:
        if sealed:
            return [_raw(row, None) for row in rows]
        keys = await self._vault.keys(k for row in rows for k in key_ids(row.schema, row.data))
        return [_raw(row, keys) for row in rows]

    async def log(self, after: int, limit: int, *, sealed: bool = False) -> list[Document]:
        """Return events of the log beyond a position; *sealed*: as they are stored."""
        return await self._events(await self._rows(_LOG, after=after, limit=limit), sealed)

    async def leaf(self, position: int) -> bytes:
        """Return the leaf hash of the event at *position*; empty at position 0."""
        rows = await self._rows(_LEAF, position=position)
        return bytes(rows[0].hash) if rows else b""

    async def stream(
        self, incident_id: UUID, after: int, limit: int, *, sealed: bool = False
    ) -> list[Document]:
        """Return events of one incident beyond a version; *sealed*: as they are stored."""
        rows = await self._rows(_STREAM, id=incident_id, after=after, limit=limit)
        return await self._events(rows, sealed)

"""Reads the past of an incident from the log."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.domain.incident import fold
from services.cases.domain.state import Incident
from services.cases.evidence.view import project_evidence
from services.cases.postgres import COLUMNS, opened
from services.cases.sealing.vault import Vault
from services.cases.store import Recorded, RecordedEvidence
from services.cases.views import Document
from services.cases.views.links import other_end
from services.cases.views.past import document_from

__all__ = ["History", "Moment", "NotYetError", "Past"]

_OWN = text(f"""
    SELECT {COLUMNS} FROM events
    WHERE stream_id = :id AND version <= :version AND recorded_at <= :at ORDER BY version
""")  # noqa: S608 - constants only
# The types are written out so that the partial index `events_of_two_incidents` serves; the id is
# looked for in the text, and whether it is the other end is decided on the event itself.
_OTHERS = text(f"""
    SELECT {COLUMNS} FROM events
    WHERE type IN ('IncidentLinked.v1', 'IncidentUnlinked.v1', 'IncidentMerged.v1',
                   'IncidentUnmerged.v1', 'IncidentReopened.v1')
      AND position < :before AND recorded_at <= :at AND stream_id <> :id
      AND strpos(data, :name) > 0
    ORDER BY position
""")  # noqa: S608 - constants only
_NEXT = text("SELECT position FROM events WHERE stream_id = :id AND version = :version")
_ITEMS = text(f"""
    SELECT {COLUMNS} FROM events
    WHERE stream_id IN (SELECT evidence_id FROM evidence WHERE incident_id = :id)
      AND position < :before AND recorded_at <= :at
    ORDER BY stream_id, version
""")  # noqa: S608 - constants only

_LAST = 2**63 - 1
_FAR = datetime(9000, 1, 1, tzinfo=UTC)


class NotYetError(Exception):
    """The incident did not exist then, or has no such version."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A version of the incident or an instant: one of them."""

    version: int | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """An incident and its items of evidence as they were known at a moment."""

    document: Document
    incident: Incident
    evidence: list[Document]


class History:
    """Reads; never writes."""

    def __init__(self, engine: AsyncEngine, vault: Vault) -> None:
        self._engine, self._vault = engine, vault

    async def past(self, incident_id: UUID, moment: Moment) -> Past:
        """Return the incident as it was at *moment*; NotYetError when there is nothing then."""
        version = moment.version if moment.version is not None else 2**31 - 1
        async with self._engine.connect() as connection:
            # One snapshot: its own events and those of others are of the same moment. The view is
            # locked before the snapshot is taken, or a rebuild's new rows would be later than it.
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            await connection.execute(text("LOCK TABLE evidence IN ACCESS SHARE MODE"))
            driver: Any = (await connection.get_raw_connection()).driver_connection
            limits: dict[str, Any] = {"id": incident_id, "at": moment.at or _FAR}

            async def events(statement: Any, given: dict[str, Any]) -> list[Any]:
                rows = (await connection.execute(statement, given)).mappings().all()
                return await opened(self._vault, rows, driver)

            found = await events(_OWN, {**limits, "version": version})
            own = [r for r in found if isinstance(r, Recorded)]
            if not own or (moment.version is not None and own[-1].version != moment.version):
                raise NotYetError(str(incident_id))
            before = _LAST
            if moment.version is not None:  # until its next version came
                following = {"id": incident_id, "version": moment.version + 1}
                before = (await connection.execute(_NEXT, following)).scalar() or _LAST
            limits["before"] = before
            named = {**limits, "name": str(incident_id)}
            others = [
                r
                for r in await events(_OTHERS, named)
                if isinstance(r, Recorded) and other_end(r.event) == incident_id
            ]
            items = [r for r in await events(_ITEMS, limits) if isinstance(r, RecordedEvidence)]
        document = document_from(incident_id, sorted((*own, *others), key=lambda r: r.position))
        if document is None:
            raise NotYetError(str(incident_id))
        return Past(
            document=document,
            incident=fold(tuple(r.event for r in own)),
            evidence=_items(items),
        )


def _items(events: list[RecordedEvidence]) -> list[Document]:
    found: dict[UUID, Document] = {}
    for r in events:
        found[r.stream_id] = project_evidence(found.get(r.stream_id), r)
    return list(found.values())

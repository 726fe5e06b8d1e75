"""The rows of one incident made anew from the log: after an erasure they say "erased"."""

from typing import Any
from uuid import UUID

from services.cases.advance import LIVE, cursor_of
from services.cases.evidence.projection import EvidenceBatch
from services.cases.postgres import COLUMNS, opened
from services.cases.review.projection import ReviewBatch
from services.cases.rows import Rows, save
from services.cases.sealing.vault import Vault
from services.cases.store import Recorded, RecordedEvidence, RecordedReview
from services.cases.views.links import change_other, other_end

__all__ = ["remake"]

# The types are written out so that the partial index `events_of_two_incidents` serves.
_EVENTS = f"""
    SELECT {COLUMNS} FROM events
    WHERE position <= $2 AND (stream_id = ANY($3) OR type IN (
        'IncidentLinked.v1', 'IncidentUnlinked.v1', 'IncidentMerged.v1', 'IncidentUnmerged.v1',
        'IncidentReopened.v1') AND strpos(data, $1) > 0)
    ORDER BY position
"""  # noqa: S608 - constants only
_ITEMS = "SELECT evidence_id FROM evidence WHERE incident_id = $1"
_REVIEWS = "SELECT review_id FROM reviews WHERE incident_id = $1"
_FORGET = (
    "DELETE FROM timeline WHERE incident_id = $1",
    "DELETE FROM custody WHERE evidence_id IN (SELECT evidence_id FROM evidence"
    " WHERE incident_id = $1)",
    "DELETE FROM evidence WHERE incident_id = $1",
    "DELETE FROM improvement_items WHERE incident_id = $1",
    "DELETE FROM reviews WHERE incident_id = $1",
)


async def remake(driver: Any, vault: Vault, incident_id: UUID) -> set[UUID]:
    """Make the rows of an incident anew, in one transaction; return who else shows its text."""
    async with driver.transaction():
        position = await cursor_of(driver, LIVE)  # the views stand still from here
        items = [row["evidence_id"] for row in await driver.fetch(_ITEMS, incident_id)]
        reviews = [row["review_id"] for row in await driver.fetch(_REVIEWS, incident_id)]
        found = await driver.fetch(
            _EVENTS, str(incident_id), position, [incident_id, *items, *reviews]
        )
        events = await opened(vault, found, driver, now=True)
        rows, own = Rows(), list[Recorded]()
        for r in events:
            if not isinstance(r, Recorded):
                continue
            if r.stream_id == incident_id:
                own.append(r)
                rows.entries.append(rows.own(r))
            elif other_end(r.event) == incident_id and incident_id in rows.documents:
                rows.documents[incident_id] = change_other(rows.documents[incident_id], r)
        if not own:
            return set()
        for statement in _FORGET:
            await driver.execute(statement, incident_id)
        await save(driver, rows)
        await EvidenceBatch().apply(driver, [r for r in events if isinstance(r, RecordedEvidence)])
        of_reviews = [r for r in events if isinstance(r, RecordedReview)]
        await ReviewBatch().apply(driver, own, of_reviews)
    return {other for r in own if (other := other_end(r.event)) is not None}

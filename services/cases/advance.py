"""One step of a projection: the next events of the log into rows, and the cursor with them."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.cases.evidence.projection import EvidenceBatch
from services.cases.postgres import COLUMNS, opened
from services.cases.review.projection import ReviewBatch
from services.cases.rows import Rows, save, save_splits
from services.cases.sealing.vault import Vault
from services.cases.store import Recorded, RecordedEvidence, RecordedReview
from services.cases.views.links import other_end

__all__ = ["LIVE", "NEXT", "GapError", "advance", "cursor_of"]

LIVE, NEXT = "incidents", "next"  # names of the cursors: what people read, and what is being made

_LOCK = "SELECT position FROM projections WHERE name = $1 FOR UPDATE"
_CURSOR = "UPDATE projections SET position = $1 WHERE name = $2 AND position = $3 RETURNING 1"
_NEXT = f"SELECT {COLUMNS} FROM events WHERE position > $1 ORDER BY position LIMIT $2"  # noqa: S608 - constants only
_LOAD = "SELECT incident_id, opened_position, document FROM incidents WHERE incident_id = ANY($1)"


class GapError(Exception):
    """The log has a hole or another worker moved the cursor: nothing was written."""


async def cursor_of(driver: Any, name: str) -> int:
    """Return where the projection *name* is, and keep it there until the transaction ends."""
    position: int = await driver.fetchval(_LOCK, name)
    return position


async def advance(driver: Any, vault: Vault, name: str, limit: int) -> tuple[int, int]:
    """Project up to *limit* events in the caller's transaction; return count and position.

    The tables are those on the connection's search path. GapError when positions are missing.
    """
    cursor = await cursor_of(driver, name)
    # After the lock: what makes rows anew without what was erased comes before or after this.
    events = await opened(vault, await driver.fetch(_NEXT, cursor, limit), driver, now=True)
    if not events:
        return 0, cursor
    last = cursor + len(events)
    if [r.position for r in events] != list(range(cursor + 1, last + 1)):
        raise GapError(f"positions after {cursor} are not contiguous")
    rows = Rows()
    of_incidents = [r for r in events if isinstance(r, Recorded)]
    for row in await driver.fetch(_LOAD, list(_touched(of_incidents))):
        rows.opened[row["incident_id"]] = row["opened_position"]
        rows.documents[row["incident_id"]] = json.loads(row["document"])
    rows.apply(of_incidents)
    await EvidenceBatch().apply(driver, [r for r in events if isinstance(r, RecordedEvidence)])
    of_reviews = [r for r in events if isinstance(r, RecordedReview)]
    await ReviewBatch().apply(driver, of_incidents, of_reviews)
    await save(driver, rows)
    await save_splits(driver, of_incidents)
    if await driver.fetchval(_CURSOR, last, name, cursor) is None:
        raise GapError(f"the cursor was not at {cursor}")
    return len(events), last


def _touched(events: Sequence[Recorded]) -> set[UUID]:
    """Return the incidents whose documents *events* change: their own, and other ends of links."""
    others = {other for r in events if (other := other_end(r.event)) is not None}
    return {r.stream_id for r in events} | others

"""A review that was started is opened: by whoever started it, or later by the `Opener`.

`start-review` stands in the incident's log first. All ids follow from it, so that opening twice is
opening once, and a process that dies in between leaves nothing that is not made good.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from services.cases.domain.events import ReviewStarted
from services.cases.domain.incident import Incident, fold
from services.cases.domain.values import SYSTEM
from services.cases.once import Done
from services.cases.review.domain.commands import FreezeTimeline, Reviewed
from services.cases.review.handle import change
from services.cases.review.queries import ReviewQueries
from services.cases.store import EventStore
from shared.ids import derived_id

__all__ = ["Opener", "open_review", "review_of", "reviewed"]


def review_of(incident_id: UUID, incident: Incident) -> UUID | None:
    """Return the id of the incident's newest review; None if none was ever started."""
    if not incident.review_by:
        return None
    return incident.review_id or derived_id("review", incident_id)


def reviewed(incident_id: UUID, incident: Incident, version: int) -> Reviewed:
    """Return what a review says of the incident that it is of."""
    return Reviewed(
        incident_id=incident_id,
        version=version,
        severity=incident.severity,
        started_by=incident.review_by,
        open_actions=tuple(key for key, a in incident.actions.items() if a.status.is_open),
    )


async def open_review(
    store: EventStore,
    incident_id: UUID,
    noticed: Callable[[], None],
    review_id: UUID | None = None,
) -> Done | None:
    """Open a review of an incident, or its newest; None if the log says nothing of one."""
    history = await store.read(incident_id)
    started: datetime | None = None
    version, found = 0, review_id
    for number, event in enumerate(history.events, start=1):
        if isinstance(event, ReviewStarted):
            key = event.review_id or derived_id("review", incident_id)
            if review_id in (None, key):
                started, version, found = event.at, number, key
    if found is None or started is None:
        return None
    # As it was when the review was started, however late it is opened.
    then = fold(history.events[:version])
    return await change(
        store,
        found,
        FreezeTimeline(actor=SYSTEM, now=started, reviewed=reviewed(incident_id, then, version)),
        command_id=derived_id("command", found),
        digest=hashlib.sha256(f"review {incident_id}".encode()).hexdigest(),
        begins=True,
        noticed=noticed,
    )


class Opener:
    """Opens what was started by a process that did not live to open it."""

    def __init__(
        self, store: EventStore, queries: ReviewQueries, noticed: Callable[[], None]
    ) -> None:
        self._store, self._queries, self._noticed = store, queries, noticed

    async def once(self) -> int:
        """Open what is found; 0, since all of it is found at once."""
        for incident_id, review_id in await self._queries.unopened():
            await open_review(self._store, incident_id, self._noticed, review_id)
        return 0

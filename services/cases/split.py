"""What is split off another incident is opened: by whoever split it, or later by the `Splitter`.

The split stands in the origin's log first. All ids follow from it, so that opening twice is opening
once, and a process that dies in between leaves nothing that is not made good.
"""

import hashlib
from collections.abc import Callable, Sequence
from uuid import UUID

from services.cases.domain import commands as c
from services.cases.domain.events import DetectionsAttached, IncidentSplit
from services.cases.domain.incident import fold
from services.cases.domain.values import SYSTEM
from services.cases.handle import handle
from services.cases.numbers import next_number
from services.cases.once import Done
from services.cases.queries import Queries
from services.cases.store import EventStore, History
from shared.ids import derived_id

__all__ = ["Splitter", "open_split", "opens_split"]


def opens_split(
    origin: UUID, split: IncidentSplit, history: History, number: str
) -> Sequence[c.Command]:
    """Return what opens the new incident, with those of the origin's detections it takes."""
    incident = fold(history.events)
    wanted = set(split.detection_ids)
    detections = tuple(
        detection
        for event in history.events
        if isinstance(event, DetectionsAttached)
        for detection in event.detections
        if detection.detection_id in wanted
    )
    return [
        c.OpenIncident(
            actor=SYSTEM,
            now=split.at,
            number=number,
            title=split.title,
            source_kind=incident.source_kind,
            source_refs=(f"split:{origin}",),
            reason=split.reason,
            detected_at=incident.detected_at or split.at,
            services=incident.services,
            regions=incident.regions,
        ),
        c.AttachDetections(
            actor=SYSTEM, now=split.at, detections=detections, count=len(detections)
        ),
    ]


async def open_split(
    store: EventStore, origin: UUID, new_id: UUID, noticed: Callable[[], None]
) -> Done | None:
    """Open *new_id*, which was split off *origin*; None if the log says nothing of it."""
    history = await store.read(origin)
    for event in history.events:
        if isinstance(event, IncidentSplit) and event.new_id == new_id:
            number = await next_number(store, event.at)
            return await handle(
                store,
                new_id,
                opens_split(origin, event, history, number),
                command_id=derived_id("command", new_id),
                digest=hashlib.sha256(f"split {origin}".encode()).hexdigest(),
                opens=True,
                noticed=noticed,
            )
    return None


class Splitter:
    """Opens what was split off by a process that did not live to open it."""

    def __init__(self, store: EventStore, queries: Queries, noticed: Callable[[], None]) -> None:
        self._store, self._queries, self._noticed = store, queries, noticed

    async def once(self) -> int:
        """Open what is found; 0, since all of it is found at once."""
        for origin, new_id in await self._queries.unopened_splits():
            await open_split(self._store, origin, new_id, self._noticed)
        return 0

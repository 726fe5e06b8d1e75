"""Pure: the commands that open what was split off another incident."""

from collections.abc import Sequence
from uuid import UUID

from services.cases.domain import commands as c
from services.cases.domain.events import DetectionsAttached
from services.cases.domain.incident import fold
from services.cases.domain.values import SYSTEM
from services.cases.store import History

__all__ = ["opens_split"]


def opens_split(
    origin: UUID, split: c.SplitIncident, history: History, number: str
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
            now=split.now,
            number=number,
            title=split.title,
            source_kind=incident.source_kind,
            source_refs=(f"split:{origin}",),
            reason=split.reason,
            detected_at=incident.detected_at or split.now,
            services=incident.services,
            regions=incident.regions,
        ),
        c.AttachDetections(
            actor=SYSTEM, now=split.now, detections=detections, count=len(detections)
        ),
    ]

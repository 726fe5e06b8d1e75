"""Links and merges as both ends show them: the other incident's document changes, too (R31d)."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from services.cases.domain import events as e
from services.cases.domain.vocabulary import Relation
from services.cases.store import Recorded
from services.cases.views import Document

__all__ = ["change_other", "other_end", "with_own", "without_own"]


def with_own(rows: Sequence[Document], plain: Mapping[str, Any]) -> list[Document]:
    """Return *rows* with the link that this incident made."""
    row = {
        "incident_id": plain["other_id"],
        "relation": plain["relation"],
        "reason": plain["reason"],
        "at": plain["at"],
        "by": plain["by"],
        "made_here": True,
    }
    return [*without_own(rows, plain), row]


def without_own(rows: Sequence[Document], plain: Mapping[str, Any]) -> list[Document]:
    """Return *rows* without that link; one that the other incident made stays."""
    key = (plain["other_id"], plain["relation"], True)
    return [r for r in rows if (r["incident_id"], r["relation"], r["made_here"]) != key]


def other_end(event: e.Event) -> UUID | None:
    """Return the other incident whose document *event* changes, if there is one."""
    match event:
        case e.IncidentLinked() | e.IncidentUnlinked():
            return event.other_id
        case e.IncidentMerged() | e.IncidentUnmerged():
            return event.target_id
        case e.IncidentReopened():
            return event.merged_into  # None unless it was merged
        case _:
            return None


def change_other(document: Document, recorded: Recorded) -> Document:
    """Return the other incident's *document* after *recorded*; its version stays its own."""
    event, origin = recorded.event, str(recorded.stream_id)
    match event:
        case e.IncidentLinked() | e.IncidentUnlinked():
            relation = Relation(event.relation).seen_from_the_other
            key = (origin, relation, False)
            rows = [
                r
                for r in document["links"]
                if (r["incident_id"], r["relation"], r["made_here"]) != key
            ]
            if isinstance(event, e.IncidentLinked):
                rows.append(
                    {
                        "incident_id": origin,
                        "relation": relation,
                        "reason": event.reason,
                        "at": msgspec.to_builtins(event.at),
                        "by": event.actor.id,
                        "made_here": False,
                    }
                )
            return {**document, "links": rows}
        case e.IncidentMerged():
            merged = [*_without(document["merged_from"], origin), _merged(event, origin)]
            return {**document, "merged_from": merged}
        case e.IncidentUnmerged() | e.IncidentReopened():
            return {**document, "merged_from": _without(document["merged_from"], origin)}
        case _:
            return document


def _without(rows: Sequence[Document], incident_id: str) -> list[Document]:
    return [row for row in rows if row["incident_id"] != incident_id]


def _merged(event: e.IncidentMerged, origin: str) -> Document:
    return {
        "incident_id": origin,
        "reason": event.reason,
        "at": msgspec.to_builtins(event.at),
        "by": event.actor.id,
    }

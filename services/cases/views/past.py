"""An incident as it was: folded from the log by the same functions as the view of today.

The axis is what Tocsin knew (`recorded_at`), not when things happened in the world; what was
recorded late shows late.
"""

from collections.abc import Iterable, Iterator
from uuid import UUID

from services.cases.store import Recorded
from services.cases.views import Document
from services.cases.views.detail import project
from services.cases.views.links import change_other

__all__ = ["changes", "document_from"]

# These change with every event and say nothing of the incident.
_PLACE = ("version", "position", "updated_at")


def document_from(incident_id: UUID, events: Iterable[Recorded]) -> Document | None:
    """Return the document after *events*, its own and those of others about it, in log order."""
    document: Document | None = None
    for recorded in events:
        if recorded.stream_id == incident_id:
            document = project(document, recorded)
        elif document is not None:
            document = change_other(document, recorded)
    return document


def changes(before: Document, after: Document) -> list[Document]:
    """Return what differs: JSON pointer (RFC 6901), ``op`` (RFC 6902), value before and after."""
    old = {key: value for key, value in before.items() if key not in _PLACE}
    new = {key: value for key, value in after.items() if key not in _PLACE}
    return list(_between("", old, new))


def _between(path: str, old: object, new: object) -> Iterator[Document]:
    match old, new:
        case dict(), dict():
            for key in (*old, *(k for k in new if k not in old)):
                below = f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}"
                if key not in new:
                    yield {"op": "remove", "path": below, "before": old[key], "after": None}
                elif key not in old:
                    yield {"op": "add", "path": below, "before": None, "after": new[key]}
                else:
                    yield from _between(below, old[key], new[key])
        case list(), list():
            for at in range(max(len(old), len(new))):
                below = f"{path}/{at}"
                if at >= len(new):
                    yield {"op": "remove", "path": below, "before": old[at], "after": None}
                elif at >= len(old):
                    yield {"op": "add", "path": below, "before": None, "after": new[at]}
                else:
                    yield from _between(below, old[at], new[at])
        case _ if old != new:
            yield {"op": "replace", "path": path, "before": old, "after": new}

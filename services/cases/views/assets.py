"""The hosts that an incident was ever said to touch, for what is related to it (R31d)."""

from uuid import UUID

from services.cases.domain import events as e
from services.cases.domain.values import indicator_id
from services.cases.views import Document

__all__ = ["HOST", "asset_ids", "touched"]

HOST = "host"  # also what detections call a host, so that one is the other's


def touched(known: Document, event: e.Event) -> Document:
    """Return the document's ``assets`` after *event*; none is ever taken off the list."""
    match event:
        case e.ScopeSet():
            new = {s.server for s in event.scope.include if s.server}
        case e.ContainmentLost():
            new = set(event.new_assets)
        case _:
            return {}
    return {"assets": sorted({*known.get("assets", ()), *new})}


def asset_ids(document: Document) -> set[UUID]:
    """Return the assets under the ids that indicators of type host have."""
    return {indicator_id(HOST, name) for name in document.get("assets", ())}

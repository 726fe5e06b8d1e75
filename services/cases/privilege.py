"""Notes under legal privilege: their text is for legal, auditors and whoever wrote it (§7)."""

from services.cases.domain.vocabulary import Visibility
from services.cases.views import Document
from shared.auth import Principal, Role

__all__ = ["document_for", "entry_for", "event_for"]

_READERS = (Role.LEGAL, Role.AUDITOR)
_WITHHELD = Visibility.LEGAL_PRIVILEGED.value
_INSTEAD = "under legal privilege"


def _may(principal: Principal, author: str) -> bool:
    return principal.has(*_READERS) or principal.id == author


def document_for(principal: Principal, document: Document) -> Document:
    """Return an incident's *document* as *principal* may read it."""
    notes = [
        {**note, "text": None}
        if note["visibility"] == _WITHHELD and not _may(principal, note["by"])
        else note
        for note in document["notes"]
    ]
    return {**document, "notes": notes}


def entry_for(principal: Principal, entry: Document) -> Document:
    """Return a timeline *entry* as *principal* may read it."""
    if entry.get("visibility") != _WITHHELD or _may(principal, entry["actor"]):
        return entry
    return {**entry, "sentence": f"{entry['actor']} noted something {_INSTEAD}."}


def event_for(principal: Principal, event: Document) -> Document:
    """Return an *event* of the log as *principal* may read it; ``withheld`` says what is not."""
    data = event["data"]
    if data.get("visibility") != _WITHHELD or _may(principal, event["actor"]):
        return event
    return {**event, "data": {**data, "text": None}, "withheld": ["text"]}

"""Who sees a restricted incident, as its document shows it and as rows for the queue."""

from datetime import datetime
from typing import assert_never

from services.cases.domain import events as e
from services.cases.views import Document

__all__ = ["BLANK", "CLEARED", "Access", "change", "seers"]

BLANK: Document = {"restricted": False, "reason": "", "grants": []}
CLEARED = "*"  # in the place of a person: whoever holds a role that sees every incident

Access = (
    e.AccessRestricted | e.RestrictionLifted | e.AccessGranted | e.AccessRevoked | e.GlassBroken
)


def change(known: Document, event: Access, plain: Document) -> Document:
    """Return what *event* makes of an incident's ``access``; *plain* are its fields."""
    match event:
        case e.AccessRestricted():
            own = {"person": plain["by"], "until": None, "by": plain["by"], "at": plain["at"]}
            own |= {"reason": plain["reason"], "glass_broken": False}
            return {"restricted": True, "reason": plain["reason"], "grants": [own]}
        case e.RestrictionLifted():
            return dict(BLANK)
        case e.AccessGranted():
            return _granted(known, {**plain, "glass_broken": False})
        case e.GlassBroken():
            return _granted(known, {**plain, "person": plain["by"], "glass_broken": True})
        case e.AccessRevoked():
            return {**known, "grants": _without(known, plain["person"])}
        case _:
            assert_never(event)


def seers(document: Document) -> list[tuple[str, datetime | None]]:
    """Return who sees a restricted incident, and until when; nobody is listed for an open one."""
    if not document["access"]["restricted"]:
        return []
    found: dict[str, datetime | None] = {}
    for row in document["access"]["grants"]:
        found[row["person"]] = datetime.fromisoformat(row["until"]) if row["until"] else None
    team = document["v_team"] or {"members": ()}
    found |= {member["person"]: None for member in team["members"]}
    found[CLEARED] = None
    return [(person.replace("\0", " "), until) for person, until in sorted(found.items())]


def _without(known: Document, person: str) -> list[Document]:
    return [row for row in known["grants"] if row["person"] != person]


def _granted(known: Document, plain: Document) -> Document:
    names = ("person", "until", "by", "at", "reason", "glass_broken")
    row = {name: plain[name] for name in names}
    return {**known, "grants": [*_without(known, plain["person"]), row]}

"""What other services did about an incident, as parts of its document."""

from typing import assert_never

from services.cases.domain import events as e
from services.cases.domain.vocabulary import FactKind
from services.cases.sealing.leaves import ERASED
from services.cases.views import Document

__all__ = ["change"]

_ENGAGED = ("team", "team_kind", "person", "status", "reason")


def change(known: Document, event: e.FactRecorded, plain: Document) -> Document:
    """Return the parts of the document that the fact changes."""
    match event.kind:
        case FactKind.TEAM_PAGED:
            return {"pages": [*known["pages"], plain]}
        case FactKind.PAGE_ACKNOWLEDGED:
            return {"acknowledgements": [*_rows(known, "acknowledgements"), plain]}
        case FactKind.SME_ENGAGEMENT:
            return {"engagements": _engaged(_rows(known, "engagements"), plain)}
        case FactKind.SUPPORT_CASE_LINKED:
            return {"support_cases": [*_rows(known, "support_cases"), plain]}
        case FactKind.OBLIGATION_IDENTIFIED:
            return {"obligations": [*known["obligations"], plain]}
        case (
            FactKind.OBLIGATION_DECIDED
            | FactKind.OBLIGATION_MET
            | FactKind.OBLIGATION_WAIVED
            | FactKind.OBLIGATION_OVERDUE
            | FactKind.OBLIGATION_REOPENED
        ):
            return {"obligations": [_stands(row, plain) for row in known["obligations"]]}
        case FactKind.NOTIFICATION_SENT:
            entries = [*known["notifications"]["entries"], plain]
            return {
                "notifications": {
                    **known["notifications"], "sent": len(entries), "entries": entries
                }
            }  # fmt: skip
        case FactKind.NOTIFICATION_CORRECTED:
            corrections = [*known["notifications"].get("corrections", ()), plain]
            return {"notifications": {**known["notifications"], "corrections": corrections}}
        case FactKind.NOTIFICATION_UNDELIVERABLE:
            missed = [*known["notifications"].get("undeliverable", ()), plain]
            return {"notifications": {**known["notifications"], "undeliverable": missed}}
        case _:
            assert_never(event.kind)


def _rows(known: Document, name: str) -> list[Document]:
    """Return the rows that an older document may not have yet."""
    rows: list[Document] = known.get(name, [])
    return rows


def _engaged(rows: list[Document], plain: Document) -> list[Document]:
    """Return one row an engagement, the newest word last in its ``steps``."""
    # What was erased still happened, each a row of its own: of which engagement is gone, too.
    data = {**dict.fromkeys(_ENGAGED, ERASED), "engagement_id": plain["fact_id"], **plain["data"]}
    key = data["engagement_id"]
    step = {"status": data["status"], "reason": data["reason"], "at": plain["at"]}
    former = next((row for row in rows if row["engagement_id"] == key), None)
    row = {
        **{name: data[name] for name in ("engagement_id", "team", "team_kind")},
        "person": data["person"] or (former or {}).get("person"),
        "status": data["status"],
        "steps": [*(former or {}).get("steps", ()), step],
    }
    if former is None:
        return [*rows, row]
    return [row if known is former else known for known in rows]


def _stands(row: Document, plain: Document) -> Document:
    """Return the row of an obligation with where it now stands, if it is the one told of."""
    if row.get("subject_id") != plain["subject_id"]:
        return row
    told = {name: plain[name] for name in ("kind", "text", "data", "at")}
    return {**row, "standing": plain["standing"], "told": [*row.get("told", ()), told]}

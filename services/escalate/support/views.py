"""Support cases as they are shown: to the customer, to who has the status address, to the staff."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.escalate.support.case import Case, status_word
from shared.clock import rfc3339

__all__ = ["brief", "for_customer", "for_staff", "for_token"]

Entries = Sequence[dict[str, Any]]


def brief(case: Case, *, staff: bool) -> dict[str, Any]:
    """Return a case as a list shows it."""
    shown: dict[str, Any] = {
        "case_id": str(case.id),
        "reference": case.reference,
        "title": case.title,
        "status": status_word(case),
        "opened_at": rfc3339(case.opened_at),
    }
    if staff:
        shown |= {
            "tenant": case.tenant,
            "source_kind": case.source_kind,
            "state": case.status.value,
            "outcome": case.outcome.value if case.outcome else None,
            "team": case.team,
            "assignee": case.assignee,
            "acknowledge_by": _at(case.acknowledge_by),
            "acknowledged_at": _at(case.acknowledged_at),
            "acknowledged_by": case.acknowledged_by,
            "reminders": case.reminders,
            "incident_id": str(case.incident_id) if case.incident_id else None,
            "incident_number": case.incident_number,
        }
    return shown


def for_token(case: Case, public: Entries) -> dict[str, Any]:
    """Return what an address shows that may have been passed on: no word of the customer's."""
    messages = [
        {"at": rfc3339(e["at"]), "text": e["text"]} for e in public if e["kind"] == "message"
    ]
    return {
        "reference": case.reference,
        "status": status_word(case),
        "opened_at": rfc3339(case.opened_at),
        "messages": messages,
    }


def for_customer(case: Case, public: Entries) -> dict[str, Any]:
    """Return their own case: what they wrote, and what incident communications told them."""
    return {
        **brief(case, staff=False),
        "statement": case.statement,
        "observed_at": _at(case.observed_at),
        "services": list(case.services),
        "messages": [
            {
                "at": rfc3339(entry["at"]),
                "from": "incident_communications" if entry["kind"] == "message" else "you",
                "text": entry["text"],
            }
            for entry in public
            if entry["kind"] in ("message", "reply")
        ],
        "attachments": case.attachments,
    }


def for_staff(case: Case, log: Entries) -> dict[str, Any]:
    """Return all of a case, with its log."""
    return {
        **brief(case, staff=True),
        "statement": case.statement,
        "observed_at": _at(case.observed_at),
        "opened_by": case.opened_by,
        "services": list(case.services),
        "regions": list(case.regions),
        "log": [{**entry, "at": rfc3339(entry["at"])} for entry in log],
    }


def _at(instant: datetime | None) -> str | None:
    return rfc3339(instant) if instant else None

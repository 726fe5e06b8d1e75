"""Pure: what stands against an erasure. A refusal names all of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.cases.domain.errors import Unmet
from services.cases.domain.state import Incident
from services.cases.domain.workflow import TERMINAL
from services.cases.evidence.domain.item import Item

__all__ = ["Touched", "standing_against"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """An incident in which something would be erased; ``last`` is when it last changed.

    ``holds`` are the legal holds that bind it, by name.
    """

    incident: Incident
    last: datetime
    holds: Sequence[str] = ()
    items: Sequence[Item] = ()


def standing_against(
    touched: Sequence[Touched], now: datetime, retention: timedelta
) -> list[Unmet]:
    """Return what forbids to erase: open incidents, legal holds, and duties to keep (GDPR 17(3)).

    A confirmed incident is a record that is owed for *retention* after its end (§7 e).
    """
    return [unmet for each in touched for unmet in _of(each, now, retention)]


def _of(each: Touched, now: datetime, retention: timedelta) -> Iterator[Unmet]:
    number, incident = each.incident.number, each.incident
    if incident.state not in TERMINAL:
        yield Unmet("incident_open", f"{number} is {incident.state}: it is still worked on")
    if incident.confirmed_at is not None and (until := each.last + retention) > now:
        yield Unmet(
            "record_retention_running",
            f"{number} is a record of an incident that has to be kept until {until:%Y-%m-%d}",
        )
    if each.holds:
        yield Unmet("under_hold", f"{number} is under legal hold: {', '.join(each.holds)}")
    for item in each.items:
        if item.holds:
            yield Unmet(
                "under_hold", f"evidence of {number} is under legal hold: {', '.join(item.holds)}"
            )
        if item.has_bytes and item.retention is None:
            yield Unmet(
                "retention_missing", f"evidence of {number} is kept, and nobody said for how long"
            )
        elif item.has_bytes and item.retention and item.retention.until > now:
            yield Unmet(
                "retention_running",
                f"evidence of {number} has to be kept until {item.retention.until:%Y-%m-%d}",
            )

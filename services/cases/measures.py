"""What is measured: the time between two anchors in an incident's log (docs/metrics.md).

An anchor is an event type, a fact of another service, or a clock. The measures with names are
definitions over anchors and nothing else; anybody may ask for the time between any two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.cases.codec import EVENT_TYPES
from services.cases.domain.vocabulary import Clock, FactKind

__all__ = ["DIMENSIONS", "MEASURES", "Anchor", "AnchorError", "Measure", "Pick", "anchor"]

DIMENSIONS: Mapping[str, str] = {
    "service": "s.service",
    "region": "r.region",
    "severity": "i.severity",
    "priority": "i.priority",
    "state": "i.state",
    "source_kind": "i.source_kind",
    "owning_team": "i.owning_team",
    "attack_vector": "v.attack_vector",
    "month": "to_char(f.at AT TIME ZONE 'UTC', 'YYYY-MM')",
    "week": "to_char(f.at AT TIME ZONE 'UTC', 'IYYY-\"W\"IW')",
    "weekday": "to_char(f.at AT TIME ZONE 'UTC', 'ID')",
}


class AnchorError(Exception):
    """No such event type, fact or clock; the message says which was asked for."""


class Pick(StrEnum):
    """Which of several events counts."""

    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Anchor:
    """An instant of an incident: ``types`` hold it, ``fact`` or ``clock`` says which of them."""

    name: str
    types: Sequence[str]
    fact: str | None = None
    clock: str | None = None


def anchor(name: str) -> Anchor:
    """Return the anchor of that name; AnchorError for one that is not known.

    ``IncidentConfirmed`` is an event type, ``fact:page_acknowledged`` a fact, ``clock:detected`` a
    clock at its newest reading.
    """
    kind, _, what = name.partition(":")
    if kind == "clock" and what in set(Clock):
        types = ["ClockRecorded.v1", "ClockCorrected.v1"]
        if what == Clock.DETECTED:
            types.insert(0, "IncidentOpened.v1")  # the source's reading
        if what == Clock.AWARE:
            types.insert(0, "IncidentConfirmed.v1")
        return Anchor(name, types, clock=what)
    if kind == "fact" and what in set(FactKind):
        return Anchor(name, ["FactRecorded.v1"], fact=what)
    if f"{name}.v1" in EVENT_TYPES:
        return Anchor(name, [f"{name}.v1"])
    raise AnchorError(f"{name} is no event type, fact or clock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A measure with a name, and where the name comes from."""

    title: str
    from_: str
    to: str
    from_pick: Pick = Pick.FIRST
    to_pick: Pick = Pick.FIRST
    meaning: str


MEASURES: Mapping[str, Measure] = {
    "ttd": Measure(
        title="time to detect",
        from_="clock:occurred",
        to="clock:detected",
        meaning="detected − occurred (TheHive 5: TTD = new − occurred)",
    ),
    "ttt": Measure(
        title="time to triage",
        from_="IncidentOpened",
        to="SeveritySet",
        meaning="the service team's first severity − opened (R23)",
    ),
    "ack": Measure(
        title="time to acknowledge a page",
        from_="fact:team_paged",
        to="fact:page_acknowledged",
        meaning="first acknowledgement − first page (PagerDuty: from the alert)",
    ),
    "tta": Measure(
        title="time to act",
        from_="clock:occurred",
        to="VTeamFormed",
        meaning="investigation begins − occurred (TheHive 5: TTA = in progress − occurred)",
    ),
    "tta-opened": Measure(
        title="time to act, from opening",
        from_="IncidentOpened",
        to="VTeamFormed",
        meaning="investigation begins − opened (MTTA as alerting tools count it)",
    ),
    "ttv": Measure(
        title="time to a verdict",
        from_="IncidentOpened",
        to="IncidentConfirmed",
        meaning="confirmed − opened",
    ),
    "ttc": Measure(
        title="time to contain",
        from_="clock:detected",
        to="IncidentContained",
        to_pick=Pick.LAST,
        meaning="contained for good − detected",
    ),
    "ttn": Measure(
        title="time to notify",
        from_="clock:aware",
        to="CustomersNotified",
        meaning="all customers of a list notified − aware",
    ),
    "ttr": Measure(
        title="time to recover",
        from_="VTeamFormed",
        to="IncidentRecovered",
        to_pick=Pick.LAST,
        meaning="recovered − investigation began (TheHive 5: TTR = end − in progress)",
    ),
    "ttr-detected": Measure(
        title="time to recover, from detection",
        from_="clock:detected",
        to="IncidentRecovered",
        to_pick=Pick.LAST,
        meaning="recovered − detected (MTTR as it is mostly published)",
    ),
    "ttclose": Measure(
        title="time to close",
        from_="IncidentOpened",
        to="IncidentClosed",
        to_pick=Pick.LAST,
        meaning="closed − opened",
    ),
    "ttq": Measure(
        title="time to dismiss",
        from_="IncidentOpened",
        to="IncidentDismissed",
        meaning="dismissed − opened: how long a false alarm costs",
    ),
}

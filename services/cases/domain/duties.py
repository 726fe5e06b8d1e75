"""What has to be done before an incident is closed: one duty a clause of I6.

A part of the incident that brings duties of its own adds a `Duty` here and nothing elsewhere:
the close guard, the refusal that lists all that is open, and the checklist in IncidentClosed
follow from this table.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from services.cases.domain.errors import CODES
from services.cases.domain.state import Incident
from services.cases.domain.values import Surroundings
from services.cases.domain.vocabulary import Severity

__all__ = ["DUTIES", "Duty", "needs_review"]

Open = tuple[str, str]
_REVIEWED = (Severity.SEV0, Severity.SEV1, Severity.SEV2)


@dataclass(frozen=True, slots=True)
class Duty:
    """``open`` yields code and sentence of what is not done; ``told`` is the checklist's line."""

    name: str
    open: Callable[[Incident, Surroundings], Iterable[Open]]
    told: Callable[[Incident, Surroundings], str]


def needs_review(severity: Severity | None) -> bool:
    """Tell whether an incident of *severity* is only closed with a review, done or waived."""
    return severity in _REVIEWED


def _unless(
    holds: Callable[[Incident], bool], code: str
) -> Callable[[Incident, Surroundings], Iterable[Open]]:
    return lambda incident, _: () if holds(incident) else ((code, CODES[code]),)


def _actions(incident: Incident, around: Surroundings) -> Iterable[Open]:
    for key, action in incident.actions.items():
        if action.status.is_open and key not in around.covered:
            yield "actions_open", f"action {key} is {action.status}"


def _obligations(incident: Incident, _: Surroundings) -> Iterable[Open]:
    for key, standing in incident.obligations.items():
        if not standing.is_settled:
            yield "obligations_open", f"obligation {key} is {standing}"


def _evidence(_: Incident, around: Surroundings) -> Iterable[Open]:
    for key, why in around.evidence_open:
        yield "evidence_open", f"evidence {key}: {why}"


def _review(incident: Incident, around: Surroundings) -> Iterable[Open]:
    if needs_review(incident.severity) and around.review not in ("completed", "waived"):
        yield "review_open", f"the review of a {incident.severity} is {around.review}"


def _affected(incident: Incident, _: Surroundings) -> str:
    if incident.none_affected:
        return "none, as declared"
    return f"list version {incident.affected_version}, {incident.affected_tenants} tenants"


def _moved(incident: Incident, _: Surroundings) -> str:
    count = len(incident.actions)
    moved = sum(a.status.is_open for a in incident.actions.values())
    return f"{count}, {moved} as improvement items" if moved else str(count)


DUTIES: Sequence[Duty] = (
    Duty(
        "verdict",
        _unless(lambda i: i.confirmed_at is not None, "not_confirmed"),
        lambda i, _: f"confirmed at {i.confirmed_at}",
    ),
    Duty(
        "containment",
        _unless(lambda i: i.contained_at is not None, "not_contained"),
        lambda i, _: f"contained at {i.contained_at}",
    ),
    Duty(
        "recovery",
        _unless(lambda i: i.recovered_at is not None, "not_recovered"),
        lambda i, _: f"recovered at {i.recovered_at}",
    ),
    Duty(
        "root_cause",
        _unless(lambda i: i.root_cause.is_settled, "root_cause_open"),
        lambda i, _: i.root_cause.value,
    ),
    Duty(
        "affected_customers",
        _unless(lambda i: i.none_affected or i.affected_version > 0, "affected_customers_open"),
        _affected,
    ),
    Duty("notified", lambda *_: (), lambda i, _: f"list version {i.notified_version}"),
    Duty("obligations", _obligations, lambda i, _: f"{len(i.obligations)} settled"),
    Duty("evidence", _evidence, lambda _, around: f"{around.evidence_secured} secured"),
    Duty("review", _review, lambda _, around: around.review),
    Duty("actions", _actions, _moved),
)

"""What has to be done before an incident is closed: one duty a clause of I6.

A part of the incident that brings duties of its own adds a `Duty` here and nothing elsewhere:
the close guard, the refusal that lists all that is open, and the checklist in IncidentClosed
follow from this table.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from services.cases.domain.errors import CODES
from services.cases.domain.state import Incident

__all__ = ["DUTIES", "Duty"]

Open = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Duty:
    """``open`` yields code and sentence of what is not done; ``told`` is the checklist's line."""

    name: str
    open: Callable[[Incident], Iterable[Open]]
    told: Callable[[Incident], str]


def _unless(holds: Callable[[Incident], bool], code: str) -> Callable[[Incident], Iterable[Open]]:
    return lambda incident: () if holds(incident) else ((code, CODES[code]),)


def _actions(incident: Incident) -> Iterable[Open]:
    for key, action in incident.actions.items():
        if action.status.is_open:
            yield "actions_open", f"action {key} is {action.status}"


def _obligations(incident: Incident) -> Iterable[Open]:
    for key, standing in incident.obligations.items():
        if not standing.is_settled:
            yield "obligations_open", f"obligation {key} is {standing}"


def _affected(incident: Incident) -> str:
    if incident.none_affected:
        return "none, as declared"
    return f"list version {incident.affected_version}, {incident.affected_tenants} tenants"


DUTIES: Sequence[Duty] = (
    Duty(
        "verdict",
        _unless(lambda i: i.confirmed_at is not None, "not_confirmed"),
        lambda i: f"confirmed at {i.confirmed_at}",
    ),
    Duty(
        "containment",
        _unless(lambda i: i.contained_at is not None, "not_contained"),
        lambda i: f"contained at {i.contained_at}",
    ),
    Duty(
        "recovery",
        _unless(lambda i: i.recovered_at is not None, "not_recovered"),
        lambda i: f"recovered at {i.recovered_at}",
    ),
    Duty(
        "root_cause",
        _unless(lambda i: i.root_cause.is_settled, "root_cause_open"),
        lambda i: i.root_cause.value,
    ),
    Duty(
        "affected_customers",
        _unless(lambda i: i.none_affected or i.affected_version > 0, "affected_customers_open"),
        _affected,
    ),
    Duty("notified", lambda _: (), lambda i: f"list version {i.notified_version}"),
    Duty("obligations", _obligations, lambda i: f"{len(i.obligations)} settled"),
    Duty("actions", _actions, lambda i: str(len(i.actions))),
)

"""What an incident waits for, and of whom: the rows of people's work lists."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from services.cases.domain.vocabulary import ActionStatus, Role, Standing, State
from services.cases.domain.workflow import TERMINAL
from services.cases.views import Document

__all__ = ["KINDS", "Wait", "next_due", "waiting"]

KINDS = (
    "action", "v_team", "severity", "severity_reassessment", "v_team_to_form", "plan_approval",
    "recommendation", "obligation", "improvement_item",
)  # fmt: skip
_OPEN_ACTIONS = {status.value for status in ActionStatus if status.is_open}
_OPEN_DUTIES = {Standing.UNDECIDED.value, Standing.TRIGGERED.value, Standing.OVERDUE.value}
_ST, _SR, _DM = Role.SERVICE_TEAM, Role.SECURITY_RESPONSE, Role.DUTY_MANAGER
_LG, _IC, _EM = Role.LEGAL, Role.INCIDENT_COMMUNICATIONS, Role.EXECUTIVE_INCIDENT_MANAGER


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One thing: for a person, or for whoever holds one of the roles, but not for ``not_by``."""

    kind: str
    ref: str
    what: str
    since: datetime
    person: str | None = None
    roles: tuple[Role, ...] = ()
    not_by: str | None = None
    due: datetime | None = None


def next_due(document: Document) -> datetime | None:
    """Return when the next action or obligation of an incident that goes on is due."""
    return min((wait.due for wait in waiting(document) if wait.due), default=None)


def waiting(document: Document) -> Iterator[Wait]:
    """Yield what waits. After the end only obligations do: a law does not end with the incident."""
    # Of an obligation whose deadline was revised only the newest word counts.
    for row in {r.get("subject_id") or r["fact_id"]: r for r in document["obligations"]}.values():
        if (standing := row.get("standing", row["data"].get("state"))) in _OPEN_DUTIES:
            decided = standing != Standing.UNDECIDED.value
            yield Wait(
                kind="obligation",
                ref=row["fact_id"],
                what=row["text"],
                since=_instant(row["at"]),
                roles=(_LG, _IC) if decided else (_LG,),
                # Of what was erased nobody knows any more when it is due; notify does.
                due=_instant(row["data"]["due_at"]) if "due_at" in row["data"] else None,
            )
    if State(document["state"]) in TERMINAL:
        return
    yield from _of_people(document)
    yield from _of_roles(document)


def _of_people(document: Document) -> Iterator[Wait]:
    for row in document["actions"]:
        if row["status"] in _OPEN_ACTIONS:
            yield Wait(
                kind="action",
                ref=row["action_id"],
                what=row["text"],
                since=_instant(row["at"]),
                person=row["owner"],
                due=_instant(row["due"]) if row["due"] else None,
            )
    team = document["v_team"]
    members = {m["person"]: m["kind"] for m in team["members"]} if team else {}
    for person, kind in members.items():
        yield Wait(
            kind="v_team",
            ref=person,
            what=f"On the v-team as {kind}.",
            since=_instant(team["at"] if team and "at" in team else document["opened_at"]),
            person=person,
        )


def _of_roles(document: Document) -> Iterator[Wait]:
    state, updated = State(document["state"]), _instant(document["updated_at"])
    if document["severity"] is None:
        yield Wait(
            kind="severity",
            ref="",
            what="No severity has been set.",
            since=_instant(document["opened_at"]),
            roles=(_ST, _DM) if state is State.OPENED else (_ST, _SR, _DM),  # R23
        )
    if asked := document["severity_reassessment"]:
        yield Wait(
            kind="severity_reassessment",
            ref="",
            what=f"The severity has to be reassessed: {asked['reason']}.",
            since=_instant(asked["at"]),
            roles=(_ST, _SR, _DM),
        )
    if state is State.ESCALATED:
        since = _instant(document["escalation"]["at"]) if document["escalation"] else updated
        yield Wait(
            kind="v_team_to_form",
            ref="",
            what="Escalated; no v-team has been formed.",
            since=since,
            roles=(_SR, _DM),
        )
    plan = document["recovery_plan"]
    if plan and plan["status"] == "draft":
        yield Wait(
            kind="plan_approval",
            ref=str(plan["version"]),
            what=f"Recovery plan version {plan['version']} waits for approval.",
            since=_instant(plan["at"]),
            roles=(_SR, _EM),
            not_by=plan["by"],  # the approver is not the author (§7)
        )
    for row in document["recommendations"]:
        if row["status"] == "open":
            yield Wait(
                kind="recommendation",
                ref=row["recommendation_id"],
                what=f"To be decided: {row['text']}",
                since=_instant(row["at"]),
                roles=(_ST, _SR),
            )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)

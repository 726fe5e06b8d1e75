"""A severity chosen by the link in a page: what is proposed and why, what may be chosen (R23)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.oncall.acknowledgement import acknowledge
from services.escalate.proposal import Policies
from services.escalate.reassessment import understood
from services.escalate.severity import SeverityResult, assess
from services.escalate.sighting import printable
from shared.cloudevents import outgoing
from shared.contracts.escalate import SeverityChosenV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["LEVELS", "Choice", "ChoiceError", "choose", "look"]

Severity = Literal["SEV0", "SEV1", "SEV2", "SEV3", "SEV4"]
LEVELS: tuple[Severity, ...] = (
    "SEV0", "SEV1", "SEV2", "SEV3", "SEV4",
)  # fmt: skip
_KNOWN: Mapping[str, Severity] = {level: level for level in LEVELS}
_ROLES: dict[str, Literal["service_team", "duty_manager"]] = {
    "service_team": "service_team",
    "duty_manager": "duty_manager",
}
_PAGE = text(
    "SELECT p.id, p.incident_id, p.team, p.person, p.severity_used_at, c.asks, i.number, i.title,"
    " i.severity, i.over, a.inputs, g.proposal, s.title AS told FROM pages p"
    " JOIN page_chains c ON c.id = p.chain_id LEFT JOIN incidents i ON i.id = p.incident_id"
    " LEFT JOIN assessments a ON a.incident_id = p.incident_id"
    " LEFT JOIN detection_groups g ON g.incident_id = p.incident_id"
    " LEFT JOIN support_cases s ON s.incident_id = p.incident_id WHERE p.id = :id"
)
_USE = text("UPDATE pages SET severity_used_at = :now WHERE id = :id AND severity_used_at IS NULL")


class ChoiceError(Exception):
    """The severity is not chosen by this link; ``code`` is stable, the message a sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class Choice:
    """What whoever was paged decides on. Less severe than proposed is for the incident's own page:
    it may need a second person (§2.1)."""

    page_id: UUID
    incident_id: UUID
    about: str
    team: str
    person: str
    role: Literal["service_team", "duty_manager"]
    proposal: SeverityResult | None

    @property
    def offered(self) -> tuple[str, ...]:
        """Return the levels that may be chosen, the most severe first."""
        return tuple(x for x in LEVELS if self.proposal is None or x <= self.proposal.level)


async def look(connection: AsyncConnection, policies: Policies, page_id: UUID) -> Choice:
    """Return what is to be decided; ChoiceError where nothing is, any more or at all."""
    row: Any = (await connection.execute(_PAGE, {"id": page_id})).one_or_none()
    if row is None:
        raise ChoiceError("not_found", "There is no such page.")
    role = _ROLES.get(policies.directory.kind_of(row.team))
    if row.asks != "severity" or row.person is None or role is None:
        raise ChoiceError("not_found", "The page does not ask a person for a severity.")
    if row.severity_used_at is not None:
        raise ChoiceError("link_used", "The link was already used.")
    if row.over:
        raise ChoiceError("incident_over", f"{row.number} is over.")
    if row.severity:
        raise ChoiceError("severity_set", f"{row.number} is {row.severity} already.")
    proposal = None
    if row.inputs:
        inputs = understood(policies.severity, orjson.loads(row.inputs))
        proposal = assess(policies.severity, inputs)
    title = row.title or (orjson.loads(row.proposal)["title"] if row.proposal else row.told)
    about = f"{row.number}: {title}" if row.number else str(title or row.incident_id)
    return Choice(row.id, row.incident_id, about, row.team, row.person, role, proposal)


async def choose(
    connection: AsyncConnection,
    policies: Policies,
    page_id: UUID,
    level: str,
    reason: str,
    now: datetime,
) -> Choice:
    """Pass the choice on to cases and answer the page, once; ChoiceError as `look`, or if it may
    not be chosen so."""
    choice = await look(connection, policies, page_id)
    proposed = choice.proposal.level if choice.proposal else None
    if level not in choice.offered:
        raise ChoiceError(
            "malformed", f"The level is one of {', '.join(choice.offered)}; for any other sign in."
        )
    reason = printable(reason, 500)
    if level != proposed and not reason:
        raise ChoiceError("malformed", f"The policy computes {proposed}: say why it is {level}.")
    # The page first: it locks its chain before itself, as everything does.
    await acknowledge(connection, policies.directory, page_id, choice.person, now)
    if (await connection.execute(_USE, {"id": page_id, "now": now})).rowcount == 0:
        raise ChoiceError("link_used", "The link was already used.")
    chosen = SeverityChosenV1(
        event_id=derived_id("severity-chosen", page_id),
        occurred_at=now,
        incident_id=choice.incident_id,
        page_id=page_id,
        level=_KNOWN[level],
        proposed=_KNOWN[proposed] if proposed else None,
        reason=reason if level != proposed else "",
        person=choice.person,
        team=choice.team,
        role=choice.role,
    )
    await enqueue(connection, [outgoing(chosen, source="escalate")])
    return choice

"""What is done with support cases, each in one transaction with its messages and pages (R15)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.oncall.engagements import request
from services.escalate.oncall.overrides import overrides
from services.escalate.pages import end_chains, order_page
from services.escalate.proposal import Policies
from services.escalate.reassessment import note_proposed
from services.escalate.routing import Engaged
from services.escalate.severity import Value
from services.escalate.sighting import printable
from services.escalate.support.book import act, insert_case, load_case
from services.escalate.support.case import Acknowledge, Action, Case, Event, Outcome, Triage
from services.escalate.support.conversion import (
    incident_of,
    known_inputs,
    proposal_of,
    teams_for,
)
from services.escalate.support.duty import communications
from shared.cloudevents import outgoing
from shared.contracts.base import Contract
from shared.contracts.escalate import (
    SupportCaseAcknowledgedV1,
    SupportCaseLinkedV1,
    SupportCaseOpenedV1,
    SupportCaseTriagedV1,
)
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["Desk", "Report", "reference_of"]

_cases = Counter("tocsin_escalate_support_cases_total", "Support cases opened", ["source_kind"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What somebody tells, before it is a case."""

    source_kind: str
    title: str
    statement: str
    reporter: str
    tenant: str | None = None
    observed_at: datetime | None = None
    services: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Desk:
    """Every function works in its caller's transaction and is done once however often called."""

    in_force: Callable[[], Policies]
    channel: str
    patience: timedelta  # how long an acknowledgement may take

    @property
    def policies(self) -> Policies:
        """Return what is in force now."""
        return self.in_force()

    async def open(
        self,
        connection: AsyncConnection,
        case_id: UUID,
        report: Report,
        request_digest: str,
        now: datetime,
    ) -> Case:
        """Open the case and assign it at once (R15b); KeyReusedError if the id is another's."""
        directory = self.policies.directory
        roster = directory.roster.with_overrides(await overrides(connection, now))
        duty = communications(directory, roster, now)
        case = Case(
            id=case_id,
            reference=reference_of(case_id),
            source_kind=report.source_kind,
            tenant=report.tenant,
            title=printable(report.title, 200),
            statement=report.statement,
            opened_by=report.reporter,
            opened_at=now,
            observed_at=report.observed_at,
            services=report.services,
            regions=report.regions,
            team=duty.team,
            assignee=duty.person,
            acknowledge_by=now + self.patience,
        )
        first = Event(
            kind="opened",
            at=now,
            actor=report.reporter,
            public=True,
            data={"team": duty.team, "assignee": duty.person},
        )
        if not await insert_case(connection, case, request_digest, first):
            return await load_case(connection, case_id) or case
        opened = SupportCaseOpenedV1(
            event_id=derived_id("support-case-opened", case_id),
            occurred_at=now,
            **_about(case),
            team=duty.team,
            assignee=duty.person,
            acknowledge_by=now + self.patience,
        )
        await enqueue(connection, [outgoing(opened, source="escalate")])
        await self.page(connection, case, duty.team, "take on", derived_id("opened", case_id), now)
        _cases.labels(report.source_kind).inc()
        return await load_case(connection, case_id) or case

    async def page(
        self,
        connection: AsyncConnection,
        case: Case,
        team: str,
        what: str,
        cause: UUID,
        now: datetime,
    ) -> None:
        """Page *team* to do *what* with the case, once for a *cause*."""
        incident = case.incident_id or incident_of(case.id)
        reason = f"{what} support case {case.reference}: {case.title}"
        await order_page(connection, cause, incident, team, self.channel, reason, now, asks="case")

    async def acknowledge(
        self, connection: AsyncConnection, case_id: UUID, person: str, now: datetime
    ) -> Case:
        """Stop the timer: *person* has it."""
        case, events = await act(connection, case_id, Acknowledge(), person, now)
        if events:
            await _tell(connection, [self._acknowledged(case, person, now)])
            incident = case.incident_id or incident_of(case.id)
            await end_chains(connection, incident, "case taken on", now, asks="case")
        return case

    async def triage(
        self,
        connection: AsyncConnection,
        case_id: UUID,
        verdict: Triage,
        inputs: Mapping[str, Value],
        person: str,
        now: datetime,
    ) -> Case:
        """Give the verdict; one that escalates proposes an incident and calls every team (R15c).

        RefusedError where the case does not permit it, InputError for inputs the policy lacks.
        """
        before = await load_case(connection, case_id)
        if before is None:
            raise LookupError(case_id)
        action, routing, stated = verdict, None, inputs
        if verdict.outcome is Outcome.ESCALATE:
            placed = _placed(before, verdict)
            stated = known_inputs(self.policies, placed, inputs)
            routing = teams_for(self.policies, placed, stated)
            action = Triage(
                outcome=verdict.outcome,
                message=verdict.message,
                incident_id=incident_of(case_id),
                services=placed.services,
                regions=placed.regions,
                teams=routing.engaged,
                rules=routing.rules,
            )
        case, events = await act(connection, case_id, action, person, now)
        if not events:
            return case
        messages: list[Contract] = []
        if before.acknowledged_at is None:  # who gives a verdict has it
            messages.append(self._acknowledged(case, person, now))
        messages.append(
            SupportCaseTriagedV1(
                event_id=derived_id("support-case-triaged", case.id, case.events),
                occurred_at=now,
                **_about(case),
                outcome=verdict.outcome.value,
                person=person,
                incident_id=case.incident_id,
                teams=list(action.teams),
                routing_rules=list(action.rules),
            )
        )
        if routing is not None:
            messages += await self._conversion(connection, case, stated, now)
        await _tell(connection, messages)
        for engaged in routing.engagements if routing is not None else ():
            await self._engage(connection, case, engaged, person, now)
        return case

    async def _engage(
        self,
        connection: AsyncConnection,
        case: Case,
        engaged: Engaged,
        person: str,
        now: datetime,
    ) -> None:
        """Ask a team to join: an engagement that it accepts, declines, is released of (R15c)."""
        about = f"support case {case.reference}: {case.title}"
        joins = f"engage in {about}, by {', '.join(engaged.rules)}"
        asks = engaged.kind == "service_team"
        reason = f"set the severity of {about}" if asks else joins
        await request(
            connection, incident_of(case.id), engaged, reason, person, self.channel, now,
            asks="severity" if asks else "",
        )  # fmt: skip

    async def _conversion(
        self,
        connection: AsyncConnection,
        case: Case,
        inputs: Mapping[str, Value],
        now: datetime,
    ) -> list[Contract]:
        """Return the proposal, and the link both ways."""
        proposal = proposal_of(self.policies, case, inputs, now)
        await note_proposed(connection, {proposal.incident_id: proposal.severity})
        linked = SupportCaseLinkedV1(
            event_id=derived_id("support-case-linked", case.id),
            occurred_at=now,
            case_id=case.id,
            incident_id=incident_of(case.id),
            reference=case.reference,
            tenant=case.tenant or "",
            statement=case.statement,
            observed_at=case.observed_at,
        )
        return [proposal, linked]

    @staticmethod
    def _acknowledged(case: Case, person: str, now: datetime) -> SupportCaseAcknowledgedV1:
        return SupportCaseAcknowledgedV1(
            event_id=derived_id("support-case-acknowledged", case.id, case.events),
            occurred_at=now,
            **_about(case),
            person=person,
            seconds=max(0, int((now - case.opened_at).total_seconds())),
        )

    async def do(
        self,
        connection: AsyncConnection,
        case_id: UUID,
        action: Action,
        actor: str,
        now: datetime,
        key: str | None = None,
    ) -> Case:
        """Do what tells nobody outside: replies, messages, notes, files."""
        case, events = await act(connection, case_id, action, actor, now, key)
        if any(event.kind == "reply" for event in events):
            cause = derived_id("reply", case_id, case.events)
            await self.page(connection, case, case.team, "read the reply in", cause, now)
        return case


def reference_of(case_id: UUID) -> str:
    """Return what a case is called: tells nobody how many there are."""
    return f"SC-{derived_id('case-reference', case_id).hex[:12].upper()}"


async def _tell(connection: AsyncConnection, messages: Sequence[Contract]) -> None:
    await enqueue(connection, [outgoing(message, source="escalate") for message in messages])


def _about(case: Case) -> dict[str, object]:
    return {
        "case_id": case.id,
        "reference": case.reference,
        "source_kind": case.source_kind,
        "tenant": case.tenant,
    }


def _placed(case: Case, verdict: Triage) -> Case:
    """Return *case* where triage says it is, else where the reporter did."""
    return replace(
        case,
        services=verdict.services or case.services,
        regions=verdict.regions or case.regions,
    )

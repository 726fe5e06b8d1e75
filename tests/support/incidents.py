"""Builders for incidents: a story told step by step, stoppable at any state."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from services.cases.domain import commands as c
from services.cases.domain import vocabulary as v
from services.cases.domain.events import Event
from services.cases.domain.incident import decide, fold
from services.cases.domain.values import (
    SYSTEM,
    Actor,
    Assessment,
    Contribution,
    Counterpart,
    Criterion,
    Detection,
    Entity,
    Member,
    Scope,
    Selector,
    Surroundings,
    indicator_id,
)
from services.cases.domain.vocabulary import State

Order = TypeVar("Order", bound=c.Command)
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ST = Actor(id="sam", roles=("service_team",))
SR = Actor(id="rita", roles=("security_response",))
IC = Actor(id="ines", roles=("incident_communications",))
EM = Actor(id="emil", roles=("executive_incident_manager",))
LG = Actor(id="lars", roles=("legal",))
DM = Actor(id="dora", roles=("duty_manager",))
SME = Actor(id="mia", roles=("subject_matter_expert",))
SYS = SYSTEM
EVERYONE = Actor(id="rita", roles=tuple(role.value for role in v.Role))

ACTION = UUID(int=11)
OTHER = UUID(int=51)
REVIEW = UUID(int=55)
CONTAINMENT = UUID(int=12)
IP = indicator_id("ip", "203.0.113.9")
TEAM = (
    Member(person="rita", kind=v.MemberKind.SECURITY_RESPONSE, function="lead"),
    Member(person="sam", kind=v.MemberKind.SERVICE_TEAM),
    Member(person="ines", kind=v.MemberKind.INCIDENT_COMMUNICATIONS),
)
ASSESSMENT = Assessment(
    level=v.Severity.SEV2,
    points=40,
    contributions=(
        Contribution(criterion="privacy", value="suspected", points=15, reason="data suspected"),
    ),
    inputs={"privacy": "suspected", "affected_tenants": 1},
    policy="severity",
    version="2026.11.0",
    digest="d" * 64,
)


def detection(number: int = 1, ip: str = "203.0.113.9") -> Detection:
    return Detection(
        detection_id=UUID(int=1000 + number),
        rule_id="rule-ssh",
        entities=(Entity(type="ip", value=ip), Entity(type="user", value="root")),
        content={
            "title": "SSH brute force",
            "rule_id": "rule-ssh",
            "reasons": [{"selection": "failed", "field": "user", "value": "root"}],
        },
    )


def command(
    order: type[Order], actor: Actor = EVERYONE, /, *, now: datetime = NOW, **changed: Any
) -> Order:
    """Return a good command of the type *order*; *changed* fields differ."""
    return order(actor=actor, now=now, **{**_FIELDS[order], **changed})


_FIELDS: dict[type[Any], dict[str, Any]] = {
    c.OpenIncident: {
        "number": "TOCSIN-2026-0001",
        "title": "SSH brute force on m1",
        "source_kind": "rule",
        "source_refs": ("proposal:1",),
        "detected_at": NOW - timedelta(minutes=5),
        "services": ("mail",),
        "regions": ("eu-west",),
    },
    c.AttachDetections: {"detections": (detection(),), "count": 1},
    c.ProposeSeverity: {"assessment": ASSESSMENT},
    c.ProposePriority: {
        "priority": v.Priority.P3,
        "functional": "low",
        "informational": "privacy_breach",
        "recoverability": "regular",
        "reason": "low impact",
        "policy": "priority",
        "version": "2026.11.0",
    },
    c.SetSeverity: {"level": v.Severity.SEV2, "inputs": {}},
    c.ApproveLowering: {"level": v.Severity.SEV3, "reason": "a test account"},
    c.SetPriority: {
        "priority": v.Priority.P3,
        "functional": "low",
        "informational": "privacy_breach",
        "recoverability": "regular",
    },
    c.EscalateIncident: {"escalation_id": UUID(int=7), "owning_team": "sr-eu"},
    c.DismissAtTriage: {
        "classification": v.Classification.FALSE_POSITIVE,
        "reason": "a scheduled scan",
    },
    c.FormVTeam: {"members": TEAM, "lead": "rita", "channel": "#inc-1"},
    c.RecordSummary: {"summary": "Root was guessed.", "potential_impact": "Mail of one tenant."},
    c.AddIndicator: {
        "type": "domain",
        "value": "evil.example",
        "role": v.IndicatorRole.FOUND_LATER,
        "attack_vector": "web",
        "source": "proxy log",
    },
    c.AssessIndicator: {
        "indicator_id": IP,
        "verdict": v.IndicatorVerdict.SUPPORTS,
        "confidence": 90,
        "rationale": "seen in the session",
    },
    c.RecordAction: {
        "action_id": ACTION,
        "kind": v.ActionKind.INVESTIGATION,
        "text": "Read the auth log",
        "owner": "sam",
        "due": NOW + timedelta(hours=1),
    },
    c.UpdateAction: {"action_id": ACTION, "status": v.ActionStatus.DONE, "result": "read"},
    c.ConfirmIncident: {"rationale": "The session is hostile."},
    c.DismissAsFalsePositive: {
        "classification": v.Classification.BENIGN_POSITIVE,
        "reason": "a penetration test",
    },
    c.SetScope: {
        "scope": Scope(include=(Selector(region="eu-west", service="mail"),), window_from=NOW)
    },
    c.MarkContained: {"criteria": (Criterion(text="account disabled", met=True),)},
    c.RecordRootCause: {
        "status": v.RootCauseStatus.DETERMINED,
        "cause": "a weak password",
        "method": "log analysis",
        "vulnerability_refs": ("CWE-521",),
    },
    c.DraftRecoveryPlan: {"steps": ("Rotate keys",), "last_known_good": "yesterday's image"},
    c.ApproveRecoveryPlan: {"version": 1},
    c.MarkEradicated: {"verification": "no session left"},
    c.MarkRecovered: {
        "verification": "service checks pass",
        "monitoring_until": NOW + timedelta(days=14),
    },
    c.StartReview: {"review_id": REVIEW},
    c.CloseIncident: {"note": "done", "around": Surroundings(review="completed")},
    c.DeclareNoCustomersAffected: {"reason": "only an empty mailbox", "basis": "access log"},
    c.RecordAffectedCustomers: {
        "list_id": UUID(int=21),
        "version": 1,
        "inventory_version": "7",
        "confirmed": 1,
        "probable": 1,
        "possible": 2,
        "tenants": ("t1", "t2"),
    },
    c.RecordCustomersNotified: {
        "list_id": UUID(int=21),
        "version": 1,
        "tenants": 2,
        "sent": 3,
        "completed_at": NOW,
    },
    c.AddNote: {"note_id": UUID(int=31), "text": "Looks like the same actor."},
    c.MergeInto: {
        "target_id": OTHER,
        "reason": "the same host",
        "target": Counterpart(state=State.OPENED),
    },
    c.UnmergeIncident: {"reason": "not the same host"},
    c.SplitIncident: {
        "new_id": UUID(int=52),
        "title": "Something else",
        "detection_ids": (UUID(int=1001),),
        "reason": "another actor",
    },
    c.ReopenIncident: {"reason": "seen again", "new_information_ref": "ticket 77"},
    c.RetractConfirmation: {"reason": "it was the red team"},
    c.ReportContainmentLoss: {"new_assets": ("m7",), "note": "same tool"},
    c.AddVTeamMember: {"member": Member(person="mia", kind=v.MemberKind.SUBJECT_MATTER_EXPERT)},
    c.RemoveVTeamMember: {"person": "ines", "reason": "off duty"},
    c.ClassifyIndicator: {
        "indicator_id": IP,
        "attack_vector": v.AttackVector.ATTRITION,
        "techniques": ("T1110.001",),
    },
    c.AddRecommendation: {
        "recommendation_id": UUID(int=61),
        "text": "Require second factors",
        "priority": v.Priority.P2,
        "origin": "playbook ssh",
    },
    c.DecideRecommendation: {
        "recommendation_id": UUID(int=61),
        "decision": v.Decision.ACCEPTED,
        "action_id": UUID(int=62),
        "owner": "sam",
    },
    c.LinkIncident: {
        "other_id": OTHER,
        "relation": v.Relation.SAME_ACTOR,
        "reason": "the same tool",
        "other": Counterpart(state=State.OPENED),
    },
    c.UnlinkIncident: {
        "other_id": OTHER,
        "relation": v.Relation.SAME_ACTOR,
        "reason": "another tool",
    },
    c.RecordClock: {
        "clock": v.Clock.OCCURRED,
        "instant": NOW - timedelta(hours=1),
        "basis": "first failed login",
    },
    c.CorrectClock: {
        "clock": v.Clock.DETECTED,
        "instant": NOW - timedelta(minutes=9),
        "reason": "the sensor's clock was late",
    },
    c.RestrictAccess: {"reason": "an insider"},
    c.LiftRestriction: {"reason": "public by now"},
    c.GrantAccess: {"person": "mia", "reason": "knows the database"},
    c.RevokeAccess: {"person": "mia", "reason": "done"},
    c.BreakGlass: {"reason": "nobody else is awake", "until": NOW + timedelta(hours=1)},
    c.PlaceLegalHold: {"hold": "Docket 42/26", "reason": "litigation is expected"},
    c.ReleaseLegalHold: {"hold": "Docket 42/26", "reason": "settled"},
    c.RecordFact: {
        "fact_id": UUID(int=41),
        "kind": v.FactKind.TEAM_PAGED,
        "text": "sr-eu was paged by webhook: SEV2.",
        "data": {"team": "sr-eu"},
    },
}

_STORY: tuple[tuple[State, tuple[c.Command, ...]], ...] = (
    (
        State.OPENED,
        (
            command(c.OpenIncident, SYS),
            command(c.AttachDetections, SYS),
            command(c.ProposeSeverity, SYS),
            command(c.ProposePriority, SYS),
        ),
    ),
    (
        State.ESCALATED,
        (
            command(c.SetSeverity, ST),
            command(c.SetPriority, ST),
            command(c.EscalateIncident, SYS),
        ),
    ),
    (State.INVESTIGATING, (command(c.FormVTeam, SR),)),
    (
        State.CONFIRMED,
        (
            command(c.RecordSummary, SR),
            command(c.AssessIndicator, SR),
            command(c.ConfirmIncident, SR),
        ),
    ),
    (
        State.CONTAINED,
        (
            command(c.SetScope, SR),
            command(c.RecordAction, ST, action_id=CONTAINMENT, kind=v.ActionKind.CONTAINMENT),
            command(c.UpdateAction, ST, action_id=CONTAINMENT),
            command(c.MarkContained, SR),
        ),
    ),
    (
        State.ERADICATED,
        (
            command(c.RecordRootCause, ST),
            command(c.DraftRecoveryPlan, ST),
            command(c.ApproveRecoveryPlan, SR),
            command(c.MarkEradicated, SR),
        ),
    ),
    (State.RECOVERED, (command(c.MarkRecovered, SR),)),
    (State.IN_REVIEW, (command(c.StartReview, SR), command(c.RecordAffectedCustomers, SYS))),
    (State.CLOSED, (command(c.CloseIncident, SR),)),
)


def story(until: State = State.CLOSED) -> list[Event]:
    """Return the events of one incident up to the moment when it enters *until*."""
    return list(_told(until))


@cache
def _told(until: State) -> tuple[Event, ...]:
    if until is State.UNOPENED:
        return ()
    if until is State.FALSE_POSITIVE:
        events = _told(State.OPENED)
        return (*events, *decide(fold(events), command(c.DismissAtTriage, ST)))
    if until is State.MERGED:
        events = _told(State.INVESTIGATING)
        return (*events, *decide(fold(events), command(c.MergeInto, SR)))
    happened: list[Event] = []
    for state, commands in _STORY:
        for step in commands:
            happened += decide(fold(happened), step)
        if state is until:
            break
    return tuple(happened)


def story_commands() -> Iterator[c.Command]:
    """Yield the commands of the whole story."""
    for _, commands in _STORY:
        yield from commands

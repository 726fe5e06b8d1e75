"""Pure: which commands an actor could give now, and what is missing for the others.

Each is tried on the decider itself with a body that is as good as a body can be, so whatever is
refused is refused for the incident's or the actor's sake; no second copy of the rules can drift.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from services.cases.domain import commands as c
from services.cases.domain import vocabulary as v
from services.cases.domain.errors import NotAllowed, Unmet
from services.cases.domain.incident import Incident, decide
from services.cases.domain.state import MANDATORY_KINDS
from services.cases.domain.values import (
    ALONE,
    NO_POLICY,
    Actor,
    Counterpart,
    Criterion,
    Member,
    Policy,
    Scope,
    Selector,
    Surroundings,
)
from services.cases.domain.workflow import RULES

__all__ = ["SYSTEM_ONLY", "informed", "moves"]

_NOBODY = UUID(int=0)
_TEXT = "…"
SYSTEM_ONLY = frozenset(
    command for command, rule in RULES.items() if rule.roles == frozenset({v.Role.SYSTEM})
)


def moves(
    incident: Incident,
    actor: Actor,
    now: datetime,
    policy: Policy = NO_POLICY,
    around: Surroundings = ALONE,
) -> list[tuple[str, tuple[Unmet, ...]]]:
    """Return each verb with what it lacks; nothing lacking means that it would be accepted."""
    found = []
    for command in _plausible(incident, actor, now):
        unmet: tuple[Unmet, ...] = ()
        try:
            decide(incident, informed(command, policy, around))
        except NotAllowed as refusal:
            unmet = refusal.unmet
        found.append((RULES[type(command)].verb, unmet))
    return found


def informed(command: c.Command, policy: Policy, around: Surroundings) -> c.Command:
    """Return *command* with the policy or the surroundings, if it is one that asks for them."""
    match command:
        case c.ConfirmIncident():
            return replace(command, policy=policy)
        case c.CloseIncident():
            return replace(command, around=around)
        case _:
            return command


def _plausible(incident: Incident, actor: Actor, now: datetime) -> Iterator[c.Command]:
    indicator = next(iter(incident.indicators), _NOBODY)
    yield c.SetSeverity(
        actor=actor,
        now=now,
        level=_level(incident),
        reason=_TEXT,
        inputs={},
    )
    yield c.ApproveLowering(actor=actor, now=now, level=v.Severity.SEV4, reason=_TEXT)
    yield c.SetPriority(
        actor=actor,
        now=now,
        priority=v.Priority.P3,
        functional="low",
        informational="none",
        recoverability="regular",
        reason=_TEXT,
    )
    yield c.EscalateIncident(actor=actor, now=now, escalation_id=_NOBODY, owning_team=_TEXT)
    yield c.DismissAtTriage(
        actor=actor, now=now, classification=v.Classification.FALSE_POSITIVE, reason=_TEXT
    )
    team = tuple(Member(person=actor.id, kind=kind) for kind in MANDATORY_KINDS)
    yield c.FormVTeam(actor=actor, now=now, members=team, lead=actor.id)
    yield c.RecordSummary(actor=actor, now=now, summary=_TEXT, potential_impact=_TEXT)
    yield c.AddIndicator(
        actor=actor, now=now, type="other", value=_TEXT, role=v.IndicatorRole.FOUND_LATER
    )
    yield c.AssessIndicator(
        actor=actor,
        now=now,
        indicator_id=indicator,
        verdict=v.IndicatorVerdict.SUPPORTS,
        confidence=50,
        rationale=_TEXT,
    )
    yield c.RecordAction(
        actor=actor,
        now=now,
        action_id=_NOBODY,
        kind=v.ActionKind.INVESTIGATION,
        text=_TEXT,
        owner=actor.id,
    )
    yield _update(incident, actor, now)
    yield c.ConfirmIncident(actor=actor, now=now, rationale=_TEXT, justification=_TEXT)
    yield c.DismissAsFalsePositive(
        actor=actor, now=now, classification=v.Classification.FALSE_POSITIVE, reason=_TEXT
    )
    yield c.SetScope(actor=actor, now=now, scope=Scope(include=(Selector(service=_TEXT),)))
    yield c.MarkContained(actor=actor, now=now, criteria=(Criterion(text=_TEXT, met=True),))
    yield c.RecordRootCause(actor=actor, now=now, status=_cause(actor), cause=_TEXT)
    yield c.DraftRecoveryPlan(actor=actor, now=now, steps=(_TEXT,))
    version = incident.plan.version if incident.plan else 0
    yield c.ApproveRecoveryPlan(actor=actor, now=now, version=version)
    yield c.MarkEradicated(actor=actor, now=now, verification=_TEXT)
    yield c.MarkRecovered(
        actor=actor, now=now, verification=_TEXT, monitoring_until=now + timedelta(days=1)
    )
    yield c.StartReview(actor=actor, now=now, review_id=_NOBODY)
    yield c.CloseIncident(actor=actor, now=now)
    yield c.DeclareNoCustomersAffected(actor=actor, now=now, reason=_TEXT)
    yield c.AddNote(actor=actor, now=now, note_id=_NOBODY, text=_TEXT)
    yield from _branching(incident, actor, now)
    yield from _gathering(incident, actor, now)


def _branching(incident: Incident, actor: Actor, now: datetime) -> Iterator[c.Command]:
    """Yield what leaves the straight line."""
    target = Counterpart(state=v.State.OPENED)
    yield c.MergeInto(actor=actor, now=now, target_id=_NOBODY, reason=_TEXT, target=target)
    yield c.UnmergeIncident(actor=actor, now=now, reason=_TEXT)
    yield c.SplitIncident(
        actor=actor,
        now=now,
        new_id=_NOBODY,
        title=_TEXT,
        detection_ids=tuple(sorted(incident.detection_ids)[:1]),
        reason=_TEXT,
    )
    yield c.ReopenIncident(actor=actor, now=now, reason=_TEXT, new_information_ref=_TEXT)
    yield c.RetractConfirmation(actor=actor, now=now, reason=_TEXT)
    yield c.ReportContainmentLoss(actor=actor, now=now, new_assets=(_TEXT,))


def _gathering(incident: Incident, actor: Actor, now: datetime) -> Iterator[c.Command]:
    """Yield what adds to what is known: people, links, recommendations, clocks."""
    other = Member(person=_TEXT, kind=v.MemberKind.OTHER)
    yield c.AddVTeamMember(actor=actor, now=now, member=other)
    person = incident.members[-1].person if incident.members else _TEXT
    yield c.RemoveVTeamMember(actor=actor, now=now, person=person, reason=_TEXT)
    indicator = next(iter(incident.indicators), _NOBODY)
    classified = incident.indicators.get(indicator)
    vector = v.AttackVector.OTHER
    if classified and classified.attack_vector is vector:
        vector = v.AttackVector.UNKNOWN
    yield c.ClassifyIndicator(actor=actor, now=now, indicator_id=indicator, attack_vector=vector)
    yield c.AddRecommendation(actor=actor, now=now, recommendation_id=_NOBODY, text=_TEXT)
    undecided = (k for k, r in incident.recommendations.items() if r.decision is None)
    yield c.DecideRecommendation(
        actor=actor,
        now=now,
        recommendation_id=next(undecided, next(iter(incident.recommendations), _NOBODY)),
        decision=v.Decision.REJECTED,
        reason=_TEXT,
        action_id=_NOBODY,
    )
    same = v.Relation.SAME_ACTOR
    here = Counterpart(state=v.State.OPENED)
    yield c.LinkIncident(
        actor=actor, now=now, other_id=_NOBODY, relation=same, reason=_TEXT, other=here
    )
    linked, relation = min(incident.links, default=(_NOBODY, same))
    yield c.UnlinkIncident(actor=actor, now=now, other_id=linked, relation=relation, reason=_TEXT)
    yield c.RestrictAccess(actor=actor, now=now, reason=_TEXT)
    yield c.LiftRestriction(actor=actor, now=now, reason=_TEXT)
    yield c.GrantAccess(actor=actor, now=now, person=_TEXT, reason=_TEXT)
    granted = next(iter(incident.cleared), _TEXT)
    yield c.RevokeAccess(actor=actor, now=now, person=granted, reason=_TEXT)
    until = now + timedelta(hours=1)
    yield c.BreakGlass(actor=actor, now=now, reason=_TEXT, until=until)
    yield c.PlaceLegalHold(actor=actor, now=now, hold=_TEXT, reason=_TEXT)
    held = next(iter(incident.holds), _TEXT)
    yield c.ReleaseLegalHold(actor=actor, now=now, hold=held, reason=_TEXT)
    unset = next((clock for clock in v.Clock if clock not in incident.clocks), v.Clock.OCCURRED)
    earlier = min((now, *incident.clocks.values())) - timedelta(seconds=1)
    yield c.RecordClock(actor=actor, now=now, clock=unset, instant=earlier, basis=_TEXT)
    running = next(iter(incident.clocks), v.Clock.OCCURRED)
    yield c.CorrectClock(actor=actor, now=now, clock=running, instant=earlier, reason=_TEXT)


def _level(incident: Incident) -> v.Severity:
    """Return a level to which this incident could most easily be set: up rather than down."""
    if incident.severity is None:
        return incident.proposal.level if incident.proposal else v.Severity.SEV3
    return v.Severity.SEV0 if incident.severity is not v.Severity.SEV0 else v.Severity.SEV1


def _cause(actor: Actor) -> v.RootCauseStatus:
    if actor.has(v.Role.SERVICE_TEAM, v.Role.SECURITY_RESPONSE):
        return v.RootCauseStatus.DETERMINED
    return v.RootCauseStatus.ACCEPTED_UNKNOWN


def _update(incident: Incident, actor: Actor, now: datetime) -> c.UpdateAction:
    """Return the update of the action that is the most open to one."""
    key, status = _NOBODY, v.ActionStatus.DONE
    for action_id, action in incident.actions.items():
        key = action_id
        if action.status.is_open:
            status = v.ActionStatus.DONE
            break
        status = v.ActionStatus.KEPT
        if action.provisional and action.status is v.ActionStatus.DONE:
            break
    return c.UpdateAction(actor=actor, now=now, action_id=key, status=status, result=_TEXT)

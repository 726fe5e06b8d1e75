"""Decisions after the verdict: scope, containment, root cause and recovery (R32, R33)."""

from collections.abc import Sequence

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain.check import Check
from services.cases.domain.state import Incident
from services.cases.domain.values import Scope
from services.cases.domain.vocabulary import (
    ActionKind,
    ActionStatus,
    FollowDependencies,
    Role,
    RootCauseStatus,
    State,
)

_REACH = tuple(FollowDependencies)


def set_scope(incident: Incident, command: c.SetScope, check: Check) -> Sequence[e.Event]:
    """Say what was affected; a wider scope asks for the severity to be reassessed (R32c)."""
    scope, known = command.scope, incident.scope
    if scope == known:
        return check.already_so()
    check.need(bool(scope.include), "scope_empty")
    for selector in (*scope.include, *scope.exclude):
        check.need(
            bool(selector.levels()), "scope_empty", "a selector names at least one level or tag"
        )
    check.need(
        scope.window_from is None or scope.window_to is None or scope.window_from < scope.window_to,
        "window_reversed",
    )
    check.settle()
    version = incident.scope_version + 1
    happened: list[e.Event] = [
        e.ScopeSet(actor=check.actor, at=command.now, version=version, scope=scope)
    ]
    if known is not None and incident.state is not State.INVESTIGATING and _wider(known, scope):
        happened.append(
            e.SeverityReassessmentRequested(
                actor=check.actor,
                at=command.now,
                scope_version=version,
                reason=f"scope version {version} reaches beyond version {version - 1}",
            )
        )
    return happened


def _wider(old: Scope, new: Scope) -> bool:
    """Tell whether *new* may reach something that *old* did not."""
    covered = all(
        any(before.levels() <= selector.levels() for before in old.include)
        for selector in new.include
    )
    return (
        not covered
        or not all(spared in new.exclude for spared in old.exclude)
        or _REACH.index(new.follow_dependencies) > _REACH.index(old.follow_dependencies)
        or (
            old.window_from is not None
            and (not new.window_from or new.window_from < old.window_from)
        )
        or (old.window_to is not None and (not new.window_to or new.window_to > old.window_to))
    )


def contain(incident: Incident, command: c.MarkContained, check: Check) -> Sequence[e.Event]:
    """Say that the attack is contained: something was done for it, all criteria ticked (R32a)."""
    if incident.state is State.CONTAINED:
        return check.already_so()
    check.need(
        any(
            action.kind is ActionKind.CONTAINMENT
            and action.status in {ActionStatus.DONE, ActionStatus.KEPT}
            for action in incident.actions.values()
        ),
        "no_containment_action",
    )
    check.need(bool(command.criteria), "criteria_not_met", "name at least one criterion")
    for criterion in command.criteria:
        check.need(criterion.met, "criteria_not_met", f"not met: {criterion.text}")
    check.settle()
    return [
        e.IncidentContained(
            actor=check.actor,
            at=command.now,
            criteria=command.criteria,
            residual=command.residual,
        )
    ]


def record_root_cause(
    incident: Incident, command: c.RecordRootCause, check: Check
) -> Sequence[e.Event]:
    """Record a hypothesis, the cause, or that it stays unknown; parallel to all else (R33a)."""
    if (incident.root_cause, incident.cause) == (command.status, command.cause):
        return check.already_so()
    check.need(bool(command.cause.strip()), "text_missing", "a root cause needs a text")
    status = command.status
    other = (
        Role.EXECUTIVE_INCIDENT_MANAGER
        if status is RootCauseStatus.ACCEPTED_UNKNOWN  # an approval, so not the service team's
        else Role.SERVICE_TEAM
    )
    check.need_role(
        command.actor.has(Role.SECURITY_RESPONSE, other),
        f"recording a root cause as {status} needs one of {other}, security_response",
    )
    check.need(
        status is RootCauseStatus.DETERMINED or not incident.root_cause.is_settled,
        "root_cause_settled",
    )
    check.need(
        status is not RootCauseStatus.OPEN, "text_missing", "a root cause is never recorded as open"
    )
    check.settle()
    if status is RootCauseStatus.ACCEPTED_UNKNOWN:
        return [e.RootCauseAcceptedUnknown(actor=check.actor, at=command.now, reason=command.cause)]
    kind = (
        e.RootCauseDetermined if status is RootCauseStatus.DETERMINED else e.RootCauseHypothesised
    )
    return [
        kind(
            actor=check.actor,
            at=command.now,
            cause=command.cause,
            method=command.method,
            vulnerability_refs=command.vulnerability_refs,
        )
    ]


def draft_recovery_plan(
    incident: Incident, command: c.DraftRecoveryPlan, check: Check
) -> Sequence[e.Event]:
    """Draft the next version of the recovery plan (R33b); it needs an approval of its own."""
    plan = incident.plan
    if plan and (plan.steps, plan.last_known_good) == (command.steps, command.last_known_good):
        return check.already_so()
    check.need(any(step.strip() for step in command.steps), "steps_missing")
    check.settle()
    return [
        e.RecoveryPlanDrafted(
            actor=check.actor,
            at=command.now,
            version=plan.version + 1 if plan else 1,
            steps=command.steps,
            last_known_good=command.last_known_good,
        )
    ]


def approve_recovery_plan(
    incident: Incident, command: c.ApproveRecoveryPlan, check: Check
) -> Sequence[e.Event]:
    """Approve the newest version, by somebody who did not write it (§7)."""
    plan = incident.plan
    if plan and plan.version == command.version and incident.plan_approved:
        return check.already_so()
    check.need(
        plan is not None and plan.version == command.version,
        "plan_missing",
        f"the newest version is {plan.version}" if plan else "",
    )
    check.need(plan is None or plan.actor.id != command.actor.id, "approver_is_author")
    check.settle()
    return [e.RecoveryPlanApproved(actor=check.actor, at=command.now, version=command.version)]


def eradicate(incident: Incident, command: c.MarkEradicated, check: Check) -> Sequence[e.Event]:
    """Say that the adversary is evicted; the root cause has to be settled (§3.3)."""
    if incident.state is State.ERADICATED:
        return check.already_so()
    check.need_role(
        not command.business_impact or command.actor.has(Role.EXECUTIVE_INCIDENT_MANAGER),
        "eradication with business impact needs executive_incident_manager",
    )
    check.need(incident.root_cause.is_settled, "root_cause_open")
    check.need(bool(command.verification.strip()), "verification_missing")
    check.settle()
    return [
        e.IncidentEradicated(
            actor=check.actor,
            at=command.now,
            verification=command.verification,
            business_impact=command.business_impact,
        )
    ]


def recover(incident: Incident, command: c.MarkRecovered, check: Check) -> Sequence[e.Event]:
    """Say that the approved plan is executed and verified, under heightened monitoring (R33b)."""
    if incident.state is State.RECOVERED:
        return check.already_so()
    check.need(incident.plan is not None and incident.plan_approved, "plan_not_approved")
    check.need(bool(command.verification.strip()), "verification_missing")
    check.need(command.monitoring_until > command.now, "monitoring_period_missing")
    check.settle()
    return [
        e.IncidentRecovered(
            actor=check.actor,
            at=command.now,
            verification=command.verification,
            monitoring_until=command.monitoring_until,
        )
    ]

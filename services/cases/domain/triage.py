"""Decisions from the first detection to escalation or dismissal at triage (R09, R23, R24)."""

from collections.abc import Sequence

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain.check import Check
from services.cases.domain.state import Incident
from services.cases.domain.values import Detection, indicator_id
from services.cases.domain.vocabulary import Classification, IndicatorRole, Role, Severity, State

_DISMISSALS = frozenset(Classification) - {Classification.TRUE_POSITIVE}
_TRIAGE_SEVERITIES = (None, Severity.SEV3, Severity.SEV4)


def open_incident(incident: Incident, command: c.OpenIncident, check: Check) -> Sequence[e.Event]:
    """Open from a source, or by hand with a reason."""
    if (
        incident.state is not State.UNOPENED
        and incident.source_refs == command.source_refs
        and incident.title == command.title
    ):
        return check.already_so()
    check.need(bool(command.title.strip()), "text_missing", "an incident needs a title")
    check.need(
        bool(command.source_refs or command.reason.strip()),
        "reason_missing",
        "name the source, or give a reason for opening by hand",
    )
    check.settle()
    return [
        e.IncidentOpened(
            actor=check.actor,
            at=command.now,
            number=command.number,
            title=command.title,
            source_kind=command.source_kind,
            source_refs=command.source_refs,
            reason=command.reason,
            detected_at=command.detected_at,
            services=command.services,
            regions=command.regions,
        )
    ]


def attach_detections(
    incident: Incident, command: c.AttachDetections, check: Check
) -> Sequence[e.Event]:
    """Attach those that are not attached yet, and link the indicators they name (R29, R31c)."""
    new: dict[object, Detection] = {
        d.detection_id: d
        for d in command.detections
        if d.detection_id not in incident.detection_ids
    }
    count = max(command.count, incident.detection_count, len(incident.detection_ids) + len(new))
    if incident.state is not State.UNOPENED and not new and count == incident.detection_count:
        return check.already_so()
    check.settle()
    attached = e.DetectionsAttached(
        actor=check.actor, at=command.now, detections=tuple(new.values()), count=count
    )
    linked: dict[object, e.IndicatorLinked] = {}
    for detection in new.values():
        for entity in detection.entities:
            key = indicator_id(entity.type, entity.value)
            if key in incident.indicators or key in linked:
                continue
            linked[key] = e.IndicatorLinked(
                actor=check.actor,
                at=command.now,
                indicator_id=key,
                type=entity.type,
                value=entity.value,
                role=IndicatorRole.LED_TO_DETECTION,
                source=f"detection:{detection.detection_id}",
            )
    return [attached, *linked.values()]


def propose_severity(
    incident: Incident, command: c.ProposeSeverity, check: Check
) -> Sequence[e.Event]:
    """Keep what the severity policy computed, with all that explains it (R31b).

    Where that is more severe than what was set, the severity has to be looked at again (R32c).
    """
    computed, current = command.assessment, incident.severity
    if incident.proposal == computed:
        return check.already_so()
    check.settle()
    happened: list[e.Event] = [
        e.SeverityProposed(actor=check.actor, at=command.now, assessment=computed)
    ]
    if current is not None and command.reason and computed.level.rank > current.rank:
        happened.append(
            e.SeverityReassessmentRequested(
                actor=check.actor,
                at=command.now,
                scope_version=incident.scope_version,
                reason=command.reason,
            )
        )
    return happened


def propose_priority(
    incident: Incident, command: c.ProposePriority, check: Check
) -> Sequence[e.Event]:
    """Keep what the priority policy computed."""
    proposed = e.PriorityProposed(
        actor=check.actor,
        at=command.now,
        priority=command.priority,
        functional=command.functional,
        informational=command.informational,
        recoverability=command.recoverability,
        reason=command.reason,
        policy=command.policy,
        version=command.version,
    )
    known = incident.proposed_priority
    if known and _priority(known) == _priority(proposed):
        return check.already_so()
    check.settle()
    return [proposed]


def _priority(proposed: e.PriorityProposed) -> tuple[str, ...]:
    return (
        proposed.priority,
        proposed.functional,
        proposed.informational,
        proposed.recoverability,
        proposed.policy,
        proposed.version,
    )


def set_severity(incident: Incident, command: c.SetSeverity, check: Check) -> Sequence[e.Event]:
    """Set before escalation, by the service team (R23); reassess after it (I4)."""
    proposal = incident.proposal
    known = {**(proposal.inputs if proposal else {}), **incident.inputs}
    inputs = {**known, **command.inputs}
    if incident.severity is command.level and inputs == dict(incident.inputs):
        return check.already_so()
    if incident.state in {State.UNOPENED, State.OPENED} or incident.severity is None:
        computed = proposal.level if proposal else None
        check.need(
            computed in (None, command.level) or bool(command.reason.strip()),
            "override_reason_missing",
            f"the policy computed {computed}; setting {command.level} needs a reason",
        )
        second = _second(incident, command, check)
        check.settle()
        overrides = computed is not command.level
        return [
            e.SeveritySet(
                actor=check.actor,
                at=command.now,
                level=command.level,
                previous=incident.severity,
                computed_level=computed,
                override_reason=command.reason if overrides else "",
                inputs=inputs,
                policy=proposal.policy if proposal else "",
                policy_version=proposal.version if proposal else "",
                second_approver=second,
            )
        ]
    lowering = command.level.rank < incident.severity.rank
    check.need(
        not lowering or command.actor.has(Role.SECURITY_RESPONSE),
        "lowering_needs_security_response",
        f"lowering {incident.severity} to {command.level} after escalation needs security_response",
    )
    check.need(bool(command.reason.strip()), "reason_missing", "reassessing needs a reason (I4)")
    second = _second(incident, command, check)
    check.settle()
    return [
        e.SeverityChanged(
            actor=check.actor,
            at=command.now,
            level=command.level,
            previous=incident.severity,
            reason=command.reason,
            inputs=inputs,
            second_approver=second,
        )
    ]


def _held_up(incident: Incident, level: Severity) -> bool:
    """Tell whether setting *level* now would go below what a floor of the policy held up."""
    proposal, current = incident.proposal, incident.severity
    if proposal is None or not proposal.floors_applied:
        return False
    lowers = current is None or level.rank < current.rank
    return lowers and level.rank < proposal.level.rank


def _second(incident: Incident, command: c.SetSeverity, check: Check) -> str:
    """Return who else approved going below a floor, if it needs somebody (I4).

    Both persons have said so themselves, and one of the two is of security response (§2.1).
    """
    if not _held_up(incident, command.level) or incident.proposal is None:
        return ""
    named, mine = command.second_approver.strip(), command.actor
    approvals = [
        approval.actor
        for approval in incident.lowering
        if approval.level is command.level
        and approval.actor.id != mine.id
        and named in ("", approval.actor.id)
        and (mine.has(Role.SECURITY_RESPONSE) or approval.actor.has(Role.SECURITY_RESPONSE))
    ]
    check.need(
        bool(approvals),
        "second_person_missing",
        f"{command.level} is below {incident.proposal.level}, held up by"
        f" {', '.join(incident.proposal.floors_applied)}: a second person has to give"
        " approve-lowering, and one of the two is of security_response",
    )
    return approvals[0].id if approvals else ""


def approve_lowering(
    incident: Incident, command: c.ApproveLowering, check: Check
) -> Sequence[e.Event]:
    """Agree that the severity goes below a floor; it takes another person to set it (I4)."""
    known = {(approval.level, approval.actor.id) for approval in incident.lowering}
    if (command.level, command.actor.id) in known:
        return check.already_so()
    check.need(_held_up(incident, command.level), "no_floor")
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    return [
        e.LoweringApproved(
            actor=check.actor, at=command.now, level=command.level, reason=command.reason
        )
    ]


def set_priority(incident: Incident, command: c.SetPriority, check: Check) -> Sequence[e.Event]:
    """Set the priority with its three factors; those not named are the proposal's (R24a)."""
    proposed, known = incident.proposed_priority, incident.priority
    base = known or proposed
    functional = command.functional or (base.functional if base else None)
    informational = command.informational or (base.informational if base else None)
    recoverability = command.recoverability or (base.recoverability if base else None)
    factors = (functional, informational, recoverability)
    if (
        known
        and known.priority is command.priority
        and factors == (known.functional, known.informational, known.recoverability)
    ):
        return check.already_so()
    check.need(None not in factors, "priority_factors_missing")
    computed = None
    if proposed and factors == (
        proposed.functional,
        proposed.informational,
        proposed.recoverability,
    ):
        computed = proposed.priority
    check.need(
        computed in (None, command.priority) or bool(command.reason.strip()),
        "override_reason_missing",
        f"the policy computed {computed}; setting {command.priority} needs a reason",
    )
    check.settle()
    return [
        e.PrioritySet(
            actor=check.actor,
            at=command.now,
            priority=command.priority,
            functional=functional or "",
            informational=informational or "",
            recoverability=recoverability or "",
            computed_priority=computed,
            reason=command.reason,
        )
    ]


def escalate(incident: Incident, command: c.EscalateIncident, check: Check) -> Sequence[e.Event]:
    """Hand over to exactly one security response team, once the severity is set (I1, I2)."""
    if incident.state is State.ESCALATED and incident.owning_team == command.owning_team:
        return check.already_so()
    check.need(incident.severity is not None, "severity_not_set")
    check.need(bool(command.owning_team.strip()), "owning_team_missing")
    check.settle()
    return [
        e.IncidentEscalated(
            actor=check.actor,
            at=command.now,
            escalation_id=command.escalation_id,
            owning_team=command.owning_team,
        )
    ]


def dismiss_at_triage(
    incident: Incident, command: c.DismissAtTriage, check: Check
) -> Sequence[e.Event]:
    """End what the service team recognises as harmless, if its severity allows."""
    if incident.state is State.FALSE_POSITIVE and incident.classification is command.classification:
        return check.already_so()
    check.need(
        incident.severity in _TRIAGE_SEVERITIES,
        "severity_too_high",
        f"{incident.severity} is not dismissed at triage; escalate it",
    )
    check.need(command.classification in _DISMISSALS, "classification_invalid")
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    return [
        e.IncidentDismissed(
            actor=check.actor,
            at=command.now,
            stage="triage",
            classification=command.classification,
            reason=command.reason,
        )
    ]

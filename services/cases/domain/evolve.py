"""From an incident and what happened to it, the incident after it. Never refuses."""

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from services.cases.domain import events as e
from services.cases.domain.state import UNOPENED, Action, Incident, Indicator
from services.cases.domain.vocabulary import RootCauseStatus, State

__all__ = ["evolve", "fold"]


def fold(events: Iterable[e.Event], start: Incident = UNOPENED) -> Incident:
    """Return what *start* became by *events*."""
    for event in events:
        start = evolve(start, event)
    return start


def evolve(incident: Incident, event: e.Event) -> Incident:
    """Return *incident* after *event*: it has happened, so there is nothing to refuse."""
    match event:
        case e.IncidentOpened():
            return _opened(incident, event)
        case e.DetectionsAttached():
            return _detections(incident, event)
        case e.SeverityProposed():
            return replace(incident, proposal=event.assessment)
        case e.PriorityProposed():
            return replace(incident, proposed_priority=event)
        case e.SeveritySet() | e.SeverityChanged():
            return replace(incident, severity=event.level, inputs=event.inputs)
        case e.PrioritySet():
            return replace(incident, priority=event)
        case e.IncidentEscalated():
            return replace(
                incident,
                state=State.ESCALATED,
                escalation_id=event.escalation_id,
                owning_team=event.owning_team,
            )
        case e.IncidentDismissed():
            return replace(
                incident, state=State.FALSE_POSITIVE, classification=event.classification
            )
        case e.VTeamFormed():
            return replace(
                incident, state=State.INVESTIGATING, members=event.members, lead=event.lead
            )
        case e.SummaryRecorded():
            return replace(
                incident,
                summary=event.summary,
                potential_impact=event.potential_impact,
                summary_version=event.version,
            )
        case e.IndicatorLinked():
            indicator = Indicator(role=event.role)
            return replace(
                incident, indicators={**incident.indicators, event.indicator_id: indicator}
            )
        case e.IndicatorAssessed():
            return _assessed(incident, event)
        case e.ActionRecorded():
            action = Action(kind=event.kind, provisional=event.provisional)
            return replace(incident, actions={**incident.actions, event.action_id: action})
        case e.ActionUpdated():
            return _action_updated(incident, event)
        case e.IncidentConfirmed():
            return replace(
                incident, state=State.CONFIRMED, confirmed_at=event.at, aware_at=event.aware_at
            )
        case e.ScopeSet():
            return replace(incident, scope=event.scope, scope_version=event.version)
        case e.IncidentContained():
            return replace(incident, state=State.CONTAINED, contained_at=event.at)
        case e.RootCauseHypothesised():
            return replace(incident, root_cause=RootCauseStatus.HYPOTHESISED, cause=event.cause)
        case e.RootCauseDetermined():
            return replace(incident, root_cause=RootCauseStatus.DETERMINED, cause=event.cause)
        case e.RootCauseAcceptedUnknown():
            return replace(
                incident, root_cause=RootCauseStatus.ACCEPTED_UNKNOWN, cause=event.reason
            )
        case e.RecoveryPlanDrafted():
            return replace(incident, plan=event, plan_approved=False)
        case e.RecoveryPlanApproved():
            return replace(incident, plan_approved=True)
        case e.IncidentEradicated():
            return replace(incident, state=State.ERADICATED)
        case e.IncidentRecovered():
            return replace(incident, state=State.RECOVERED, recovered_at=event.at)
        case e.ReviewStarted():
            return replace(incident, state=State.IN_REVIEW)
        case e.IncidentClosed():
            return replace(incident, state=State.CLOSED, classification=event.disposition)
        case e.NoCustomersAffectedDeclared():
            return replace(incident, none_affected=True)
        case e.AffectedCustomersIdentified():
            tenants = event.confirmed + event.probable
            return replace(
                incident,
                affected_version=event.version,
                affected_tenants=tenants,
                # A list with names on it says otherwise than a declaration that there are none.
                none_affected=incident.none_affected and not tenants,
            )
        case e.CustomersNotified():
            return replace(incident, notified_version=event.version)
        case e.NoteAdded():
            return replace(incident, note_ids=incident.note_ids | {event.note_id})
        case e.FactRecorded():
            return replace(incident, fact_ids=incident.fact_ids | {event.fact_id})
        case e.SeverityReassessmentRequested():
            return incident
        case _:
            assert_never(event)


def _opened(incident: Incident, event: e.IncidentOpened) -> Incident:
    return replace(
        incident,
        state=State.OPENED,
        number=event.number,
        title=event.title,
        source_kind=event.source_kind,
        source_refs=event.source_refs,
        detected_at=event.detected_at,
        services=event.services,
        regions=event.regions,
    )


def _detections(incident: Incident, event: e.DetectionsAttached) -> Incident:
    return replace(
        incident,
        detection_ids=incident.detection_ids | {d.detection_id for d in event.detections},
        detection_count=event.count,
        rule_ids=tuple(dict.fromkeys((*incident.rule_ids, *(d.rule_id for d in event.detections)))),
    )


def _action_updated(incident: Incident, event: e.ActionUpdated) -> Incident:
    known = incident.actions.get(event.action_id)
    if known is None:  # nothing to update, and nothing to refuse
        return incident
    action = replace(known, status=event.status, result=event.result)
    return replace(incident, actions={**incident.actions, event.action_id: action})


def _assessed(incident: Incident, event: e.IndicatorAssessed) -> Incident:
    known = incident.indicators.get(event.indicator_id)
    if known is None:
        return incident
    indicator = replace(
        known, verdict=event.verdict, confidence=event.confidence, rationale=event.rationale
    )
    return replace(incident, indicators={**incident.indicators, event.indicator_id: indicator})

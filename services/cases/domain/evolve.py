"""From an incident and what happened to it, the incident after it. Never refuses."""

from collections.abc import Iterable
from typing import assert_never
from uuid import UUID

from services.cases.domain import events as e
from services.cases.domain.changed import replace
from services.cases.domain.state import UNOPENED, Action, Incident, Indicator, Recommendation
from services.cases.domain.vocabulary import Clock, FactKind, RootCauseStatus, State

__all__ = ["evolve", "fold"]

_NEVER_UNDO = (FactKind.OBLIGATION_IDENTIFIED, FactKind.OBLIGATION_OVERDUE)


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
            return replace(incident, proposal=event.assessment, lowering=())
        case e.PriorityProposed():
            return replace(incident, proposed_priority=event)
        case e.SeveritySet() | e.SeverityChanged():
            return replace(incident, severity=event.level, inputs=event.inputs, lowering=())
        case e.LoweringApproved():
            return replace(incident, lowering=(*incident.lowering, event))
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
            indicator = Indicator(
                role=event.role, attack_vector=event.attack_vector, techniques=event.techniques
            )
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
                incident,
                state=State.CONFIRMED,
                confirmed_at=event.at,
                clocks={**incident.clocks, Clock.AWARE: event.aware_at},
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
            return replace(
                incident,
                state=State.IN_REVIEW,
                review_id=event.review_id,
                review_by=event.actor.id,
            )
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
            return _fact(incident, event)
        case e.IndicatorClassified():
            return _classified(incident, event)
        case e.IncidentMerged():
            return replace(
                incident, state=State.MERGED, former=event.former, merged_into=event.target_id
            )
        case e.IncidentUnmerged():
            return replace(incident, state=event.state, merged_into=None, came_back=event)
        case e.IncidentSplit():
            return replace(incident, split_off=incident.split_off | {event.new_id})
        case e.IncidentReopened() | e.ConfirmationRetracted():
            return _under_investigation_again(incident, event)
        case e.ContainmentLost():
            # Whatever was achieved since containment has to be achieved, and approved, again.
            return replace(
                incident,
                state=State.CONFIRMED,
                contained_at=None,
                recovered_at=None,
                plan_approved=False,
                came_back=event,
            )
        case e.VTeamMemberAdded():
            return _joined(incident, event)
        case e.VTeamMemberRemoved():
            return replace(
                incident,
                members=tuple(
                    m for m in incident.members if (m.person, m.kind) != (event.person, event.kind)
                ),
                left=incident.left | {event.person},
            )
        case e.RecommendationAdded():
            added = Recommendation(text=event.text)
            return _recommended(incident, event.recommendation_id, added)
        case e.RecommendationDecided():
            known = incident.recommendations.get(event.recommendation_id)
            if known is None:
                return incident
            decided = replace(known, decision=event.decision)
            return _recommended(incident, event.recommendation_id, decided)
        case e.IncidentLinked():
            return replace(incident, links=incident.links | {(event.other_id, event.relation)})
        case e.IncidentUnlinked():
            key = (event.other_id, event.relation)
            return replace(
                incident, links=incident.links - {key}, unlinked=incident.unlinked | {key}
            )
        case e.ClockRecorded():
            return replace(incident, clocks={**incident.clocks, event.clock: event.instant})
        case e.ClockCorrected():
            return replace(
                incident,
                clocks={**incident.clocks, event.clock: event.instant},
                corrected=incident.corrected | {event.clock},
            )
        case e.SeverityReassessmentRequested() | e.VTeamCompositionBroken():
            return incident
        case e.AccessRestricted():
            return replace(incident, restricted=True, cleared={event.actor.id: None})
        case e.RestrictionLifted():
            return replace(incident, restricted=False, cleared={}, revoked=frozenset())
        case e.AccessGranted():
            cleared = {**incident.cleared, event.person: event.until}
            return replace(incident, cleared=cleared)
        case e.AccessRevoked():
            cleared = {k: until for k, until in incident.cleared.items() if k != event.person}
            return replace(incident, cleared=cleared, revoked=incident.revoked | {event.person})
        case e.PersonalDataErased():
            return incident  # what it erased is read as erased, from the first event on
        case e.LegalHoldPlaced():
            return replace(incident, holds=(*incident.holds, event.hold))
        case e.LegalHoldReleased():
            left = tuple(hold for hold in incident.holds if hold != event.hold)
            return replace(incident, holds=left)
        case e.GlassBroken():
            cleared = {**incident.cleared, event.actor.id: event.until}
            return replace(incident, cleared=cleared)
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
        clocks={**incident.clocks, Clock.DETECTED: event.detected_at},
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


def _fact(incident: Incident, event: e.FactRecorded) -> Incident:
    incident = replace(incident, fact_ids=incident.fact_ids | {event.fact_id})
    key, standing = event.subject_id, event.standing
    if key is None or standing is None:
        return incident
    known = incident.obligations.get(key)
    # A deadline that is computed anew, or has passed, does not undo what was done.
    if known and known.is_settled and event.kind in _NEVER_UNDO:
        return incident
    return replace(incident, obligations={**incident.obligations, key: standing})


def _assessed(incident: Incident, event: e.IndicatorAssessed) -> Incident:
    known = incident.indicators.get(event.indicator_id)
    if known is None:
        return incident
    indicator = replace(
        known, verdict=event.verdict, confidence=event.confidence, rationale=event.rationale
    )
    return replace(incident, indicators={**incident.indicators, event.indicator_id: indicator})


def _classified(incident: Incident, event: e.IndicatorClassified) -> Incident:
    known = incident.indicators.get(event.indicator_id)
    if known is None:
        return incident
    indicator = replace(known, attack_vector=event.attack_vector, techniques=event.techniques)
    return replace(incident, indicators={**incident.indicators, event.indicator_id: indicator})


def _under_investigation_again(
    incident: Incident, event: e.IncidentReopened | e.ConfirmationRetracted
) -> Incident:
    """Without a verdict again: what followed from one has lapsed, the clocks have not (I5)."""
    return replace(
        incident,
        state=State.INVESTIGATING,
        confirmed_at=None,
        contained_at=None,
        recovered_at=None,
        plan_approved=False,
        classification=None,
        merged_into=None,
        came_back=event,
    )


def _joined(incident: Incident, event: e.VTeamMemberAdded) -> Incident:
    new = event.member
    others = tuple(m for m in incident.members if (m.person, m.kind) != (new.person, new.kind))
    return replace(
        incident,
        members=(*others, new),
        lead=new.person if event.leads else incident.lead,
    )


def _recommended(incident: Incident, key: UUID, recommendation: Recommendation) -> Incident:
    return replace(incident, recommendations={**incident.recommendations, key: recommendation})

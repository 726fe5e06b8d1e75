"""From a private event to the public contract: the only bridge between them."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, assert_never

from services.cases.domain import events as e
from services.cases.domain.incident import Incident
from services.cases.domain.values import Selector
from services.cases.store import Recorded
from shared.contracts.cases import (
    ClockSetV1,
    ConfirmationRetractedV1,
    ContainmentLostV1,
    IncidentClosedV1,
    IncidentConfirmedV1,
    IncidentContainedV1,
    IncidentDismissedV1,
    IncidentErasedV1,
    IncidentEscalatedV1,
    IncidentEvent,
    IncidentMergedV1,
    IncidentOpenedV1,
    IncidentReopenedV1,
    IncidentSplitV1,
    IncidentUnmergedV1,
    IncidentUpdatedV1,
    Scope,
    ScopeSelector,
    ScopeSetV1,
    SeveritySetV1,
    VTeamFormedV1,
)

__all__ = ["to_contract"]


def to_contract(incident: Incident, recorded: Recorded) -> IncidentEvent:
    """Return what integrators are told of *recorded*; *incident* is the state after it."""
    event = recorded.event
    common: dict[str, Any] = {
        "event_id": recorded.event_id,
        "occurred_at": event.at,
        "incident_id": recorded.stream_id,
        "number": incident.number,
        "version": recorded.version,
        "position": recorded.position,
        "actor": event.actor.id,
    }
    match event:
        case e.IncidentOpened():
            return IncidentOpenedV1(
                **common,
                title=event.title,
                source_kind=event.source_kind,
                detected_at=event.detected_at,
                services=list(event.services),
                regions=list(event.regions),
            )
        case e.SeveritySet() | e.SeverityChanged():
            return SeveritySetV1(
                **common,
                level=event.level.value,
                previous=event.previous,
                services=list(incident.services),
                regions=list(incident.regions),
                inputs=dict(event.inputs),
            )
        case e.IncidentEscalated():
            return IncidentEscalatedV1(
                **common, escalation_id=event.escalation_id, owning_team=event.owning_team
            )
        case e.VTeamFormed():
            kinds = [member.kind.value for member in event.members]
            return VTeamFormedV1(
                **common, lead=event.lead, kinds={kind: kinds.count(kind) for kind in sorted(kinds)}
            )
        case e.IncidentConfirmed():
            return _confirmed(common, incident, event)
        case e.IncidentDismissed():
            return IncidentDismissedV1(
                **common,
                classification=event.classification.value,
                reason=event.reason,
                rule_ids=list(incident.rule_ids),
            )
        case e.IncidentContained():
            return IncidentContainedV1(**common, contained_at=event.at)
        case e.ScopeSet():
            return ScopeSetV1(
                **common,
                scope=_scope(event),
                scope_version=event.version,
                set_by=event.actor.id,
            )
        case e.IncidentClosed():
            return IncidentClosedV1(**common, disposition=event.disposition.value)
        case e.IncidentMerged():
            return IncidentMergedV1(**common, target_id=event.target_id, former=event.former.value)
        case e.IncidentUnmerged():
            return IncidentUnmergedV1(**common, target_id=event.target_id, state=event.state.value)
        case e.IncidentSplit():
            return IncidentSplitV1(
                **common, new_id=event.new_id, detection_ids=list(event.detection_ids)
            )
        case e.IncidentReopened():
            return IncidentReopenedV1(**common, former=event.former.value)
        case e.ConfirmationRetracted():
            return ConfirmationRetractedV1(**common)
        case e.ContainmentLost():
            return ContainmentLostV1(
                **common,
                new_assets=list(event.new_assets),
                indicator_ids=list(event.indicator_ids),
            )
        case e.ClockRecorded():
            return ClockSetV1(**common, clock=event.clock.value, instant=event.instant)
        case e.ClockCorrected():
            return ClockSetV1(
                **common,
                clock=event.clock.value,
                instant=event.instant,
                supersedes=event.supersedes,
            )
        case e.PersonalDataErased():
            return IncidentErasedV1(
                **common,
                erasure_id=event.erasure_id,
                scope=event.scope.value,
                basis=event.basis,
                reference=event.reference,
            )
        case (
            e.DetectionsAttached()
            | e.SeverityProposed()
            | e.PriorityProposed()
            | e.LoweringApproved()
            | e.PrioritySet()
            | e.SummaryRecorded()
            | e.IndicatorLinked()
            | e.IndicatorAssessed()
            | e.ActionRecorded()
            | e.ActionUpdated()
            | e.SeverityReassessmentRequested()
            | e.RootCauseHypothesised()
            | e.RootCauseDetermined()
            | e.RootCauseAcceptedUnknown()
            | e.RecoveryPlanDrafted()
            | e.RecoveryPlanApproved()
            | e.IncidentEradicated()
            | e.IncidentRecovered()
            | e.ReviewStarted()
            | e.NoCustomersAffectedDeclared()
            | e.AffectedCustomersIdentified()
            | e.CustomersNotified()
            | e.NoteAdded()
            | e.FactRecorded()
            | e.VTeamMemberAdded()
            | e.VTeamMemberRemoved()
            | e.VTeamCompositionBroken()
            | e.IndicatorClassified()
            | e.RecommendationAdded()
            | e.RecommendationDecided()
            | e.IncidentLinked()
            | e.IncidentUnlinked()
            | e.AccessRestricted()
            | e.RestrictionLifted()
            | e.AccessGranted()
            | e.AccessRevoked()
            | e.GlassBroken()
            | e.LegalHoldPlaced()
            | e.LegalHoldReleased()
        ):
            return IncidentUpdatedV1(**common, event=recorded.type.removesuffix(".v1"))
        case _:
            assert_never(event)


def _confirmed(
    common: dict[str, Any], incident: Incident, event: e.IncidentConfirmed
) -> IncidentConfirmedV1:
    detected: datetime = incident.detected_at or event.at
    return IncidentConfirmedV1(
        **common,
        confirmed_at=event.at,
        aware_at=event.aware_at,
        detected_at=detected,
        severity=incident.severity.value if incident.severity else "",
        inputs=dict(incident.inputs),
        title=incident.title,
        summary=incident.summary,
        potential_impact=incident.potential_impact,
        rule_ids=list(incident.rule_ids),
    )


def _selector(selector: Selector) -> ScopeSelector:
    named = asdict(selector)
    return ScopeSelector(**{**named, "tags": named["tags"] or None})


def _scope(event: e.ScopeSet) -> Scope:
    scope = event.scope
    return Scope(
        include=[_selector(s) for s in scope.include],
        exclude=[_selector(s) for s in scope.exclude],
        window_from=scope.window_from,
        window_to=scope.window_to,
        follow_dependencies=scope.follow_dependencies.value,
    )

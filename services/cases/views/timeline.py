"""The timeline: one entry an event, each with a sentence that a person can read aloud (R30a)."""

from typing import assert_never

import msgspec

from services.cases.domain import events as e
from services.cases.domain.vocabulary import ErasureScope, Visibility
from services.cases.store import Recorded
from services.cases.views import Document

__all__ = ["entry"]


def entry(document: Document, recorded: Recorded) -> Document:
    """Return the timeline's entry for *recorded*; *document* is the incident after it."""
    event = recorded.event
    actor = event.actor
    row: Document = {
        "position": recorded.position,
        "incident_id": str(recorded.stream_id),
        "version": recorded.version,
        "event_id": str(recorded.event_id),
        "type": recorded.type.removesuffix(".v1"),
        "at": msgspec.to_builtins(event.at),
        "recorded_at": msgspec.to_builtins(recorded.recorded_at),
        "actor": actor.id,
        "actor_kind": actor.kind.value,
        "sentence": _one_stop(_sentence(document, event)),
    }
    if isinstance(event, e.NoteAdded) and event.visibility is not Visibility.TEAM:
        row["visibility"] = event.visibility.value
    if actor.acting_for:
        row["acting_for"] = actor.acting_for
        row["sentence"] += f" ({actor.id} acted for {actor.acting_for}.)"
    return row


def _one_stop(sentence: str) -> str:
    """Return *sentence* without the second full stop that a quoted reason may bring."""
    twice = sentence.endswith("..") and not sentence.endswith("...")
    return sentence[:-1] if twice else sentence


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _indicator(document: Document, key: object) -> str:
    for row in document["indicators"]:
        if row["indicator_id"] == str(key):
            return f"{row['type']} {row['value']}"
    return str(key)


def _action(document: Document, key: object) -> str:
    for row in document["actions"]:
        if row["action_id"] == str(key):
            return str(row["text"])
    return str(key)


def _recommendation(document: Document, key: object) -> str:
    for row in document["recommendations"]:
        if row["recommendation_id"] == str(key):
            return str(row["text"])
    return str(key)


def _sentence(document: Document, event: e.Event) -> str:
    who = event.actor.id
    match event:
        case e.IncidentOpened():
            return f"{event.number} was opened by {who}: {event.title}."
        case e.DetectionsAttached():
            attached = _many(len(event.detections), "detection")
            return f"{attached} attached; the group now counts {event.count}."
        case e.SeverityProposed():
            a = event.assessment
            return f"{a.level} proposed with {a.points} points by {a.policy} {a.version}."
        case e.PriorityProposed():
            return f"{event.priority} proposed: {event.reason or event.policy}."
        case e.SeveritySet():
            why = f", overriding {event.computed_level}: {event.override_reason}"
            return f"{who} set the severity to {event.level}{why if event.override_reason else ''}."
        case e.SeverityChanged():
            return f"{who} changed {event.previous} to {event.level}: {event.reason}."
        case e.LoweringApproved():
            return f"{who} agreed to go below a floor, to {event.level}: {event.reason}."
        case e.PrioritySet():
            return f"{who} set the priority to {event.priority}."
        case e.IncidentEscalated():
            return f"Escalated to {event.owning_team} by {who}."
        case e.IncidentDismissed():
            return f"{who} dismissed it as {event.classification} at {event.stage}: {event.reason}."
        case e.VTeamFormed():
            people = _many(len(event.members), "member")
            return f"{who} formed a v-team of {people}, led by {event.lead}."
        case e.SummaryRecorded():
            return f"{who} recorded summary version {event.version}."
        case e.IndicatorLinked():
            return f"Indicator {event.type} {event.value} linked ({event.role})."
        case e.IndicatorAssessed():
            what = _indicator(document, event.indicator_id)
            return f"{who} assessed {what}: {event.verdict}, confidence {event.confidence}."
        case e.ActionRecorded():
            early = "provisional " if event.provisional else ""
            return f"{who} recorded a {early}{event.kind} action for {event.owner}: {event.text}."
        case e.ActionUpdated():
            return f"{who} marked “{_action(document, event.action_id)}” as {event.status}."
        case e.IncidentConfirmed():
            aware = msgspec.to_builtins(event.aware_at)
            return f"{who} confirmed the incident for the v-team; aware since {aware}."
        case e.ScopeSet():
            return f"{who} set the scope, version {event.version}."
        case e.SeverityReassessmentRequested():
            return f"The severity has to be reassessed: {event.reason}."
        case e.IncidentContained():
            return f"{who} marked it contained; criteria met: {len(event.criteria)}."
        case e.RootCauseHypothesised():
            return f"{who} suspects as root cause: {event.cause}."
        case e.RootCauseDetermined():
            return f"{who} determined the root cause: {event.cause}."
        case e.RootCauseAcceptedUnknown():
            return f"{who} accepted that the root cause stays unknown: {event.reason}."
        case e.RecoveryPlanDrafted():
            steps = _many(len(event.steps), "step")
            return f"{who} drafted recovery plan version {event.version} with {steps}."
        case e.RecoveryPlanApproved():
            return f"{who} approved recovery plan version {event.version}."
        case e.IncidentEradicated():
            return f"{who} marked the adversary evicted: {event.verification}."
        case e.IncidentRecovered():
            until = msgspec.to_builtins(event.monitoring_until)
            return f"{who} marked it recovered; heightened monitoring until {until}."
        case e.ReviewStarted():
            return f"{who} started the post-incident review."
        case e.IncidentClosed():
            return f"{who} closed it as {event.disposition}."
        case e.NoCustomersAffectedDeclared():
            return f"{who} declared that no customers are affected: {event.reason}."
        case e.AffectedCustomersIdentified():
            tenants = _many(event.confirmed + event.probable, "affected tenant")
            return f"{tenants} identified, {event.possible} more possible (list {event.version})."
        case e.CustomersNotified():
            return f"All {_many(event.tenants, 'tenant')} of list {event.version} notified."
        case e.NoteAdded():
            return f"{who} noted: {event.text}"
        case e.IncidentMerged():
            return f"{who} merged it into {event.target_id}: {event.reason}."
        case e.IncidentUnmerged():
            return f"{who} undid the merge; it is {event.state} again: {event.reason}."
        case e.IncidentSplit():
            taken = _many(len(event.detection_ids), "detection")
            return f"{who} split {taken} off as {event.new_id}, {event.title}: {event.reason}."
        case e.IncidentReopened():
            new = event.new_information_ref
            return f"{who} reopened it ({event.former}): {event.reason}; what is new: {new}."
        case e.ConfirmationRetracted():
            return f"{who} retracted the confirmation for the v-team: {event.reason}."
        case e.ContainmentLost():
            again = [_indicator(document, key) for key in event.indicator_ids]
            found = ", ".join((*event.new_assets, *again))
            return f"{who} reported that containment was lost: {found}."
        case e.VTeamMemberAdded():
            leads = " and leads it now" if event.leads else ""
            return f"{event.member.person} joined the v-team ({event.member.kind}){leads}."
        case e.VTeamMemberRemoved():
            return f"{event.person} left the v-team ({event.kind}): {event.reason}."
        case e.VTeamCompositionBroken():
            return (
                f"The v-team now lacks {', '.join(event.missing)}; it gives no verdict until then."
            )
        case e.IndicatorClassified():
            what = _indicator(document, event.indicator_id)
            return f"{who} put {what} into the category {event.attack_vector}."
        case e.RecommendationAdded():
            return f"{who} recommended ({event.priority}): {event.text}."
        case e.RecommendationDecided():
            what = _recommendation(document, event.recommendation_id)
            why = f": {event.reason}" if event.reason else ""
            return f"{who} {event.decision} the recommendation “{what}”{why}."
        case e.IncidentLinked():
            return f"{who} linked it as {event.relation} {event.other_id}: {event.reason}."
        case e.IncidentUnlinked():
            return f"{who} took back that it is {event.relation} {event.other_id}: {event.reason}."
        case e.ClockRecorded():
            instant = msgspec.to_builtins(event.instant)
            return f"{who} set the clock {event.clock} to {instant}: {event.basis}."
        case e.ClockCorrected():
            instant, before = msgspec.to_builtins((event.instant, event.supersedes))
            return (
                f"{who} corrected the clock {event.clock} from {before} to {instant}:"
                f" {event.reason}."
            )
        case e.AccessRestricted():
            return f"{who} restricted it to those who need to know: {event.reason}."
        case e.RestrictionLifted():
            return f"{who} lifted the restriction: {event.reason}."
        case e.AccessGranted():
            end = f" until {msgspec.to_builtins(event.until)}" if event.until else ""
            return f"{who} let {event.person} see it{end}: {event.reason}."
        case e.AccessRevoked():
            return f"{who} no longer lets {event.person} see it: {event.reason}."
        case e.GlassBroken():
            end = msgspec.to_builtins(event.until)
            return f"{who} broke the glass to see it until {end}: {event.reason}."
        case e.LegalHoldPlaced():
            return f"{who} placed it under the legal hold {event.hold}: {event.reason}."
        case e.LegalHoldReleased():
            return f"{who} released the legal hold {event.hold}: {event.reason}."
        case e.PersonalDataErased():
            what = "everything personal" if event.scope is ErasureScope.INCIDENT else "a person"
            why = f"{event.basis} {event.reference}".replace("_", " ").strip()
            return f"{who} had {what} erased ({why})."
        case e.FactRecorded():
            return event.text
        case _:
            assert_never(event)

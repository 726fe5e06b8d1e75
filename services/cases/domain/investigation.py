"""Decisions of the v-team up to its verdict (R25, R26, R31)."""

import re
from collections.abc import Sequence

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain.check import Check
from services.cases.domain.completeness import missing, phases_until
from services.cases.domain.state import MANDATORY_KINDS, Incident
from services.cases.domain.values import indicator_id
from services.cases.domain.vocabulary import (
    ActionKind,
    ActionStatus,
    Classification,
    State,
)

MAX_SUMMARY = 2000
_TECHNIQUE = re.compile(r"T[0-9]{4}(\.[0-9]{3})?")
_DISMISSALS = frozenset(Classification) - {Classification.TRUE_POSITIVE}
_UNCONFIRMED = (State.OPENED, State.ESCALATED, State.INVESTIGATING)
_AFTER_CONFIRMATION = (ActionKind.CONTAINMENT, ActionKind.ERADICATION, ActionKind.RECOVERY)
_NEEDS_RESULT = (ActionStatus.CANCELLED, ActionStatus.ROLLED_BACK, ActionStatus.KEPT)


def form_v_team(incident: Incident, command: c.FormVTeam, check: Check) -> Sequence[e.Event]:
    """Bring together all three mandatory kinds of member (R25a, R25b)."""
    if (incident.state, incident.members, incident.lead) == (
        State.INVESTIGATING,
        command.members,
        command.lead,
    ):
        return check.already_so()
    present = {member.kind for member in command.members}
    for kind in MANDATORY_KINDS:
        check.need(kind in present, "member_kind_missing", f"no member of kind {kind}")
    check.need(any(member.person == command.lead for member in command.members), "lead_not_member")
    check.settle()
    return [
        e.VTeamFormed(
            actor=check.actor,
            at=command.now,
            members=command.members,
            lead=command.lead,
            channel=command.channel,
        )
    ]


def record_summary(incident: Incident, command: c.RecordSummary, check: Check) -> Sequence[e.Event]:
    """Record the brief description and the potential impact, a new version each time (R31a)."""
    if incident.summary_version and (incident.summary, incident.potential_impact) == (
        command.summary,
        command.potential_impact,
    ):
        return check.already_so()
    check.need(bool(command.summary.strip()), "text_missing", "a summary needs a text")
    for name, text in (("summary", command.summary), ("impact", command.potential_impact)):
        check.need(
            len(text) <= MAX_SUMMARY, "too_long", f"the {name} has at most {MAX_SUMMARY} characters"
        )
    check.settle()
    return [
        e.SummaryRecorded(
            actor=check.actor,
            at=command.now,
            version=incident.summary_version + 1,
            summary=command.summary,
            potential_impact=command.potential_impact,
        )
    ]


def add_indicator(incident: Incident, command: c.AddIndicator, check: Check) -> Sequence[e.Event]:
    """Link an indicator; one that is linked stays as it is, never deleted (R31c)."""
    key = indicator_id(command.type, command.value)
    if key in incident.indicators:
        return check.already_so()
    check.need(bool(command.value.strip()), "text_missing", "an indicator needs a value")
    _need_techniques(command.techniques, check)
    check.settle()
    return [
        e.IndicatorLinked(
            actor=check.actor,
            at=command.now,
            indicator_id=key,
            type=command.type,
            value=command.value,
            role=command.role,
            attack_vector=command.attack_vector,
            source=command.source,
            techniques=command.techniques,
        )
    ]


def classify_indicator(
    incident: Incident, command: c.ClassifyIndicator, check: Check
) -> Sequence[e.Event]:
    """Move an indicator to another attack-vector category (R28)."""
    known = incident.indicators.get(command.indicator_id)
    if known and (known.attack_vector, known.techniques) == (
        command.attack_vector,
        command.techniques,
    ):
        return check.already_so()
    check.need(known is not None, "indicator_unknown")
    _need_techniques(command.techniques, check)
    check.settle()
    return [
        e.IndicatorClassified(
            actor=check.actor,
            at=command.now,
            indicator_id=command.indicator_id,
            attack_vector=command.attack_vector,
            techniques=command.techniques,
        )
    ]


def _need_techniques(techniques: Sequence[str], check: Check) -> None:
    for technique in techniques:
        check.need(
            bool(_TECHNIQUE.fullmatch(technique)),
            "technique_malformed",
            f"{technique!r} is no ATT&CK technique: it reads T1110 or T1110.003",
        )


def assess_indicator(
    incident: Incident, command: c.AssessIndicator, check: Check
) -> Sequence[e.Event]:
    """Record what the v-team holds an indicator to say, and how surely (R26a)."""
    known = incident.indicators.get(command.indicator_id)
    if known and (known.verdict, known.confidence, known.rationale) == (
        command.verdict,
        command.confidence,
        command.rationale,
    ):
        return check.already_so()
    check.need(known is not None, "indicator_unknown")
    check.need(0 <= command.confidence <= 100, "confidence_out_of_range")
    check.need(bool(command.rationale.strip()), "reason_missing", "an assessment needs a rationale")
    check.settle()
    return [
        e.IndicatorAssessed(
            actor=check.actor,
            at=command.now,
            indicator_id=command.indicator_id,
            verdict=command.verdict,
            confidence=command.confidence,
            rationale=command.rationale,
        )
    ]


def record_action(incident: Incident, command: c.RecordAction, check: Check) -> Sequence[e.Event]:
    """Track an action (R30a); before confirmation emergency measures are provisional (R32a)."""
    if command.action_id in incident.actions:
        return check.already_so()
    check.need(bool(command.text.strip()), "text_missing", "an action needs a text")
    need_provisional(incident, command.kind, provisional=command.provisional, check=check)
    need_services(command.kind, command.services, check=check)
    check.settle()
    return [
        e.ActionRecorded(
            actor=check.actor,
            at=command.now,
            action_id=command.action_id,
            kind=command.kind,
            text=command.text,
            owner=command.owner,
            due=command.due,
            provisional=command.provisional,
            services=command.services,
        )
    ]


def need_services(kind: ActionKind, services: Sequence[str], *, check: Check) -> None:
    """A protective action says which services it protects (R32b)."""
    check.need(kind is not ActionKind.PROTECTION or bool(services), "services_missing")


def need_provisional(
    incident: Incident, kind: ActionKind, *, provisional: bool, check: Check
) -> None:
    """Before confirmation emergency measures are provisional (R32a)."""
    check.need(
        incident.state not in _UNCONFIRMED or provisional or kind not in _AFTER_CONFIRMATION,
        "only_provisional",
    )


def update_action(incident: Incident, command: c.UpdateAction, check: Check) -> Sequence[e.Event]:
    """Change where an action stands; what has ended may only turn out kept or rolled back."""
    action = incident.actions.get(command.action_id)
    if action and (action.status, action.result) == (command.status, command.result):
        return check.already_so()
    check.need(action is not None, "action_unknown")
    if action is not None:
        check.need(
            action.status.is_open
            or (
                action.provisional
                and action.status is ActionStatus.DONE
                and command.status in {ActionStatus.ROLLED_BACK, ActionStatus.KEPT}
            ),
            "action_ended",
        )
    check.need(
        command.status not in _NEEDS_RESULT or bool(command.result.strip()), "result_missing"
    )
    check.settle()
    return [
        e.ActionUpdated(
            actor=check.actor,
            at=command.now,
            action_id=command.action_id,
            status=command.status,
            result=command.result,
        )
    ]


def confirm(incident: Incident, command: c.ConfirmIncident, check: Check) -> Sequence[e.Event]:
    """Give the verdict that it is real (R26a); awareness starts now unless it was earlier (I5)."""
    runs_since = incident.aware_at
    if incident.state is State.CONFIRMED and command.aware_at in (None, runs_since):
        return check.already_so()
    check.verdict_by(incident, command.actor)
    check.need(bool(incident.summary), "summary_missing")
    check.need(bool(incident.potential_impact.strip()), "potential_impact_missing")
    check.need(incident.priority is not None, "priority_not_set")
    check.need(
        bool(incident.supporting() or command.justification.strip()), "no_supporting_indicator"
    )
    check.need(bool(command.rationale.strip()), "reason_missing", "a verdict needs a rationale")
    check.need(command.aware_at is None or command.aware_at <= command.now, "aware_in_future")
    check.need(
        command.aware_at is None or runs_since in (None, command.aware_at),
        "clock_set",
        f"awareness is set to {runs_since}; correct it",
    )
    for phase in phases_until(command.policy, State.INVESTIGATING):
        for name in missing(incident, phase):
            check.need(False, "field_missing", f"{name} has to be filled while {phase.state} (R29)")
    check.settle()
    return [
        e.IncidentConfirmed(
            actor=check.actor,
            at=command.now,
            aware_at=runs_since or command.aware_at or command.now,
            rationale=command.rationale,
            justification=command.justification,
            indicator_ids=incident.supporting(),
            v_team=incident.members,
            policy=f"{command.policy.name} {command.policy.version}".strip(),
        )
    ]


def dismiss(
    incident: Incident, command: c.DismissAsFalsePositive, check: Check
) -> Sequence[e.Event]:
    """Give the verdict that it is no incident (R26b), with nothing provisional left behind."""
    if incident.state is State.FALSE_POSITIVE and incident.classification is command.classification:
        return check.already_so()
    check.verdict_by(incident, command.actor)
    check.need(command.classification in _DISMISSALS, "classification_invalid")
    check.need(bool(command.reason.strip()), "reason_missing")
    for key, action in incident.actions.items():
        settled = action.status in _NEEDS_RESULT or not action.provisional
        check.need(settled, "provisional_actions_open", f"action {key} is {action.status}")
    check.settle()
    return [
        e.IncidentDismissed(
            actor=check.actor,
            at=command.now,
            stage="investigation",
            classification=command.classification,
            reason=command.reason,
        )
    ]

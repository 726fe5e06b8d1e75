"""The decider of an incident: decides, never acts (docs/adr/0003-decider.md)."""

from collections.abc import Sequence
from typing import assert_never

from services.cases.domain import (
    access,
    clocks,
    closing,
    holds,
    investigation,
    lifecycle,
    relations,
    response,
    team,
    triage,
)
from services.cases.domain import commands as c
from services.cases.domain.check import Check
from services.cases.domain.events import Event
from services.cases.domain.evolve import evolve, fold
from services.cases.domain.state import UNOPENED, Incident

__all__ = ["UNOPENED", "Incident", "decide", "evolve", "fold"]


def decide(incident: Incident, command: c.Command) -> Sequence[Event]:
    """Return what *command* causes; nothing, if it is already so. NotAllowed names all it lacks."""
    check = Check(incident, command)
    match command:
        case c.OpenIncident():
            return triage.open_incident(incident, command, check)
        case c.AttachDetections():
            return triage.attach_detections(incident, command, check)
        case c.ProposeSeverity():
            return triage.propose_severity(incident, command, check)
        case c.ProposePriority():
            return triage.propose_priority(incident, command, check)
        case c.SetSeverity():
            return triage.set_severity(incident, command, check)
        case c.ApproveLowering():
            return triage.approve_lowering(incident, command, check)
        case c.SetPriority():
            return triage.set_priority(incident, command, check)
        case c.EscalateIncident():
            return triage.escalate(incident, command, check)
        case c.DismissAtTriage():
            return triage.dismiss_at_triage(incident, command, check)
        case c.FormVTeam():
            return investigation.form_v_team(incident, command, check)
        case c.RecordSummary():
            return investigation.record_summary(incident, command, check)
        case c.AddIndicator():
            return investigation.add_indicator(incident, command, check)
        case c.AssessIndicator():
            return investigation.assess_indicator(incident, command, check)
        case c.RecordAction():
            return investigation.record_action(incident, command, check)
        case c.UpdateAction():
            return investigation.update_action(incident, command, check)
        case c.ConfirmIncident():
            return investigation.confirm(incident, command, check)
        case c.DismissAsFalsePositive():
            return investigation.dismiss(incident, command, check)
        case c.SetScope():
            return response.set_scope(incident, command, check)
        case c.MarkContained():
            return response.contain(incident, command, check)
        case c.RecordRootCause():
            return response.record_root_cause(incident, command, check)
        case c.DraftRecoveryPlan():
            return response.draft_recovery_plan(incident, command, check)
        case c.ApproveRecoveryPlan():
            return response.approve_recovery_plan(incident, command, check)
        case c.MarkEradicated():
            return response.eradicate(incident, command, check)
        case c.MarkRecovered():
            return response.recover(incident, command, check)
        case c.StartReview():
            return closing.start_review(incident, command, check)
        case c.CloseIncident():
            return closing.close(incident, command, check)
        case c.DeclareNoCustomersAffected():
            return closing.declare_no_customers_affected(incident, command, check)
        case c.RecordAffectedCustomers():
            return closing.record_affected_customers(incident, command, check)
        case c.RecordCustomersNotified():
            return closing.record_customers_notified(incident, command, check)
        case c.AddNote():
            return closing.add_note(incident, command, check)
        case c.RecordFact():
            return closing.record_fact(incident, command, check)
        case c.MergeInto():
            return lifecycle.merge(incident, command, check)
        case c.UnmergeIncident():
            return lifecycle.unmerge(incident, command, check)
        case c.SplitIncident():
            return lifecycle.split(incident, command, check)
        case c.ReopenIncident():
            return lifecycle.reopen(incident, command, check)
        case c.RetractConfirmation():
            return lifecycle.retract(incident, command, check)
        case c.ReportContainmentLoss():
            return lifecycle.lose_containment(incident, command, check)
        case c.AddVTeamMember():
            return team.add_member(incident, command, check)
        case c.RemoveVTeamMember():
            return team.remove_member(incident, command, check)
        case c.ClassifyIndicator():
            return investigation.classify_indicator(incident, command, check)
        case c.AddRecommendation():
            return relations.add_recommendation(incident, command, check)
        case c.DecideRecommendation():
            return relations.decide_recommendation(incident, command, check)
        case c.LinkIncident():
            return relations.link(incident, command, check)
        case c.UnlinkIncident():
            return relations.unlink(incident, command, check)
        case c.RecordClock():
            return clocks.record_clock(incident, command, check)
        case c.CorrectClock():
            return clocks.correct_clock(incident, command, check)
        case c.RestrictAccess():
            return access.restrict(incident, command, check)
        case c.LiftRestriction():
            return access.lift(incident, command, check)
        case c.GrantAccess():
            return access.grant(incident, command, check)
        case c.RevokeAccess():
            return access.revoke(incident, command, check)
        case c.BreakGlass():
            return access.break_glass(incident, command, check)
        case c.PlaceLegalHold():
            return holds.place(incident, command, check)
        case c.ReleaseLegalHold():
            return holds.release(incident, command, check)
        case _:
            assert_never(command)

"""The workflow as data (R10): who may give which command, in which states, and where it leads.

`decide` asks it, `GET /v1/workflow` serves it, and the negative tests are generated from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from services.cases.domain import commands as c
from services.cases.domain.state import Incident
from services.cases.domain.vocabulary import Role, State

__all__ = ["ACTIVE", "EXISTING", "RULES", "TERMINAL", "Rule", "roles_for"]

_ST, _SR, _IC, _SME = (
    Role.SERVICE_TEAM,
    Role.SECURITY_RESPONSE,
    Role.INCIDENT_COMMUNICATIONS,
    Role.SUBJECT_MATTER_EXPERT,
)
_LG, _EM, _DM, _SYS = (
    Role.LEGAL,
    Role.EXECUTIVE_INCIDENT_MANAGER,
    Role.DUTY_MANAGER,
    Role.SYSTEM,
)
_V_TEAM = frozenset({_ST, _SR, _IC, _SME})

TERMINAL = frozenset({State.CLOSED, State.FALSE_POSITIVE, State.MERGED})
EXISTING = frozenset(State) - {State.UNOPENED}
ACTIVE = EXISTING - TERMINAL
_STANDING = EXISTING - {State.MERGED}  # I11: what is merged only comes back
_INVESTIGATED = ACTIVE - {State.OPENED, State.ESCALATED}
_VERDICT_GIVEN = _INVESTIGATED - {State.INVESTIGATING}
_MERGEABLE = frozenset({State.OPENED, State.ESCALATED, State.INVESTIGATING, State.CONFIRMED})
_CONTAINED = frozenset({State.CONTAINED, State.ERADICATED, State.RECOVERED})
_RECOVERING = frozenset({State.CONFIRMED, State.CONTAINED, State.ERADICATED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One command: its verb, its states, its issuers (§3.7), and its target state if it has one.

    ``back``: it leads back to the state that was left by what it undoes, so ``to`` is None.
    ``stands_in`` is the role for which a duty manager may act, flagged, when it is silent (§7).
    """

    verb: str
    states: frozenset[State]
    roles: frozenset[Role]
    to: State | None = None
    back: bool = False
    stands_in: Role | None = None


def _rule(
    verb: str,
    states: frozenset[State] | State,
    *roles: Role,
    to: State | None = None,
    back: bool = False,
    stands_in: Role | None = None,
) -> Rule:
    at = frozenset({states}) if isinstance(states, State) else states
    return Rule(verb=verb, states=at, roles=frozenset(roles), to=to, back=back, stands_in=stands_in)


RULES: Mapping[type[c.Command], Rule] = {
    c.OpenIncident: _rule("open", State.UNOPENED, _SYS, _ST, _SR, _IC, to=State.OPENED),
    c.AttachDetections: _rule("attach-detections", ACTIVE, _SYS),
    c.ProposeSeverity: _rule("propose-severity", ACTIVE, _SYS),
    c.ProposePriority: _rule("propose-priority", ACTIVE, _SYS),
    c.SetSeverity: _rule("set-severity", ACTIVE, _ST, _SR, stands_in=_ST),
    c.ApproveLowering: _rule("approve-lowering", ACTIVE, _ST, _SR, _EM),
    c.SetPriority: _rule("set-priority", ACTIVE, _ST, _SR, stands_in=_ST),
    c.EscalateIncident: _rule(
        "escalate", State.OPENED, _ST, _IC, _SYS, to=State.ESCALATED, stands_in=_ST
    ),
    c.DismissAtTriage: _rule(
        "dismiss-at-triage", State.OPENED, _ST, to=State.FALSE_POSITIVE, stands_in=_ST
    ),
    c.FormVTeam: _rule("form-v-team", State.ESCALATED, _SR, to=State.INVESTIGATING, stands_in=_SR),
    c.RecordSummary: _rule("record-summary", ACTIVE, _ST, _SR, _IC),
    c.AddIndicator: _rule("add-indicator", ACTIVE, *_V_TEAM, _SYS),
    c.AssessIndicator: _rule("assess-indicator", _INVESTIGATED, *_V_TEAM),
    c.RecordAction: _rule("record-action", ACTIVE, *_V_TEAM),
    c.UpdateAction: _rule("update-action", ACTIVE, *_V_TEAM),
    c.ConfirmIncident: _rule("confirm", State.INVESTIGATING, _SR, to=State.CONFIRMED),
    c.DismissAsFalsePositive: _rule("dismiss", State.INVESTIGATING, _SR, to=State.FALSE_POSITIVE),
    c.SetScope: _rule("set-scope", _INVESTIGATED - {State.IN_REVIEW}, _SR, _ST),
    c.MarkContained: _rule("contain", State.CONFIRMED, _SR, _ST, to=State.CONTAINED),
    c.RecordRootCause: _rule("record-root-cause", _INVESTIGATED, _ST, _SR, _EM),
    c.DraftRecoveryPlan: _rule("draft-recovery-plan", _RECOVERING, _ST, _SR),
    c.ApproveRecoveryPlan: _rule("approve-recovery-plan", _RECOVERING, _SR, _EM),
    c.MarkEradicated: _rule("eradicate", State.CONTAINED, _ST, _SR, _EM, to=State.ERADICATED),
    c.MarkRecovered: _rule("recover", State.ERADICATED, _ST, _SR, to=State.RECOVERED),
    c.StartReview: _rule("start-review", State.RECOVERED, _SR, to=State.IN_REVIEW),
    c.CloseIncident: _rule("close", State.IN_REVIEW, _SR, _EM, to=State.CLOSED),
    c.DeclareNoCustomersAffected: _rule("declare-no-customers-affected", _VERDICT_GIVEN, _SR),
    c.RecordAffectedCustomers: _rule("record-affected-customers", _STANDING, _SYS),
    c.RecordCustomersNotified: _rule("record-customers-notified", _STANDING, _SYS),
    c.AddNote: _rule("add-note", _STANDING, *_V_TEAM, _LG, _EM, _DM),
    c.RecordFact: _rule("record-fact", _STANDING, _SYS),
    c.MergeInto: _rule("merge-into", _MERGEABLE, _SR, to=State.MERGED),
    c.UnmergeIncident: _rule("unmerge", State.MERGED, _SR, back=True),
    c.SplitIncident: _rule("split", _MERGEABLE, _SR),
    c.ReopenIncident: _rule("reopen", TERMINAL, _SR, _LG, _EM, to=State.INVESTIGATING),
    c.RetractConfirmation: _rule(
        "retract-confirmation",
        _CONTAINED | {State.CONFIRMED},
        _SR,
        to=State.INVESTIGATING,
    ),
    c.ReportContainmentLoss: _rule(
        "report-containment-loss", _CONTAINED, _ST, _SR, _IC, _SYS, to=State.CONFIRMED
    ),
    c.AddVTeamMember: _rule("add-v-team-member", _INVESTIGATED, _SR, stands_in=_SR),
    c.RemoveVTeamMember: _rule("remove-v-team-member", _INVESTIGATED, _SR, stands_in=_SR),
    c.ClassifyIndicator: _rule("classify-indicator", ACTIVE, *_V_TEAM),
    c.AddRecommendation: _rule("add-recommendation", ACTIVE, *_V_TEAM),
    c.DecideRecommendation: _rule("decide-recommendation", ACTIVE, *_V_TEAM),
    c.LinkIncident: _rule("link-incident", _STANDING, *_V_TEAM),
    c.UnlinkIncident: _rule("unlink-incident", _STANDING, *_V_TEAM),
    # A duty may run from an instant that is only known after the end.
    c.RecordClock: _rule("record-clock", _STANDING, _SR, _LG),
    c.CorrectClock: _rule("correct-clock", _STANDING, _SR, _LG),
    c.RestrictAccess: _rule("restrict", _STANDING, _SR, _LG, _EM),
    c.LiftRestriction: _rule("lift-restriction", _STANDING, _SR, _LG, _EM),
    c.GrantAccess: _rule("grant-access", _STANDING, _SR, _LG, _EM),
    c.RevokeAccess: _rule("revoke-access", _STANDING, _SR, _LG, _EM),
    # What has ended is what erasures and disposals are about.
    c.PlaceLegalHold: _rule("place-legal-hold", _STANDING, _LG),
    c.ReleaseLegalHold: _rule("release-legal-hold", _STANDING, _LG),
    c.BreakGlass: _rule("break-glass", _STANDING, *_V_TEAM, _LG, _EM, _DM),
}


def roles_for(incident: Incident, command: type[c.Command]) -> frozenset[Role]:
    """Return who may give *command* now: until escalation the severity is the service team's."""
    roles = RULES[command].roles
    if command is c.SetSeverity and incident.state is State.OPENED:
        return roles - {Role.SECURITY_RESPONSE}  # R23
    return roles

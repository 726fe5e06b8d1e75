"""The bodies of the verbs: their documented shapes, each with the command that it gives."""

from services.cases.bodies.access import (
    BreakGlass,
    GrantAccess,
    LiftRestriction,
    RestrictAccess,
    RevokeAccess,
)
from services.cases.bodies.base import Body, Who
from services.cases.bodies.closing import AddNote, Close, DeclareNoCustomersAffected, StartReview
from services.cases.bodies.holds import PlaceLegalHold, ReleaseLegalHold
from services.cases.bodies.investigation import (
    AddIndicator,
    AssessIndicator,
    ClassifyIndicator,
    Confirm,
    Dismiss,
    FormVTeam,
    RecordAction,
    RecordSummary,
    UpdateAction,
)
from services.cases.bodies.lifecycle import (
    CorrectClock,
    LinkIncident,
    MergeInto,
    RecordClock,
    Reopen,
    ReportContainmentLoss,
    RetractConfirmation,
    Split,
    UnlinkIncident,
    Unmerge,
)
from services.cases.bodies.response import (
    ApproveRecoveryPlan,
    Contain,
    DraftRecoveryPlan,
    Eradicate,
    RecordRootCause,
    Recover,
    SetScope,
)
from services.cases.bodies.team import (
    AddRecommendation,
    AddVTeamMember,
    DecideRecommendation,
    RemoveVTeamMember,
)
from services.cases.bodies.triage import (
    ApproveLowering,
    DismissAtTriage,
    Escalate,
    Open,
    SetPriority,
    SetSeverity,
)

__all__ = ["VERBS", "AddNote", "Body", "BreakGlass", "Open", "Who"]

VERBS: tuple[type[Body], ...] = (
    SetSeverity,
    ApproveLowering,
    SetPriority,
    Escalate,
    DismissAtTriage,
    FormVTeam,
    RecordSummary,
    AddIndicator,
    AssessIndicator,
    RecordAction,
    UpdateAction,
    Confirm,
    Dismiss,
    SetScope,
    Contain,
    RecordRootCause,
    DraftRecoveryPlan,
    ApproveRecoveryPlan,
    Eradicate,
    Recover,
    StartReview,
    Close,
    DeclareNoCustomersAffected,
    AddNote,
    ClassifyIndicator,
    MergeInto,
    Unmerge,
    Split,
    Reopen,
    RetractConfirmation,
    ReportContainmentLoss,
    AddVTeamMember,
    RemoveVTeamMember,
    AddRecommendation,
    DecideRecommendation,
    LinkIncident,
    UnlinkIncident,
    RecordClock,
    CorrectClock,
    RestrictAccess,
    LiftRestriction,
    GrantAccess,
    RevokeAccess,
    BreakGlass,
    PlaceLegalHold,
    ReleaseLegalHold,
)

"""One event of each type, as the golden fixtures hold them.

`python -m tests.support.golden_events` writes the fixtures that are missing; it never changes one
that is there.
"""

from dataclasses import replace
from pathlib import Path

from services.cases.aggregates import name_of
from services.cases.codec import SCHEMA
from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain import vocabulary as v
from services.cases.domain.vocabulary import State
from tests.support.given import given
from tests.support.incidents import LG, NOW, OTHER, REVIEW, SR, ST, SYS, command, detection, story
from tests.support.sealing import write_golden

GOLDEN = Path(__file__).resolve().parents[1] / "unit" / "cases" / "golden"


def one_of_each() -> dict[str, e.Event]:
    """Return type name → an event of that type, the same ones every time."""
    contained = story(State.CONTAINED)
    two = [*story(State.OPENED)]
    two += given(*two).when(command(c.AttachDetections, SYS, detections=(detection(2),), count=2))
    recommended = [*contained, *given(*contained).when(command(c.AddRecommendation, SR))]
    linked = [*contained, *given(*contained).when(command(c.LinkIncident, SR))]
    hidden = [*contained, *given(*contained).when(command(c.RestrictAccess, SR))]
    held = [*contained, *given(*contained).when(command(c.PlaceLegalHold, LG))]
    granted = [*hidden, *given(*hidden).when(command(c.GrantAccess, SR))]
    found: list[e.Event] = [
        *granted,
        *given(*granted).when(command(c.RevokeAccess, SR)),
        *given(*granted).when(command(c.LiftRestriction, SR)),
        *given(*granted).when(command(c.BreakGlass, ST)),
        *held,
        *given(*held).when(command(c.ReleaseLegalHold, LG)),
        *story(),
        *story(State.FALSE_POSITIVE),
        e.LoweringApproved(actor=SR, at=NOW, level=v.Severity.SEV3, reason="a test account"),
        *given(*contained).when(
            command(c.SetSeverity, SR, level=v.Severity.SEV1, reason="it spreads")
        ),
        *given(*contained).when(
            command(
                c.RecordRootCause, ST, status=v.RootCauseStatus.HYPOTHESISED, cause="a weak key"
            )
        ),
        *given(*contained).when(
            command(
                c.RecordRootCause, SR, status=v.RootCauseStatus.ACCEPTED_UNKNOWN, cause="no logs"
            )
        ),
        *given(*contained).when(command(c.DeclareNoCustomersAffected, SR)),
        *given(*contained).when(command(c.RecordCustomersNotified, SYS)),
        *given(*contained).when(command(c.AddNote, SR)),
        *given(*contained).when(command(c.RecordFact, SYS)),
        *story(State.MERGED),
        *given(*story(State.MERGED)).when(command(c.UnmergeIncident, SR)),
        *given(*two).when(command(c.SplitIncident, SR)),
        *given(*story(State.CLOSED)).when(command(c.ReopenIncident, SR)),
        *given(*contained).when(command(c.RetractConfirmation, SR)),
        *given(*contained).when(command(c.ReportContainmentLoss, SR)),
        *given(*contained).when(command(c.AddVTeamMember, SR)),
        *given(*contained).when(command(c.RemoveVTeamMember, SR)),
        *given(*contained).when(command(c.ClassifyIndicator, SR)),
        *recommended,
        *given(*recommended).when(command(c.DecideRecommendation, ST))[:1],
        *linked,
        *given(*linked).when(command(c.UnlinkIncident, SR)),
        *given(*contained).when(command(c.RecordClock, LG)),
        *given(*contained).when(command(c.CorrectClock, LG)),
        e.PersonalDataErased(
            actor=LG,
            at=NOW,
            erasure_id=OTHER,
            scope=v.ErasureScope.PERSON,
            basis="data_subject_request",
            reference="DSR-7",
        ),
        e.SeverityReassessmentRequested(actor=SR, at=NOW, scope_version=2, reason="it grew"),
    ]
    each = {name_of(event): event for event in reversed(found)}
    closed = each["IncidentClosed.v1"]
    assert isinstance(closed, e.IncidentClosed)
    # The checklist has grown since its fixture was written; old ones stay readable.
    first = ("root_cause", "affected_customers", "notified", "actions")
    kept = {name: closed.checklist[name] for name in first}
    review = each["ReviewStarted.v1"]
    assert isinstance(review, e.ReviewStarted)
    return {
        **each,
        "IncidentClosed.v1": replace(closed, checklist=kept),
        "ReviewStarted.v1": replace(review, review_id=None),
    }


def grown() -> dict[str, e.Event]:
    """Return type name → an event that uses the fields added to it since its first fixture."""
    each = one_of_each()
    note, linked, confirmed = (
        each[name] for name in ("NoteAdded.v1", "IndicatorLinked.v1", "IncidentConfirmed.v1")
    )
    severity, changed = each["SeveritySet.v1"], each["SeverityChanged.v1"]
    action = each["ActionRecorded.v1"]
    assert isinstance(action, e.ActionRecorded)
    fact, review = each["FactRecorded.v1"], each["ReviewStarted.v1"]
    assert isinstance(review, e.ReviewStarted)
    assert isinstance(fact, e.FactRecorded)
    assert isinstance(note, e.NoteAdded)
    assert isinstance(linked, e.IndicatorLinked)
    assert isinstance(confirmed, e.IncidentConfirmed)
    assert isinstance(severity, e.SeveritySet)
    assert isinstance(changed, e.SeverityChanged)
    found: list[e.Event] = [
        replace(note, visibility=v.Visibility.LEGAL_PRIVILEGED),
        replace(linked, attack_vector=v.AttackVector.WEB, techniques=("T1190",)),
        replace(confirmed, policy="case-management 2026.11.0"),
        replace(severity, second_approver="rita"),
        replace(changed, second_approver="rita"),
        replace(review, review_id=REVIEW),
        replace(action, kind=v.ActionKind.PROTECTION, services=("mail",)),
        replace(fact, kind=v.FactKind.OBLIGATION_MET, subject_id=OTHER, standing=v.Standing.MET),
    ]
    return {name_of(event): event for event in found}


def fixtures() -> dict[str, e.Event]:
    """Return file stem → the event that a fixture of today's schema holds."""
    first = {f"{name}-{SCHEMA}": event for name, event in one_of_each().items()}
    later = {f"{name}-{SCHEMA}-grown": event for name, event in grown().items()}
    return first | later


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for stem, event in fixtures().items():
        write_golden(GOLDEN / f"{stem}.json", event)


if __name__ == "__main__":
    main()

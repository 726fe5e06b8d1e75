"""What is under legal privilege is read by legal, auditors and its author, and by nobody else."""

import pytest

from services.cases.privilege import document_for, entry_for, event_for
from services.cases.views import Document
from shared.auth import Principal, Role

pytestmark = pytest.mark.unit

NOTE: Document = {"by": "lars", "text": "we may be liable", "visibility": "legal_privileged"}
ENTRY: Document = {
    "actor": "lars",
    "sentence": "lars noted: we may be liable",
    "visibility": "legal_privileged",
}
EVENT: Document = {"actor": "lars", "data": {"text": "liable", "visibility": "legal_privileged"}}


def who(name: str, *roles: Role) -> Principal:
    return Principal(name, frozenset(roles), None)


@pytest.mark.parametrize(
    ("principal", "reads"),
    [
        (who("lena", Role.LEGAL), True),
        (who("anna", Role.AUDITOR), True),
        (who("lars", Role.SERVICE_TEAM), True),
        (who("rita", Role.SECURITY_RESPONSE), False),
        (who("emil", Role.EXECUTIVE_INCIDENT_MANAGER), False),
    ],
)
def test_who_reads_a_privileged_note(principal: Principal, reads: bool) -> None:
    seen = (
        str(document_for(principal, {"notes": [NOTE]})),
        str(entry_for(principal, ENTRY)),
        str(event_for(principal, EVENT)),
    )
    assert ["liable" in text for text in seen] == [reads] * 3
    assert NOTE["text"] == "we may be liable"  # what is stored is not touched


def test_notes_for_the_team_are_for_everybody() -> None:
    reader = who("rita", Role.SECURITY_RESPONSE)
    note = {**NOTE, "visibility": "team"}
    assert document_for(reader, {"notes": [note]}) == {"notes": [note]}
    entry = {"actor": "sam", "sentence": "sam noted: hm"}
    assert entry_for(reader, entry) == entry
    event = {"actor": "sam", "data": {"text": "hm"}}
    assert event_for(reader, event) == event

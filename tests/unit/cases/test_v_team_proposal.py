"""Who answered is proposed for the v-team, by kind; who is missing is named (P4, R25b)."""

from typing import Any

import pytest

from services.cases.sealing.leaves import ERASED
from services.cases.views.v_team_proposal import v_team_proposal

pytestmark = pytest.mark.unit


def answer(person: str, kind: str | None, team: str = "t", at: str = "1") -> dict[str, Any]:
    return {"at": at, "data": {"person": person, "member_kind": kind, "team": team}}


def test_who_answers_is_proposed_once_by_kind_and_who_is_missing_is_named() -> None:
    engaged = [
        {"status": "accepted", "person": "lea", "team": "legal", "team_kind": "legal",
         "steps": [{"at": "3"}]},
        {"status": "accepted", "person": "ted", "team": "ti", "team_kind": "threat_intelligence",
         "steps": [{"at": "4"}]},
        {"status": "requested", "person": None, "team": "x", "team_kind": "x", "steps": []},
    ]  # fmt: skip
    document = {
        "acknowledgements": [
            answer("cy", "security_response", "sr"),
            answer("cy", "security_response", "sr", "2"),
            answer("ana", "service_team", "api"),
            answer("zed", "a kind that is not one of ours"),
            answer("old", None),
            answer(ERASED, "legal"),
            {"at": "1", "data": ERASED},
        ],
        "engagements": engaged,
        "v_team": {"members": [{"person": "cy", "kind": "security_response"}]},
    }
    proposed = v_team_proposal(document)
    assert [(m["person"], m["kind"], m["on_v_team"]) for m in proposed["members"]] == [
        ("cy", "security_response", True),
        ("ana", "service_team", False),
        ("zed", "subject_matter_expert", False),
        ("lea", "legal", False),
        ("ted", "subject_matter_expert", False),
    ]
    assert proposed["missing_kinds"] == ["incident_communications"]


def test_of_an_incident_that_nobody_answered_all_kinds_are_missing() -> None:
    kinds = ["security_response", "service_team", "incident_communications"]
    assert v_team_proposal({"v_team": None}) == {"members": [], "missing_kinds": kinds}

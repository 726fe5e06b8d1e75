"""Who may form the v-team: those who answered pages and experts who came, by kind (P4, R25b).

A view of what the document holds, told beside it; forming the team stays security response's.
"""

from typing import Any

from services.cases.domain.state import MANDATORY_KINDS
from services.cases.domain.vocabulary import MemberKind
from services.cases.sealing.leaves import ERASED
from services.cases.views import Document

__all__ = ["v_team_proposal"]

_KINDS = {kind.value for kind in MemberKind}
_EXPERT = MemberKind.SUBJECT_MATTER_EXPERT.value


def v_team_proposal(document: Document) -> dict[str, Any]:
    """Return whom *document* proposes, first answer first, and what mandatory kinds nobody is of.

    Of whoever is on the v-team already it says so; of what was erased it says nothing.
    """
    team = document.get("v_team") or {}
    present = {(member["person"], member["kind"]) for member in team.get("members", ())}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in document.get("acknowledgements", ()):
        data = row.get("data")
        if isinstance(data, dict) and data.get("member_kind") and _known(data.get("person")):
            kind = data["member_kind"] if data["member_kind"] in _KINDS else _EXPERT
            _note(found, present, data["person"], kind, data.get("team"), row["at"])
    for row in document.get("engagements", ()):
        if row.get("status") == "accepted" and _known(row.get("person")):
            kind = row["team_kind"] if row["team_kind"] in _KINDS else _EXPERT
            _note(found, present, row["person"], kind, row.get("team"), row["steps"][-1]["at"])
    kinds = {kind for _, kind in (*found, *present)}
    return {
        "members": list(found.values()),
        "missing_kinds": [kind.value for kind in MANDATORY_KINDS if kind.value not in kinds],
    }


def _known(person: object) -> bool:
    return isinstance(person, str) and person not in ("", ERASED)


def _note(
    found: dict[tuple[str, str], dict[str, Any]],
    present: set[tuple[str, str]],
    person: str,
    kind: str,
    team: str | None,
    at: str,
) -> None:
    key = (person, kind)
    found.setdefault(
        key,
        {"person": person, "kind": kind, "team": team, "at": at, "on_v_team": key in present},
    )

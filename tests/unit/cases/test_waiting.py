"""What waits for whom, from the incident's document alone; and the names of measures."""

from datetime import UTC, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from services.cases.api_work import Kind
from services.cases.domain import events as e
from services.cases.domain.events import Event
from services.cases.domain.vocabulary import Role, State
from services.cases.measures import DIMENSIONS, MEASURES, anchor
from services.cases.store import Recorded
from services.cases.views import Document
from services.cases.views.detail import project
from services.cases.views.waiting import KINDS, Wait, next_due, waiting
from tests.support.golden_events import one_of_each
from tests.support.incidents import NOW, story

pytestmark = pytest.mark.unit
DOCS = Path(__file__).resolve().parents[3] / "docs"


def shown(events: list[Event]) -> Document:
    document: Document | None = None
    for n, event in enumerate(events, 1):
        recorded = Recorded(
            position=n, stream_id=UUID(int=1), version=n, event_id=UUID(int=n),
            type=f"{type(event).__name__}.v1", event=event, recorded_at=NOW,
        )  # fmt: skip
        document = project(document, recorded)
    assert document is not None
    return document


def kinds(events: list[Event]) -> dict[str, Wait]:
    return {wait.kind: wait for wait in waiting(shown(events))}


def upto(last: type[Event]) -> list[Event]:
    """Return the story until the first event of that type."""
    told = story()
    return told[: next(n for n, event in enumerate(told) if isinstance(event, last)) + 1]


def test_the_severity_is_the_service_teams_until_it_is_set() -> None:
    opened = kinds(story(State.OPENED))
    assert opened["severity"].roles == (Role.SERVICE_TEAM, Role.DUTY_MANAGER)
    assert "severity" not in kinds(story(State.ESCALATED))


def test_a_plan_waits_for_somebody_who_did_not_write_it() -> None:
    plan = kinds(upto(e.RecoveryPlanDrafted))["plan_approval"]
    assert plan.not_by == "sam"
    assert plan.roles == (Role.SECURITY_RESPONSE, Role.EXECUTIVE_INCIDENT_MANAGER)
    assert "plan_approval" not in kinds(upto(e.RecoveryPlanApproved))


def test_after_the_end_nothing_waits_but_what_the_law_asks() -> None:
    assert kinds(story(State.CLOSED)) == {}
    document = shown(story(State.CLOSED))
    due = NOW + timedelta(hours=72)
    owed = {
        "fact_id": "f1", "subject_id": "o1", "text": "GDPR owes a notice.", "at": NOW.isoformat(),
        "data": {"due_at": (due - timedelta(hours=1)).isoformat(), "state": "triggered"},
        "standing": "triggered",
    }  # fmt: skip
    revised = {**owed, "fact_id": "f2", "data": {**owed["data"], "due_at": due.isoformat()}}  # type: ignore[dict-item]
    document["obligations"] = [owed, revised]
    assert [(wait.kind, wait.due) for wait in waiting(document)] == [("obligation", due)]
    assert next_due(document) == due
    document["obligations"] = [owed, {**revised, "standing": "met"}]
    assert list(waiting(document)) == []
    assert next_due(document) is None


def test_the_next_due_is_the_earliest_of_what_is_open() -> None:
    action = one_of_each()["ActionRecorded.v1"]
    assert isinstance(action, e.ActionRecorded)
    assert action.due is not None
    assert next_due(shown([*story(State.CONFIRMED), action])) == action.due.astimezone(UTC)


def test_kinds_are_those_that_the_route_knows() -> None:
    assert Kind.__args__ == KINDS  # type: ignore[attr-defined]


def test_measures_name_what_exists_and_the_docs_tell_of_each() -> None:
    told = (DOCS / "metrics.md").read_text(encoding="utf-8")
    for name, measure in MEASURES.items():
        assert anchor(measure.from_).types
        assert anchor(measure.to).types
        assert f"| `{name}` |" in told
    assert all(f"`{name}`" in told for name in DIMENSIONS)

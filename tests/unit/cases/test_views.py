"""What is shown: the document, the row of the queue, and a sentence an event."""

from uuid import UUID

import pytest

from services.cases.aggregates import name_of
from services.cases.domain import commands as c
from services.cases.domain.events import Event
from services.cases.domain.incident import fold
from services.cases.domain.vocabulary import State
from services.cases.store import Recorded
from services.cases.views import Document
from services.cases.views.detail import project
from services.cases.views.listing import summarise
from services.cases.views.timeline import entry
from tests.support.given import given
from tests.support.golden_events import one_of_each
from tests.support.incidents import DM, NOW, SR, ST, SYS, command, story

pytestmark = pytest.mark.unit


def shown(events: list[Event]) -> tuple[Document, list[Document]]:
    """Return the document and the timeline of *events*."""
    document: Document | None = None
    entries = []
    for n, event in enumerate(events, start=1):
        recorded = Recorded(
            position=100 + n,
            stream_id=UUID(int=1),
            version=n,
            event_id=UUID(int=n),
            type=name_of(event),
            event=event,
            recorded_at=NOW,
        )
        document = project(document, recorded)
        entries.append(entry(document, recorded))
    assert document is not None
    return document, entries


@pytest.mark.parametrize("state", sorted(set(State) - {State.UNOPENED}))
def test_the_document_is_in_the_state_that_the_decider_sees(state: State) -> None:
    document, _ = shown(story(state))
    assert document["state"] == fold(story(state)).state
    assert summarise(document)["state"] == document["state"]


def test_the_document_tells_everything() -> None:
    document, entries = shown(story())
    assert (document["number"], document["version"]) == ("TOCSIN-2026-0001", len(entries))
    assert document["detections"][0]["reasons"][0]["field"] == "user"
    assert document["severity"]["level"] == "SEV2"
    assert document["severity_proposal"]["contributions"][0]["criterion"] == "privacy"
    assert {m["kind"] for m in document["v_team"]["members"]} >= {"service_team"}
    assert [i["assessment"] is not None for i in document["indicators"]] == [True, False]
    assert document["actions"][0]["status"] == "done"
    assert document["scope"]["include"][0]["service"] == "mail"
    assert document["root_cause"]["status"] == "determined"
    assert document["recovery_plan"]["approved_by"] == "rita"
    assert document["affected_customers"]["tenants"] == ["t1", "t2"]
    assert document["closure"]["checklist"]["root_cause"] == "determined"


def test_the_queue_shows_what_was_proposed_until_it_is_set() -> None:
    row = summarise(shown(story(State.OPENED))[0])
    assert (row["severity"], row["proposed_severity"], row["priority"]) == (None, "SEV2", None)
    row = summarise(shown(story(State.ESCALATED))[0])
    assert (row["severity"], row["owning_team"]) == ("SEV2", "sr-eu")


def test_every_event_has_a_sentence_that_ends() -> None:
    for event in one_of_each().values():
        sentence = shown([*story(State.CONTAINED), event])[1][-1]["sentence"]
        assert sentence.endswith((".", "?", "!"))
        assert not sentence.endswith("..")


def test_the_timeline_reads_aloud() -> None:
    sentences = [entry["sentence"] for entry in shown(story())[1]]
    assert sentences[:4] == [
        "TOCSIN-2026-0001 was opened by tocsin: SSH brute force on m1.",
        "1 detection attached; the group now counts 1.",
        "Indicator ip 203.0.113.9 linked (led_to_detection).",
        "Indicator user root linked (led_to_detection).",
    ]
    assert "rita assessed ip 203.0.113.9: supports, confidence 90." in sentences
    assert "sam marked “Read the auth log” as done." in sentences
    assert sentences[-1] == "rita closed it as true_positive."


def test_who_stood_in_for_whom_is_said() -> None:
    events = [*story(State.OPENED)]
    events += given(*events).when(command(c.SetSeverity, DM))
    last = shown(events)[1][-1]
    assert last["acting_for"] == "service_team"
    assert last["sentence"].endswith("(dora acted for service_team.)")


def test_a_new_severity_answers_the_request_to_reassess() -> None:
    events = [*story(State.CONTAINED), one_of_each()["SeverityReassessmentRequested.v1"]]
    assert shown(events)[0]["severity_reassessment"]["reason"] == "it grew"
    events.append(one_of_each()["SeverityChanged.v1"])
    assert shown(events)[0]["severity_reassessment"] is None


def test_facts_go_where_they_are_looked_for() -> None:
    events = story(State.CONFIRMED)
    events += given(*events).when(command(c.RecordFact, SYS))
    events += given(*events).when(command(c.AddNote, ST))
    events += given(*events).when(command(c.DeclareNoCustomersAffected, SR))
    document, _ = shown(events)
    assert document["pages"][0]["data"] == {"team": "sr-eu"}
    assert document["notes"][0]["by"] == "sam"
    assert document["affected_customers"]["none_affected"] is True

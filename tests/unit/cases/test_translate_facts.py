"""What escalate and notify tell becomes a fact of the incident, and a duty of its closing."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.cases.domain import commands as c
from services.cases.domain.errors import NotAllowed
from services.cases.domain.incident import Incident, decide, evolve, fold
from services.cases.domain.vocabulary import FactKind, Standing, State
from services.cases.store import Recorded
from services.cases.translate import from_escalations, from_notifications
from services.cases.translate_facts import fact_of_escalate, fact_of_notify
from services.cases.views import Document
from services.cases.views.detail import project
from services.cases.views.timeline import entry
from shared.contracts import escalate as es
from shared.contracts import notify as no
from shared.contracts.base import Contract, ContractError
from tests.support.incidents import NOW, SR, command, story

pytestmark = pytest.mark.unit

INCIDENT, OBLIGATION, ENGAGEMENT = UUID(int=5), UUID(int=71), UUID(int=81)
OWED: dict[str, Any] = {
    "obligation_id": OBLIGATION, "regime": "gdpr_33", "phase": "initial", "recipient": "authority",
    "tenant": "t1",
}  # fmt: skip
EXPERTS: dict[str, Any] = {
    "engagement_id": ENGAGEMENT, "team": "ti-1", "team_kind": "threat_intelligence"
}  # fmt: skip


def message(contract: type[Contract], number: int, **fields: Any) -> Contract:
    return contract(event_id=UUID(int=number), occurred_at=NOW, incident_id=INCIDENT, **fields)


ESCALATE = [
    message(
        es.PageAcknowledgedV1, 901, page_id=UUID(int=61), team="sr-eu", person="rita",
        acknowledged_at=NOW, seconds=42, member_kind="security_response",
    ),
    message(es.SMEEngagementRequestedV1, 902, **EXPERTS, routing_rules=["RT3"], required=True),
    message(es.SMEEngagementAcceptedV1, 903, **EXPERTS, person="tim"),
    message(es.SMEEngagementReleasedV1, 904, **EXPERTS, reason="no longer needed"),
    message(
        es.SupportCaseLinkedV1, 905, case_id=UUID(int=91), reference="SC-7", tenant="t1",
        statement="Our mail <b>sends itself</b>.\n",
    ),
]  # fmt: skip
NOTIFY = [
    message(
        no.ObligationIdentifiedV1, 911, **OWED, clock="aware", clock_at=NOW, due_at=NOW,
        basis="72 h", state="undecided",
    ),
    message(
        no.ObligationDecidedV1, 912, **OWED, decision="required", reason="data", decided_by="lars"
    ),
    message(no.ObligationOverdueV1, 913, **OWED, due_at=NOW),
    message(no.ObligationMetV1, 914, **OWED, met_at=NOW, reference="P-1", late_reason="no power"),
    message(
        no.NotificationSentV1, 915, notification_id=UUID(int=75), tenant="t1", channel="email",
        recipient="a@example.org", attempt=1, sent_at=NOW, proof="250 ok",
    ),
    message(
        no.NotificationCorrectedV1, 916, notification_id=UUID(int=76), supersedes=UUID(int=75),
        tenant="t1", reason="retracted", sent_at=NOW,
    ),
    message(
        no.NotificationUndeliverableV1, 917, notification_id=UUID(int=77), tenant="t2",
        channel="email", contacts=2, given_up_at=NOW,
    ),
    message(
        no.ObligationReopenedV1, 918, **OWED, reason="the notice came back", met_at=NOW,
        due_at=NOW, state="triggered",
    ),
]  # fmt: skip


def record_of(told: Contract) -> c.RecordFact:
    read = fact_of_escalate if told in ESCALATE else fact_of_notify
    found = read(told.SUBJECT, told.to_json(), NOW)
    assert found is not None
    event_id, incident_id, record = found
    assert (event_id, incident_id) == (told.event_id, INCIDENT)
    return record


def after(*told: Contract) -> tuple[Incident, Document, list[str]]:
    """Return the incident, its document and its last sentences after *told*, each told twice."""
    events = story(State.IN_REVIEW)
    document: Document | None = None
    sentences: list[str] = []
    incident, version = fold([]), 0
    for event in events:
        version += 1
        document = project(document, recorded(event, version))
        incident = evolve(incident, event)
    for one in told:
        for _ in range(2):
            for event in decide(incident, record_of(one)):
                version += 1
                row = recorded(event, version)
                document = project(document, row)
                incident = evolve(incident, event)
                sentences.append(entry(document, row)["sentence"])
    assert document is not None
    return incident, document, sentences


def recorded(event: Any, version: int) -> Recorded:
    return Recorded(
        position=version,
        stream_id=INCIDENT,
        version=version,
        event_id=UUID(int=version),
        type=f"{type(event).__name__}.v1",
        event=event,
        recorded_at=NOW,
    )


def test_every_fact_is_a_sentence_of_the_timeline_once() -> None:
    _, _, sentences = after(*ESCALATE, *NOTIFY)
    assert len(sentences) == len(ESCALATE) + len(NOTIFY)
    assert sentences[0] == "rita of sr-eu acknowledged the page after 42 s."
    assert "gdpr_33 (initial) to authority (t1) was met at" in sentences[8]


def test_an_engagement_is_one_row_with_its_steps() -> None:
    _, document, _ = after(*ESCALATE)
    [engagement] = document["engagements"]
    assert engagement["status"] == "released"
    assert engagement["person"] == "tim"
    assert [step["status"] for step in engagement["steps"]] == ["requested", "accepted", "released"]
    assert [row["data"]["person"] for row in document["acknowledgements"]] == ["rita"]


def test_a_customers_statement_is_kept_verbatim() -> None:
    _, document, _ = after(*ESCALATE)
    [case] = document["support_cases"]
    assert case["data"]["statement"] == "Our mail <b>sends itself</b>.\n"


def test_no_contacts_address_comes_into_the_log() -> None:
    assert "a@example.org" not in repr(record_of(NOTIFY[4]))


@pytest.mark.parametrize(
    ("count", "standing"),
    [(1, Standing.UNDECIDED), (2, Standing.TRIGGERED), (3, Standing.OVERDUE), (4, Standing.MET)],
)
def test_an_obligation_stands_where_the_last_word_put_it(count: int, standing: Standing) -> None:
    incident, document, _ = after(*NOTIFY[:count])
    assert incident.obligations == {OBLIGATION: standing}
    assert document["obligations"][0]["standing"] == standing.value


def test_a_deadline_computed_anew_does_not_undo_what_was_met() -> None:
    again = NOTIFY[0].model_copy(update={"event_id": UUID(int=999)})
    NOTIFY.append(again)
    try:
        incident, _, _ = after(NOTIFY[3], again)
    finally:
        NOTIFY.remove(again)
    assert incident.obligations == {OBLIGATION: Standing.MET}


@pytest.mark.parametrize(
    ("state", "left", "standing"),
    [
        ("triggered", timedelta(hours=1), Standing.TRIGGERED),
        ("approved", timedelta(0), Standing.OVERDUE),
        ("undecided", timedelta(0), Standing.UNDECIDED),
        ("not_required", timedelta(0), Standing.NOT_REQUIRED),
    ],
)
def test_what_was_met_by_a_notice_that_came_back_is_owed_again(
    state: str, left: timedelta, standing: Standing
) -> None:
    back = message(
        no.ObligationReopenedV1, 992, **OWED, reason="the notice came back", met_at=NOW,
        due_at=NOW + left, state=state,
    )  # fmt: skip
    incident, document, sentences = after(NOTIFY[0], NOTIFY[3], back)
    assert incident.obligations == {OBLIGATION: standing}
    # Both facts stay.
    told = [one["kind"] for one in document["obligations"][0]["told"]]
    assert told == ["obligation_met", "obligation_reopened"]
    assert "is not met after all: the notice came back." in sentences[-1]
    again = NOTIFY[3].model_copy(update={"event_id": UUID(int=993)})
    assert after(NOTIFY[0], NOTIFY[3], back, again)[0].obligations == {OBLIGATION: Standing.MET}


@pytest.mark.parametrize("settled", [no.ObligationMetV1, no.ObligationWaivedV1])
def test_only_a_settled_obligation_lets_the_incident_close(settled: type[Contract]) -> None:
    incident, _, _ = after(NOTIFY[0])
    with pytest.raises(NotAllowed) as refusal:
        decide(incident, command(c.CloseIncident, SR))
    assert "obligations_open" in {unmet.code for unmet in refusal.value.unmet}
    fields = (
        {"met_at": NOW}
        if settled is no.ObligationMetV1
        else {"reason": "r", "owner": "lars", "approver": "emil"}
    )
    told = message(settled, 990, **OWED, **fields)
    for event in decide(incident, record_of(told)):
        incident = evolve(incident, event)
    assert decide(incident, command(c.CloseIncident, SR))


def test_a_waiver_by_its_own_owner_settles_nothing() -> None:
    told = message(no.ObligationWaivedV1, 991, **OWED, reason="r", owner="lars", approver="lars")
    found = fact_of_notify(told.SUBJECT, told.to_json(), NOW)
    assert found is not None
    assert found[2].standing is Standing.TRIGGERED


def test_what_is_not_for_cases_is_none_and_what_is_broken_is_said() -> None:
    assert from_escalations("tocsin.v1.escalate.other.thing", b"{}", NOW) is None
    assert from_notifications("tocsin.v1.notify.other.thing", b"{}", NOW) is None
    with pytest.raises(ContractError):
        from_notifications(no.ObligationMetV1.SUBJECT, b"{}", NOW)
    told = from_escalations(ESCALATE[0].SUBJECT, ESCALATE[0].to_json(), NOW)
    assert told is not None
    [record] = told.commands
    assert isinstance(record, c.RecordFact)
    assert record.kind is FactKind.PAGE_ACKNOWLEDGED

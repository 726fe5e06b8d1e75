"""What integrators are told: a contract for every event, and nothing private in it."""

from uuid import UUID

import pytest

from services.cases.aggregates import name_of
from services.cases.domain.events import Event, ScopeSet
from services.cases.domain.incident import fold
from services.cases.domain.values import Scope, Selector
from services.cases.publish import to_contract
from services.cases.store import Recorded
from shared.contracts import cases
from shared.contracts.cases import IncidentEvent
from tests.support.golden_events import one_of_each
from tests.support.incidents import NOW, SR, story

pytestmark = pytest.mark.unit

INCIDENT = UUID(int=1)


def told() -> list[IncidentEvent]:
    """Return the contracts of the whole story."""
    events = story()
    return [
        to_contract(
            fold(events[:n]),
            Recorded(
                position=n,
                stream_id=INCIDENT,
                version=n,
                event_id=UUID(int=n),
                type=name_of(event),
                event=event,
                recorded_at=NOW,
            ),
        )
        for n, event in enumerate(events, start=1)
    ]


def contract_of(event: Event) -> IncidentEvent:
    """Return what is told of *event* when it happens to an incident that was confirmed."""
    recorded = Recorded(
        position=1,
        stream_id=INCIDENT,
        version=1,
        event_id=UUID(int=1),
        type=name_of(event),
        event=event,
        recorded_at=NOW,
    )
    return to_contract(fold(story()), recorded)


def test_each_event_is_one_message_with_its_place() -> None:
    contracts = told()
    assert [c.version for c in contracts] == list(range(1, len(contracts) + 1))
    assert {c.number for c in contracts} == {"TOCSIN-2026-0001"}
    assert {c.about for c in contracts} == {str(INCIDENT)}
    for contract in contracts:
        assert type(contract).from_json(contract.to_json()) == contract


def test_every_public_contract_of_the_story_appears() -> None:
    public = {
        cls
        for cls in vars(cases).values()
        if isinstance(cls, type) and issubclass(cls, IncidentEvent) and cls is not IncidentEvent
    }
    aside = {
        cases.IncidentDismissedV1,
        cases.IncidentErasedV1,
        cases.IncidentMergedV1,
        cases.IncidentUnmergedV1,
        cases.IncidentSplitV1,
        cases.IncidentReopenedV1,
        cases.ConfirmationRetractedV1,
        cases.ContainmentLostV1,
        cases.ClockSetV1,
    }
    assert {type(c) for c in told()} == public - aside
    assert {type(contract_of(x)) for x in one_of_each().values()} == public


def test_an_erasure_is_told_without_a_word_of_what_was_erased() -> None:
    told_ = contract_of(one_of_each()["PersonalDataErased.v1"])
    assert isinstance(told_, cases.IncidentErasedV1)
    assert (told_.scope, told_.basis) == ("person", "data_subject_request")
    assert told_.model_dump().keys() - cases.IncidentEvent.model_fields.keys() == {
        "erasure_id", "scope", "basis", "reference",
    }  # fmt: skip


def test_a_confirmation_carries_what_starts_the_clocks() -> None:
    confirmed = next(c for c in told() if isinstance(c, cases.IncidentConfirmedV1))
    assert confirmed.aware_at == confirmed.confirmed_at == NOW
    assert (confirmed.severity, confirmed.inputs["privacy"]) == ("SEV2", "suspected")
    assert confirmed.summary == "Root was guessed."


def test_a_dismissal_names_the_rules_that_fired() -> None:
    events = [*story(), one_of_each()["IncidentDismissed.v1"]]
    dismissed = to_contract(
        fold(events),
        Recorded(
            position=1,
            stream_id=INCIDENT,
            version=1,
            event_id=UUID(int=1),
            type="IncidentDismissed.v1",
            event=events[-1],
            recorded_at=NOW,
        ),
    )
    assert isinstance(dismissed, cases.IncidentDismissedV1)
    assert dismissed.rule_ids == ["rule-ssh"]


def test_free_text_of_private_events_stays_inside() -> None:
    updates = [c for c in told() if isinstance(c, cases.IncidentUpdatedV1)]
    assert {set(c.model_dump()) == set(cases.IncidentUpdatedV1.model_fields) for c in updates} == {
        True
    }
    assert "SummaryRecorded" in {c.event for c in updates}
    assert "Root was guessed" not in "".join(c.to_json().decode() for c in updates)


def test_tags_of_a_selector_are_told_and_none_are_left_out() -> None:
    scope = Scope(include=(Selector(region="eu", tags={"env": "prod"}), Selector(server="m1")))
    told = contract_of(ScopeSet(actor=SR, at=NOW, version=1, scope=scope))
    assert isinstance(told, cases.ScopeSetV1)
    assert [s.tags for s in told.scope.include] == [{"env": "prod"}, None]
    assert b'"tags":{"env":"prod"}' in told.to_json()

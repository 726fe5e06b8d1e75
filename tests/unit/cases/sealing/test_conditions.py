"""What stands against an erasure: all of it is named."""

from datetime import UTC, datetime, timedelta

import pytest

from services.cases.domain.incident import fold
from services.cases.domain.vocabulary import State
from services.cases.evidence.domain.item import Item, Retention
from services.cases.evidence.domain.vocabulary import EvidenceState, RetentionClass
from services.cases.sealing.conditions import Touched, standing_against
from tests.support.incidents import story

pytestmark = pytest.mark.unit

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ENDED = NOW - timedelta(days=10)
KEPT = Item(state=EvidenceState.SEALED)
YEARS = timedelta(days=1826)


def codes(state: State, *items: Item, retention: timedelta = YEARS) -> list[str]:
    touched = Touched(incident=fold(story(state)), last=ENDED, items=items)
    return [unmet.code for unmet in standing_against([touched], NOW, retention)]


def until(instant: datetime) -> Retention:
    return Retention(retention_class=RetentionClass.EVIDENCE, until=instant)


def test_nothing_stands_against_what_was_no_incident() -> None:
    assert codes(State.FALSE_POSITIVE) == []


@pytest.mark.parametrize("state", [State.OPENED, State.ESCALATED, State.INVESTIGATING])
def test_what_is_worked_on_stays(state: State) -> None:
    assert codes(state) == ["incident_open"]


def test_a_confirmed_one_is_a_record_for_years_after_its_end() -> None:
    assert codes(State.CLOSED) == ["record_retention_running"]
    assert codes(State.CLOSED, retention=timedelta(days=9)) == []


def test_holds_and_retention_of_evidence_are_all_named() -> None:
    held = Item(state=EvidenceState.SEALED, holds=("case 12",), retention=until(ENDED))
    running = Item(state=EvidenceState.COLLECTED, retention=until(NOW + timedelta(days=1)))
    found = codes(State.CONFIRMED, held, running, KEPT)
    assert found == [
        "incident_open", "record_retention_running", "under_hold", "retention_running",
        "retention_missing",
    ]  # fmt: skip


def test_a_hold_on_the_incident_is_named() -> None:
    touched = Touched(
        incident=fold(story(State.FALSE_POSITIVE)), last=ENDED, holds=("Docket 1", "Docket 2")
    )
    (unmet,) = standing_against([touched], NOW, YEARS)
    assert unmet.code == "under_hold"
    assert unmet.detail.endswith("is under legal hold: Docket 1, Docket 2")


def test_what_is_disposed_or_was_never_collected_hinders_nobody() -> None:
    gone = Item(state=EvidenceState.DISPOSED, retention=until(NOW + timedelta(days=1)))
    promised = Item(state=EvidenceState.REGISTERED)
    ended = Item(state=EvidenceState.SEALED, retention=until(ENDED))
    assert codes(State.FALSE_POSITIVE, gone, promised, ended) == []


def test_every_incident_that_is_touched_counts() -> None:
    two = [
        Touched(incident=fold(story(state)), last=ENDED)
        for state in (State.FALSE_POSITIVE, State.OPENED)
    ]
    assert [unmet.code for unmet in standing_against(two, NOW, YEARS)] == ["incident_open"]

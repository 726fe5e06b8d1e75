"""Groups as they are stored, and as older versions stored them."""

from types import SimpleNamespace

import orjson
import pytest

from services.escalate.group_codec import from_row, to_state
from services.escalate.grouping import Group, Rules, receive
from services.escalate.risk import Tally
from services.escalate.sighting import sighting_of
from tests.unit.escalate.given import detection

pytestmark = pytest.mark.unit


def stored(group: Group, state: str) -> SimpleNamespace:
    return SimpleNamespace(
        id=group.id,
        key=group.key,
        state=state,
        first_seen=group.first,
        last_seen=group.last,
        detections=group.count,
        proposed_at=None,
        snoozed_until=None,
    )


def test_a_group_is_read_as_it_was_written() -> None:
    group = receive([], sighting_of(detection()), Rules()).group
    assert from_row(stored(group, to_state(group))) == group


def test_a_group_of_before_suppressions_and_stages_is_read() -> None:
    group = receive([], sighting_of(detection()), Rules()).group
    state = orjson.loads(to_state(group))
    del state["stages"], state["members"]
    state["tallies"] = {rule: tally[:4] for rule, tally in state["tallies"].items()}
    found = from_row(stored(group, orjson.dumps(state).decode()))
    assert found.tallies == group.tallies
    assert all(isinstance(tally, Tally) for tally in found.tallies.values())

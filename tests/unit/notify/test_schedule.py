"""When a failed notification is tried again."""

import pytest

from services.notify.schedule import delay_after

pytestmark = pytest.mark.unit


def waits(channel: str) -> list[float]:
    found = []
    attempt = 1
    while (wait := delay_after(channel, attempt)) is not None:
        found.append(wait.total_seconds())
        attempt += 1
    return found


def test_webhooks_follow_the_schedule_of_standard_webhooks() -> None:
    assert waits("webhook")[:6] == [5, 300, 1800, 7200, 18000, 36000]


@pytest.mark.parametrize("channel", ["webhook", "email"])
def test_waits_grow_and_end(channel: str) -> None:
    assert waits(channel) == sorted(waits(channel))
    assert len(waits(channel)) == 9

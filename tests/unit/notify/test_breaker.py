"""A relay that is away is left alone, asked by one message, and asked freely once it answers."""

from datetime import UTC, datetime, timedelta

import pytest

from services.notify.breaker import FAILURES, FIRST, LONGEST, PROBE, Breaker

pytestmark = pytest.mark.unit
NOW = datetime(2026, 3, 3, 9, 20, tzinfo=UTC)


def down(at: datetime = NOW) -> Breaker:
    found = Breaker()
    begins = [found.failed(at, at) for _ in range(FAILURES)]
    assert begins == [False] * (FAILURES - 1) + [True]
    return found


def test_a_few_failures_in_a_row_begin_a_pause_and_an_answer_in_between_does_not() -> None:
    found = Breaker()
    for _ in range(FAILURES - 1):
        assert not found.failed(NOW, NOW)
    assert not found.answered()
    assert not found.failed(NOW, NOW)
    assert found.room(16, NOW) == 16
    assert down().room(16, NOW) == 0


def test_after_the_pause_one_message_asks_and_an_answer_lets_all_through() -> None:
    found, then = down(), NOW + FIRST
    assert found.room(16, then) == 1
    found.taken(then)
    assert found.room(16, then) == 0
    assert found.room(16, then + PROBE) == 1  # whoever asked was not heard of again
    assert found.answered()
    assert found.room(16, then) == 16


def test_each_probe_that_fails_doubles_the_pause_up_to_a_bound() -> None:
    found, now, pauses = down(), NOW, []
    for _ in range(9):
        assert found.until is not None
        pauses.append(found.until - now)
        now = found.until
        found.taken(now)
        assert found.failed(now, now)
    assert pauses[:3] == [FIRST, FIRST * 2, FIRST * 4]
    assert pauses[-1] == LONGEST


def test_what_was_on_its_way_before_the_pause_makes_it_no_longer() -> None:
    found = down()
    later = NOW + timedelta(seconds=1)
    assert not found.failed(NOW - timedelta(seconds=30), later)
    assert found.until == NOW + FIRST
    found.taken(NOW + FIRST)
    assert not found.failed(NOW, NOW + FIRST)
    assert found.room(1, NOW + FIRST) == 0  # the probe still runs

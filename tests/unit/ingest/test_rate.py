"""The rate of a source: a burst passes, a debt is waited off, others are not touched."""

import pytest

from services.ingest.rate import REMEMBERED, RateLimits

pytestmark = pytest.mark.unit


def test_a_burst_passes_and_a_debt_is_waited_off() -> None:
    limits = RateLimits(10, burst=2)  # 20 at once
    assert limits.wait("a", 0) == 0
    limits.take("a", 25, 0)  # one request may overdraw
    assert limits.wait("a", 0) == 1
    assert limits.wait("a", 0.4) == 1
    assert limits.wait("a", 0.6) == 0
    assert limits.wait("b", 0) == 0


def test_the_wait_is_as_long_as_the_debt() -> None:
    limits = RateLimits(10, burst=1)
    limits.take("a", 110, 0)
    assert limits.wait("a", 0) == 11
    assert limits.wait("a", 10.05) == 0


def test_the_long_run_rate_holds() -> None:
    limits, sent, now = RateLimits(100, burst=1), 0, 0.0
    while now < 60:
        if seconds := limits.wait("a", now):
            now += seconds
            continue
        limits.take("a", 37, now)
        sent += 37
    assert 5_900 <= sent <= 6_200


def test_only_so_many_sources_are_remembered() -> None:
    limits = RateLimits(1)
    for n in range(REMEMBERED + 10):
        limits.take(str(n), 100, 0)
    assert limits.wait("0", 0) == 0  # forgotten
    assert limits.wait(str(REMEMBERED + 9), 0) > 0

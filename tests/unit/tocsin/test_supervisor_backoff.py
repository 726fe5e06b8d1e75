"""How long the supervisor waits."""

import pytest

from tocsin.supervisor import Backoff

pytestmark = pytest.mark.unit


def test_waits_double_up_to_the_limit() -> None:
    backoff = Backoff()
    waits = [backoff.wait(failures, 0.0) for failures in range(1, 9)]
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_jitter_takes_up_to_half_off() -> None:
    assert Backoff().wait(7, 1.0) == 5.0


def test_a_long_series_of_failures_still_has_a_wait() -> None:
    assert Backoff().wait(10_000, 0.0) == 10.0

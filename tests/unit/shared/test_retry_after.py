"""Retry-After as answers give it, in seconds or as a date, bounded."""

import pytest

from shared.retry_after import retry_after

pytestmark = pytest.mark.unit
SENT = "Thu, 26 Nov 2026 02:00:00 GMT"


@pytest.mark.parametrize(
    ("status", "given", "seconds"),
    [
        (429, "30", 30),
        (503, " 0 ", 0),
        (429, "86400", 300),
        (429, "9" * 400, 300),
        (429, "Thu, 26 Nov 2026 02:01:00 GMT", 60),
        (429, "Thu, 26 Nov 2026 01:00:00 GMT", 0),
        (429, "Fri, 27 Nov 2026 02:00:00 GMT", 300),
        (500, "30", None),
        (429, "", None),
        (429, "-5", None),
        (429, "1.5", None),
        (429, "soon", None),
        (429, "Thu, 26 Nov 99999999999999999999 02:01:00 GMT", None),
        (429, "Thu, 26 Nov 2026 02:01:00 +99999999999999", None),
        (429, "٣", None),
    ],
)
def test_how_long_an_answer_asks_to_wait(status: int, given: str, seconds: float | None) -> None:
    assert retry_after(status, {"retry-after": given, "date": SENT}, 300) == seconds


def test_a_date_means_nothing_without_the_one_it_was_sent_at() -> None:
    assert retry_after(429, {"retry-after": SENT}, 300) is None

"""How long an answer asks its caller to wait: Retry-After (RFC 9110, §10.2.3)."""

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

__all__ = ["retry_after"]


def retry_after(status: int, headers: Mapping[str, str], most: float) -> float | None:
    """Return the seconds that an answer 429 or 503 asks to wait, at most *most*; None if it does
    not say, or not understandably.

    A date is taken against the answer's own `Date`: whose clock is right does not matter.
    """
    given = headers.get("retry-after", "").strip()
    if status not in {429, 503} or not given:
        return None
    if given.isascii() and given.isdecimal():
        return min(float(given), most)
    until, sent = _date(given), _date(headers.get("date", ""))
    if until is None or sent is None:
        return None
    return min(max((until - sent).total_seconds(), 0.0), most)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year or an offset without end
        return None
    return found if found.tzinfo else None

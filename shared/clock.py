"""The only reader of wall time; everything else is given a clock or an instant."""

from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["Clock", "parse_instant", "rfc3339", "utc_now"]

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the current instant, UTC, microseconds."""
    return datetime.now(UTC)


def rfc3339(instant: datetime) -> str:
    """Return *instant* as RFC 3339 in UTC with microseconds and a ``Z``."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return f"{instant.isoformat(timespec='microseconds')[:-6]}Z"  # instead of +00:00


def parse_instant(text: str) -> datetime:
    """Return the instant of an RFC 3339 text; ValueError without an offset or when malformed."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return instant.astimezone(UTC)

"""Pure: when a failed notification is tried again, and when it is not."""

from datetime import timedelta

__all__ = ["delay_after"]

MINUTE, HOUR = 60.0, 3600.0

# The schedule that Standard Webhooks recommends; the first attempt is at once.
_DELAYS = {
    "webhook": (
        5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR,
        24 * HOUR,
    ),
    # A mail server's own queue does the long waiting; ours is to be reached.
    "email": (
        5.0, 1 * MINUTE, 5 * MINUTE, 15 * MINUTE, 1 * HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR,
        12 * HOUR,
    ),
}  # fmt: skip


def delay_after(channel: str, attempt: int) -> timedelta | None:
    """Return how long to wait after failed *attempt* (from 1), before jitter; None: give up."""
    delays = _DELAYS[channel]
    if attempt > len(delays):
        return None
    return timedelta(seconds=delays[attempt - 1])

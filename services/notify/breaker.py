"""Pure: whether the relay that all messages of a channel go through is worth asking now.

After a few failures in a row nothing is sent to it for a while; then one message finds out whether
it is back. What waits for a relay uses up none of its attempts, and nothing is given up.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["Breaker"]

FAILURES = 5  # in a row, before it is left alone
FIRST, LONGEST = timedelta(seconds=5), timedelta(minutes=5)
PROBE = timedelta(minutes=1)  # longer than an attempt: after that there is another probe


@dataclass(slots=True)
class Breaker:
    """What is known of one relay."""

    failures: int = 0
    pause: timedelta = timedelta()
    since: datetime | None = None
    """When the pause, or the probe that runs, began."""
    until: datetime | None = None
    """When there is a probe; None: it is asked freely."""

    def room(self, wanted: int, now: datetime) -> int:
        """Return how many of *wanted* messages may be sent to it now."""
        if self.until is None:
            return wanted
        return min(wanted, 1) if now >= self.until else 0

    def taken(self, now: datetime) -> None:
        """Note that messages go to it now: while it is paused that is the probe."""
        if self.until is not None:
            self.since, self.until = now, now + PROBE

    def answered(self) -> bool:
        """Note that it answered, whatever it said; return whether that ends a pause."""
        ended = self.until is not None
        self.failures, self.pause, self.until = 0, timedelta(), None
        return ended

    def failed(self, begun: datetime, now: datetime) -> bool:
        """Note that it did not answer what had *begun* then; return whether a pause begins.

        What had begun before the pause says nothing new, and makes it no longer.
        """
        self.failures += 1
        if self.until is None and self.failures < FAILURES:
            return False
        if self.until is not None and self.since is not None and begun < self.since:
            return False
        self.pause = min(max(FIRST, self.pause * 2), LONGEST)
        self.since, self.until = now, now + self.pause
        return True

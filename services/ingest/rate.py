"""How fast a source may send: one token bucket a source, which may go into debt by one request.

A request is let in while the bucket holds anything, before it is read; what it turned out to hold
is taken afterwards. So a body is never parsed only to be refused, and the long-run rate holds.
"""

import math
from collections import OrderedDict

__all__ = ["RateLimits"]

REMEMBERED = 10_000


class RateLimits:
    """Token buckets of all sources: *rate* events a second, *burst* seconds' worth at most."""

    def __init__(self, rate: float, burst: float = 10.0) -> None:
        self.rate, self._most = rate, rate * burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # level, as of

    def _level(self, source: str, now: float) -> float:
        level, at = self._buckets.get(source, (self._most, now))
        return min(self._most, level + (now - at) * self.rate)

    def wait(self, source: str, now: float) -> int:
        """Return 0 when *source* may send at *now* (seconds), else after how many whole seconds."""
        level = self._level(source, now)
        return 0 if level > 0 else max(1, math.ceil((1 - level) / self.rate))

    def take(self, source: str, events: int, now: float) -> None:
        """Count *events* that *source* has sent."""
        self._buckets[source] = (self._level(source, now) - events, now)
        self._buckets.move_to_end(source)
        while len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)

"""Whether a server has met a full disk, and when it may start anew. Pure.

nats-server gives a stream up at the first write that found no room: it still answers, but confirms
nothing more, also when there is room again, until it is restarted (seen with 2.15.1).
"""

from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["FULL", "ROOM", "FullDisk", "Verdict"]

FULL = 4 << 20  # less is nothing: a block of events alone has half a MiB
ROOM = 32 << 20  # as much as makes a new start worth while

_SAYS_SO = b"no space left on device"


class Verdict(Enum):
    """FULL: wait for room. ANEW: there was none, there is some; only a new start helps."""

    FINE = auto()
    FULL = auto()
    ANEW = auto()


@dataclass(slots=True)
class FullDisk:
    """What was seen so far; ``room`` is how many free bytes are enough."""

    full: int = FULL
    room: int = ROOM
    met: bool = False

    def look(self, free: int, said: bytes) -> Verdict:
        """Return what to do, with so many bytes *free* and what the server *said* since.

        Both are asked, as its log may lie on the very disk that is full.
        """
        self.met = self.met or free < self.full or _SAYS_SO in said.lower()
        if not self.met:
            return Verdict.FINE
        if free < self.room:
            return Verdict.FULL
        self.met = False
        return Verdict.ANEW

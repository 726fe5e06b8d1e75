"""Updates that wait for the watermark: by slices of time, so that only what is due is sorted."""

from bisect import bisect_right
from collections.abc import Iterator
from heapq import heappop, heappush

from services.detect.correlation.windows import Update

__all__ = ["Waiting"]

_SLICE = 100_000  # microseconds
_LAST = b"\xff" * 17


class Waiting:
    """Those of one correlation.

    All of them in one list would be sorted with every message: as many as come within the allowed
    lateness, for the few that are due.
    """

    __slots__ = ("_count", "_order", "_slices")

    def __init__(self) -> None:
        self._slices: dict[int, list[Update]] = {}
        self._order: list[int] = []  # a heap of the slices' numbers
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Update]:
        for updates in self._slices.values():
            yield from updates

    def add(self, update: Update) -> None:
        """Have *update* wait."""
        number = update[0] // _SLICE
        found = self._slices.get(number)
        if found is None:
            found = self._slices[number] = []
            heappush(self._order, number)
        found.append(update)
        self._count += 1

    def until(self, watermark: int) -> list[Update]:
        """Take out what happened until *watermark*, in order."""
        order, slices = self._order, self._slices
        edge = watermark // _SLICE
        due: list[Update] = []
        while order and order[0] < edge:
            due += slices.pop(heappop(order))
        if order and order[0] == edge:
            last = slices[edge]
            last.sort()
            end = bisect_right(last, (watermark, 1 << 62, _LAST))
            due += last[:end]
            del last[:end]
            if not last:
                del slices[heappop(order)]
        due.sort()
        self._count -= len(due)
        return due

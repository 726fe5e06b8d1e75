"""Group commit: requests that wait at the same time share a block and one synchronous write."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

from services.ingest.blocks import Part, build_block, split
from services.ingest.envelope import Sealed
from shared.bus import Bus, BusUnavailableError
from shared.clock import Clock
from shared.cloudevents import Outgoing
from shared.contracts.ingest import MAX_BLOCK_EVENTS
from shared.topology import EVENTS

__all__ = ["BlockWriter", "OverloadedError"]

CONCURRENT_COMMITS = 2  # the second only when a whole block waits: until then it fills
RECENT_IDS = 200_000

_accepted = Counter("tocsin_ingest_events_accepted_total", "Events that are durable", ["source"])
_accepted_of = lru_cache(maxsize=10_000)(_accepted.labels)
_held = Gauge("tocsin_ingest_held_bytes", "Bytes of events waiting for the broker")
_block_events = Histogram(
    "tocsin_ingest_block_events", "Events a block", buckets=(1, 5, 20, 50, 100, 200, 350, 500)
)


class OverloadedError(Exception):
    """More is waiting than may be held; the sender has to come again."""


class _Waiting:
    __slots__ = ("done", "envelopes", "observed", "source_id")

    def __init__(self, source_id: str, observed: datetime, envelopes: Sequence[Sealed]) -> None:
        self.source_id, self.observed, self.envelopes = source_id, observed, envelopes
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Held:
    """What a request holds, counted among what its writer holds, until the block ends."""

    __slots__ = ("_size", "_writer")

    def __init__(self, writer: "BlockWriter", size: int) -> None:
        self._writer, self._size = writer, size
        writer.bytes += size

    def __call__(self, more: int) -> None:
        """Hold *more* bytes."""
        self._size += more
        self._writer.bytes += more

    def __enter__(self) -> "_Held":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.bytes -= self._size


class BlockWriter:
    """Accepts envelopes of many requests and returns to each when all of its own are on disk."""

    def __init__(self, bus: Bus, clock: Clock, max_bytes: int) -> None:
        self._bus, self._clock, self._max_bytes = bus, clock, max_bytes
        self._waiting: list[_Waiting] = []
        self._events = 0  # that wait
        self.bytes = 0
        _held.set_function(lambda: self.bytes)
        self._wake = asyncio.Event()
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._commits: set[asyncio.Task[None]] = set()

    def is_overloaded(self, more: int = 0) -> bool:
        """Tell whether a request should be turned away before it is even read."""
        return self.bytes + more > self._max_bytes

    def held(self, size: int = 0) -> _Held:
        """Count *size* bytes of a request in hand among what is held, until the block ends."""
        return _Held(self, size)

    async def write(
        self, source_id: str, envelopes: Sequence[Sealed], observed: datetime
    ) -> frozenset[int]:
        """Return the indexes of those known already, once all of *envelopes* are durable.

        Only ids that a client gave are compared: identical lines without one are evidence, each.
        Raises BusUnavailableError when the broker did not confirm, OverloadedError when too much
        is waiting; in both cases the sender has to repeat the request.
        """
        fresh, known = self._without_known(envelopes)
        if not fresh:
            return known
        size = sum([len(e.data) for e in fresh])
        # A request that is alone always passes, or one of unusual size could never be answered.
        if self.bytes and self.is_overloaded(size):
            raise OverloadedError
        waiting = _Waiting(source_id, observed, fresh)
        with self.held(size):
            self._waiting.append(waiting)
            self._events += len(fresh)
            self._wake.set()
            await waiting.done
        if fresh is not envelopes:
            self._remember(fresh)
        _accepted_of(source_id).inc(len(fresh))
        return known

    async def run(self) -> None:
        """Commit what is waiting, until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._waiting and self._may_commit():
                    taken, self._waiting, self._events = self._waiting, [], 0
                    task = asyncio.create_task(self._commit(taken))
                    self._commits.add(task)
                    task.add_done_callback(self._ended)
        finally:
            for waiting in self._waiting:
                if not waiting.done.done():
                    waiting.done.set_exception(BusUnavailableError("shutting down"))
            await asyncio.gather(*self._commits, return_exceptions=True)

    def _may_commit(self) -> bool:
        running = len(self._commits)
        return not running or (running < CONCURRENT_COMMITS and self._events >= MAX_BLOCK_EVENTS)

    async def _commit(self, taken: list[_Waiting]) -> None:
        try:
            blocks = list(_blocks(taken, self._clock()))
            if len(blocks) == 1:
                await self._bus.publish(blocks[0], stream=EVENTS.name)
            else:
                await asyncio.gather(*(self._bus.publish(b, stream=EVENTS.name) for b in blocks))
            for block in blocks:
                _block_events.observe(int(block.headers["tocsin-count"]))
        except Exception as error:  # noqa: BLE001 - each sender is told
            for waiting in taken:
                if not waiting.done.done():
                    waiting.done.set_exception(
                        error
                        if isinstance(error, BusUnavailableError)
                        else BusUnavailableError(str(error))
                    )
        else:
            for waiting in taken:
                if not waiting.done.done():
                    waiting.done.set_result(None)

    def _ended(self, commit: asyncio.Task[None]) -> None:
        self._commits.discard(commit)
        self._wake.set()

    def _without_known(
        self, envelopes: Sequence[Sealed]
    ) -> tuple[Sequence[Sealed], frozenset[int]]:
        if not any(e.has_client_id for e in envelopes):
            return envelopes, frozenset()
        seen: set[str] = set()
        fresh, known = [], []
        for envelope in envelopes:
            if envelope.has_client_id:
                if envelope.id in self._recent or envelope.id in seen:
                    known.append(envelope.index)
                    continue
                seen.add(envelope.id)
            fresh.append(envelope)
        return fresh, frozenset(known)

    def _remember(self, envelopes: Sequence[Sealed]) -> None:
        for envelope in envelopes:
            if envelope.has_client_id:
                self._recent[envelope.id] = None
        while len(self._recent) > RECENT_IDS:
            self._recent.popitem(last=False)


def _blocks(taken: Sequence[_Waiting], now: datetime) -> Iterator[Outgoing]:
    """Yield the blocks that hold what all of *taken* wait for, in order."""
    everything = [e for waiting in taken for e in waiting.envelopes]
    owners = deque(Part(w.source_id, len(w.envelopes), w.observed) for w in taken)
    for run in split(everything):
        parts, missing = [], len(run)
        while missing:
            owner = owners.popleft()
            count = min(owner.count, missing)
            parts.append(Part(owner.source_id, count, owner.observed))
            if owner.count > count:
                owners.appendleft(Part(owner.source_id, owner.count - count, owner.observed))
            missing -= count
        yield build_block(run, now, parts)

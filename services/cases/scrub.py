"""The CASES stream read again, round and round: what the broker has lost is published again.

A broker that lost messages in the middle does not know it: after one flipped bit its own counts
still say that all is there (measured; delivery reference §1). So the stream is read and compared
with the log, event by event (§2.3; docs/adr/0021-lost-messages-again.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import unquote

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.relay import STREAM, Relay
from services.cases.store import EventStore
from services.cases.tail import REACHED, tail_of
from shared.bus import Bus, Stored
from shared.clock import Clock
from shared.contracts.cases import LogCheckpointV1
from shared.topology import CASES

__all__ = ["Round", "Scrub", "placed"]

PAGE = 2000
MOST = 100_000
"""Positions that one round remembers as lost; the rest is found by the next one."""
SKEW = timedelta(hours=1)

log = structlog.get_logger()
_lost = Counter("tocsin_cases_stream_lost_total", "Messages that CASES had lost, published again")
_foreign = Gauge(
    "tocsin_cases_stream_foreign", "Messages of CASES that are no event of this log, last round"
)
_rounds = Counter("tocsin_cases_stream_rounds_total", "Times that CASES was read to its end")

_IDS = text("SELECT position, event_id FROM events WHERE position = ANY(:positions)")
_YOUNG = text(
    "SELECT position FROM (SELECT position, recorded_at FROM events WHERE position < :before"
    " ORDER BY position DESC LIMIT :most) e WHERE recorded_at > :since"
)


@dataclass(frozen=True, slots=True)
class Placed:
    """A message of the stream: the event in it, and whether it stands late because it was lost."""

    position: int
    event_id: str
    late: bool


def placed(headers: Mapping[str, str]) -> Placed | None:
    """Return where a message belongs; None for a checkpoint, which is no event."""
    if headers.get("ce-type") == LogCheckpointV1.SUBJECT:
        return None
    position = int(unquote(headers.get("ce-position", "0")))
    return Placed(position, headers.get("ce-id", ""), REACHED in headers)


@dataclass(slots=True)
class Round:
    """One reading of the stream from its first message to its last."""

    sequence: int = 0
    first: int | None = None
    last: int = 0
    gaps: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)
    foreign: int = 0

    def take(self, sequence: int, message: Placed | None) -> None:
        """Note the next message; what lies between it and the one before it is missing."""
        self.sequence = sequence
        if message is None:
            return
        if message.late:
            self.late.add(message.position)
            return
        if self.first is None:
            self.first, self.last = message.position, message.position - 1
        room = MOST - len(self.gaps)
        self.gaps.update(range(self.last + 1, min(message.position, self.last + 1 + room)))
        self.last = max(self.last, message.position)

    def lost(self, before: Iterable[int] = ()) -> list[int]:
        """Return the positions that the stream has nowhere; *before* should be at its head."""
        return sorted((self.gaps | set(before)) - self.late)


class Scrub:
    """Reads one page each time; `once` is the work of a reconciler."""

    def __init__(
        self, engine: AsyncEngine, store: EventStore, bus: Bus, relay: Relay, clock: Clock
    ) -> None:
        self._engine, self._store, self._bus = engine, store, bus
        self._relay, self._clock = relay, clock
        self._round = Round()

    async def once(self) -> int:
        """Compare the next page with the log, at the end of a round repair; return 0.

        BusUnavailableError when the broker does not answer: the page is read by the next run.
        """
        if not await self._relay.leads():
            return 0
        page = await self._bus.stored(STREAM, CASES.subjects[0], self._round.sequence, PAGE)
        await self._compare(page)
        if len(page) < PAGE and (not page or page[-1].seq >= await self._end()):
            done, self._round = self._round, Round()
            await self._finish(done)
        return 0

    async def _end(self) -> int:
        return await self._bus.last_sequence(STREAM)

    async def _compare(self, page: list[Stored]) -> None:
        found = [(message.seq, placed(message.headers)) for message in page]
        async with self._engine.connect() as connection:
            rows = await connection.execute(
                _IDS, {"positions": [m.position for _, m in found if m is not None]}
            )
            ids = {row.position: str(row.event_id) for row in rows}
        for sequence, message in found:
            self._round.take(sequence, message)
            if message is not None and ids.get(message.position) != message.event_id:
                self._round.foreign += 1

    async def _finish(self, done: Round) -> None:
        _rounds.inc()
        _foreign.set(done.foreign)
        if done.foreign:
            # Two histories: one of them is wrong, and which, only a person can tell.
            log.error("CASES is not of this log: was a backup restored?", messages=done.foreign)
            return
        lost = done.lost(await self._young(done))
        if lost:
            log.error("CASES had lost messages", messages=len(lost), first=lost[0], last=lost[-1])
        for position in lost:
            await self._again(position)

    async def _young(self, done: Round) -> list[int]:
        """Return what is missing in front of the first message and not old enough to be gone."""
        if done.first is None:
            return []  # an empty stream is the relay's to fill
        since = self._clock() - CASES.max_age + SKEW
        asked = {"before": done.first, "most": MOST, "since": since}
        async with self._engine.connect() as connection:
            return list((await connection.execute(_YOUNG, asked)).scalars())

    async def _again(self, position: int) -> None:
        """Publish one event again, after the stream's tail and marked as late."""
        async with self._relay.turn:
            tail = await tail_of(self._bus, STREAM)
            [event] = await self._store.after(position - 1, 1)
            message = await self._relay.message(event)
            late = {**message.headers, REACHED: str(tail.position)}
            ack = await self._bus.publish(
                replace(message, headers=late),
                stream=STREAM,
                expected_last_msg_id=tail.message_id,
            )
        if ack.duplicate:  # published within the broker's window; the next round comes after it
            log.warning("the broker still takes a lost message for a duplicate", position=position)
            return
        _lost.inc()

"""The event store in memory: passes the same suite as the one in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.cases.evidence.domain.events import EvidenceEvent
from services.cases.review.domain.events import ReviewEvent
from services.cases.store import (
    AnyEvent,
    AnyRecorded,
    Appended,
    CommandReusedError,
    EvidenceHistory,
    History,
    Recorded,
    RecordedEvidence,
    RecordedReview,
    ReviewHistory,
    VersionConflict,
)
from shared.ids import uuid7
from tests.support.sealing import keys_of, opened, sealed


class MemoryStore:
    """A list of events; events pass through the codec, as they do on their way to a database."""

    def __init__(self) -> None:
        self.log: list[AnyRecorded] = []
        self._commands: dict[UUID, tuple[str, Appended]] = {}
        self._numbers: dict[int, int] = {}
        self._alone: dict[str, asyncio.Lock] = {}

    def _stream(self, stream_id: UUID) -> list[AnyRecorded]:
        return [r for r in self.log if r.stream_id == stream_id]

    async def read(self, stream_id: UUID) -> History:
        await asyncio.sleep(0)
        events = tuple(r.event for r in self._stream(stream_id) if isinstance(r, Recorded))
        return History(events, len(events))

    async def read_evidence(self, stream_id: UUID) -> EvidenceHistory:
        await asyncio.sleep(0)
        found = self._stream(stream_id)
        events = tuple(r.event for r in found if isinstance(r, RecordedEvidence))
        return EvidenceHistory(events, len(events))

    async def read_review(self, stream_id: UUID) -> ReviewHistory:
        await asyncio.sleep(0)
        found = self._stream(stream_id)
        events = tuple(r.event for r in found if isinstance(r, RecordedReview))
        return ReviewHistory(events, len(events))

    async def find(self, command_id: UUID, digest: str) -> Appended | None:
        known = self._commands.get(command_id)
        if known is None:
            return None
        if known[0] != digest:
            raise CommandReusedError(str(command_id))
        a = known[1]
        return Appended(
            stream_id=a.stream_id,
            first_version=a.first_version,
            last_version=a.last_version,
            last_position=a.last_position,
            replayed=True,
        )

    async def append(
        self,
        stream_id: UUID,
        events: Sequence[AnyEvent],
        *,
        expected: int,
        command_id: UUID,
        digest: str,
    ) -> Appended:
        if known := await self.find(command_id, digest):
            if known.stream_id != stream_id:
                raise CommandReusedError(str(command_id))
            return known
        current = len(self._stream(stream_id))
        if current != expected:
            raise VersionConflict(current)
        for event in events:
            stored = sealed(event)
            current += 1
            place: dict[str, Any] = {
                "position": len(self.log) + 1,
                "stream_id": stream_id,
                "version": current,
                "event_id": uuid7(),
                "type": stored.type,
                "recorded_at": datetime.now(UTC),
            }
            read = opened(stored, keys_of(event))
            if isinstance(read, EvidenceEvent):
                self.log.append(RecordedEvidence(**place, event=read))
            elif isinstance(read, ReviewEvent):
                self.log.append(RecordedReview(**place, event=read))
            else:
                self.log.append(Recorded(**place, event=read))
        appended = Appended(
            stream_id=stream_id,
            first_version=expected + 1,
            last_version=current,
            last_position=len(self.log),
        )
        self._commands[command_id] = (digest, appended)
        return appended

    async def types(self, stream_id: UUID, first: int, last: int) -> tuple[str, ...]:
        return tuple(r.type for r in self._stream(stream_id) if first <= r.version <= last)

    async def after(self, position: int, limit: int) -> Sequence[AnyRecorded]:
        await asyncio.sleep(0)
        return self.log[position : position + limit]

    async def stream_after(
        self, stream_id: UUID, version: int, limit: int
    ) -> Sequence[AnyRecorded]:
        return [r for r in self._stream(stream_id) if r.version > version][:limit]

    @asynccontextmanager
    async def alone(self, what: str) -> AsyncIterator[None]:
        async with self._alone.setdefault(what, asyncio.Lock()):
            yield

    async def draw_number(self, year: int) -> int:
        self._numbers[year] = self._numbers.get(year, 0) + 1
        return self._numbers[year]

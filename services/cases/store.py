"""The port to the log: what the shell needs of an event store, whichever it is."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.cases.domain.events import Event
from services.cases.evidence.domain.events import EvidenceEvent
from services.cases.review.domain.events import ReviewEvent

__all__ = [
    "AnyEvent", "AnyRecorded", "Appended", "CommandReusedError", "EventStore", "EvidenceHistory",
    "History", "OverloadedError", "Recorded", "RecordedEvidence", "RecordedReview", "ReviewHistory",
    "VersionConflict",
]  # fmt: skip

AnyEvent = Event | EvidenceEvent | ReviewEvent


class VersionConflict(Exception):  # noqa: N818 - what it is, not a malfunction
    """The stream is not at the version that was expected; ``current`` is where it is."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the stream is at version {current}")
        self.current = current


class CommandReusedError(Exception):
    """This command id was used before, for something else."""


class OverloadedError(Exception):
    """Too many appends wait already; nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event with its place in the log: gapless ``position``, gapless ``version``."""

    position: int
    stream_id: UUID
    version: int
    event_id: UUID
    type: str
    event: Event
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvidence:
    """An event of an item of evidence: another aggregate in the same one log."""

    position: int
    stream_id: UUID
    version: int
    event_id: UUID
    type: str
    event: EvidenceEvent
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedReview:
    """An event of a post-incident review: another aggregate in the same one log."""

    position: int
    stream_id: UUID
    version: int
    event_id: UUID
    type: str
    event: ReviewEvent
    recorded_at: datetime


AnyRecorded = Recorded | RecordedEvidence | RecordedReview


@dataclass(frozen=True, slots=True)
class History:
    """The stream of an incident as it was read."""

    events: tuple[Event, ...]
    version: int


@dataclass(frozen=True, slots=True)
class EvidenceHistory:
    """The stream of an item of evidence as it was read."""

    events: tuple[EvidenceEvent, ...]
    version: int


@dataclass(frozen=True, slots=True)
class ReviewHistory:
    """The stream of a review as it was read."""

    events: tuple[ReviewEvent, ...]
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What a command came to: versions first..last of its stream; none if last < first."""

    stream_id: UUID
    first_version: int
    last_version: int
    last_position: int
    replayed: bool = False


class EventStore(Protocol):
    """An append-only log of streams with one order over all of them."""

    async def read(self, stream_id: UUID) -> History:
        """Return the incident's stream; empty at version 0 if there is none."""
        ...

    async def read_evidence(self, stream_id: UUID) -> EvidenceHistory:
        """Return the stream of an item of evidence; empty at version 0 if there is none."""
        ...

    async def read_review(self, stream_id: UUID) -> ReviewHistory:
        """Return the stream of a review; empty at version 0 if there is none."""
        ...

    async def find(self, command_id: UUID, digest: str) -> Appended | None:
        """Return what the command came to, if it was done; CommandReusedError on another digest."""
        ...

    async def append(
        self,
        stream_id: UUID,
        events: Sequence[AnyEvent],
        *,
        expected: int,
        command_id: UUID,
        digest: str,
    ) -> Appended:
        """Append all of *events* or none, once for each command id.

        VersionConflict when the stream has moved, CommandReusedError when the id was used with
        another digest, OverloadedError when the queue for the log is full.
        """
        ...

    async def types(self, stream_id: UUID, first: int, last: int) -> tuple[str, ...]:
        """Return the types of the events at versions first..last."""
        ...

    async def after(self, position: int, limit: int) -> Sequence[AnyRecorded]:
        """Return events beyond *position* in order, at most *limit*."""
        ...

    async def stream_after(
        self, stream_id: UUID, version: int, limit: int
    ) -> Sequence[AnyRecorded]:
        """Return events of one stream beyond *version* in order, at most *limit*."""
        ...

    def alone(self, what: str) -> AbstractAsyncContextManager[None]:
        """Return a context in which nobody else, on any replica, is in one of the same name.

        OverloadedError when others keep it for too long.
        """
        ...

    async def draw_number(self, year: int) -> int:
        """Return the next number of *year*: never given twice, though some may never be used."""
        ...

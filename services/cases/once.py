"""The shell of an aggregate beside the incident: reads, decides, appends, once a command id."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

from services.cases.domain.errors import NotAllowed
from services.cases.store import AnyEvent, Appended, EventStore, VersionConflict

__all__ = ["ATTEMPTS", "append_once"]

ATTEMPTS = 4  # the first, and three more after a lost race

T = TypeVar("T")


async def append_once(
    store: EventStore,
    stream_id: UUID,
    read: Callable[[], Awaitable[tuple[T, int]]],
    decide: Callable[[T], Sequence[AnyEvent]],
    *,
    command_id: UUID,
    digest: str,
    expected: int | None = None,
    noticed: Callable[[], None] = lambda: None,
) -> Appended:
    """Append what *decide* says of what *read* returned; *noticed* is called after the commit.

    NotAllowed when a rule refuses, VersionConflict when the stream is not at *expected*, or,
    without one, after every race was lost; whatever *read* raises.
    """
    if known := await store.find(command_id, digest):
        return known
    try:
        appended = await _attempt(store, stream_id, read, decide, command_id, digest, expected)
    except (NotAllowed, VersionConflict):
        # Perhaps the same command won the race against itself: then this is its answer.
        if known := await store.find(command_id, digest):
            return known
        raise
    noticed()
    return appended


async def _attempt(
    store: EventStore,
    stream_id: UUID,
    read: Callable[[], Awaitable[tuple[T, int]]],
    decide: Callable[[T], Sequence[AnyEvent]],
    command_id: UUID,
    digest: str,
    expected: int | None,
) -> Appended:
    for attempt in range(1, ATTEMPTS + 1):
        aggregate, version = await read()
        if expected is not None and version != expected:
            raise VersionConflict(version)
        try:
            return await store.append(
                stream_id,
                decide(aggregate),
                expected=version,
                command_id=command_id,
                digest=digest,
            )
        except VersionConflict:
            if expected is not None or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")

"""The shell of every aggregate: reads, decides, appends, once a command id; acts, never decides."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from services.cases.domain.errors import NotAllowed
from services.cases.store import AnyEvent, Appended, EventStore, VersionConflict

__all__ = ["ATTEMPTS", "Done", "do_once"]

ATTEMPTS = 4  # the first, and three more after a lost race

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command came to; ``events`` are type names without their version."""

    stream_id: UUID
    version: int
    position: int
    events: tuple[str, ...]
    replayed: bool


async def do_once(
    store: EventStore,
    stream_id: UUID,
    read: Callable[[], Awaitable[tuple[T, int]]],
    decide: Callable[[T], Awaitable[Sequence[AnyEvent]]],
    *,
    command_id: UUID,
    digest: str,
    expected: int | None = None,
    noticed: Callable[[], None] = lambda: None,
) -> Done:
    """Append what *decide* says of what *read* returned (an aggregate and its version), once for
    each *command_id*; *noticed* is called after the commit.

    NotAllowed when a rule refuses, VersionConflict when the stream is not at *expected*, or,
    without one, after every attempt lost its race; whatever *read* raises.
    """
    if known := await store.find(command_id, digest):
        return await _done(store, known)
    try:
        appended = await _attempt(store, stream_id, read, decide, command_id, digest, expected)
    except (NotAllowed, VersionConflict):
        # Perhaps the same command won the race against itself: then this is its answer.
        if known := await store.find(command_id, digest):
            return await _done(store, known)
        raise
    noticed()
    return await _done(store, appended)


async def _attempt(
    store: EventStore,
    stream_id: UUID,
    read: Callable[[], Awaitable[tuple[T, int]]],
    decide: Callable[[T], Awaitable[Sequence[AnyEvent]]],
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
                await decide(aggregate),
                expected=version,
                command_id=command_id,
                digest=digest,
            )
        except VersionConflict:
            if expected is not None or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


async def _done(store: EventStore, appended: Appended) -> Done:
    types = await store.types(appended.stream_id, appended.first_version, appended.last_version)
    return Done(
        stream_id=appended.stream_id,
        version=appended.last_version,
        position=appended.last_position,
        events=tuple(name.removesuffix(".v1") for name in types),
        replayed=appended.replayed,
    )

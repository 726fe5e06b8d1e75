"""The shell: reads, decides, appends; acts, never decides."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from uuid import UUID

from services.cases.counterparts import MERGE, informed
from services.cases.domain.commands import Command, MergeInto
from services.cases.domain.errors import NotAllowed
from services.cases.domain.events import Event
from services.cases.domain.incident import Incident, decide, evolve, fold
from services.cases.store import Appended, EventStore, VersionConflict

__all__ = ["ATTEMPTS", "Done", "UnknownIncidentError", "decide_all", "handle"]

ATTEMPTS = 4  # the first, and three more after a lost race


class UnknownIncidentError(Exception):
    """There is no incident of that id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command came to; ``events`` are type names without their version."""

    incident_id: UUID
    version: int
    position: int
    events: tuple[str, ...]
    replayed: bool


def decide_all(incident: Incident, commands: Sequence[Command]) -> list[Event]:
    """Return what *commands* cause one after the other; all or nothing."""
    happened: list[Event] = []
    for command in commands:
        for event in decide(incident, command):
            happened.append(event)
            incident = evolve(incident, event)
    return happened


async def handle(
    store: EventStore,
    incident_id: UUID,
    commands: Sequence[Command],
    *,
    command_id: UUID,
    digest: str,
    expected: int | None = None,
    opens: bool = False,
    noticed: Callable[[], None] = lambda: None,
) -> Done:
    """Do *commands* as one, once for each *command_id*; *noticed* is called after the commit.

    NotAllowed when a rule refuses, UnknownIncidentError unless it *opens* one, VersionConflict when
    the incident is not at *expected*, or, without one, after every attempt lost its race.
    """
    if known := await store.find(command_id, digest):
        return await _answer(store, known)
    merges = any(isinstance(command, MergeInto) for command in commands)
    try:
        async with store.alone(MERGE) if merges else nullcontext():
            appended = await _attempt(
                store, incident_id, commands, command_id, digest, expected, opens
            )
    except (NotAllowed, VersionConflict):
        # Perhaps the same command won the race against itself: then this is its answer.
        if known := await store.find(command_id, digest):
            return await _answer(store, known)
        raise
    noticed()
    return await _answer(store, appended)


async def _attempt(
    store: EventStore,
    incident_id: UUID,
    commands: Sequence[Command],
    command_id: UUID,
    digest: str,
    expected: int | None,
    opens: bool,
) -> Appended:
    for attempt in range(1, ATTEMPTS + 1):
        history = await store.read(incident_id)
        if not history.version and not opens:
            raise UnknownIncidentError(str(incident_id))
        if expected is not None and history.version != expected:
            raise VersionConflict(history.version)
        asked = [await informed(store, incident_id, command) for command in commands]
        events = decide_all(fold(history.events), asked)
        try:
            return await store.append(
                incident_id,
                events,
                expected=history.version,
                command_id=command_id,
                digest=digest,
            )
        except VersionConflict:
            if expected is not None or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


async def _answer(store: EventStore, appended: Appended) -> Done:
    types = await store.types(appended.stream_id, appended.first_version, appended.last_version)
    return Done(
        incident_id=appended.stream_id,
        version=appended.last_version,
        position=appended.last_position,
        events=tuple(name.removesuffix(".v1") for name in types),
        replayed=appended.replayed,
    )

"""The shell of evidence: reads, decides, appends (the twin of `services.cases.handle`)."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from services.cases.domain.errors import NotAllowed
from services.cases.evidence.domain.commands import EvidenceCommand
from services.cases.evidence.domain.decide import decide
from services.cases.evidence.domain.item import fold
from services.cases.store import Appended, EventStore, VersionConflict

__all__ = ["ATTEMPTS", "Changed", "UnknownEvidenceError", "change"]

ATTEMPTS = 4  # the first, and three more after a lost race


class UnknownEvidenceError(Exception):
    """There is no item of that id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a command came to; ``events`` are type names without their version."""

    evidence_id: UUID
    version: int
    position: int
    events: tuple[str, ...]


async def change(
    store: EventStore,
    evidence_id: UUID,
    command: EvidenceCommand,
    *,
    command_id: UUID,
    digest: str,
    expected: int | None = None,
    registers: bool = False,
    noticed: Callable[[], None] = lambda: None,
) -> Changed:
    """Do *command*, once for each *command_id*; *noticed* is called after the commit.

    NotAllowed when a rule refuses, UnknownEvidenceError unless it *registers* an item,
    VersionConflict when it is not at *expected*, or, without one, after every race was lost.
    """
    if known := await store.find(command_id, digest):
        return await _answer(store, known)
    try:
        appended = await _attempt(
            store, evidence_id, command, command_id, digest, expected, registers
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
    evidence_id: UUID,
    command: EvidenceCommand,
    command_id: UUID,
    digest: str,
    expected: int | None,
    registers: bool,
) -> Appended:
    for attempt in range(1, ATTEMPTS + 1):
        history = await store.read_evidence(evidence_id)
        if not history.version and not registers:
            raise UnknownEvidenceError(str(evidence_id))
        if expected is not None and history.version != expected:
            raise VersionConflict(history.version)
        events = decide(fold(history.events), command)
        try:
            return await store.append(
                evidence_id,
                events,
                expected=history.version,
                command_id=command_id,
                digest=digest,
            )
        except VersionConflict:
            if expected is not None or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


async def _answer(store: EventStore, appended: Appended) -> Changed:
    types = await store.types(appended.stream_id, appended.first_version, appended.last_version)
    return Changed(
        evidence_id=appended.stream_id,
        version=appended.last_version,
        position=appended.last_position,
        events=tuple(name.removesuffix(".v1") for name in types),
    )

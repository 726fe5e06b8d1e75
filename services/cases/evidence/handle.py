"""The shell of evidence: `append_once` for an item, and what it came to."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from services.cases.evidence.domain.commands import EvidenceCommand
from services.cases.evidence.domain.decide import decide
from services.cases.evidence.domain.item import Item, fold
from services.cases.once import ATTEMPTS, append_once
from services.cases.store import EventStore

__all__ = ["ATTEMPTS", "Changed", "UnknownEvidenceError", "change"]


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

    async def read() -> tuple[Item, int]:
        history = await store.read_evidence(evidence_id)
        if not history.version and not registers:
            raise UnknownEvidenceError(str(evidence_id))
        return fold(history.events), history.version

    appended = await append_once(
        store,
        evidence_id,
        read,
        lambda item: decide(item, command),
        command_id=command_id,
        digest=digest,
        expected=expected,
        noticed=noticed,
    )
    types = await store.types(appended.stream_id, appended.first_version, appended.last_version)
    return Changed(
        evidence_id=appended.stream_id,
        version=appended.last_version,
        position=appended.last_position,
        events=tuple(name.removesuffix(".v1") for name in types),
    )

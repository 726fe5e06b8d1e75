"""A command to an item of evidence."""

from collections.abc import Callable, Sequence
from uuid import UUID

from services.cases.evidence.domain.commands import EvidenceCommand
from services.cases.evidence.domain.decide import decide
from services.cases.evidence.domain.events import EvidenceEvent
from services.cases.evidence.domain.item import Item, fold
from services.cases.once import Done, do_once
from services.cases.store import EventStore

__all__ = ["UnknownEvidenceError", "change"]


class UnknownEvidenceError(Exception):
    """There is no item of that id."""


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
) -> Done:
    """Do *command*, as `do_once` does; UnknownEvidenceError unless it *registers* an item."""

    async def read() -> tuple[Item, int]:
        history = await store.read_evidence(evidence_id)
        if not history.version and not registers:
            raise UnknownEvidenceError(str(evidence_id))
        return fold(history.events), history.version

    async def decided(item: Item) -> Sequence[EvidenceEvent]:
        return decide(item, command)

    return await do_once(
        store,
        evidence_id,
        read,
        decided,
        command_id=command_id,
        digest=digest,
        expected=expected,
        noticed=noticed,
    )

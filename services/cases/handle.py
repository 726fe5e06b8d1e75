"""Commands to an incident: several at once as one, with what they have to know of others."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from uuid import UUID

from services.cases.counterparts import MERGE, informed
from services.cases.domain.commands import Command, MergeInto
from services.cases.domain.events import Event
from services.cases.domain.incident import Incident, decide, evolve, fold
from services.cases.once import Done, do_once
from services.cases.store import EventStore

__all__ = ["UnknownIncidentError", "decide_all", "handle"]


class UnknownIncidentError(Exception):
    """There is no incident of that id."""


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
    """Do *commands* as one, as `do_once` does; UnknownIncidentError unless it *opens* one."""

    async def read() -> tuple[Incident, int]:
        history = await store.read(incident_id)
        if not history.version and not opens:
            raise UnknownIncidentError(str(incident_id))
        return fold(history.events), history.version

    async def decided(incident: Incident) -> list[Event]:
        asked = [await informed(store, incident_id, command) for command in commands]
        return decide_all(incident, asked)

    merges = any(isinstance(command, MergeInto) for command in commands)
    async with store.alone(MERGE) if merges else nullcontext():
        return await do_once(
            store,
            incident_id,
            read,
            decided,
            command_id=command_id,
            digest=digest,
            expected=expected,
            noticed=noticed,
        )

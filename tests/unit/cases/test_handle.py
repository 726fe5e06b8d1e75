"""The shell: it retries a lost race, unless the caller named a version; it does a thing once."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from services.cases.domain import commands as c
from services.cases.domain.errors import NotAllowed
from services.cases.domain.events import NoteAdded
from services.cases.handle import UnknownIncidentError, handle
from services.cases.once import ATTEMPTS, Done
from services.cases.store import AnyEvent, Appended, VersionConflict
from shared.ids import uuid7
from tests.support.incidents import NOW, SR, ST, SYS, command, detection, story
from tests.support.memory_store import MemoryStore

pytestmark = pytest.mark.unit


class Contested(MemoryStore):
    """A store where somebody else is faster, *losses* times."""

    def __init__(self, losses: int) -> None:
        super().__init__()
        self.losses = losses

    async def append(
        self,
        stream_id: UUID,
        events: Sequence[AnyEvent],
        *,
        expected: int,
        command_id: UUID,
        digest: str,
    ) -> Appended:
        if self.losses:
            self.losses -= 1
            other = NoteAdded(actor=SR, at=NOW, note_id=uuid7(), text="first")
            await super().append(
                stream_id, [other], expected=expected, command_id=uuid7(), digest="o"
            )
        return await super().append(
            stream_id, events, expected=expected, command_id=command_id, digest=digest
        )


async def opened(store: MemoryStore) -> UUID:
    incident = uuid7()
    await MemoryStore.append(
        store, incident, story()[:6], expected=0, command_id=uuid7(), digest="d"
    )
    return incident


async def give(
    store: MemoryStore, incident: UUID, *orders: c.Command, expected: int | None = None
) -> Done:
    return await handle(store, incident, orders, command_id=uuid7(), digest="d", expected=expected)


async def test_a_lost_race_is_decided_again_on_what_is_new() -> None:
    store = Contested(losses=ATTEMPTS - 1)
    incident = await opened(store)
    done = await give(store, incident, command(c.SetSeverity, ST))
    assert done.events == ("SeveritySet",)
    assert done.version == 6 + ATTEMPTS


async def test_it_gives_up_in_the_end() -> None:
    store = Contested(losses=ATTEMPTS)
    incident = await opened(store)
    with pytest.raises(VersionConflict):
        await give(store, incident, command(c.SetSeverity, ST))


async def test_who_named_a_version_is_told_at_once() -> None:
    store = Contested(losses=1)
    incident = await opened(store)
    with pytest.raises(VersionConflict) as conflict:
        await give(store, incident, command(c.SetSeverity, ST), expected=6)
    assert conflict.value.current == 7
    with pytest.raises(VersionConflict):
        await give(store, incident, command(c.SetSeverity, ST), expected=3)


async def test_several_commands_are_all_or_nothing() -> None:
    store = MemoryStore()
    incident = await opened(store)
    with pytest.raises(NotAllowed):
        await give(store, incident, command(c.SetSeverity, ST), command(c.CloseIncident, SR))
    assert (await store.read(incident)).version == 6
    done = await give(store, incident, command(c.SetSeverity, ST), command(c.EscalateIncident, ST))
    assert done.events == ("SeveritySet", "IncidentEscalated")


async def test_what_does_not_exist_is_not_opened_by_accident() -> None:
    with pytest.raises(UnknownIncidentError):
        await give(MemoryStore(), uuid7(), command(c.AddNote, SR))


async def test_the_same_command_id_is_answered_from_what_was_done() -> None:
    store = MemoryStore()
    incident = await opened(store)
    command_id = uuid7()
    woken: list[int] = []
    attach = command(c.AttachDetections, SYS, detections=(detection(9, "198.51.100.1"),), count=2)
    answers = [
        await handle(
            store,
            incident,
            [attach],
            command_id=command_id,
            digest="d",
            noticed=lambda: woken.append(1),
        )
        for _ in range(2)
    ]
    for done in answers:
        assert (done.version, done.events) == (8, ("DetectionsAttached", "IndicatorLinked"))
    assert [done.replayed for done in answers] == [False, True]
    assert len(woken) == 1

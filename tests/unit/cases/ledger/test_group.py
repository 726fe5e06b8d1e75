"""Group commit: who asks again at once finds the connection still there."""

import asyncio
from collections.abc import Sequence

import pytest

from services.cases.ledger.group import Ask, GroupCommit, Result
from services.cases.store import Appended
from shared.ids import uuid7

pytestmark = pytest.mark.unit


def ask() -> Ask:
    return Ask(
        stream_id=uuid7(),
        events=(),
        encoded=(),
        event_ids=(),
        keys=frozenset(),
        expected=0,
        command_id=uuid7(),
        digest="d",
    )


async def test_the_connection_is_let_go_only_when_nothing_comes_for_a_moment() -> None:
    idle, let_go = asyncio.Event(), list[int]()
    committed = 0

    async def commit(asks: Sequence[Ask]) -> Sequence[Result]:
        nonlocal committed
        committed += len(asks)
        return [
            Appended(
                stream_id=a.stream_id,
                first_version=1,
                last_version=1,
                last_position=1,
                replayed=False,
            )
            for a in asks
        ]

    async def give_back() -> None:
        let_go.append(committed)
        idle.set()

    group = GroupCommit(commit, give_back)
    for _ in range(50):  # one after the other: the queue is empty after each
        await group.submit(ask())
    await asyncio.wait_for(idle.wait(), 60)
    assert let_go == [50]
    await group.submit(ask())  # and it goes on after that
    assert committed == 51
    await group.close()
    assert let_go == [50, 51]

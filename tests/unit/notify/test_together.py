"""Calls that come while one is under way share the next; none is lost, whoever gives up."""

import asyncio
from collections.abc import Sequence

import pytest

from services.notify.together import Together

pytestmark = pytest.mark.unit


class Work:
    """Doubles numbers once the gate is open; refuses 13."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.gate = asyncio.Event()

    async def __call__(self, asked: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(asked))
        await self.gate.wait()
        if 99 in asked:
            raise OSError("away")
        return [ValueError("unlucky") if n == 13 else 2 * n for n in asked]


async def begun(work: Work) -> None:
    while not work.groups:  # noqa: ASYNC110 - a turn of the loop, not a time
        await asyncio.sleep(0)


async def test_what_comes_meanwhile_goes_together_and_errors_are_each_ones_own() -> None:
    work = Work()
    together = Together(work)
    first = asyncio.create_task(together(1))
    await begun(work)
    rest = [asyncio.create_task(together(n)) for n in (2, 13, 4)]
    await asyncio.sleep(0)
    work.gate.set()
    assert await first == 2
    answers = await asyncio.gather(*rest, return_exceptions=True)
    assert [answers[0], answers[2]] == [4, 8]
    assert isinstance(answers[1], ValueError)
    assert work.groups == [[1], [2, 13, 4]]
    lost = await asyncio.gather(together(99), together(5), return_exceptions=True)
    assert [type(one) for one in lost] == [OSError, OSError]


async def test_whoever_leads_and_is_cancelled_takes_nobody_along() -> None:
    work = Work()
    together = Together(work)
    leader = asyncio.create_task(together(1))
    await begun(work)
    waits, gives_up = asyncio.create_task(together(2)), asyncio.create_task(together(3))
    await asyncio.sleep(0)
    leader.cancel()
    gives_up.cancel()
    await asyncio.gather(leader, gives_up, return_exceptions=True)
    work.gate.set()
    assert await waits == 4
    assert leader.cancelled()
    assert work.groups == [[1], [2]]

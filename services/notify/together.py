"""Calls that come while one is under way go together in the next one: one transaction for many.

Nobody waits for company: a lone call is made at once. Under load the calls that came meanwhile
share what a transaction costs, as with the group commit of a log.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Together"]

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")

MOST = 100  # in one call


class Together(Generic[Ask, Answer]):
    """Hands to *work* what was asked for in the meantime, one call at a time.

    *work* returns an answer, or the error that stands for it, for each that it was asked for; what
    it raises is everybody's.
    """

    def __init__(self, work: Callable[[Sequence[Ask]], Awaitable[Sequence[Answer | Exception]]]):
        self._work = work
        self._waiting: deque[tuple[Ask, asyncio.Future[Answer]]] = deque()
        self._turn = asyncio.Lock()

    async def __call__(self, ask: Ask) -> Answer:
        """Return the answer to *ask*. Whoever is cancelled takes nobody else along."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, answer))
        try:
            async with self._turn:
                while not answer.done():
                    await self._lead()
        except asyncio.CancelledError:
            answer.cancel()
            raise
        return answer.result()

    async def _lead(self) -> None:
        await asyncio.sleep(0)  # those who were answered together ask together
        group: list[tuple[Ask, asyncio.Future[Answer]]] = []
        while self._waiting and len(group) < MOST:
            pair = self._waiting.popleft()
            if not pair[1].done():
                group.append(pair)
        try:
            found = await self._work([ask for ask, _ in group])
        except asyncio.CancelledError:
            self._waiting.extendleft(reversed(group))  # the next in turn leads
            raise
        except Exception as error:  # noqa: BLE001 - it is handed to those who wait
            found = [error] * len(group)
        for (_, answer), one in zip(group, found, strict=True):
            if answer.done():
                continue
            if isinstance(one, Exception):
                answer.set_exception(one)
            else:
                answer.set_result(one)

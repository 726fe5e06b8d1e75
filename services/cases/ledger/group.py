"""Group commit: appends that arrive while one is being committed go together in the next call.

Nobody waits for company: an idle log takes a lone append at once. Under load a transaction carries
as many as came meanwhile, so its fsync is shared (docs/adr/0009-tamper-evidence.md has figures).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.cases.codec import Encoded
from services.cases.store import AnyEvent, Appended
from shared.db import is_transient

__all__ = ["Ask", "GroupCommit", "Result"]

MOST_ASKS = 64
MOST_EVENTS = 1000
IDLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One append that somebody waits for."""

    stream_id: UUID
    expected: int
    command_id: UUID
    digest: str
    events: Sequence[AnyEvent] = ()
    encoded: Sequence[Encoded] = ()
    event_ids: Sequence[UUID] = ()
    keys: frozenset[str] = frozenset()
    """What *encoded* is sealed under: none of them may be destroyed when it is stored."""


Result = Appended | Exception | None  # None: it has to wait for one that went before it
Commit = Callable[[Sequence[Ask]], Awaitable[Sequence[Result]]]


class GroupCommit:
    """Runs *commit*, one call at a time, over what was submitted in the meantime."""

    def __init__(self, commit: Commit, idle: Callable[[], Awaitable[None]]) -> None:
        """*idle* is called when nothing came for a moment, after one *commit* or many."""
        self._commit = commit
        self._idle = idle
        self._queue: list[tuple[Ask, asyncio.Future[Appended]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._closing = False

    def submit(self, ask: Ask) -> asyncio.Future[Appended]:
        """Return what *ask* will come to; a caller who goes away does not take the append along."""
        answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._queue.append((ask, answer))
        self._arrived.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return answer

    def _take(self) -> list[tuple[Ask, asyncio.Future[Appended]]]:
        """Return the next group: a command id once, the others keep their turn."""
        taken: list[tuple[Ask, asyncio.Future[Appended]]] = []
        left: list[tuple[Ask, asyncio.Future[Appended]]] = []
        busy: set[UUID] = set()
        events = 0
        for pair in self._queue:
            ask = pair[0]
            fits = len(taken) < MOST_ASKS and (not taken or events + len(ask.events) <= MOST_EVENTS)
            if fits and ask.command_id not in busy:
                taken.append(pair)
                events += len(ask.events)
            else:
                left.append(pair)
            busy.add(ask.command_id)
        self._queue = left
        return taken

    async def _work(self) -> None:
        while self._queue:
            await self._work_off()
            if not await self._more():
                await self._idle()

    async def _more(self) -> bool:
        """Wait for a moment: those who were answered just now are often the next to ask."""
        self._arrived.clear()
        if self._closing or self._queue:
            return bool(self._queue)
        try:
            await asyncio.wait_for(self._arrived.wait(), IDLE_SECONDS)
        except TimeoutError:
            return False
        return bool(self._queue)

    async def close(self) -> None:
        """Finish what was submitted and do not wait for more: *idle* is called now."""
        self._closing = True
        self._arrived.set()
        if self._worker is not None:
            await asyncio.wait([self._worker])

    async def _work_off(self) -> None:
        while group := self._take():
            results = await self._results([ask for ask, _ in group])
            waiting = []
            for (ask, answer), result in zip(group, results, strict=True):
                if answer.done():  # the event loop is closing
                    continue
                if result is None:
                    waiting.append((ask, answer))
                elif isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)
            self._queue[:0] = waiting

    async def _results(self, asks: Sequence[Ask]) -> Sequence[Result]:
        try:
            return await self._commit(asks)
        except Exception as error:  # noqa: BLE001 - it is handed to those who wait
            if len(asks) == 1 or is_transient(error):
                return [error] * len(asks)
        # One of them cannot be stored at all; the others must not suffer for it.
        return [(await self._results([ask]))[0] for ask in asks]

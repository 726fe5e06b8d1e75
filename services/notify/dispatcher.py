"""Reconciler: what is approved and due → its channel → the proof, recorded (§2.4, I8).

A crash between the remote's acceptance and our commit sends the same message again under the same
id: a receiver that knows ids sees it once, and a legal notice is never dropped. That window is
the one honest limit. It is as wide as there are workers: each waits until its outcome is recorded.
What they take and what they record goes together, so that a transaction carries many.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from itertools import chain, repeat
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notify import ledger
from services.notify.breaker import Breaker
from services.notify.channel import Channel, DeliveryError, Proof
from services.notify.ledger import Lease, Outcome
from services.notify.obligations.book import ObligationBook
from services.notify.outcomes import Outcomes
from services.notify.schedule import delay_after
from services.notify.together import Together
from shared.clock import Clock
from shared.db import is_transient
from shared.ids import jitter

__all__ = ["Dispatcher"]

log = structlog.get_logger()
_attempts = Counter("tocsin_notify_attempts_total", "Attempts to notify", ["channel", "outcome"])
_paused = Gauge(
    "tocsin_notify_relay_paused", "1 while a relay does not answer and is left alone", ["channel"]
)

_RECORD_DELAYS = (0.2, 1.0, 2.0)  # while the database is away
SEEN_THROUGH = 4.0  # seconds that a message on its way has when the service stops


class Dispatcher:
    """Sends one due notification at a time; run as many of it side by side as wanted."""

    def __init__(
        self,
        engine: AsyncEngine,
        channels: Mapping[str, Channel],
        clock: Clock,
        lease_seconds: float,
        book: ObligationBook,
        on_outgoing: Callable[[], None],
    ) -> None:
        self._engine, self._channels, self._clock = engine, channels, clock
        self._lease = timedelta(seconds=lease_seconds)
        self._on_outgoing = on_outgoing
        self._relays = {channel: Breaker() for channel in channels}
        self._next = Together(self._take)
        self._record = Together(Outcomes(engine, clock, book).write)

    async def dispatch_once(self) -> int:
        """Send the notification that has been due for longest; return 0 when none is."""
        lease = await self._next(None)
        if lease is None:
            return 0
        await _see_through(self._attempt(lease))
        return 1

    async def _take(self, asked: Sequence[None]) -> list[Lease | None]:
        """Return a lease for each who asked, as far as there are any."""
        now = self._clock()
        found: list[Lease] = []
        async with self._engine.begin() as connection:
            room = {name: relay.room(len(asked), now) for name, relay in self._relays.items()}
            probed = [name for name, most in room.items() if 0 < most < len(asked)]
            free = [name for name, most in room.items() if most == len(asked)]
            for channels, most in (*(([name], 1) for name in probed), (free, len(asked))):
                if channels and (left := min(most, len(asked) - len(found))):
                    found += await ledger.take(
                        connection, now, self._lease, channels=channels, most=left
                    )
        for name in {lease.channel for lease in found}:
            self._relays[name].taken(now)
        return [*found, *[None] * (len(asked) - len(found))]

    async def _attempt(self, lease: Lease) -> None:
        try:
            answer: Proof | DeliveryError = await self._channels[lease.channel].send(
                lease.notification
            )
        except DeliveryError as error:
            answer = error
        except Exception as error:
            # A bug of ours is the tenant's loss unless it is treated like any other failure.
            log.exception("channel failed", notification=str(lease.notification.id))
            answer = DeliveryError(f"{type(error).__name__}: {error}", retryable=True)
        self._heard(lease, answer)
        outcome = Outcome(lease=lease, answer=answer, wait=_wait(lease, answer))
        await self._persist(outcome)
        self._on_outgoing()
        self._tell(outcome)

    def _heard(self, lease: Lease, answer: Proof | DeliveryError) -> None:
        """Leave a relay alone that does not answer, until one message finds it answering."""
        relay = self._relays[lease.channel]
        if isinstance(answer, Proof) or not answer.relay_down:
            if relay.answered():
                log.info("relay answers again", channel=lease.channel)
                _paused.labels(lease.channel).set(0)
        elif relay.failed(lease.begun, self._clock()):
            log.error(
                "relay does not answer",
                channel=lease.channel,
                failures=relay.failures,
                pause=relay.pause.total_seconds(),
                answer=answer.answer,
            )
            _paused.labels(lease.channel).set(1)

    async def _persist(self, outcome: Outcome) -> None:
        """Record the outcome, for as long as it is ours to record: what is not is sent again."""
        for delay in chain(_RECORD_DELAYS, repeat(_RECORD_DELAYS[-1])):
            try:
                await self._record(outcome)
            except Exception as error:
                end = self._clock() + timedelta(seconds=delay)
                if not is_transient(error) or end >= outcome.lease.until:
                    raise
            else:
                return
            await asyncio.sleep(delay)

    def _tell(self, outcome: Outcome) -> None:
        lease, answer, wait = outcome.lease, outcome.answer, outcome.wait
        if isinstance(answer, Proof):
            _attempts.labels(lease.channel, "sent").inc()
            return
        _attempts.labels(lease.channel, "failed" if wait is None else "retry").inc()
        log.warning(
            "not delivered",
            notification=str(lease.notification.id),
            channel=lease.channel,
            attempt=lease.attempt,
            answer=answer.answer,
            again=wait and (self._clock() + wait).isoformat(),
        )


def _wait(lease: Lease, answer: Proof | DeliveryError) -> timedelta | None:
    """Return how long what was not delivered waits; None: it is not tried again by itself."""
    if isinstance(answer, Proof) or not answer.retryable:
        return None
    # What the relay did not answer is no attempt of the message, which goes on waiting for it.
    wait = delay_after(lease.channel, 1 if answer.relay_down else lease.attempt)
    if wait is None:
        return None
    # Jitter may shorten our own schedule, never the time that the receiver asked for.
    return timedelta(seconds=max(jitter(wait.total_seconds()), answer.retry_after or 0.0))


async def _see_through(work: Coroutine[Any, Any, None]) -> None:
    """Await *work*; when cancelled, let it end if it soon does: what is cut off is sent twice."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SEEN_THROUGH
        while not task.done() and (left := deadline - loop.time()) > 0:
            with contextlib.suppress(asyncio.CancelledError):  # whoever stops us says so again
                await asyncio.wait({task}, timeout=left)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise

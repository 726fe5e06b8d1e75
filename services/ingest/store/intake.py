"""EVENTS into the store: batches of blocks, written, committed, acknowledged, in that order.

A crash before the commit leaves files that no manifest names (the janitor takes them) and blocks
that come again; a crash after it leaves blocks that come again and are known. Two writers with the
same block: the second one's commit is refused whole, and it writes the rest anew.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import nats.errors
import structlog
from nats.aio.msg import Msg
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.store import manifest
from services.ingest.store.batch import Block, Store, Written, write_batch
from services.ingest.store.process import StoreProcess, StoreProcessError
from shared.bus import Bus, BusUnavailableError
from shared.clock import Clock
from shared.consume import dead_letter
from shared.db import is_transient
from shared.ids import derived_id, jitter
from shared.topology import DLQ, consumer

__all__ = ["Batching", "Intake"]

FETCH = 64
SILENT = 0.5

log = structlog.get_logger()
_stored = Counter("tocsin_ingest_events_stored_total", "Events in the log store", ["source"])
_seconds = Histogram("tocsin_ingest_store_batch_seconds", "Time to write and commit a batch")
_behind = Gauge("tocsin_ingest_store_last_seq", "Number of the newest block that was stored")


@dataclass(frozen=True, slots=True)
class Batching:
    """When a batch is full: whichever comes first. Counted in events, bytes as they came."""

    seconds: float
    events: int
    size: int = 24 << 20


class Intake:
    """Consumes `ingest-store`; runs until cancelled."""

    def __init__(
        self,
        bus: Bus,
        engine: AsyncEngine,
        store: Store,
        process: StoreProcess,
        batching: Batching,
        clock: Clock,
    ) -> None:
        self._bus, self._engine, self._store, self._process = bus, engine, store, process
        self._batching, self._clock = batching, clock
        self._spec = consumer("ingest-store")

    async def run(self) -> None:
        """Store what comes, the broker and the database there or not."""
        while True:
            try:
                await self._consume()
            except BusUnavailableError:
                await asyncio.sleep(jitter(0.5))
            except (nats.errors.Error, OSError, ValueError) as error:
                log.warning("store interrupted", error=repr(error))
                await asyncio.sleep(jitter(1.0))

    async def _consume(self) -> None:
        reconnects = self._bus.reconnects
        subscription = await self._bus.jetstream().pull_subscribe_bind(
            self._spec.durable, self._spec.stream
        )
        messages: list[Msg] = []
        alive = asyncio.create_task(_keep_alive(messages, self._spec.ack_wait / 3))
        try:
            while self._bus.reconnects == reconnects:
                await self._gather(subscription, messages)
                if messages:
                    await self._store_all(messages)
                    messages.clear()
        finally:
            alive.cancel()
            with contextlib.suppress(nats.errors.Error, OSError):
                for message in messages:
                    await message.nak()
                await subscription.unsubscribe()

    async def _gather(self, subscription: object, messages: list[Msg]) -> None:
        """Fill *messages* up to one batch."""
        loop = asyncio.get_running_loop()
        ends = None
        events = size = 0
        while events < self._batching.events and size < self._batching.size:
            wait = SILENT if ends is None else min(SILENT, ends - loop.time())
            if wait <= 0:
                return
            try:
                found: list[Msg] = await subscription.fetch(FETCH, timeout=wait)  # type: ignore[attr-defined]
            except (TimeoutError, nats.errors.TimeoutError):
                if ends is None:
                    return
                continue
            messages += found
            size += sum(len(message.data) for message in found)
            events += sum(_count(message) for message in found)
            ends = ends or loop.time() + self._batching.seconds

    async def _store_all(self, messages: Sequence[Msg]) -> None:
        """Return once every message is stored and acknowledged; tries for as long as it takes."""
        pause = 0.2
        while True:
            try:
                await self._store_batch([_block(message) for message in messages])
                break
            except Exception as error:
                # Whatever it is, what was accepted stays in EVENTS until it is stored.
                if is_transient(error) or isinstance(
                    error, StoreProcessError | BusUnavailableError
                ):
                    log.warning("store will retry", error=repr(error))
                else:
                    log.exception("store failed; will retry")
            await asyncio.sleep(jitter(pause))
            pause = min(pause * 2, 10.0)
        for message in messages:
            await message.ack()
        await self._bus.client.flush(5)

    async def _store_batch(self, blocks: Sequence[Block]) -> None:
        unique = {block.id: block for block in blocks}
        known = await manifest.known_blocks(self._engine, list(unique))
        again = [b.seq for b in blocks if known.get(b.id, unique[b.id].seq) != b.seq]
        if again:
            await manifest.note_again(self._engine, again, self._clock())
        fresh = [block for block in unique.values() if block.id not in known]
        if not fresh:
            return
        with _seconds.time():
            written = await self._process.run(write_batch, self._store, fresh)
            await self._bury(fresh, written)
            try:
                await manifest.commit(self._engine, fresh, written, self._clock())
            except manifest.AlreadyStoredError:
                # Its files are left to the janitor: the other writer's may bear the same names.
                await self._store_batch(fresh)
                return
        for file in written.files:
            _stored.labels(file.source_id).inc(file.facts.rows)
        _behind.set(max(block.seq for block in fresh))

    async def _bury(self, blocks: Sequence[Block], written: Written) -> None:
        """Move blocks that are none to the dead letters, before they count as dealt with."""
        for block in blocks:
            if reason := written.bad.get(block.id):
                log.error("dead letter", consumer=self._spec.durable, reason=reason, seq=block.seq)
                dead = dead_letter(
                    self._spec, self._spec.filter_subject, block.headers, block.body, block.seq,
                    reason,
                )  # fmt: skip
                await self._bus.publish(dead, stream=DLQ.name)


async def _keep_alive(messages: list[Msg], seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        for message in list(messages):
            with contextlib.suppress(nats.errors.Error, OSError):
                await message.in_progress()


def _count(message: Msg) -> int:
    told = (message.headers or {}).get("tocsin-count", "")
    return int(told) if told.isdecimal() else 1


def _block(message: Msg) -> Block:
    headers = dict(message.headers or {})
    seq = message.metadata.sequence.stream
    try:
        identity = UUID(headers.get("ce-id", ""))
    except ValueError:  # it will be found to be no block, and needs a name for that
        identity = derived_id("nameless-block", seq)
    return Block(identity, seq, headers, message.data)

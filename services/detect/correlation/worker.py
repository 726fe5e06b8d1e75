"""One partition after another: matches in by sequence, detections out, state kept for a restart.

What a partition has decided is committed together with how far it read, so no restart can lose or
double it. Its state is saved now and then, with the sequence that it is of; a restart loads it and
reads again from there, quietly up to where its effects are known already.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
import zstandard
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.detect.correlation import metrics
from services.detect.correlation.engine import Engine
from services.detect.correlation.evidence import detection_of_firing, messages_of
from services.detect.correlation.extract import Extractor, microseconds
from services.detect.correlation.firing import Firing, Outcome
from services.detect.correlation.messages import Batch, decode, match_subject, tick
from services.detect.correlation.model import SECOND
from services.detect.correlation.plan import Plan
from services.detect.correlation.snapshot import dump, load
from services.detect.correlation.store import (
    StolenError,
    load_progress,
    move_cursor,
    save_snapshot,
    tally,
)
from services.detect.store import record_detections
from shared.bus import Bus, BusUnavailableError, Stored
from shared.clock import Clock
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.ingest import Envelope
from shared.db import is_transient
from shared.ids import jitter
from shared.topology import MATCHES

__all__ = ["Correlator", "Rules", "RulesSource"]

READ = 64  # messages at a time
AT_ONCE = 1  # partitions: they share an interpreter
LOOK_SECONDS = 0.2
TICK_SECONDS = 1.0
OWN_SECONDS = 5.0
SNAPSHOT_MESSAGES = 5_000
SNAPSHOT_SECONDS = 30.0
SNAPSHOT_SHARE = 20  # a snapshot may take one part in so many of a worker's time

log = structlog.get_logger()

# A name of its own for each database: schemas of several platforms may share a server.
_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('detect correlation ' || :p, 0))")


class Rules(Protocol):
    """What correlation needs of the rules in force; another plan is another object."""

    @property
    def plan(self) -> Plan: ...

    @property
    def extractor(self) -> Extractor: ...


class RulesSource(Protocol):
    async def in_force(self) -> Rules:
        """Return the rules in force, waiting for the first."""


class Correlator:
    """Runs the partitions that no other process runs; *found* is called after new detections."""

    def __init__(
        self,
        engine: AsyncEngine,
        bus: Bus,
        ruleset: RulesSource,
        found: Callable[[], None],
        clock: Clock,
        *,
        partitions: int,
        lateness: float,
        groups: int,
    ) -> None:
        self._engine, self._bus, self._ruleset = engine, bus, ruleset
        self._found, self._clock = found, clock
        self._partitions = partitions
        self._lateness = int(lateness * SECOND)
        self._groups = groups
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Take partitions and run them until cancelled, database there or not."""
        while True:
            try:
                async with self._engine.connect() as connection:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                    try:
                        await self._own(connection)
                    finally:
                        # Locks are the session's: it must end here, not go back to the pool.
                        await connection.invalidate()
            except Exception as error:
                if not is_transient(error):
                    log.exception("correlation interrupted")
                else:
                    log.warning("correlation interrupted", error=str(error))
                await asyncio.sleep(jitter(1.0))

    async def _own(self, connection: AsyncConnection) -> None:
        """Hold the partitions that are free, for as long as *connection* lives."""
        running: dict[int, asyncio.Task[None]] = {}
        try:
            while True:
                for partition in range(self._partitions):
                    task = running.get(partition)
                    if task is None:
                        # A session's locks end with it; asking is how its end is noticed.
                        if await connection.scalar(_LOCK, {"p": str(partition)}):
                            running[partition] = asyncio.create_task(self._run(partition))
                    elif task.done():
                        task.result()
                await connection.execute(text("SELECT 1"))
                await asyncio.sleep(jitter(OWN_SECONDS))
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    async def _run(self, partition: int) -> None:
        while True:
            try:
                worker = Partition(
                    partition, self._engine, self._bus, self._ruleset, self._found,
                    self._clock, self._lateness, self._groups, self._turns,
                )  # fmt: skip
                await worker.run()
            except (StolenError, BusUnavailableError) as error:
                log.warning("partition begins again", partition=partition, error=str(error))
            except Exception as error:
                if not is_transient(error):
                    log.exception("partition begins again", partition=partition)
                else:
                    log.warning("partition begins again", partition=partition, error=str(error))
            await asyncio.sleep(jitter(1.0))


class Partition:
    """The state of one partition in this process."""

    def __init__(
        self,
        number: int,
        engine: AsyncEngine,
        bus: Bus,
        ruleset: RulesSource,
        found: Callable[[], None],
        clock: Clock,
        lateness: int,
        groups: int,
        turns: asyncio.Semaphore,
    ) -> None:
        self._turns = turns
        self._number, self._engine, self._bus = number, engine, bus
        self._ruleset, self._found, self._clock = ruleset, found, clock
        self._lateness, self._groups = lateness, groups
        self._seq = 0
        self._now = 0
        self._saved = 0
        self._saved_at = time.monotonic()
        self._cost = 0.0

    async def run(self) -> None:
        """Load the state and go on from it; ends by an error only."""
        self._rules: Rules = await self._ruleset.in_force()
        self._correlations = Engine(self._rules.plan, lateness=self._lateness, groups=self._groups)
        progress = await load_progress(self._engine, self._number)
        unpacked = map(zstandard.ZstdDecompressor().decompress, progress.state)
        await asyncio.to_thread(load, self._correlations, unpacked)
        self._seq = self._saved = progress.snapshot_seq
        self._now = self._correlations.newest_at
        self._known = progress.seq
        quiet = time.monotonic()
        while True:
            messages = await self._bus.stored(
                MATCHES.name, match_subject(self._number), self._seq, READ
            )
            # After reading: whoever sent these may have known rules that came meanwhile.
            await self._follow_rules()
            if messages:
                await self._take(messages)
                quiet = time.monotonic()
            elif self._seq < self._known:
                await self._after_loss()
            else:
                if self._correlations.restless and time.monotonic() - quiet > TICK_SECONDS:
                    now = microseconds(self._clock())
                    await self._bus.publish(tick(self._number, now), stream=MATCHES.name)
                    quiet = time.monotonic()
                await self._save_now_and_then()
                await asyncio.sleep(LOOK_SECONDS)

    async def _follow_rules(self) -> None:
        """Take new rules; those that stayed as they were go on in the middle of their windows."""
        rules = await self._ruleset.in_force()
        if rules.plan is self._rules.plan:
            return
        fresh = Engine(rules.plan, lateness=self._lateness, groups=self._groups)
        await asyncio.to_thread(lambda: load(fresh, dump(self._correlations)))
        self._rules, self._correlations = rules, fresh
        if self._seq == self._known:
            await self._save()

    async def _take(self, messages: Sequence[Stored]) -> None:
        async with self._turns:
            outcome, matches = await asyncio.to_thread(self._correlate, messages)
        to = messages[-1].seq
        # What was read again after a restart had its effect before it.
        if to > self._known:
            await self._commit(outcome, to)
            metrics.updates.inc(matches)
            self._known = to
        self._seq = to
        await self._save_now_and_then()

    def _correlate(self, messages: Sequence[Stored]) -> tuple[Outcome, int]:
        """Return what *messages* decided, and how many matches were new in them."""
        outcome, matches = Outcome(), 0
        for message in messages:
            seq, batch = message.seq, decode_or_none(message)
            if batch is None:
                continue
            self._now = max(self._now, batch.at)
            self._correlations.feed(batch.matches_at(seq), self._now)
            found = self._correlations.advance(self._now)
            if seq > self._known:
                outcome.firings += found.firings
                outcome.tallies += found.tallies
                matches += len(batch.matches)
        return outcome, matches

    async def _commit(self, outcome: Outcome, to: int) -> None:
        speaking = [
            firing
            for firing in outcome.firings
            if firing.step.rule.id not in self._rules.plan.silent
        ]
        detections = await self._detections(speaking)
        async with self._engine.begin() as connection:
            await move_cursor(connection, self._number, self._known, to)
            fresh = await record_detections(connection, detections)
            await tally(connection, outcome.tallies)
        for firing in outcome.firings:
            metrics.fired.labels(firing.step.rule.id).inc()
        for (rule, what), times in self._correlations.counts.items():
            metrics.counts.labels(rule, what).inc(times)
        self._correlations.counts.clear()
        metrics.groups.labels(str(self._number)).set(self._correlations.groups)
        if fresh:
            self._found()

    async def _detections(self, firings: Sequence[Firing]) -> list[DetectionRaisedV1]:
        """Return *firings* as detections, with their events; each message is read once."""
        events: dict[int, list[Envelope]] = {}
        for seq in {seq for firing in firings for seq in messages_of(firing)}:
            found = await self._bus.stored(MATCHES.name, match_subject(self._number), seq - 1, 1)
            if found and found[0].seq == seq and (batch := decode_or_none(found[0])):
                events[seq] = batch.envelopes()
        now = self._clock()
        return [
            detection_of_firing(firing, events, self._rules.extractor, now) for firing in firings
        ]

    async def _after_loss(self) -> None:
        """The stream has less than was read before: it was made anew, and so its numbers are."""
        last = await self._bus.last_sequence(MATCHES.name)
        if last >= self._known:
            # Only what the snapshot had not is gone (age, or room): go on from what was known.
            metrics.lost.inc(self._known - self._seq)
            log.error("matches are gone", partition=self._number, after=self._seq)
            self._seq = self._known
            return
        log.error("MATCHES lost its data; counting begins anew", partition=self._number)
        async with self._engine.begin() as connection:
            await move_cursor(connection, self._number, self._known, 0)
        self._seq = self._known = 0
        await self._save()

    async def _save_now_and_then(self) -> None:
        """Save the state where that is due, and no more often than it is cheap."""
        since = time.monotonic() - self._saved_at
        due = self._seq - self._saved >= SNAPSHOT_MESSAGES or (
            self._seq > self._saved and since > SNAPSHOT_SECONDS
        )
        if due and since > self._cost * SNAPSHOT_SHARE and self._seq == self._known:
            await self._save()

    async def _save(self) -> None:
        begun = time.monotonic()
        chunks = await asyncio.to_thread(self._pack)
        await save_snapshot(self._engine, self._number, self._seq, chunks)
        self._saved, self._saved_at = self._seq, time.monotonic()
        self._cost = self._saved_at - begun

    def _pack(self) -> list[bytes]:
        packer = zstandard.ZstdCompressor(level=1)
        return [packer.compress(chunk) for chunk in dump(self._correlations)]


def decode_or_none(message: Stored) -> Batch | None:
    """Return the batch in *message*; None, and logged, where it cannot be one of ours."""
    try:
        return decode(message.data)
    except ValueError as error:
        log.warning("not a batch of matches", seq=message.seq, error=str(error))
        return None

"""The log in PostgreSQL: one call of `append_many` is one transaction under the head's lock."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast
from uuid import UUID

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.cases.aggregates import name_of, stored_form
from services.cases.codec import Encoded, Stored, decode, key_ids, plain_of
from services.cases.domain.events import Event
from services.cases.evidence.codec import EVIDENCE_TYPES, decode_evidence
from services.cases.ledger.group import Ask, GroupCommit, Result
from services.cases.review.codec import REVIEW_TYPES, decode_review
from services.cases.sealing.box import Keys, Subject, put_away, subjects
from services.cases.sealing.vault import Vault
from services.cases.store import (
    AnyEvent,
    AnyRecorded,
    Appended,
    CommandReusedError,
    EvidenceHistory,
    History,
    OverloadedError,
    Recorded,
    RecordedEvidence,
    RecordedReview,
    ReviewHistory,
    VersionConflict,
)
from shared.ids import uuid7

__all__ = ["COLUMNS", "PostgresStore", "keys_for", "opened", "recorded"]

MAX_WAITING = 64
NOWHERE = -1  # expected by who stores nothing: no stream is ever at it
HEADS = 10_000  # streams whose last version is remembered
COLUMNS = "position, stream_id, version, event_id, type, schema, data, recorded_at"
PAGE = 500
TRIES, PAUSE = 40, 0.05
SEALINGS = 3  # of one append, each time because a key was destroyed meanwhile
KEY_DESTROYED = "TC004"

_APPEND = f"SELECT * FROM append_sealed({', '.join(f'${n}' for n in range(1, 15))})"  # noqa: S608 - numbers only
_FIND = (
    "SELECT digest, stream_id, first_version, last_version, last_position"
    " FROM commands WHERE command_id = $1"
)
_TYPES = (
    "SELECT type FROM events WHERE stream_id = $1 AND version BETWEEN $2 AND $3 ORDER BY version"
)
_READ = f"SELECT {COLUMNS} FROM events WHERE stream_id = $1 ORDER BY version"  # noqa: S608 - constants only
_AFTER = f"SELECT {COLUMNS} FROM events WHERE position > $1 ORDER BY position LIMIT $2"  # noqa: S608 - constants only
_STREAM = (
    f"SELECT {COLUMNS} FROM events WHERE stream_id = $1 AND version > $2"  # noqa: S608 - constants only
    " ORDER BY version LIMIT $3"
)
_NUMBER = (
    "INSERT INTO incident_numbers (year, last) VALUES ($1, 1)"
    " ON CONFLICT (year) DO UPDATE SET last = incident_numbers.last + 1 RETURNING last"
)

_ALONE = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"

T = TypeVar("T")


def recorded(row: Any, keys: Keys) -> AnyRecorded:
    """Return the event in a row of COLUMNS; its type says of which aggregate it is."""
    place = {
        name: row[name]
        for name in ("position", "stream_id", "version", "event_id", "type", "recorded_at")
    }
    stored = Stored(row["type"], row["schema"], row["data"], row["stream_id"], row["event_id"])
    if row["type"] in EVIDENCE_TYPES:
        return RecordedEvidence(**place, event=decode_evidence(stored, keys))
    if row["type"] in REVIEW_TYPES:
        return RecordedReview(**place, event=decode_review(stored, keys))
    return Recorded(**place, event=decode(stored, keys))


async def opened(
    vault: Vault, rows: Sequence[Any], driver: Any = None, *, now: bool = False
) -> list[AnyRecorded]:
    """Return the events in *rows* of COLUMNS, whatever keys they need looked up at once.

    *now*: a key that is destroyed already, on any replica, opens nothing (`Vault.keys`).
    """
    keys = await keys_for(vault, rows, driver, now=now)
    return [recorded(row, keys) for row in rows]


async def keys_for(
    vault: Vault, rows: Sequence[Any], driver: Any = None, *, now: bool = False
) -> Keys:
    """Return the keys that open *rows* of COLUMNS."""
    ids = {key_id for row in rows for key_id in key_ids(row["schema"], row["data"])}
    return await vault.keys(ids, driver, now=now) if ids else {}


def _result(ask: Ask, row: Any) -> Result:
    """Return what became of *ask* according to a row of `append_many`."""
    if row["outcome"] == "later":
        return None
    if row["outcome"] == "stale":
        return VersionConflict(row["current_version"])
    if row["outcome"] == "reused":
        return CommandReusedError(str(ask.command_id))
    return Appended(
        stream_id=ask.stream_id,
        first_version=row["first_version"],
        last_version=row["last_version"],
        last_position=row["last_position"],
        replayed=row["outcome"] == "known",
    )


def _check_committed(driver: Any) -> None:
    """Refuse to believe an append that ran within a transaction: nothing of it is committed.

    The pool hands out no such connection (`shared.db`); this one is kept from group to group,
    and an acknowledgement must not depend on that. The caller asks again, by command id (§3.2).
    """
    if driver.is_in_transaction():
        raise asyncpg.InterfaceError("the append ran inside another's transaction")


class PostgresStore:
    """The event store of production."""

    def __init__(self, engine: AsyncEngine, vault: Vault, max_waiting: int = MAX_WAITING) -> None:
        self._engine, self._vault = engine, vault
        self._max_waiting = max_waiting
        self._waiting = 0
        self._group = GroupCommit(self._commit, self._let_go)
        self._heads: OrderedDict[UUID, int] = OrderedDict()
        self._going: dict[tuple[UUID, int], asyncio.Task[Any]] = {}
        self._kept: AsyncConnection | None = None

    @asynccontextmanager
    async def _driver(self) -> AsyncIterator[Any]:
        """Yield asyncpg's own connection, where each statement is its own transaction."""
        async with self._engine.connect() as connection:
            yield (await connection.get_raw_connection()).driver_connection

    async def _ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        async with self._driver() as driver:
            return await question(driver)

    async def read(self, stream_id: UUID) -> History:
        rows = await self._ask(lambda d: d.fetch(_READ, stream_id))
        if rows and (rows[0]["type"] in EVIDENCE_TYPES or rows[0]["type"] in REVIEW_TYPES):
            return History((), 0)  # an id of another aggregate is no incident
        found = await opened(self._vault, rows)
        events = tuple(r.event for r in found if isinstance(r, Recorded))
        return History(events, rows[-1]["version"] if rows else 0)

    async def read_evidence(self, stream_id: UUID) -> EvidenceHistory:
        rows = await self._ask(lambda d: d.fetch(_READ, stream_id))
        if rows and rows[0]["type"] not in EVIDENCE_TYPES:
            return EvidenceHistory((), 0)
        found = await opened(self._vault, rows)
        events = tuple(r.event for r in found if isinstance(r, RecordedEvidence))
        return EvidenceHistory(events, rows[-1]["version"] if rows else 0)

    async def read_review(self, stream_id: UUID) -> ReviewHistory:
        rows = await self._ask(lambda d: d.fetch(_READ, stream_id))
        if rows and rows[0]["type"] not in REVIEW_TYPES:
            return ReviewHistory((), 0)
        found = await opened(self._vault, rows)
        events = tuple(r.event for r in found if isinstance(r, RecordedReview))
        return ReviewHistory(events, rows[-1]["version"] if rows else 0)

    async def find(self, command_id: UUID, digest: str) -> Appended | None:
        row = await self._ask(lambda d: d.fetchrow(_FIND, command_id))
        if row is None:
            return None
        # In clear: from before digests were keyed.
        if row["digest"] not in (digest, await self._vault.digest(digest)):
            raise CommandReusedError(str(command_id))
        return Appended(
            stream_id=row["stream_id"],
            first_version=row["first_version"],
            last_version=row["last_version"],
            last_position=row["last_position"],
            replayed=True,
        )

    async def append(
        self,
        stream_id: UUID,
        events: Sequence[AnyEvent],
        *,
        expected: int,
        command_id: UUID,
        digest: str,
    ) -> Appended:
        if self._waiting >= self._max_waiting:
            raise OverloadedError(f"{self._waiting} appends wait for the log")
        self._waiting += 1
        answer = asyncio.create_task(self._append(stream_id, events, expected, command_id, digest))
        answer.add_done_callback(self._answered)
        # A caller who goes away must not leave a COMMIT half asked (delivery reference §3.2).
        return await asyncio.shield(answer)

    async def _append(
        self,
        stream_id: UUID,
        events: Sequence[AnyEvent],
        expected: int,
        command_id: UUID,
        digest: str,
    ) -> Appended:
        place = (stream_id, expected)
        while True:  # of those who want the same place one wins: the others need not seal in vain
            if self._heads.get(stream_id, 0) > expected:
                answer = await self._judged(stream_id, expected, command_id, digest)
                if answer is not None:
                    return answer
            if (rival := self._going.get(place)) is None:
                break
            await asyncio.wait([rival])
        self._going[place] = cast("asyncio.Task[Any]", asyncio.current_task())
        try:
            answer = await self._stored(stream_id, events, expected, command_id, digest)
        except VersionConflict as conflict:
            self._reached(stream_id, conflict.current)
            raise
        finally:
            del self._going[place]
        self._reached(stream_id, answer.last_version)
        return answer

    def _reached(self, stream_id: UUID, version: int) -> None:
        self._heads[stream_id] = max(version, self._heads.pop(stream_id, 0))
        if len(self._heads) > HEADS:
            self._heads.popitem(last=False)

    async def _judged(
        self, stream_id: UUID, expected: int, command_id: UUID, digest: str
    ) -> Appended | None:
        """Return what the log answers to an append that comes too late; None when it does not."""
        ask = Ask(
            stream_id=stream_id,
            expected=NOWHERE,
            command_id=command_id,
            digest=await self._vault.digest(digest),
        )
        try:
            return await self._group.submit(ask)  # the command was obeyed before
        except VersionConflict as conflict:
            if conflict.current > expected:
                raise
        self._heads.pop(stream_id, None)  # the database went back in time
        return None

    async def _stored(
        self,
        stream_id: UUID,
        events: Sequence[AnyEvent],
        expected: int,
        command_id: UUID,
        digest: str,
    ) -> Appended:
        """Seal *events* and have them stored, again if a key is destroyed between the two."""
        digest = await self._vault.digest(digest)
        for _ in range(SEALINGS):
            encoded, ids, keys = await self._sealed(stream_id, events)
            ask = Ask(
                stream_id=stream_id,
                events=events,
                encoded=encoded,
                event_ids=ids,
                keys=keys,
                expected=expected,
                command_id=command_id,
                digest=digest,
            )
            try:
                return await self._group.submit(ask)
            except asyncpg.PostgresError as error:
                if error.sqlstate != KEY_DESTROYED:
                    raise
                self._vault.destroyed()
        raise OverloadedError("keys are being destroyed faster than events can be sealed")

    async def _sealed(
        self, stream_id: UUID, events: Sequence[AnyEvent]
    ) -> tuple[list[Encoded], list[UUID], frozenset[str]]:
        """Return *events* as they are stored, with their ids and the keys that sealed them."""
        encoded, ids, used = [], [uuid7() for _ in events], set[str]()
        for event, event_id in zip(events, ids, strict=True):
            incident_id = stream_id if isinstance(event, Event) else event.incident_id
            plain = plain_of(event)
            of: Mapping[Subject, tuple[str, bytes]] = {}
            if persons := subjects(type(event), plain):
                of = await self._vault.for_sealing(incident_id, stream_id, persons)
                used |= {key_id for key_id, _ in of.values()}
            put_away(type(event), plain, (stream_id, event_id, name_of(event)), of)
            encoded.append(stored_form(event, plain))
        return encoded, ids, frozenset(used)

    def _answered(self, answer: asyncio.Task[Appended]) -> None:
        self._waiting -= 1
        if not answer.cancelled():
            answer.exception()  # seen, even if whoever asked is gone

    async def _commit(self, asks: Sequence[Ask]) -> Sequence[Result]:
        """Append for all of *asks* in one transaction; say in the port's words what was refused."""
        flat = [
            (of, nth, ask.events[nth - 1], encoded)
            for of, ask in enumerate(asks, start=1)
            for nth, encoded in enumerate(ask.encoded, start=1)
        ]
        arguments = (
            [UUID(key_id) for key_id in frozenset().union(*(ask.keys for ask in asks))],
            [ask.stream_id for ask in asks],
            [ask.expected for ask in asks],
            [ask.command_id for ask in asks],
            [ask.digest for ask in asks],
            [len(ask.events) for ask in asks],
            [of for of, _, _, _ in flat],
            [nth for _, nth, _, _ in flat],
            [event_id for ask in asks for event_id in ask.event_ids],
            [encoded.type for _, _, _, encoded in flat],
            [encoded.schema for _, _, _, encoded in flat],
            [encoded.data for _, _, _, encoded in flat],
            [event.actor.id for _, _, event, _ in flat],
            [event.at for _, _, event, _ in flat],
        )
        try:
            # Kept from one group to the next: fetching it from the pool costs a third of a commit.
            if self._kept is None:
                self._kept = await self._engine.connect()
            driver: Any = (await self._kept.get_raw_connection()).driver_connection
            rows = await driver.fetch(_APPEND, *arguments)
            _check_committed(driver)
        except asyncpg.PostgresError:  # a refusal, on a connection that works
            await self._let_go()
            raise
        except BaseException:
            await self._let_go(sound=False)
            raise
        return [_result(ask, row) for ask, row in zip(asks, rows, strict=True)]

    async def _let_go(self, *, sound: bool = True) -> None:
        """Give the connection of the appends back; one that is not *sound* is never used again."""
        kept, self._kept = self._kept, None
        if kept is not None:
            with contextlib.suppress(
                OSError, SQLAlchemyError, asyncpg.InterfaceError, asyncpg.InternalClientError
            ):
                if not sound:
                    await kept.invalidate()
                await kept.close()

    async def close(self) -> None:
        """Give back the connection that was kept for the next append."""
        await self._group.close()

    async def types(self, stream_id: UUID, first: int, last: int) -> tuple[str, ...]:
        rows = await self._ask(lambda d: d.fetch(_TYPES, stream_id, first, last))
        return tuple(row["type"] for row in rows)

    async def after(self, position: int, limit: int) -> Sequence[AnyRecorded]:
        rows = await self._ask(lambda d: d.fetch(_AFTER, position, limit))
        return await opened(self._vault, rows)

    async def stream_after(
        self, stream_id: UUID, version: int, limit: int
    ) -> Sequence[AnyRecorded]:
        rows = await self._ask(lambda d: d.fetch(_STREAM, stream_id, version, limit))
        return await opened(self._vault, rows)

    @asynccontextmanager
    async def alone(self, what: str) -> AsyncIterator[None]:
        # Tried, not waited for: who waits would hold a connection that the other one needs.
        for _ in range(TRIES):
            async with self._driver() as driver, driver.transaction():
                if await driver.fetchval(_ALONE, f"cases:{what}"):
                    yield
                    return
            await asyncio.sleep(PAUSE)
        raise OverloadedError(f"others are busy with {what}")

    async def draw_number(self, year: int) -> int:
        number: int = await self._ask(lambda d: d.fetchval(_NUMBER, year))
        return number

"""Partitions in PostgreSQL: the cursor moves with the detections, the state with its snapshot."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.detect.correlation.extract import instant_of
from services.detect.correlation.firing import Tally

__all__ = ["Progress", "StolenError", "load_progress", "move_cursor", "save_snapshot", "tally"]

_NEW = text(
    "INSERT INTO correlation_partitions (partition, seq, snapshot_seq) VALUES (:p, 0, 0)"
    " ON CONFLICT DO NOTHING"
)
_PROGRESS = text("SELECT seq, snapshot_seq FROM correlation_partitions WHERE partition = :p")
_CHUNKS = text("SELECT body FROM correlation_snapshots WHERE partition = :p ORDER BY chunk")
_MOVE = text("UPDATE correlation_partitions SET seq = :to WHERE partition = :p AND seq = :seq")
_SNAPSHOT = text(
    "UPDATE correlation_partitions SET snapshot_seq = :seq WHERE partition = :p AND seq = :seq"
)
_FORGET = text("DELETE FROM correlation_snapshots WHERE partition = :p")
_KEEP = text(
    "INSERT INTO correlation_snapshots (partition, chunk, body) VALUES (:p, :chunk, :body)"
)
_TALLY = text(
    "UPDATE detections SET events = greatest(events, :events), last_event_at = :at WHERE id = :id"
)


class StolenError(Exception):
    """Another process has moved the partition on: what this one holds is old."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a partition is: *state* is that of *snapshot_seq*, effects are known until *seq*."""

    seq: int
    snapshot_seq: int
    state: Sequence[bytes]


async def load_progress(engine: AsyncEngine, partition: int) -> Progress:
    """Return the progress of *partition*; one that nobody knew begins at 0."""
    async with engine.begin() as connection:
        await connection.execute(_NEW, {"p": partition})
        row = (await connection.execute(_PROGRESS, {"p": partition})).one()
        chunks = (await connection.execute(_CHUNKS, {"p": partition})).scalars().all()
    return Progress(row.seq, row.snapshot_seq, [bytes(chunk) for chunk in chunks])


async def move_cursor(connection: AsyncConnection, partition: int, seq: int, to: int) -> None:
    """Move *partition* on from *seq*, in the caller's transaction; StolenError if not there."""
    moved = await connection.execute(_MOVE, {"p": partition, "seq": seq, "to": to})
    if moved.rowcount != 1:
        raise StolenError(f"partition {partition} is not at {seq} any more")


async def save_snapshot(
    engine: AsyncEngine, partition: int, seq: int, chunks: Iterable[bytes]
) -> None:
    """Keep *chunks* as the state of *partition* at *seq*; StolenError if it is not there."""
    async with engine.begin() as connection:
        done = await connection.execute(_SNAPSHOT, {"p": partition, "seq": seq})
        if done.rowcount != 1:
            raise StolenError(f"partition {partition} is not at {seq} any more")
        await connection.execute(_FORGET, {"p": partition})
        for number, chunk in enumerate(chunks):
            await connection.execute(_KEEP, {"p": partition, "chunk": number, "body": chunk})


async def tally(connection: AsyncConnection, tallies: Sequence[Tally]) -> None:
    """Record how many events the windows of detections had in the end."""
    rows = [{"id": t.detection_id, "events": t.events, "at": instant_of(t.end)} for t in tallies]
    if rows:
        await connection.execute(_TALLY, rows)

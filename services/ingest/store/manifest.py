"""The manifest in PostgreSQL: which files are the store, which blocks are in them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.ingest.store.batch import Block, StoredFile, Written
from shared.ids import derived_id

__all__ = ["AlreadyStoredError", "ListedFile", "commit", "files_between", "insert_files",
           "known_blocks", "note_again", "remove_files"]  # fmt: skip

_KNOWN = text("SELECT id, stream_seq FROM store_blocks WHERE id = ANY(:ids)")
_AGAIN = text(
    "INSERT INTO store_blocks (id, stream_seq, events, again, stored_at)"
    " VALUES (:id, :seq, 0, true, :now) ON CONFLICT (id) DO NOTHING"
)
_BLOCKS = text(
    "INSERT INTO store_blocks (id, stream_seq, events, stored_at) SELECT *, :now FROM"
    " unnest(CAST(:ids AS uuid[]), CAST(:seqs AS bigint[]), CAST(:events AS int[]))"
)
_FILE = text(
    "INSERT INTO store_files (path, source_id, hour, rows, bytes, raw_bytes, sha256, min_time,"
    " max_time, first_seq, last_seq, paths, others, stored_at) VALUES (:path, :source, :hour,"
    " :rows, :bytes, :raw_bytes, :sha256, :min_time, :max_time, :first, :last, :paths, :others,"
    " :now)"
)
_LEDGER = text(
    "INSERT INTO ledger (source_id, accepted, stored, changed_at) SELECT *, :now FROM"
    " unnest(CAST(:sources AS text[]), CAST(:accepted AS bigint[]), CAST(:stored AS bigint[]))"
    " ON CONFLICT (source_id) DO UPDATE SET accepted = ledger.accepted + excluded.accepted,"
    " stored = ledger.stored + excluded.stored, changed_at = excluded.changed_at"
)
_BETWEEN = text(
    "SELECT path, source_id, sha256, rows, bytes, min_time, max_time, paths, others,"
    " problem FROM store_files WHERE removed_at IS NULL AND max_time >= :start AND min_time < :end"
    " ORDER BY max_time DESC, path"
)
_REMOVE = text(
    "UPDATE store_files SET removed_at = :now WHERE path = ANY(:paths) AND removed_at IS NULL"
)


class AlreadyStoredError(Exception):
    """Another writer was faster with some of the blocks; nothing was committed."""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as a search needs to know it."""

    path: str
    source_id: str
    sha256: str
    rows: int
    size: int
    min_time: datetime
    max_time: datetime
    paths: frozenset[str]
    others: frozenset[str] | None
    problem: str | None = None


async def known_blocks(engine: AsyncEngine, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return those of *ids* that are stored, with their number in the stream."""
    async with engine.connect() as connection:
        rows = await connection.execute(_KNOWN, {"ids": list(ids)})
        return {row.id: row.stream_seq for row in rows}


async def note_again(engine: AsyncEngine, seqs: Sequence[int], now: datetime) -> None:
    """Note that blocks under these numbers are stored under others: they are not missing."""
    rows = [{"id": derived_id("block-again", seq), "seq": seq, "now": now} for seq in seqs]
    async with engine.begin() as connection:
        await connection.execute(_AGAIN, rows)


async def commit(
    engine: AsyncEngine, blocks: Sequence[Block], written: Written, now: datetime
) -> None:
    """Make *written* part of the store: files, blocks and ledger, or nothing of it.

    AlreadyStoredError when one of the blocks is stored by now.
    """
    counts: Mapping[UUID, int] = {b: sum(s.values()) for b, s in written.sources.items()}
    accepted: Counter[str] = Counter()
    for sources in written.sources.values():
        accepted.update(sources)
    stored: Counter[str] = Counter()
    for file in written.files:
        stored[file.source_id] += file.facts.rows
    ordered = sorted(accepted)
    try:
        async with engine.begin() as connection:
            await connection.execute(
                _BLOCKS,
                {
                    "ids": [b.id for b in blocks],
                    "seqs": [b.seq for b in blocks],
                    "events": [counts.get(b.id, 0) for b in blocks],
                    "now": now,
                },
            )
            await insert_files(connection, written.files, now)
            if ordered:
                await connection.execute(
                    _LEDGER,
                    {
                        "sources": ordered,
                        "accepted": [accepted[s] for s in ordered],
                        "stored": [stored[s] for s in ordered],
                        "now": now,
                    },
                )
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) == "23505":
            raise AlreadyStoredError from error
        raise


async def insert_files(
    connection: AsyncConnection, files: Sequence[StoredFile], now: datetime
) -> None:
    """Add *files* to the manifest, in the caller's transaction."""
    if files:
        await connection.execute(_FILE, [_values(file, now) for file in files])


def _values(file: StoredFile, now: datetime) -> dict[str, Any]:
    return {
        "path": file.key,
        "source": file.source_id,
        "hour": file.hour,
        "rows": file.facts.rows,
        "bytes": file.facts.size,
        "raw_bytes": file.facts.raw_bytes,
        "sha256": file.facts.sha256,
        "min_time": file.facts.min_time,
        "max_time": file.facts.max_time,
        "first": file.first_seq,
        "last": file.last_seq,
        "paths": list(file.facts.paths),
        "others": None if file.facts.others is None else list(file.facts.others),
        "now": now,
    }


async def remove_files(connection: AsyncConnection, paths: Sequence[str], now: datetime) -> int:
    """Take files out of the store, in the caller's transaction; return how many were in it."""
    return (await connection.execute(_REMOVE, {"paths": list(paths), "now": now})).rowcount


async def files_between(engine: AsyncEngine, start: datetime, end: datetime) -> list[ListedFile]:
    """Return the files that may hold events from *start* up to *end*, newest first."""
    async with engine.connect() as connection:
        rows = await connection.execute(_BETWEEN, {"start": start, "end": end})
        return [
            ListedFile(
                row.path,
                row.source_id,
                row.sha256,
                row.rows,
                row.bytes,
                row.min_time,
                row.max_time,
                frozenset(row.paths),
                None if row.others is None else frozenset(row.others),
                row.problem,
            )
            for row in rows
        ]

"""Blocks into files: what the store's own process does with one batch. Nothing is decided here
that a second attempt would decide otherwise."""

import gc
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from uuid import UUID

import msgspec
import zstandard

from services.ingest.store.duck import connect
from services.ingest.store.layout import file_name, partition
from services.ingest.store.parquet import FileFacts, merge_files, write_rows
from services.ingest.store.place import Place, S3Access, open_place
from services.ingest.store.rows import Row, decode
from shared.contracts.base import ContractError
from shared.contracts.ingest import MAX_BLOCK_BYTES, check_block

__all__ = [
    "Block", "Merge", "Store", "StoredFile", "Written", "digest", "discard", "merge", "strays",
    "write_batch",
]  # fmt: skip

MAX_PARTITIONS = 64  # of one source in one batch: claimed times are the sender's


@dataclass(frozen=True, slots=True)
class Store:
    """Where the store is and what DuckDB may use to write it."""

    url: str
    cache: Path
    cache_bytes: int
    memory_mib: int
    access: S3Access = field(default_factory=S3Access)


@dataclass(frozen=True, slots=True)
class Block:
    """A block as it came off EVENTS."""

    id: UUID
    seq: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is in its place, durable, not yet in the manifest."""

    key: str
    source_id: str
    hour: datetime
    first_seq: int
    last_seq: int
    facts: FileFacts


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch: files, accepted events per source of each block, and blocks that are
    none."""

    files: Sequence[StoredFile]
    sources: Mapping[UUID, Mapping[str, int]]
    bad: Mapping[UUID, str]


@dataclass(frozen=True, slots=True)
class Merge:
    """Files of one partition that are to become one."""

    source_id: str
    hour: datetime
    keys: Sequence[tuple[str, str]]  # with their SHA-256
    first_seq: int
    last_seq: int
    raw_bytes: int
    paths: Sequence[str]
    others: Sequence[str] | None


@cache
def _place(store: Store) -> Place:
    return open_place(store.url, store.access, store.cache, store.cache_bytes)


def write_batch(store: Store, blocks: Sequence[Block]) -> Written:
    """Write the events of *blocks*, a file for each source and hour."""
    gc.disable()  # nothing here makes cycles, and looking for them takes a third of the time
    try:
        return _write_batch(store, blocks)
    finally:
        gc.enable()


def _write_batch(store: Store, blocks: Sequence[Block]) -> Written:
    place = _place(store)
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    members: dict[tuple[str, str], dict[UUID, int]] = defaultdict(dict)
    sources: dict[UUID, Mapping[str, int]] = {}
    bad: dict[UUID, str] = {}
    for block in blocks:
        try:
            rows = _rows(block)
        except (ContractError, msgspec.DecodeError, zstandard.ZstdError, ValueError) as error:
            bad[block.id] = str(error)
            continue
        sources[block.id] = _accepted(block) or Counter(row.source_id for row in rows)
        for key, run in groupby(rows, _group):
            groups[key] += run
            members[key][block.id] = block.seq
    _gather_scattered(groups, members)
    duck = connect(place.folder, store.memory_mib, 1)
    try:
        files = []
        for group, rows in groups.items():
            source_id, hour = group
            blocks_of = members[group]
            first, last = min(blocks_of.values()), max(blocks_of.values())
            at = datetime.fromisoformat(f"{hour}:00:00").replace(tzinfo=UTC)
            made = place.scratch() / f"{os.getpid()}-{source_id}-{hour}-{first}-{last}.parquet"
            facts = write_rows(duck, rows, made)
            path = f"{partition(at, source_id)}/{file_name(first, last, facts.sha256)}"
            place.put(made, path)
            files.append(StoredFile(path, source_id, at, first, last, facts))
    finally:
        duck.close()
    return Written(files, sources, bad)


def _group(row: Row) -> tuple[str, str]:
    return row.source_id, row.time[:13]


def _rows(block: Block) -> list[Row]:
    body = check_block(block.headers, block.body)
    unpacked = zstandard.ZstdDecompressor().decompress(body, max_output_size=8 * MAX_BLOCK_BYTES)
    rows = decode(unpacked)
    if str(len(rows)) != block.headers.get("tocsin-count"):
        raise ContractError("block does not hold as many events as its header says")
    for row in rows:
        datetime.fromisoformat(row.time)  # ValueError: the block is none of ours
    return rows


def _accepted(block: Block) -> Counter[str]:
    """Return what ingest said, when it accepted the block, is in it of each source."""
    told = (part.rpartition("=") for part in block.headers.get("tocsin-sources", "").split())
    return Counter({source: int(n) for source, _, n in told if n.isdecimal()})


def _gather_scattered(
    groups: dict[tuple[str, str], list[Row]], members: dict[tuple[str, str], dict[UUID, int]]
) -> None:
    """Put the smallest hours of a source that has very many into its largest one.

    The manifest knows the true times of a file, so searches find them all the same.
    """
    hours: dict[str, list[str]] = defaultdict(list)
    for source_id, hour in groups:
        hours[source_id].append(hour)
    for source_id, found in hours.items():
        if len(found) <= MAX_PARTITIONS:
            continue
        found.sort(key=lambda hour: -len(groups[source_id, hour]))
        for hour in found[MAX_PARTITIONS:]:
            groups[source_id, found[0]] += groups.pop((source_id, hour))
            members[source_id, found[0]] |= members.pop((source_id, hour))


def merge(store: Store, wanted: Merge) -> StoredFile:
    """Write one file in place of many; the many stay until the manifest says otherwise."""
    place = _place(store)
    inputs = [place.get(key, sha256) for key, sha256 in wanted.keys]
    first, last = wanted.first_seq, wanted.last_seq
    made = place.scratch() / f"{os.getpid()}-{wanted.source_id}-{first}-{last}.merged.parquet"
    duck = connect(place.folder, store.memory_mib, 1)
    try:
        facts = merge_files(duck, inputs, made, wanted.raw_bytes, wanted.paths, wanted.others)
    finally:
        duck.close()
    key = f"{partition(wanted.hour, wanted.source_id)}/{file_name(first, last, facts.sha256)}"
    place.put(made, key)
    return StoredFile(key, wanted.source_id, wanted.hour, first, last, facts)


def discard(store: Store, keys: Sequence[str]) -> None:
    """Delete files that no manifest names."""
    for key in keys:
        _place(store).delete(key)


def digest(store: Store, key: str) -> str:
    """Return the SHA-256 of what lies under *key* now; FileNotFoundError."""
    return _place(store).digest(key)


def strays(store: Store, older_than: datetime) -> list[str]:
    """Return the files that were made before *older_than*."""
    return list(_place(store).strays(older_than))

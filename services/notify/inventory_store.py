"""The inventory in PostgreSQL, row by row: valid time in the row, recorded time by revision.

A row is recorded from one revision and up to another; each revision has its instant. So any version
is read back as it was known, and a correction keeps what it corrects.
"""

import asyncio
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.inventory import ENTRY_KINDS, Entry, Inventory, Kind, Tenant, assemble
from services.notify.inventory_diff import Difference
from services.notify.inventory_entries import document, entry
from services.notify.placement_rows import PlacementKey, merge
from services.notify.placements import (
    FOREVER,
    NEVER,
    ROLES,
    PlacementRows,
    Placements,
    micros,
)
from shared.yaml_lines import node_of

Rows = TypeVar("Rows", tuple[str, ...], "array[int]")

__all__ = [
    "MovedOnError", "Recorded", "advance", "head", "known_at", "load", "record", "recorded",
    "revision_of", "tenants",
]  # fmt: skip

_BATCH = 20_000  # rows a statement: far from its time limit, and the loop breathes in between

_RECORDED = "SELECT revision, version, imported_at, source, recorded_by, changes FROM inventories"
_HEAD = text(f"{_RECORDED} WHERE revision IS NOT NULL ORDER BY revision DESC LIMIT 1")
_BY_VERSION = text(f"{_RECORDED} WHERE version = :version AND revision IS NOT NULL")
_KNOWN_AT = text(
    f"{_RECORDED} WHERE revision IS NOT NULL AND imported_at <= :at ORDER BY revision DESC LIMIT 1"
)
_INSERT = text(
    "INSERT INTO inventories (version, imported_at, revision, source, recorded_by, changes)"
    " VALUES (:version, :at, :revision, :source, :by, :changes)"
)
_ENTRIES = (
    "SELECT kind, name, document FROM inventory_entries"
    " WHERE recorded_from <= $1 AND (recorded_to IS NULL OR recorded_to > $1)"
)
_PLACEMENTS = (
    "SELECT tenant, server, role, valid_from, valid_to, data, tags FROM inventory_placements"
    " WHERE recorded_from <= $1 AND (recorded_to IS NULL OR recorded_to > $1)"
)
# What one revision has that an earlier one had not, and the other way round.
_NEW = (
    " WHERE recorded_from > $1 AND recorded_from <= $2"
    " AND (recorded_to IS NULL OR recorded_to > $2)"
)
_GONE = " WHERE recorded_from <= $1 AND recorded_to > $1 AND recorded_to <= $2"
_NEW_ENTRIES = f"SELECT kind, name, document FROM inventory_entries{_NEW}"  # noqa: S608
_GONE_ENTRIES = f"SELECT kind, name FROM inventory_entries{_GONE}"  # noqa: S608
_NEW_PLACEMENTS = (
    "SELECT tenant, server, role, valid_from, valid_to, data, tags"  # noqa: S608 - constants
    f" FROM inventory_placements{_NEW}"
)
_GONE_PLACEMENTS = f"SELECT tenant, server, role, valid_from FROM inventory_placements{_GONE}"  # noqa: S608
_TENANTS = text(
    "SELECT document FROM inventory_entries WHERE kind = 'tenants' AND name = ANY(:names)"
    " AND recorded_from <= :revision AND (recorded_to IS NULL OR recorded_to > :revision)"
)
_CLOSE_ENTRIES = text(
    "UPDATE inventory_entries SET recorded_to = :revision"
    " WHERE kind = :kind AND name = ANY(:names) AND recorded_to IS NULL"
)
_CLOSE_PLACEMENTS = (
    "UPDATE inventory_placements p SET recorded_to = $1"
    " FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[])"
    "   AS gone (tenant, server, role, valid_from)"
    " WHERE p.tenant = gone.tenant AND p.server = gone.server AND p.role = gone.role"
    " AND p.valid_from IS NOT DISTINCT FROM gone.valid_from AND p.recorded_to IS NULL"
)


class MovedOnError(Exception):
    """Somebody else recorded the next revision first; what was worked out does not apply to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One revision: since when the inventory was known so, from where, and what it changed."""

    revision: int
    version: str
    at: datetime
    source: str
    by: str
    changes: Mapping[Kind, dict[str, int]]


def recorded(row: Any) -> Recorded:
    """Return a row of the revisions as what it stands for."""
    return Recorded(
        revision=row.revision,
        version=row.version,
        at=row.imported_at,
        source=row.source,
        by=row.recorded_by,
        changes=json.loads(row.changes),
    )


async def head(connection: AsyncConnection) -> Recorded | None:
    """Return the newest revision; None before there is one."""
    row = (await connection.execute(_HEAD)).one_or_none()
    return recorded(row) if row else None


async def revision_of(connection: AsyncConnection, version: str) -> Recorded | None:
    """Return the revision called *version*; None where that was a document."""
    row = (await connection.execute(_BY_VERSION, {"version": version})).one_or_none()
    return recorded(row) if row else None


async def known_at(connection: AsyncConnection, at: datetime) -> Recorded | None:
    """Return the revision that was the newest at that instant."""
    row = (await connection.execute(_KNOWN_AT, {"at": at})).one_or_none()
    return recorded(row) if row else None


async def record(
    connection: AsyncConnection,
    inventory: Inventory,
    changes: Difference,
    *,
    after: int,
    source: str,
    by: str,
    at: datetime,
) -> Recorded:
    """Write the revision that follows *after*: rows that are gone are closed, new ones added.

    MovedOnError when *after* is not the newest any more; the transaction is of no use then.
    """
    done = Recorded(
        revision=after + 1,
        version=inventory.version,
        at=at,
        source=source,
        by=by,
        changes=changes.counts(),
    )
    try:
        await connection.execute(
            _INSERT,
            {
                "version": done.version,
                "at": at,
                "revision": done.revision,
                "source": source,
                "by": by,
                "changes": json.dumps(done.changes),
            },
        )
    except IntegrityError as error:
        raise MovedOnError from error
    raw = await _raw(connection)
    for kind in ENTRY_KINDS:
        one = changes.entries[kind]
        gone = (*one.removed, *one.changed)
        for names in _batches(gone):
            values = {"revision": done.revision, "kind": kind, "names": list(names)}
            await connection.execute(_CLOSE_ENTRIES, values)
        rows = inventory.entries[kind]
        for names in _batches((*one.added, *one.changed)):
            records = await asyncio.to_thread(_entry_records, kind, rows, names, done.revision)
            await raw.copy_records_to_table("inventory_entries", records=records)
    await _record_placements(raw, changes, done.revision)
    return done


def _batches(of: Rows) -> Iterator[Rows]:
    for start in range(0, len(of), _BATCH):
        yield of[start : start + _BATCH]


def _entry_records(
    kind: Kind, rows: Any, names: Sequence[str], revision: int
) -> list[tuple[Any, ...]]:
    return [
        (kind, name, json.dumps(document(kind, rows[name]), sort_keys=True), revision, None)
        for name in names
    ]


async def _record_placements(raw: Any, changes: Difference, revision: int) -> None:
    one = changes.placements
    for gone in _batches(one.removed + one.changed_from):
        keys = await asyncio.to_thread(lambda rows: [k[:4] for k in _rows(one.before, rows)], gone)
        await raw.execute(_CLOSE_PLACEMENTS, revision, *map(list, zip(*keys, strict=True)))
    for new in _batches(one.added + one.changed_to):
        records = await asyncio.to_thread(
            lambda rows: [(*row, revision, None) for row in _rows(one.after, rows)], new
        )
        await raw.copy_records_to_table("inventory_placements", records=records)


def _rows(placements: Placements, rows: Iterable[int]) -> Iterator[tuple[Any, ...]]:
    """Yield rows as the table has them, without their revisions."""
    for row in rows:
        p = placements.placement(placements.server(row), row)
        tags = json.dumps(dict(p.tags)) if p.tags else None
        yield p.tenant, p.server, p.role, p.valid_from, p.valid_to, list(p.data_classes), tags


async def load(connection: AsyncConnection, version: Recorded) -> Inventory:
    """Return the inventory as it stood at a revision. *connection* has to see one moment."""
    revision = version.revision
    await connection.execute(text("SELECT 1"))  # begins the transaction that the cursors need
    raw = await _raw(connection)
    entries: dict[Kind, dict[str, Entry]] = {kind: {} for kind in ENTRY_KINDS}
    async for batch in _fetch(raw, _ENTRIES, revision):
        await asyncio.to_thread(_read_entries, batch, entries)
    rows = PlacementRows()
    async for batch in _fetch(raw, _PLACEMENTS, revision):
        await asyncio.to_thread(_read_placements, batch, rows)
    return await asyncio.to_thread(
        lambda: assemble(version.version, entries, Placements(rows, rows.in_order()))
    )


async def advance(
    connection: AsyncConnection, base: Inventory, since: Recorded, version: Recorded
) -> Inventory:
    """Return what `load` would for *version*, from *base*, which stood at *since*.

    Only what differs is read. *connection* has to see one moment.
    """
    span = since.revision, version.revision
    await connection.execute(text("SELECT 1"))  # begins the transaction that the cursors need
    raw = await _raw(connection)
    entries: dict[Kind, dict[str, Entry]] = {k: dict(base.entries[k]) for k in ENTRY_KINDS}
    async for batch in _fetch(raw, _GONE_ENTRIES, *span):
        for kind, name in batch:
            del entries[kind][name]
    async for batch in _fetch(raw, _NEW_ENTRIES, *span):
        await asyncio.to_thread(_read_entries, batch, entries)
    gone: set[PlacementKey] = set()
    async for batch in _fetch(raw, _GONE_PLACEMENTS, *span):
        gone.update(map(_key, batch))
    rows = PlacementRows()
    async for batch in _fetch(raw, _NEW_PLACEMENTS, *span):
        await asyncio.to_thread(_read_placements, batch, rows)

    def whole() -> Inventory:
        placements = base.placements
        if gone or len(rows):
            merge(rows, base.placements, gone)
            placements = Placements(rows, rows.in_order())
        return assemble(version.version, entries, placements)

    return await asyncio.to_thread(whole)


def _key(row: tuple[str, str, str, datetime | None]) -> PlacementKey:
    tenant, server, role, valid_from = row
    return tenant, server, ROLES.index(role), NEVER if valid_from is None else micros(valid_from)


async def _fetch(raw: Any, query: str, *revisions: int) -> Any:
    cursor = await raw.cursor(query, *revisions)
    while batch := await cursor.fetch(_BATCH):
        yield batch


def _read_entries(batch: Iterable[Any], entries: dict[Kind, dict[str, Entry]]) -> None:
    for kind, name, said in batch:
        entries[kind][name] = entry(kind, node_of(json.loads(said)), "left_out")


def _read_placements(batch: Iterable[Any], rows: PlacementRows) -> None:
    roles = {role: number for number, role in enumerate(ROLES)}
    for tenant, server, role, valid_from, valid_to, data, tags in batch:
        rows.add(
            tenant,
            server,
            roles[role],
            NEVER if valid_from is None else micros(valid_from),
            FOREVER if valid_to is None else micros(valid_to),
            tuple(data),
            tuple(sorted(json.loads(tags).items())) if tags else (),
        )


async def tenants(
    connection: AsyncConnection, version: Recorded, names: Iterable[str]
) -> dict[str, Tenant]:
    """Return those tenants as they were known at a revision."""
    values = {"names": list(names), "revision": version.revision}
    found = (await connection.execute(_TENANTS, values)).scalars().all()
    rows = (entry("tenants", node_of(json.loads(said)), "left_out") for said in found)
    return {row.name: row.tenant for row in rows if row.tenant is not None}


async def _raw(connection: AsyncConnection) -> Any:
    """Return the driver's connection, inside of the transaction that *connection* has begun."""
    found: Any = (await connection.get_raw_connection()).driver_connection
    if found is None:
        raise RuntimeError("the connection is closed")
    return found

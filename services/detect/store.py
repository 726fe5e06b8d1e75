"""Detections and evaluated blocks in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.cloudevents import outgoing
from shared.contracts.detect import DetectionRaisedV1
from shared.outbox import enqueue

__all__ = ["detection", "is_recorded", "page_of_detections", "record_block", "record_detections"]

_BLOCK = text(
    "INSERT INTO blocks (id, stream_seq, events, detections, evaluated_at, sources)"
    " VALUES (:id, :seq, :events, :detections, :now, CAST(:sources AS json))"
    " ON CONFLICT (id) DO NOTHING"
)
_DETECTIONS = text(
    "INSERT INTO detections (id, raised_at, rule_id, level, risk_score, source_id, tenant, body)"
    " SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:raised AS timestamptz[]),"
    " CAST(:rules AS text[]), CAST(:levels AS text[]), CAST(:scores AS int[]),"
    " CAST(:sources AS text[]), CAST(:tenants AS text[]), CAST(:bodies AS text[]))"
    " ON CONFLICT (id) DO NOTHING RETURNING id"
)
_PAGE = text(
    "SELECT id, raised_at, body FROM detections WHERE"
    " (CAST(:rule AS text) IS NULL OR rule_id = :rule)"
    " AND (CAST(:level AS text) IS NULL OR level = :level)"
    " AND (CAST(:at AS timestamptz) IS NULL OR (raised_at, id) < (:at, CAST(:id AS uuid)))"
    " ORDER BY raised_at DESC, id DESC LIMIT :n"
)


async def record_block(
    connection: AsyncConnection,
    block_id: UUID,
    stream_seq: int,
    sources: Mapping[str, int],
    detections: Sequence[DetectionRaisedV1],
    now: datetime,
) -> int:
    """Record that a block was evaluated, and what it gave; return how many detections are new.

    *sources* says how many events of which source it held.
    In the caller's transaction, with the messages in the outbox; a block that was recorded before
    changes nothing.
    """
    row = {
        "id": block_id,
        "seq": stream_seq,
        "events": sum(sources.values()),
        "detections": len(detections),
        "now": now,
        "sources": orjson.dumps(dict(sources)).decode(),
    }
    if (await connection.execute(_BLOCK, row)).rowcount == 0:
        return 0
    return await record_detections(connection, detections)


async def is_recorded(engine: AsyncEngine, block_id: UUID) -> bool:
    """Return whether the block was recorded as evaluated before."""
    async with engine.connect() as connection:
        query = text("SELECT EXISTS (SELECT FROM blocks WHERE id = :id)")
        return bool(await connection.scalar(query, {"id": block_id}))


async def record_detections(
    connection: AsyncConnection, detections: Sequence[DetectionRaisedV1]
) -> int:
    """Record *detections* and their messages; return how many were not known before."""
    if not detections:
        return 0
    unique = {d.detection_id: d for d in detections}
    columns = {
        "ids": list(unique),
        "raised": [d.occurred_at for d in unique.values()],
        "rules": [d.rule_id for d in unique.values()],
        "levels": [d.level for d in unique.values()],
        "scores": [d.risk_score for d in unique.values()],
        "sources": [d.source_id for d in unique.values()],
        "tenants": [d.tenant for d in unique.values()],
        "bodies": [d.to_json().decode() for d in unique.values()],
    }
    fresh = (await connection.execute(_DETECTIONS, columns)).scalars().all()
    await enqueue(connection, [outgoing(unique[i], source="detect") for i in fresh])
    return len(fresh)


async def page_of_detections(
    engine: AsyncEngine,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None,
    rule: str | None,
    level: str | None,
) -> list[tuple[datetime, UUID, dict[str, Any]]]:
    """Return detections, newest first, older than *before*."""
    at, identity = before or (None, None)
    values = {"rule": rule, "level": level, "at": at, "id": identity, "n": limit}
    async with engine.connect() as connection:
        rows = await connection.execute(_PAGE, values)
        return [(row.raised_at, row.id, orjson.loads(row.body)) for row in rows]


async def detection(engine: AsyncEngine, identity: UUID) -> dict[str, Any] | None:
    """Return one detection as published, or None."""
    async with engine.connect() as connection:
        query = text("SELECT body FROM detections WHERE id = :id")
        body = await connection.scalar(query, {"id": identity})
    return None if body is None else orjson.loads(body)

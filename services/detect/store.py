"""Detections and evaluated blocks in PostgreSQL."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.detect.lifecycle.precision import Precision
from services.detect.noise import (
    LIKELIHOOD_EVEN,
    Suppression,
    Weighed,
    group_key,
    labels,
    period_of,
    weigh,
    within_limit,
)
from shared.cloudevents import outgoing
from shared.contracts.detect import DetectionRaisedV1
from shared.outbox import enqueue

__all__ = [
    "detection", "groups_of_detections", "is_recorded", "page_of_detections", "record_block",
    "record_detections", "riskiest",
]  # fmt: skip

_BLOCK = text(
    "INSERT INTO blocks (id, stream_seq, events, detections, evaluated_at, sources)"
    " VALUES (:id, :seq, :events, :detections, :now, CAST(:sources AS json))"
    " ON CONFLICT (id) DO NOTHING"
)
TOLD_AN_HOUR = 100
"""Detections of one rule about one principal that others hear of within an hour."""

_KNOWN = text("SELECT id FROM detections WHERE id = ANY(CAST(:ids AS uuid[]))")
_SEAM = "\x1f"  # between an array's members: unnest would mix the arrays of all rows
_DETECTIONS = text(
    "INSERT INTO detections (id, raised_at, rule_id, level, risk_score, base_score, source_id,"
    " tenant, body, entities, group_key, withheld, suppression_id, events)"
    " SELECT id, raised, rule, level, score, base, source, tenant, body,"
    " string_to_array(labels, chr(31)), grp, withheld, by, events"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:raised AS timestamptz[]), CAST(:rules AS text[]),"
    " CAST(:levels AS text[]), CAST(:scores AS int[]), CAST(:bases AS float8[]),"
    " CAST(:sources AS text[]), CAST(:tenants AS text[]), CAST(:bodies AS text[]),"
    " CAST(:labels AS text[]), CAST(:groups AS text[]), CAST(:withheld AS text[]),"
    " CAST(:by AS uuid[]), CAST(:events AS int[]))"
    " AS d (id, raised, rule, level, score, base, source, tenant, body, labels, grp, withheld,"
    " by, events) ON CONFLICT (id) DO NOTHING RETURNING id"
)
_TIERS = text(
    "SELECT type || ':' || value AS label, tier FROM asset_tiers"
    " WHERE type || ':' || value = ANY(CAST(:labels AS text[]))"
)
_VERDICTS = text(
    "SELECT rule_id, count(*) FILTER (WHERE malicious) AS malicious,"
    " count(*) FILTER (WHERE NOT malicious) AS benign FROM rule_verdicts"
    " WHERE rule_id = ANY(CAST(:rules AS text[])) GROUP BY rule_id"
)
_SUPPRESSIONS = text(
    "SELECT id, rule_id, entity_type, entity_value, tenant FROM suppressions"
    " WHERE ended_at IS NULL AND expires_at > :now ORDER BY created_at LIMIT 1000"
)
_SUPPRESSED = text("UPDATE suppressions SET suppressed = suppressed + :times WHERE id = :id")
_SEEN = text(
    "INSERT INTO detection_throttles (key, period, seen)"
    " SELECT key, :period, times FROM unnest(CAST(:keys AS text[]), CAST(:times AS bigint[]))"
    " AS n (key, times) ORDER BY key"
    " ON CONFLICT (key, period) DO UPDATE SET seen = detection_throttles.seen + excluded.seen"
    " RETURNING key, seen"
)
_BY_RISK = text(
    "SELECT id, raised_at, risk_score, withheld, body FROM detections WHERE"
    " (CAST(:rule AS text) IS NULL OR rule_id = :rule)"
    " AND (CAST(:level AS text) IS NULL OR level = :level)"
    " ORDER BY risk_score DESC, raised_at DESC, id DESC LIMIT :n"
)
_GROUPS = text(
    "SELECT group_key, rule_id, count(*) AS detections,"
    " count(*) FILTER (WHERE withheld = 'suppressed') AS suppressed,"
    " count(*) FILTER (WHERE withheld = 'throttled') AS throttled,"
    " min(raised_at) AS first, max(raised_at) AS last, max(risk_score) AS risk_score"
    " FROM detections WHERE raised_at > :since AND group_key IS NOT NULL"
    " GROUP BY group_key, rule_id ORDER BY max(risk_score) DESC, max(raised_at) DESC LIMIT :n"
)
_PAGE = text(
    "SELECT id, raised_at, risk_score, withheld, body FROM detections WHERE"
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
    connection: AsyncConnection, detections: Sequence[DetectionRaisedV1], limit: int = TOLD_AN_HOUR
) -> int:
    """Record *detections* and tell of them, unless they are suppressed or too many.

    Returns how many were not known before. Of those of one rule about one principal, *limit* an
    hour are told; all others, and those that a suppression fits, are recorded and counted.
    """
    unique = {d.detection_id: d for d in detections}
    if not unique:
        return 0
    known = await connection.execute(_KNOWN, {"ids": list(unique)})
    for identity in known.scalars():
        del unique[identity]
    weighed = await _weighed(connection, list(unique.values()))
    if not weighed:
        return 0
    now = max(item.detection.occurred_at for item in weighed)
    suppressed = await _suppressed(connection, [w.detection for w in weighed], now)
    throttled = await _throttled(
        connection, [w.detection for w in weighed if w.detection.detection_id not in suppressed],
        limit, now,
    )  # fmt: skip
    withheld: dict[UUID, str] = {
        **dict.fromkeys(throttled, "throttled"),
        **dict.fromkeys(suppressed, "suppressed"),
    }
    fresh = set(
        (await connection.execute(_DETECTIONS, _columns(weighed, suppressed, withheld))).scalars()
    )
    told = [
        item.detection
        for item in weighed
        if item.detection.detection_id in fresh and item.detection.detection_id not in withheld
    ]
    await enqueue(connection, [outgoing(found, source="detect") for found in told])
    return len(fresh)


def _columns(
    weighed: Sequence[Weighed], suppressed: Mapping[UUID, UUID], withheld: Mapping[UUID, str]
) -> dict[str, list[Any]]:
    found = [item.detection for item in weighed]
    return {
        "ids": [d.detection_id for d in found],
        "raised": [d.occurred_at for d in found],
        "rules": [d.rule_id for d in found],
        "levels": [d.level for d in found],
        "scores": [d.risk_score for d in found],
        "bases": [item.base_score for item in weighed],
        "sources": [d.source_id for d in found],
        "tenants": [d.tenant for d in found],
        "bodies": [d.to_json().decode() for d in found],
        "labels": [_SEAM.join(labels(d)) for d in found],
        "groups": [group_key(d) for d in found],
        "withheld": [withheld.get(d.detection_id) for d in found],
        "by": [suppressed.get(d.detection_id) for d in found],
        "events": [d.event_count for d in found],
    }


async def _weighed(
    connection: AsyncConnection, detections: Sequence[DetectionRaisedV1]
) -> list[Weighed]:
    if not detections:
        return []
    wanted = sorted({label for d in detections for label in labels(d)})
    found = (await connection.execute(_TIERS, {"labels": wanted})).all()
    tiers = {row.label: row.tier for row in found}
    rules = sorted({d.rule_id for d in detections})
    verdicts = (await connection.execute(_VERDICTS, {"rules": rules})).all()
    trust = {v.rule_id: Precision(v.malicious, v.benign).lower_bound for v in verdicts}
    return [
        weigh(
            d,
            trust.get(d.rule_id, LIKELIHOOD_EVEN),
            min((tiers[label] for label in labels(d) if label in tiers), default=None),
        )
        for d in detections
    ]


async def _suppressed(
    connection: AsyncConnection, detections: Sequence[DetectionRaisedV1], now: datetime
) -> dict[UUID, UUID]:
    """Return which of *detections* a suppression in force fits, and which; they are counted."""
    rows = (await connection.execute(_SUPPRESSIONS, {"now": now})).all()
    active = [Suppression(r.id, r.rule_id, r.entity_type, r.entity_value, r.tenant) for r in rows]
    found: dict[UUID, UUID] = {}
    for detection in detections if active else ():
        fitting = next((s for s in active if s.fits(detection)), None)
        if fitting is not None:
            found[detection.detection_id] = fitting.id
    for identity, times in sorted(Counter(found.values()).items()):
        await connection.execute(_SUPPRESSED, {"id": identity, "times": times})
    return found


async def _throttled(
    connection: AsyncConnection, detections: Sequence[DetectionRaisedV1], limit: int, now: datetime
) -> set[UUID]:
    """Return which of *detections* go beyond *limit* an hour; all of them are counted."""
    keys = [group_key(d) for d in detections]
    counts = Counter(keys)
    values = {"period": period_of(now), "keys": list(counts), "times": list(counts.values())}
    rows = (await connection.execute(_SEEN, values)).all() if counts else []
    seen = {row.key: int(row.seen) for row in rows}
    told = within_limit(keys, seen, limit)
    return {d.detection_id for d, yes in zip(detections, told, strict=True) if not yes}


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
        return [(row.raised_at, row.id, _shown(row)) for row in rows]


async def riskiest(
    engine: AsyncEngine, *, limit: int, rule: str | None, level: str | None
) -> list[dict[str, Any]]:
    """Return detections by risk as it is now, the highest first (R03)."""
    async with engine.connect() as connection:
        rows = await connection.execute(_BY_RISK, {"rule": rule, "level": level, "n": limit})
        return [_shown(row) for row in rows]


async def groups_of_detections(
    engine: AsyncEngine, since: datetime, limit: int
) -> list[dict[str, Any]]:
    """Return what was found since then by rule and principal, with all counts kept."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_GROUPS, {"since": since, "n": limit})).mappings()
        return [dict(row) for row in rows]


def _shown(row: Any) -> dict[str, Any]:
    """Return the detection as published, with what has changed since: its risk, say."""
    body: dict[str, Any] = orjson.loads(row.body)
    return {**body, "risk_score": row.risk_score, "withheld": row.withheld}


async def detection(engine: AsyncEngine, identity: UUID) -> dict[str, Any] | None:
    """Return one detection as published, and what came of it since; None if there is none."""
    async with engine.connect() as connection:
        query = text(
            "SELECT risk_score, withheld, body, events, last_event_at, suppression_id"
            " FROM detections WHERE id = :id"
        )
        row = (await connection.execute(query, {"id": identity})).one_or_none()
    if row is None:
        return None
    return {
        **_shown(row),
        "events": row.events,
        "last_event_at": row.last_event_at,
        "suppression_id": row.suppression_id,
    }

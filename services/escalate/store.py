"""Groups and their detections in PostgreSQL; every function works in its caller's transaction."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.desk import Known, Settled, storm_key
from services.escalate.group_codec import from_row, standing_from_row, to_heats, to_state
from services.escalate.grouping import Rules
from services.escalate.sighting import Sighting
from services.escalate.standing import risk_at
from services.escalate.suppression import Suppression, Suppressions
from services.escalate.verbatim import most_telling
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.escalate import IncidentProposedV1

__all__ = [
    "GROUP_COLUMNS", "close_group", "lock_key", "mark_told", "record", "record_proposals",
    "seen_first", "telling_detections", "what_is_known",
]  # fmt: skip

GROUP_COLUMNS = (
    "g.id, g.key, g.first_seen, g.last_seen, g.detections, g.state, g.proposed_at, g.snoozed_until"
)
_SEEN = text(
    "INSERT INTO inbox (consumer, event_id)"
    " SELECT :consumer, id FROM unnest(CAST(:ids AS uuid[])) AS i (id) ORDER BY id"
    " ON CONFLICT DO NOTHING RETURNING event_id"
)
_LOCK = text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS k (key)")
_OPEN = text(
    f"SELECT {GROUP_COLUMNS} FROM detection_groups AS g"  # noqa: S608 - our own names
    " JOIN unnest(CAST(:keys AS uuid[]), CAST(:since AS timestamptz[]),"
    " CAST(:until AS timestamptz[])) AS k (key, since, until) ON g.key = k.key"
    " WHERE g.merged_into IS NULL AND g.closed_at IS NULL"
    " AND g.last_seen >= k.since AND g.first_seen <= k.until ORDER BY g.id FOR UPDATE OF g"
)
_STANDINGS = text(
    "SELECT key, kind, value, tenant, heats, armed FROM entity_risk"
    " WHERE key = ANY(CAST(:keys AS uuid[]))"
)
_IN_FORCE = text(
    "SELECT id, rule_id, kind, value, tenant FROM triage_suppressions"
    " WHERE ended_at IS NULL AND expires_at > :now"
)
_RECENT = text(
    "SELECT cause_rule AS rule, count(*) AS times FROM detection_groups"
    " WHERE cause_rule = ANY(CAST(:rules AS text[])) AND proposed_at > :since GROUP BY cause_rule"
)
_SAVE = text(
    "INSERT INTO detection_groups AS g (id, key, first_seen, last_seen, detections, risk, state,"
    " changed_at) SELECT *, CAST(:now AS timestamptz)"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:keys AS uuid[]),"
    " CAST(:first AS timestamptz[]), CAST(:last AS timestamptz[]), CAST(:counts AS int[]),"
    " CAST(:risks AS int[]), CAST(:states AS text[])) ON CONFLICT (id) DO UPDATE SET"
    " first_seen = EXCLUDED.first_seen, last_seen = EXCLUDED.last_seen,"
    " detections = EXCLUDED.detections, risk = EXCLUDED.risk, state = EXCLUDED.state,"
    " changed_at = EXCLUDED.changed_at,"
    # What joins a proposed group and is new to it is told at once, unless the group is snoozed.
    " tell_after = CASE WHEN g.id = ANY(CAST(:urgent AS uuid[]))"
    " AND (g.snoozed_until IS NULL OR g.snoozed_until <= :now)"
    " THEN LEAST(g.tell_after, :now) ELSE g.tell_after END"
)
_MERGE = text(
    "UPDATE detection_groups AS g SET merged_into = m.target"
    " FROM unnest(CAST(:gone AS uuid[]), CAST(:targets AS uuid[])) AS m (gone, target)"
    " WHERE g.id = m.gone OR g.merged_into = m.gone"
)
_SNOOZED = text(
    "UPDATE detection_groups AS g SET snoozed_until = s.until"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:until AS timestamptz[])) AS s (id, until)"
    " WHERE g.id = s.id"
)
_DETECTIONS = text(
    "INSERT INTO detections (id, group_id, rule_id, title, level, first_seen, last_seen,"
    " received_at, body, suppressed) SELECT d.id, d.group_id, d.rule, d.title, d.level, d.first,"
    " d.last, :now, d.body, d.suppressed FROM unnest(CAST(:ids AS uuid[]),"
    " CAST(:groups AS uuid[]), CAST(:rules AS text[]), CAST(:titles AS text[]),"
    " CAST(:levels AS text[]), CAST(:first AS timestamptz[]), CAST(:last AS timestamptz[]),"
    " CAST(:bodies AS text[]), CAST(:suppressed AS boolean[]))"
    " AS d (id, group_id, rule, title, level, first, last, body, suppressed)"
)
_WARMED = text(
    "INSERT INTO entity_risk AS r (key, kind, value, tenant, heats, armed, risk, risk_at)"
    " SELECT * FROM unnest(CAST(:keys AS uuid[]), CAST(:kinds AS text[]), CAST(:values AS text[]),"
    " CAST(:tenants AS text[]), CAST(:heats AS text[]), CAST(:armed AS boolean[]),"
    " CAST(:risks AS int[]), CAST(:at AS timestamptz[])) ON CONFLICT (key) DO UPDATE SET"
    " heats = EXCLUDED.heats, armed = EXCLUDED.armed, risk = EXCLUDED.risk,"
    " risk_at = EXCLUDED.risk_at"
)
_HIT = text(
    "UPDATE triage_suppressions AS s SET hits = s.hits + h.times, last_hit_at = :now"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS bigint[])) AS h (id, times)"
    " WHERE s.id = h.id"
)
_KEPT = text(
    "SELECT coalesce(g.merged_into, g.id) AS target, d.id AS detection_id, d.rule_id, d.level,"
    " d.first_seen FROM detections AS d JOIN detection_groups AS g ON g.id = d.group_id"
    " WHERE (g.id = ANY(CAST(:groups AS uuid[])) OR g.merged_into = ANY(CAST(:groups AS uuid[])))"
    " AND d.body IS NOT NULL AND (:again OR NOT d.told)"
)
_BODIES = text("SELECT id, body FROM detections WHERE id = ANY(CAST(:ids AS uuid[]))")
_PROPOSED = text(
    "UPDATE detection_groups AS g SET incident_id = p.incident, proposed_at = :now,"
    " proposal = p.body, told = g.detections, tell_after = :now, cause = p.cause,"
    " cause_rule = p.rule FROM unnest(CAST(:ids AS uuid[]), CAST(:incidents AS uuid[]),"
    " CAST(:bodies AS text[]), CAST(:causes AS text[]), CAST(:rules AS text[]))"
    " AS p (id, incident, body, cause, rule) WHERE g.id = p.id"
)
_TOLD = text("UPDATE detections SET told = true WHERE id = ANY(CAST(:ids AS uuid[]))")
_CLOSE = text(
    "UPDATE detection_groups SET closed_at = :now WHERE incident_id = :incident"
    " AND closed_at IS NULL"
)


def lock_key(identity: UUID) -> int:
    """Return the number by which *identity* is locked in PostgreSQL."""
    return int.from_bytes(identity.bytes[:8], "big", signed=True)


async def seen_first(connection: AsyncConnection, consumer: str, ids: Iterable[UUID]) -> set[UUID]:
    """Mark *ids* as handled by *consumer*; return those that were not before.

    In one order everywhere, so that two instances with the same messages wait, not deadlock.
    """
    rows = await connection.execute(_SEEN, {"consumer": consumer, "ids": list(ids)})
    return set(rows.scalars())


async def what_is_known(
    connection: AsyncConnection, sightings: Sequence[Sighting], rules: Rules, now: datetime
) -> Known:
    """Return what is on record about the entities and rules of *sightings*, and lock them.

    Two instances with detections of one entity or rule take turns, so neither founds what the other
    does.
    """
    reach: dict[UUID, tuple[datetime, datetime]] = {}
    for sighting in sightings:
        for key in (sighting.key, storm_key(sighting.rule_id)):
            since, until = reach.get(key, (sighting.first, sighting.last))
            reach[key] = (min(since, sighting.first), max(until, sighting.last))
    await connection.execute(_LOCK, {"keys": sorted(map(lock_key, reach))})
    far = rules.reach
    rows = await connection.execute(
        _OPEN,
        {
            "keys": list(reach),
            "since": [since - far for since, _ in reach.values()],
            "until": [until + far for _, until in reach.values()],
        },
    )
    groups = [from_row(row) for row in rows.all()]
    found = await connection.execute(_STANDINGS, {"keys": list({s.key for s in sightings})})
    standings = {row.key: standing_from_row(row) for row in found.all()}
    in_force = await connection.execute(_IN_FORCE, {"now": now})
    suppressions = Suppressions(Suppression(*row) for row in in_force)
    names = list({s.rule_id for s in sightings})
    lately = await connection.execute(_RECENT, {"rules": names, "since": now - rules.storm_window})
    return Known(groups, standings, suppressions, {row.rule: row.times for row in lately})


async def record(
    connection: AsyncConnection,
    done: Settled,
    levels: Mapping[UUID, str],
    bodies: Mapping[UUID, bytes],
    rules: Rules,
    now: datetime,
) -> None:
    """Write what triage settled: groups, detections, the risk of entities, suppressed counts."""
    groups = list(done.groups.values())
    await connection.execute(
        _SAVE,
        {
            "ids": [g.id for g in groups],
            "keys": [g.key for g in groups],
            "first": [g.first for g in groups],
            "last": [g.last for g in groups],
            "counts": [g.count for g in groups],
            "risks": [g.risk(rules) for g in groups],
            "states": [to_state(g) for g in groups],
            "urgent": list(done.urgent),
            "now": now,
        },
    )
    if done.absorbed:
        targets = [done.final(gone) for gone in done.absorbed]
        await connection.execute(_MERGE, {"gone": list(done.absorbed), "targets": targets})
        if snoozed := [g for g in groups if g.snoozed_until]:
            until = [g.snoozed_until for g in snoozed]
            await connection.execute(_SNOOZED, {"ids": [g.id for g in snoozed], "until": until})
    placed = done.placed
    await connection.execute(
        _DETECTIONS,
        {
            "ids": [s.detection_id for s, _, _ in placed],
            "groups": [group for _, group, _ in placed],
            "rules": [s.rule_id for s, _, _ in placed],
            "titles": [s.title for s, _, _ in placed],
            "levels": [levels[s.detection_id] for s, _, _ in placed],
            "first": [s.first for s, _, _ in placed],
            "last": [s.last for s, _, _ in placed],
            "bodies": [bodies[s.detection_id].decode() if kept else None for s, _, kept in placed],
            "suppressed": [s.suppressed for s, _, _ in placed],
            "now": now,
        },
    )
    await _warm(connection, done, rules.half_life)
    if done.hits:
        hits = {"ids": list(done.hits), "times": list(done.hits.values()), "now": now}
        await connection.execute(_HIT, hits)


async def _warm(connection: AsyncConnection, done: Settled, half_life: timedelta) -> None:
    entries = [(key, s) for key, s in done.standings.items() if s.heats]
    at = [max(heat.at for heat in s.heats.values()) for _, s in entries]
    row = {
        "keys": [key for key, _ in entries],
        "kinds": [s.kind for _, s in entries],
        "values": [s.value for _, s in entries],
        "tenants": [s.tenant for _, s in entries],
        "heats": [to_heats(s) for _, s in entries],
        "armed": [s.armed for _, s in entries],
        "risks": [risk_at(s, when, half_life) for (_, s), when in zip(entries, at, strict=True)],
        "at": at,
    }
    if entries:
        await connection.execute(_WARMED, row)


async def telling_detections(
    connection: AsyncConnection,
    groups: Sequence[UUID],
    at_hand: Mapping[UUID, DetectionRaisedV1] = MappingProxyType({}),
    *,
    again: bool = False,
) -> dict[UUID, list[DetectionRaisedV1]]:
    """Return the most telling detections of each group; without *again*, of those not yet told.

    What is *at_hand*, by id, is not read.
    """
    rows = await connection.execute(_KEPT, {"groups": list(groups), "again": again})
    kept: dict[UUID, list[Any]] = defaultdict(list)
    for row in rows.all():
        kept[row.target].append(row)
    chosen = {group: [r.detection_id for r in most_telling(kept[group])] for group in groups}
    found = {identity for ids in chosen.values() for identity in ids}
    known = {identity: at_hand[identity] for identity in found & at_hand.keys()}
    if missing := list(found - at_hand.keys()):
        for row in await connection.execute(_BODIES, {"ids": missing}):
            known[row.id] = DetectionRaisedV1.from_json(row.body.encode())
    return {group: [known[identity] for identity in ids] for group, ids in chosen.items()}


async def record_proposals(
    connection: AsyncConnection,
    proposed: Sequence[tuple[UUID, IncidentProposedV1, str, str]],
    now: datetime,
) -> None:
    """Write down which groups are proposed, by what cause and rule, with all they have now."""
    values = {
        "ids": [group for group, *_ in proposed],
        "incidents": [proposal.incident_id for _, proposal, *_ in proposed],
        "bodies": [
            proposal.model_dump_json(exclude={"detections"}, exclude_none=True)
            for _, proposal, *_ in proposed
        ],
        "causes": [cause for *_, cause, _ in proposed],
        "rules": [rule for *_, rule in proposed],
        "now": now,
    }
    await connection.execute(_PROPOSED, values)


async def mark_told(connection: AsyncConnection, detections: Iterable[DetectionRaisedV1]) -> None:
    """Write down that these need not be shown to cases again."""
    ids = [detection.detection_id for detection in detections]
    if ids:
        await connection.execute(_TOLD, {"ids": ids})


async def close_group(connection: AsyncConnection, incident_id: UUID, now: datetime) -> None:
    """Let nothing more join the group of an incident that ended; what comes founds a new one."""
    await connection.execute(_CLOSE, {"incident": incident_id, "now": now})

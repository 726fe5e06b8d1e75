"""When the facts of an incident change, its severity is computed anew and proposed again (R32c).

Facts are the detections of its group, the scope that people set and the customers that were found.
What the service team said itself stays, except where detections show something worse.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.directory import Directory
from services.escalate.grouping import Group
from services.escalate.policy import CRITERIA, UNKNOWN, Criterion, SeverityPolicy
from services.escalate.proposal import Policies, severity_inputs
from services.escalate.severity import InputError, Value, assess
from services.escalate.sighting import printable
from shared.cloudevents import outgoing
from shared.contracts.cases import Scope, ScopeSetV1, SeveritySetV1
from shared.contracts.escalate import Assessment, SeverityProposedV1
from shared.contracts.notify import AffectedCustomersIdentifiedV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = [
    "names_of", "note_proposed", "note_set", "on_scope", "on_tenants", "scope_inputs", "understood",
    "worse_of", "worsened",
]  # fmt: skip

_NAMES = 50
Cause = Literal["detections", "scope", "tenants"]

_NOTE = text(
    "INSERT INTO assessments AS a (incident_id, inputs, level, points, revision)"
    " VALUES (:incident, :inputs, :level, :points, 1) ON CONFLICT (incident_id) DO UPDATE SET"
    " inputs = EXCLUDED.inputs, level = EXCLUDED.level, points = EXCLUDED.points,"
    " revision = a.revision + 1 RETURNING revision"
)
_KNOWN = text(
    "SELECT inputs, level, points FROM assessments WHERE incident_id = :incident FOR UPDATE"
)
_INCIDENTS = text(
    "SELECT g.id, g.incident_id, a.inputs FROM detection_groups AS g"
    " LEFT JOIN assessments AS a ON a.incident_id = g.incident_id"
    " WHERE g.id = ANY(CAST(:ids AS uuid[])) AND g.incident_id IS NOT NULL"
    " AND g.closed_at IS NULL ORDER BY g.incident_id"
)
_proposed = Counter("tocsin_escalate_reassessments_total", "Severities proposed anew", ["cause"])


def understood(policy: SeverityPolicy, inputs: Mapping[str, Any]) -> dict[str, Value]:
    """Return what *policy* understands of *inputs* from elsewhere; the rest is unknown."""
    found: dict[str, Value] = {}
    for name in CRITERIA:
        value = inputs.get(name, UNKNOWN)
        try:
            assess(policy, {name: value})
        except (InputError, TypeError):  # a list, a table: not of this policy's words
            value = UNKNOWN
        found[name] = value
    return found


def worse_of(
    policy: SeverityPolicy, one: Mapping[str, Value], other: Mapping[str, Value]
) -> dict[str, Value]:
    """Return of each criterion what counts more; what is known goes before what is not."""

    def weight(name: str, value: Value) -> tuple[bool, int]:
        criterion = policy.criteria[name]
        if isinstance(criterion, Criterion):
            points = criterion.points[str(value)]
        else:
            points = criterion.band(value)[1] if isinstance(value, int) else criterion.unknown
        return value != UNKNOWN, points

    return {
        name: max(one[name], other[name], key=lambda value: weight(name, value))
        for name in CRITERIA
    }


def scope_inputs(scope: Scope, directory: Directory) -> dict[str, Value]:
    """Return the criteria that a scope tells: how far it reaches, where, and of what tier."""
    named = names_of(scope)
    found: dict[str, Value] = {}
    if reach := _reach(scope):
        found["scope"] = reach
    if named["regions"] and (kind := directory.region_class(named["regions"])):
        found["region"] = kind
    if named["services"] and (tier := directory.tier(named["services"])):
        found["service"] = tier
    return found


def names_of(scope: Scope) -> dict[str, list[str]]:
    """Return the services and regions that a scope names, of each the first 50."""
    services = {printable(s.service) for s in scope.include if s.service}
    regions = {printable(s.region) for s in scope.include if s.region}
    return {"services": sorted(services)[:_NAMES], "regions": sorted(regions)[:_NAMES]}


def _reach(scope: Scope) -> str | None:
    """Return the least word of the policy that holds all selectors; None where they name none."""
    levels = [s.model_dump(exclude_none=True) for s in scope.include]
    if len({level["region"] for level in levels if "region" in level}) > 1:
        return "multi_region"
    narrowest = [
        next(n for n in ("server", "server_farm", "service", "datacenter", "region") if n in level)
        for level in levels
        if level.keys() - {"tenant", "tags"}  # how far tags reach only the inventory knows
    ]
    order = ("server", "server_farm", "service", "datacenter", "region")
    widest = max(narrowest, key=order.index, default=None)
    if widest is None:
        return None
    names = {level[widest] for level in levels if widest in level}
    # Several of a kind are the next wider kind: two servers a farm, two datacenters a region.
    wider = {"server": "server_farm", "server_farm": "service", "datacenter": "region"}
    return wider.get(widest, widest) if len(names) > 1 else widest


async def note_proposed(
    connection: AsyncConnection, first: Iterable[tuple[UUID, Assessment]]
) -> None:
    """Remember what the first proposals of incidents were computed from."""
    rows = [_row(incident, one.inputs, one.level, one.points) for incident, one in first]
    if rows:
        await connection.execute(_NOTE, rows)


async def note_set(connection: AsyncConnection, event: SeveritySetV1, policies: Policies) -> None:
    """Take over what the service team said (R23); nothing is proposed, it has decided."""
    row = (await connection.execute(_KNOWN, {"incident": event.incident_id})).one_or_none()
    known = orjson.loads(row.inputs) if row else {}
    inputs = understood(policies.severity, {**known, **event.inputs})
    result = assess(policies.severity, inputs)
    await _note(connection, event.incident_id, result.inputs, result.level, result.points)


async def worsened(
    connection: AsyncConnection, groups: Iterable[Group], policies: Policies, now: datetime
) -> int:
    """Propose anew where the detections of a proposed group show something worse; return how many.

    A later stage, another region, stolen credentials: the vector has changed.
    """
    by_id = {group.id: group for group in groups}
    if not by_id:
        return 0
    rows = (await connection.execute(_INCIDENTS, {"ids": list(by_id)})).all()
    done = 0
    for row in rows:
        seen = severity_inputs(by_id[row.id], policies.directory)
        known = orjson.loads(row.inputs) if row.inputs else {}
        if all(value in (UNKNOWN, known.get(name)) for name, value in seen.items()):
            continue  # nearly always: nothing new
        reason = "its detections show something worse"
        done += await _again(
            connection, row.incident_id, seen, "detections", reason, policies, now, worse=True
        )
    return done


async def on_scope(
    connection: AsyncConnection, event: ScopeSetV1, policies: Policies, now: datetime
) -> None:
    """Propose anew where the scope that was set counts otherwise than what was assumed."""
    told = scope_inputs(event.scope, policies.directory)
    reason = f"version {event.scope_version} of its scope was set by {event.set_by}"
    await _again(connection, event.incident_id, told, "scope", reason, policies, now)


async def on_tenants(
    connection: AsyncConnection,
    event: AffectedCustomersIdentifiedV1,
    policies: Policies,
    now: datetime,
) -> None:
    """Propose anew where the customers found count otherwise than what was assumed (§2.1)."""
    many = event.confirmed + event.probable  # §5: those that are only possible do not count
    reason = (
        f"version {event.version} of its list of affected customers names {many}, and"
        f" {event.possible} possible ones"
    )
    told: dict[str, Value] = {"affected_tenants": many}
    await _again(connection, event.incident_id, told, "tenants", reason, policies, now)


async def _again(
    connection: AsyncConnection,
    incident: UUID,
    told: Mapping[str, Value],
    cause: Cause,
    reason: str,
    policies: Policies,
    now: datetime,
    *,
    worse: bool = False,
) -> bool:
    row = (await connection.execute(_KNOWN, {"incident": incident})).one_or_none()
    known = understood(policies.severity, orjson.loads(row.inputs) if row else {})
    given = understood(policies.severity, {**known, **told})
    inputs = worse_of(policies.severity, known, given) if worse else given
    if row is not None and inputs == known:
        return False
    result = assess(policies.severity, inputs)
    revision = await _note(connection, incident, result.inputs, result.level, result.points)
    if row is not None and (result.level, result.points) == (row.level, row.points):
        return False
    event = SeverityProposedV1(
        event_id=derived_id("severity-proposed", incident, revision),
        occurred_at=now,
        incident_id=UUID(str(incident)),
        cause=cause,
        reason=f"{reason}: {result.points} points, {result.level}",
        previous=row.level if row else None,
        severity=Assessment.model_validate(result, from_attributes=True),
    )
    await enqueue(connection, [outgoing(event, source="escalate")])
    _proposed.labels(cause).inc()
    return True


async def _note(
    connection: AsyncConnection, incident: UUID, inputs: Mapping[str, Any], level: str, points: int
) -> int:
    """Remember what an assessment was computed from; return how many there were of the incident."""
    return int(await connection.scalar(_NOTE, _row(incident, inputs, level, points)) or 0)


def _row(incident: UUID, inputs: Mapping[str, Any], level: str, points: int) -> dict[str, Any]:
    return {
        "incident": incident,
        "inputs": orjson.dumps(dict(inputs)).decode(),
        "level": level,
        "points": points,
    }

"""When the facts of an incident change, its severity is computed anew and proposed again (R32c).

Facts are the detections of its group, the scope that people set and the customers that were found.
What the service team said itself stays, except where detections show something worse.
"""

from collections.abc import Iterable, Mapping, Sequence
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
from services.escalate.severity import SeverityResult, Value, assess
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

# Whoever takes locks on several takes them in the order of their ids.
_NOTE = text(
    "INSERT INTO assessments AS a (incident_id, inputs, level, points, revision)"
    " SELECT n.*, 1 FROM unnest(CAST(:incidents AS uuid[]), CAST(:inputs AS text[]),"
    " CAST(:levels AS text[]), CAST(:points AS int[])) AS n (incident, inputs, level, points)"
    " ORDER BY n.incident ON CONFLICT (incident_id) DO UPDATE SET"
    " inputs = EXCLUDED.inputs, level = EXCLUDED.level, points = EXCLUDED.points,"
    " revision = a.revision + 1 RETURNING incident_id, revision"
)
_KNOWN = text(
    "SELECT incident_id, inputs, level, points FROM assessments"
    " WHERE incident_id = ANY(CAST(:incidents AS uuid[])) ORDER BY incident_id FOR UPDATE"
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
    return {
        name: inputs[name] if name in inputs and criterion.knows(inputs[name]) else UNKNOWN
        for name, criterion in policy.criteria.items()
    }


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


async def note_proposed(connection: AsyncConnection, first: Mapping[UUID, Assessment]) -> None:
    """Remember what the first proposals of incidents were computed from."""
    await _note(connection, first)


async def note_set(connection: AsyncConnection, event: SeveritySetV1, policies: Policies) -> None:
    """Take over what the service team said (R23); nothing is proposed, it has decided."""
    incident = event.incident_id
    known = await _known(connection, [incident])
    before = orjson.loads(known[incident].inputs) if incident in known else {}
    inputs = understood(policies.severity, {**before, **event.inputs})
    await _note(connection, {incident: assess(policies.severity, inputs)})


async def worsened(
    connection: AsyncConnection, groups: Iterable[Group], policies: Policies, now: datetime
) -> int:
    """Propose anew where *groups*, which are proposed, show something worse; return how many.

    A later stage, another region, stolen credentials: the vector has changed.
    """
    by_id = {group.id: group for group in groups}
    if not by_id:
        return 0
    told = {}
    for row in await connection.execute(_INCIDENTS, {"ids": list(by_id)}):
        seen = severity_inputs(by_id[row.id], policies.directory)
        known = orjson.loads(row.inputs) if row.inputs else {}
        # Nearly always there is nothing new.
        if any(value not in (UNKNOWN, known.get(name)) for name, value in seen.items()):
            told[row.incident_id] = seen
    reason = "its detections show something worse"
    return await _again(connection, told, "detections", reason, policies, now, worse=True)


async def on_scope(
    connection: AsyncConnection, event: ScopeSetV1, policies: Policies, now: datetime
) -> None:
    """Propose anew where the scope that was set counts otherwise than what was assumed."""
    told = scope_inputs(event.scope, policies.directory)
    reason = f"version {event.scope_version} of its scope was set by {event.set_by}"
    await _again(connection, {event.incident_id: told}, "scope", reason, policies, now)


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
    await _again(connection, {event.incident_id: told}, "tenants", reason, policies, now)


async def _again(
    connection: AsyncConnection,
    told: Mapping[UUID, Mapping[str, Value]],
    cause: Cause,
    reason: str,
    policies: Policies,
    now: datetime,
    *,
    worse: bool = False,
) -> int:
    """Compute the severity of incidents anew from what is *told*; return how many are proposed."""
    policy = policies.severity
    before = await _known(connection, list(told))
    results: dict[UUID, SeverityResult] = {}
    for incident, seen in told.items():
        row = before.get(incident)
        known = understood(policy, orjson.loads(row.inputs) if row else {})
        given = understood(policy, {**known, **seen})
        inputs = worse_of(policy, known, given) if worse else given
        if row is None or inputs != known:
            results[incident] = assess(policy, inputs)
    revisions = await _note(connection, results)
    proposed = []
    for incident, result in results.items():
        row = before.get(incident)
        if row is not None and (result.level, result.points) == (row.level, row.points):
            continue
        event = SeverityProposedV1(
            event_id=derived_id("severity-proposed", incident, revisions[incident]),
            occurred_at=now,
            incident_id=incident,
            cause=cause,
            reason=f"{reason}: {result.points} points, {result.level}",
            previous=row.level if row else None,
            severity=Assessment.model_validate(result, from_attributes=True),
        )
        proposed.append(outgoing(event, source="escalate"))
    await enqueue(connection, proposed)
    _proposed.labels(cause).inc(len(proposed))
    return len(proposed)


async def _known(connection: AsyncConnection, incidents: Sequence[UUID]) -> dict[UUID, Any]:
    """Return and lock the newest assessments of *incidents*."""
    if not incidents:
        return {}
    rows = await connection.execute(_KNOWN, {"incidents": incidents})
    return {row.incident_id: row for row in rows}


async def _note(
    connection: AsyncConnection, results: Mapping[UUID, Assessment | SeverityResult]
) -> dict[UUID, int]:
    """Remember what assessments were computed from; return how many there were of each incident."""
    if not results:
        return {}
    found = results.values()
    values = {
        "incidents": list(results),
        "inputs": [orjson.dumps(dict(one.inputs)).decode() for one in found],
        "levels": [one.level for one in found],
        "points": [one.points for one in found],
    }
    return {row.incident_id: row.revision for row in await connection.execute(_NOTE, values)}

"""The severity gate (P2) and who is paged for an escalation (P3)."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.known import Known, known_of
from services.escalate.oncall.engagements import request
from services.escalate.pages import end_chains, order_page
from services.escalate.proposal import Policies
from services.escalate.routing import Engaged, Routing, escalates_by_policy, route
from services.escalate.sighting import printable
from shared.cloudevents import outgoing
from shared.contracts.cases import (
    IncidentEscalatedV1,
    IncidentOpenedV1,
    ScopeSetV1,
    SeveritySetV1,
)
from shared.contracts.escalate import EscalationRaisedV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = [
    "heard_scope", "heard_severity", "on_escalated", "on_opened", "on_severity_set", "widen",
]  # fmt: skip

UNSET = "SEV?"

_OPENED = text(
    "INSERT INTO incidents AS i (id, number, title, services, regions, source_kind)"
    " VALUES (:id, :number, :title, :services, :regions, :source)"
    " ON CONFLICT (id) DO UPDATE SET number = EXCLUDED.number, title = EXCLUDED.title,"
    " source_kind = EXCLUDED.source_kind"
)
# What the broker had lost comes again after what followed it: the newest version stays (ADR 0021).
_SEVERITY = text(
    "INSERT INTO incidents AS i (id, number, severity, services, regions, inputs,"
    " severity_version) VALUES (:id, :number, :severity, :services, :regions, :inputs, :version)"
    " ON CONFLICT (id) DO UPDATE SET number = EXCLUDED.number, severity = EXCLUDED.severity,"
    " services = EXCLUDED.services, regions = EXCLUDED.regions, inputs = EXCLUDED.inputs,"
    " severity_version = EXCLUDED.severity_version"
    " WHERE i.severity_version <= EXCLUDED.severity_version"
)
_SCOPE = text(
    "INSERT INTO incidents AS i (id, number, scope_version) VALUES (:id, :number, :version)"
    " ON CONFLICT (id) DO UPDATE SET number = EXCLUDED.number,"
    " scope_version = EXCLUDED.scope_version WHERE i.scope_version <= EXCLUDED.scope_version"
)
_RAISE = text(
    "INSERT INTO escalations (escalation_id, incident_id, severity, owning_team, engaged_teams,"
    " routing_rules, by_policy, raised_at)"
    " VALUES (:id, :incident, :severity, :owner, :engaged, :rules, true, :now)"
    " ON CONFLICT (incident_id) DO NOTHING"
)
_CONFIRM = text(
    "INSERT INTO escalations (escalation_id, incident_id, severity, owning_team, engaged_teams,"
    " routing_rules, by_policy, raised_at, confirmed_at)"
    " VALUES (:id, :incident, :severity, :owner, :engaged, :rules, false, :now, :now)"
    " ON CONFLICT (incident_id) DO UPDATE SET escalation_id = EXCLUDED.escalation_id,"
    " owning_team = EXCLUDED.owning_team, confirmed_at = EXCLUDED.confirmed_at,"
    " engaged_teams = EXCLUDED.engaged_teams, routing_rules = EXCLUDED.routing_rules"
)
_STANDING = text(
    "SELECT escalation_id, owning_team, engaged_teams, routing_rules FROM escalations"
    " WHERE incident_id = :id AND confirmed_at IS NOT NULL FOR UPDATE"
)
_WIDEN = text(
    "UPDATE escalations SET engaged_teams = :engaged, routing_rules = :rules"
    " WHERE incident_id = :id"
)
# These are told and asked for themselves; all other kinds are asked for their expertise (R21).
_MEMBERS = frozenset(
    {
        "security_response", "service_team", "incident_communications",
        "executive_incident_manager", "duty_manager",
    }
)  # fmt: skip

_escalations = Counter(
    "tocsin_escalate_escalations_total", "Escalations raised by policy", ["level"]
)


async def on_opened(connection: AsyncConnection, event: IncidentOpenedV1) -> None:
    """Note what an incident is called."""
    row = {**_about(event), "title": printable(event.title), "source": printable(event.source_kind)}
    await connection.execute(_OPENED, row)


async def heard_severity(connection: AsyncConnection, event: SeveritySetV1) -> bool:
    """Note the severity of an incident; False if a newer one is known, which then stays."""
    row = {
        **_about(event),
        "severity": event.level,
        "inputs": json.dumps(event.inputs),
        "version": event.version,
    }
    return (await connection.execute(_SEVERITY, row)).rowcount == 1


async def heard_scope(connection: AsyncConnection, event: ScopeSetV1) -> bool:
    """Note that the scope was set; False if a newer one is known, which then counts."""
    row = {
        "id": event.incident_id,
        "number": printable(event.number),
        "version": event.version,
    }
    return (await connection.execute(_SCOPE, row)).rowcount == 1


async def on_severity_set(
    connection: AsyncConnection,
    event: SeveritySetV1,
    policies: Policies,
    channel: str,
    now: datetime,
) -> bool:
    """Escalate SEV0 to SEV2, once an incident (R23); tell whether this did it.

    SEV3 and SEV4 wait for the service team, and for a severity that is raised later. Where security
    response has it already, whoever the new severity asks for is engaged too (P3).
    """
    await end_chains(connection, event.incident_id, "severity set", now, asks="severity")
    if not escalates_by_policy(event.level):
        await widen(connection, event.incident_id, policies, channel, now)
        return False
    routing = _route(policies, await known_of(connection, event.incident_id, policies.directory))
    raised = EscalationRaisedV1(
        event_id=derived_id("escalation-raised", event.incident_id),
        occurred_at=now,
        escalation_id=derived_id("escalation", event.incident_id),
        incident_id=event.incident_id,
        severity=event.level,
        owning_team=routing.owning_team,
        engaged_teams=list(routing.engaged),
        routing_rules=list(routing.rules),
    )
    escalation = {
        "id": raised.escalation_id,
        "incident": raised.incident_id,
        "severity": raised.severity,
        "owner": raised.owning_team,
        "engaged": raised.engaged_teams,
        "rules": raised.routing_rules,
        "now": now,
    }
    if (await connection.execute(_RAISE, escalation)).rowcount == 0:
        await widen(connection, event.incident_id, policies, channel, now)
        return False
    await enqueue(connection, [outgoing(raised, source="escalate")])
    _escalations.labels(event.level).inc()
    return True


async def on_escalated(
    connection: AsyncConnection,
    event: IncidentEscalatedV1,
    policies: Policies,
    channel: str,
    now: datetime,
) -> None:
    """Page the owning team, whoever escalated (R09a), and every other that routing names (§6)."""
    known = await known_of(connection, event.incident_id, policies.directory)
    known = replace(known, number=printable(event.number))
    routing = _route(policies, known)
    level = known.severity or UNSET
    # What people typed: a text that PostgreSQL refuses would hold up every incident after it.
    owner = printable(event.owning_team) or routing.owning_team
    escalation = {
        "id": event.escalation_id,
        "incident": event.incident_id,
        "severity": level,
        "owner": owner,
        "engaged": list(dict.fromkeys([owner, *routing.engaged[1:]])),
        "rules": list(routing.rules),
        "now": now,
    }
    await connection.execute(_CONFIRM, escalation)
    title = f": {known.title}" if known.title else ""
    reason = f"take on {known.number} ({level}){title}"
    cause = derived_id("escalated", event.incident_id, event.escalation_id)
    await order_page(
        connection, cause, event.incident_id, owner, channel, reason, now, severity=level
    )
    for engaged in routing.engagements[1:]:
        if engaged.team != owner:
            await _engage(
                connection, event.incident_id, event.escalation_id, engaged, known, channel, now
            )


async def widen(
    connection: AsyncConnection, incident: UUID, policies: Policies, channel: str, now: datetime
) -> tuple[str, ...]:
    """Engage whom routing names now and did not before; return those teams.

    Whatever changed: the severity, the scope, the customers found, a legal hold, a short deadline.
    Nobody who is engaged is let go by it, and the owner stays (R08).
    """
    row = (await connection.execute(_STANDING, {"id": incident})).one_or_none()
    if row is None:
        return ()
    known = await known_of(connection, incident, policies.directory)
    if known.over:
        return ()
    routing = _route(policies, known)
    present = {*row.engaged_teams, routing.owning_team}
    new = [engaged for engaged in routing.engagements if engaged.team not in present]
    if not new:
        return ()
    for engaged in new:
        await _engage(connection, incident, row.escalation_id, engaged, known, channel, now)
    added = tuple(engaged.team for engaged in new)
    widened = {
        "id": incident,
        "engaged": [*row.engaged_teams, *added],
        "rules": list(dict.fromkeys([*row.routing_rules, *routing.rules])),
    }
    await connection.execute(_WIDEN, widened)
    return added


async def _engage(
    connection: AsyncConnection,
    incident: UUID,
    escalation: UUID,
    engaged: Engaged,
    known: Known,
    channel: str,
    now: datetime,
) -> None:
    level = known.severity or UNSET
    title = f": {known.title}" if known.title else ""
    reason = f"join {known.number} ({level}) by {', '.join(engaged.rules)}{title}"
    if engaged.kind not in _MEMBERS:
        await request(
            connection, incident, engaged, reason, "routing", channel, now, severity=level
        )
        return
    cause = derived_id("escalated", incident, escalation)
    await order_page(
        connection, cause, incident, engaged.team, channel, reason, now, severity=level
    )


def _route(policies: Policies, known: Known) -> Routing:
    return route(
        policies.directory,
        known.severity or UNSET,
        known.inputs,
        known.services,
        known.regions,
        source_kind=known.source_kind,
        rules=policies.routing,
    )


def _about(event: IncidentOpenedV1 | SeveritySetV1) -> dict[str, Any]:
    identity: UUID = event.incident_id
    return {
        "id": identity,
        "number": printable(event.number),
        "services": [printable(service) for service in event.services],
        "regions": [printable(region) for region in event.regions],
    }

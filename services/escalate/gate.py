"""The severity gate (P2) and who is paged for an escalation (P3)."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.directory import Directory
from services.escalate.oncall.engagements import request
from services.escalate.pages import end_chains, order_page
from services.escalate.routing import Engaged, escalates_by_policy, route
from services.escalate.routing_file import RoutingRule
from services.escalate.sighting import printable
from shared.cloudevents import outgoing
from shared.contracts.cases import IncidentEscalatedV1, IncidentOpenedV1, SeveritySetV1
from shared.contracts.escalate import EscalationRaisedV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["on_escalated", "on_opened", "on_severity_set"]

_OPENED = text(
    "INSERT INTO incidents (id, number, title, services, regions, source_kind)"
    " VALUES (:id, :number, :title, :services, :regions, :source)"
    " ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title, source_kind = EXCLUDED.source_kind"
)
_SEVERITY = text(
    "INSERT INTO incidents (id, number, severity, services, regions, inputs)"
    " VALUES (:id, :number, :severity, :services, :regions, :inputs)"
    " ON CONFLICT (id) DO UPDATE SET severity = EXCLUDED.severity, services = EXCLUDED.services,"
    " regions = EXCLUDED.regions, inputs = EXCLUDED.inputs"
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
    " owning_team = EXCLUDED.owning_team, confirmed_at = EXCLUDED.confirmed_at"
)
_INCIDENT = text(
    "SELECT title, severity, services, regions, inputs, source_kind FROM incidents WHERE id = :id"
)
_SOURCE = text("SELECT source_kind FROM incidents WHERE id = :id")
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


async def on_severity_set(
    connection: AsyncConnection,
    event: SeveritySetV1,
    directory: Directory,
    now: datetime,
    *,
    rules: Sequence[RoutingRule] | None = None,
) -> bool:
    """Escalate SEV0 to SEV2, once an incident (R23); tell whether this did it.

    SEV3 and SEV4 wait for the service team, and for a severity that is raised later.
    """
    row = {**_about(event), "severity": event.level, "inputs": json.dumps(event.inputs)}
    await connection.execute(_SEVERITY, row)
    await end_chains(connection, event.incident_id, "severity set", now, without_severity=True)
    if not escalates_by_policy(event.level):
        return False
    source = await connection.scalar(_SOURCE, {"id": event.incident_id})
    routing = route(
        directory,
        event.level,
        event.inputs,
        event.services,
        event.regions,
        source_kind=source or "",
        rules=rules,
    )
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
        return False
    await enqueue(connection, [outgoing(raised, source="escalate")])
    _escalations.labels(event.level).inc()
    return True


async def on_escalated(
    connection: AsyncConnection,
    event: IncidentEscalatedV1,
    directory: Directory,
    channel: str,
    now: datetime,
    *,
    rules: Sequence[RoutingRule] | None = None,
) -> None:
    """Page the owning team, whoever escalated (R09a), and every other that routing names (§6)."""
    known = (await connection.execute(_INCIDENT, {"id": event.incident_id})).one_or_none()
    level = (known.severity if known else None) or "SEV?"
    services, regions = (known.services, known.regions) if known else ([], [])
    inputs = json.loads(known.inputs) if known else {}
    routing = route(
        directory,
        level,
        inputs,
        services,
        regions,
        source_kind=known.source_kind if known else "",
        rules=rules,
    )
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
    title = f": {known.title}" if known and known.title else ""
    reason = f"take on {event.number} ({level}){title}"
    cause = derived_id("escalated", event.incident_id, event.escalation_id)
    await order_page(
        connection, cause, event.incident_id, owner, channel, reason, now, severity=level
    )
    for engaged in routing.engagements[1:]:
        if engaged.team != owner:
            why = f"join {event.number} ({level}) by {', '.join(engaged.rules)}{title}"
            await _engage(connection, event, engaged, why, channel, level, now)


async def _engage(
    connection: AsyncConnection,
    event: IncidentEscalatedV1,
    engaged: Engaged,
    reason: str,
    channel: str,
    level: str,
    now: datetime,
) -> None:
    incident = event.incident_id
    if engaged.kind not in _MEMBERS:
        await request(
            connection, incident, engaged, reason, "routing", channel, now, severity=level
        )
        return
    cause = derived_id("escalated", incident, event.escalation_id)
    await order_page(
        connection, cause, incident, engaged.team, channel, reason, now, severity=level
    )


def _about(event: IncidentOpenedV1 | SeveritySetV1) -> dict[str, Any]:
    identity: UUID = event.incident_id
    return {
        "id": identity,
        "number": printable(event.number),
        "services": [printable(service) for service in event.services],
        "regions": [printable(region) for region in event.regions],
    }

"""The second signature on an affected list, and the notifications that it lets out (R36a, I8)."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify import incidents
from services.notify.affected_lists import listed_tenants, newest_list
from services.notify.completion import complete_lists
from services.notify.incidents import Incident
from services.notify.inventory import Inventory, Tenant
from services.notify.inventory_keeper import InventoryKeeper
from services.notify.message import Subject, complete, missing, render, template_digest
from services.notify.notices import newest_notice
from services.notify.scope import Confidence
from shared.cloudevents import outgoing
from shared.ids import derived_id
from shared.outbox import enqueue
from shared.problems import ProblemError

__all__ = ["approve"]

_LIST = text(
    "SELECT incident_id, version, inventory_version, state, compiled_by, approved_by"
    " FROM affected_lists WHERE list_id = :list"
)
_APPROVE = text(
    "UPDATE affected_lists SET state = 'approved', approved_by = :by, approved_at = :at"
    " WHERE list_id = :list AND state = 'compiled'"
)
# A failed one does not count: a later list tries again, under an id of its own.
_TOLD = text(
    "SELECT tenant, channel FROM notifications WHERE incident_id = :incident AND state <> 'failed'"
)
_INSERT = text(
    "INSERT INTO notifications (notification_id, list_id, incident_id, tenant, channel,"
    " recipients, content, template_digest, created_at, next_attempt_at)"
    " VALUES (:id, :list, :incident, :tenant, :channel, :recipients, :content, :template, :at, :at)"
    " ON CONFLICT DO NOTHING"
)


async def approve(
    connection: AsyncConnection,
    list_id: UUID,
    *,
    by: str,
    at: datetime,
    keeper: InventoryKeeper,
    operator_name: str,
) -> int:
    """Sign the list as *by* and create its notifications; return how many.

    Only tenants not already told for an earlier version get one (R35b). 404 for an unknown list;
    409 with every unmet condition. Signing what the same person signed already changes nothing.
    """
    known = (await connection.execute(_LIST, {"list": list_id})).one_or_none()
    incident = await incidents.lock(connection, known.incident_id) if known else None
    if incident is None:
        raise ProblemError(404, "not_found", "There is no such affected list.")
    # Read again: only under the incident's lock does it hold still.
    row = (await connection.execute(_LIST, {"list": list_id})).one()
    if row.state == "approved" and row.approved_by == by:
        return 0
    written = await newest_notice(connection, incident.id)
    notice = complete(incident.facts, written.fields if written else {})
    author = written.author if written else None
    newest = await newest_list(connection, incident.id)
    unmet = _unmet(row, incident, by, newest.version, author, notice)
    if unmet:
        raise ProblemError(
            409, "list_not_approvable", "The affected list cannot be approved so.", unmet=unmet
        )
    await connection.execute(_APPROVE, {"list": list_id, "by": by, "at": at})
    inventory = await keeper.by_version(connection, row.inventory_version)
    listed = await listed_tenants(connection, list_id)
    told = {
        (r.tenant, r.channel)
        for r in (await connection.execute(_TOLD, {"incident": incident.id})).all()
    }
    make = _Maker(list_id, row.version, incident, notice, operator_name, at)
    rows = await asyncio.to_thread(make.rows, inventory, listed, told)
    if rows:
        await connection.execute(_INSERT, rows)
    done = await complete_lists(connection, incident.id, at)
    await enqueue(connection, [outgoing(contract, source="notify") for contract in done])
    return len(rows)


def _unmet(
    row: Any,
    incident: Incident,
    by: str,
    newest_version: int,
    author: str | None,
    notice: Mapping[str, str],
) -> list[dict[str, str]]:
    found = []

    def no(code: str, detail: str) -> None:
        found.append({"code": code, "detail": detail})

    if row.version != newest_version:
        no("not_latest", f"This is version {row.version}; the newest is {newest_version}.")
    if row.state == "approved":
        no("already_approved", f"{row.approved_by} has approved it.")
    if by == row.compiled_by:
        no("approver_is_compiler", f"{by} compiled the list; somebody else has to approve it.")
    if by == author:
        no("approver_is_author", f"{by} wrote the notice; somebody else has to approve it.")
    if incident.state != "confirmed":
        no("incident_not_confirmed", f"The incident is {incident.state}, not confirmed.")
    for name in missing(notice):
        no("notice_incomplete", f"The notice has no {name}.")
    return found


class _Maker:
    """Makes the rows of notifications; apart, as rendering thousands is not for the event loop."""

    def __init__(
        self,
        list_id: UUID,
        version: int,
        incident: Incident,
        notice: Mapping[str, str],
        operator_name: str,
        at: datetime,
    ) -> None:
        self._list, self._version, self._incident = list_id, version, incident
        self._notice, self._operator, self._at = notice, operator_name, at

    def rows(
        self,
        inventory: Inventory,
        listed: Mapping[str, tuple[Confidence, Mapping[str, Any]]],
        told: set[tuple[str, str]],
    ) -> list[dict[str, Any]]:
        return [
            self._row(inventory.tenants[name], channel, to, confidence, explanation)
            for name, (confidence, explanation) in listed.items()
            for channel, to in _channels(inventory.tenants[name])
            if (name, channel) not in told
        ]

    def _row(
        self,
        tenant: Tenant,
        channel: str,
        to: Sequence[str],
        confidence: Confidence,
        explanation: Mapping[str, Any],
    ) -> dict[str, Any]:
        key = derived_id("notification", self._incident.id, self._version, tenant.name, channel)
        matches = explanation["matches"]
        content = render(
            self._notice,
            Subject(
                tenant=tenant.name,
                display_name=tenant.display_name,
                confidence=confidence.value,
                services=tuple(sorted({match["service"] for match in matches})),
                regions=tuple(sorted({match["region"] for match in matches})),
                data_classes=tuple(explanation["data_classes"]),
            ),
            number=self._incident.number,
            notification_id=key,
            operator_name=self._operator,
            at=self._at,
        )
        hook = tenant.contacts.webhook
        return {
            "id": key,
            "list": self._list,
            "incident": self._incident.id,
            "tenant": tenant.name,
            "channel": channel,
            "recipients": json.dumps(
                {"to": list(to), "secret_ref": hook.secret_ref if hook else None}
            ),
            "content": json.dumps(
                {"subject": content.subject, "text": content.text, "body": content.body}
            ),
            "template": template_digest(),
            "at": self._at,
        }


def _channels(tenant: Tenant) -> list[tuple[str, Sequence[str]]]:
    found: list[tuple[str, Sequence[str]]] = []
    if tenant.contacts.emails:
        found.append(("email", tenant.contacts.emails))
    if tenant.contacts.webhook:
        found.append(("webhook", (tenant.contacts.webhook.url,)))
    return found

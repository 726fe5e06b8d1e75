"""The second signature on an affected list, and the notifications that it lets out (R36a, I8)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify import incidents
from services.notify.affected_lists import listed_tenants, newest_list
from services.notify.completion import complete_lists
from services.notify.correction_text import standing_statement
from services.notify.corrections import audience, queue
from services.notify.incidents import Incident
from services.notify.inventory import Inventory, Tenant
from services.notify.inventory_keeper import InventoryKeeper
from services.notify.message import Subject, complete, missing, render, template_digest
from services.notify.notices import newest_notice
from services.notify.scope import Confidence
from services.notify.told import insert, told
from services.notify.told import row as message_row
from shared.cloudevents import outgoing
from shared.contracts.cases import ERASED
from shared.ids import derived_id
from shared.outbox import enqueue
from shared.problems import ProblemError

__all__ = ["Approved", "approve"]

_LIST = text(
    "SELECT incident_id, version, inventory_version, state, compiled_by, approved_by,"
    " nobody_reason, confirmed + probable + possible AS tenants"
    " FROM affected_lists WHERE list_id = :list"
)
_APPROVE = text(
    "UPDATE affected_lists SET state = 'approved', approved_by = :by, approved_at = :at"
    " WHERE list_id = :list AND state = 'compiled'"
)
_NOBODY = text("UPDATE affected_lists SET nobody_reason = :reason WHERE list_id = :list")


@dataclass(frozen=True, slots=True)
class Approved:
    """How many messages a signature let out."""

    notices: int
    corrections: int


async def approve(
    connection: AsyncConnection,
    list_id: UUID,
    *,
    by: str,
    at: datetime,
    keeper: InventoryKeeper,
    operator_name: str,
    nobody_reason: str | None = None,
) -> Approved:
    """Sign the list as *by* and queue its notifications and corrections.

    Only tenants not already told for an earlier version get a notice (R35b); those told that are
    not on the list any more get a correction. A list of nobody needs *nobody_reason* (R34). 404 for
    an unknown list; 409 with every unmet condition. Signing what the same person signed already
    changes nothing.
    """
    seen = (await connection.execute(_LIST, {"list": list_id})).one_or_none()
    incident = await incidents.lock(connection, seen.incident_id) if seen else None
    if incident is None:
        raise ProblemError(404, "not_found", "There is no such affected list.")
    # Read again: only under the incident's lock does it hold still.
    row = (await connection.execute(_LIST, {"list": list_id})).one()
    if row.state == "approved" and row.approved_by == by:
        return Approved(0, 0)
    written = await newest_notice(connection, incident.id)
    notice = complete(incident.facts, written.fields if written else {})
    author = written.author if written else None
    newest = await newest_list(connection, incident.id)
    reason = (row.nobody_reason or nobody_reason or "").strip()
    unmet = _unmet(row, incident, by, newest.version, author, notice, reason)
    if unmet:
        raise ProblemError(
            409, "list_not_approvable", "The affected list cannot be approved so.", unmet=unmet
        )
    await connection.execute(_APPROVE, {"list": list_id, "by": by, "at": at})
    if not row.tenants:
        await connection.execute(_NOBODY, {"list": list_id, "reason": reason})
    inventory = await keeper.by_version(connection, row.inventory_version)
    listed = await listed_tenants(connection, list_id)
    words = await told(connection, incident.id)
    known = {(word.tenant, word.channel) for word in words if word.counts}
    make = _Maker(list_id, row.version, incident, notice, operator_name, at)
    rows = await asyncio.to_thread(make.rows, inventory, listed, known)
    await insert(connection, rows)
    gone = [word for word in audience(words, "not_affected") if word.tenant not in listed]
    corrected = await queue(
        connection,
        incident,
        gone,
        why="not_affected",
        statement=standing_statement("not_affected"),
        operator_name=operator_name,
        at=at,
        list_id=list_id,
    )
    done = await complete_lists(connection, incident.id, at)
    await enqueue(connection, [outgoing(contract, source="notify") for contract in done])
    return Approved(len(rows), corrected)


def _unmet(
    row: Any,
    incident: Incident,
    by: str,
    newest_version: int,
    author: str | None,
    notice: Mapping[str, str],
    nobody_reason: str,
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
    if not row.tenants:
        if not nobody_reason:
            no("reason_missing", "The list names nobody; say why no customer is affected.")
        return found
    for name in missing(notice):
        no("notice_incomplete", f"The notice has no {name}.")
    for name in (name for name, words in notice.items() if words == ERASED):
        no("notice_erased", f"The {name} of the notice was erased; write it anew.")
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
        contacts = tenant.contacts
        return message_row(
            id=key,
            list_id=self._list,
            incident_id=self._incident.id,
            tenant=tenant.name,
            channel=channel,
            recipients={
                "to": list(to),
                "secret_ref": contacts.webhook.secret_ref if contacts.webhook else None,
                "alternates": list(contacts.alternates) if channel == "email" else [],
            },
            content=content,
            template=template_digest(),
            at=self._at,
        )


def _channels(tenant: Tenant) -> list[tuple[str, Sequence[str]]]:
    found: list[tuple[str, Sequence[str]]] = []
    if tenant.contacts.emails:
        found.append(("email", tenant.contacts.emails))
    if tenant.contacts.webhook:
        found.append(("webhook", (tenant.contacts.webhook.url,)))
    return found

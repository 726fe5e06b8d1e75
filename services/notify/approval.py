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
from services.notify.affected_lists import newest_list
from services.notify.completion import complete_lists
from services.notify.correction_text import standing_statement
from services.notify.corrections import audience, queue
from services.notify.incidents import Incident
from services.notify.inventory import Tenant
from services.notify.inventory_keeper import InventoryKeeper
from services.notify.message import Draft, Subject, render
from services.notify.notice_plan import Planned, Variant
from services.notify.notices_to_send import ToSend, notices_to_send
from services.notify.obligations.regimes import Regimes
from services.notify.scope import Confidence
from services.notify.settings import Settings
from services.notify.told import insert, told
from services.notify.told import row as message_row
from services.notify.used_templates import keep_templates
from services.notify.wording.catalogue import Catalogue
from shared.cloudevents import outgoing
from shared.ids import derived_id
from shared.outbox import enqueue
from shared.problems import ProblemError

__all__ = ["Approved", "approve", "subject_of"]

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
    settings: Settings,
    regimes: Regimes,
    wording: Catalogue,
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
    words = await told(connection, incident.id)
    to_send = await notices_to_send(
        connection,
        incident,
        list_id=list_id,
        keeper=keeper,
        version=row.inventory_version,
        told=[(word.tenant, word.channel) for word in words if word.counts],
        settings=settings,
        regimes=regimes,
        wording=wording,
    )
    newest = await newest_list(connection, incident.id)
    reason = (row.nobody_reason or nobody_reason or "").strip()
    unmet = _unmet(row, incident, by, newest.version, to_send, reason)
    if unmet:
        raise ProblemError(
            409, "list_not_approvable", "The affected list cannot be approved so.", unmet=unmet
        )
    await connection.execute(_APPROVE, {"list": list_id, "by": by, "at": at})
    if not row.tenants:
        await connection.execute(_NOBODY, {"list": list_id, "reason": reason})
    make = _Maker(list_id, row.version, incident, settings.operator_name, wording, at)
    rows = await asyncio.to_thread(make.rows, to_send.planned, to_send.drafts, to_send.listed)
    await insert(connection, rows)
    await keep_templates(connection, (v.template for v in to_send.planned), at)
    gone = [word for word in audience(words, "not_affected") if word.tenant not in to_send.listed]
    corrected = await queue(
        connection,
        incident,
        gone,
        why="not_affected",
        statement=standing_statement(wording, "not_affected"),
        operator_name=settings.operator_name,
        wording=wording,
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
    to_send: ToSend,
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
    if by == to_send.author:
        no("approver_is_author", f"{by} wrote the notice; somebody else has to approve it.")
    if incident.state != "confirmed":
        no("incident_not_confirmed", f"The incident is {incident.state}, not confirmed.")
    if not row.tenants:
        if not nobody_reason:
            no("reason_missing", "The list names nobody; say why no customer is affected.")
        return found
    for gap in to_send.missing():
        no("notice_incomplete", gap.sentence())
    for name in to_send.erased():
        no("notice_erased", f"The {name} of the notice was erased; write it anew.")
    return found


class _Maker:
    """Makes the rows of notifications; apart, as rendering thousands is not for the event loop."""

    def __init__(
        self,
        list_id: UUID,
        version: int,
        incident: Incident,
        operator_name: str,
        wording: Catalogue,
        at: datetime,
    ) -> None:
        self._list, self._version, self._incident = list_id, version, incident
        self._operator, self._wording, self._at = operator_name, wording, at

    def rows(
        self,
        planned: Mapping[Variant, Sequence[Planned]],
        drafts: Mapping[Variant, Draft],
        listed: Mapping[str, tuple[Confidence, Mapping[str, Any]]],
    ) -> list[dict[str, Any]]:
        return [
            self._row(one, drafts[variant], *listed[one.tenant.name])
            for variant, ones in planned.items()
            for one in ones
        ]

    def _row(
        self, one: Planned, draft: Draft, confidence: Confidence, explanation: Mapping[str, Any]
    ) -> dict[str, Any]:
        tenant, channel = one.tenant, one.channel
        key = derived_id("notification", self._incident.id, self._version, tenant.name, channel)
        content = render(
            draft,
            subject_of(tenant, confidence, explanation),
            self._wording,
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
                "to": list(one.to),
                "secret_ref": contacts.webhook.secret_ref if contacts.webhook else None,
                "alternates": list(contacts.alternates) if channel == "email" else [],
            },
            content=content,
            at=self._at,
        )


def subject_of(tenant: Tenant, confidence: Confidence, explanation: Mapping[str, Any]) -> Subject:
    """Return what of *tenant* is affected, for its own notice."""
    matches = explanation["matches"]
    return Subject(
        tenant=tenant.name,
        display_name=tenant.display_name,
        confidence=confidence.value,
        services=tuple(sorted({match["service"] for match in matches})),
        regions=tuple(sorted({match["region"] for match in matches})),
        data_classes=tuple(explanation["data_classes"]),
    )

"""Obligations as kept: computed anew from what is known, a revision added only where it differs."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.affected_lists import listed_tenants, newest_list
from services.notify.incidents import Incident
from services.notify.inventory_keeper import InventoryKeeper
from services.notify.obligations.identify import (
    AffectedParty,
    Holder,
    IncidentFacts,
    Key,
    Obligation,
    ObligationState,
    OperatorProfile,
    identify,
    withdrawn,
)
from services.notify.obligations.record import obligation_json, parse_obligation
from services.notify.obligations.regimes import CLOCKS, Regimes
from services.notify.obligations.steps import refresh_board, submissions
from shared.contracts.base import Contract
from shared.contracts.notify import ObligationDecidedV1, ObligationIdentifiedV1
from shared.ids import derived_id

__all__ = ["ObligationBook", "obligation_id"]

_CURRENT = text(
    "SELECT DISTINCT ON (obligation_id) obligation_id, revision, detail, digest FROM obligations"
    " WHERE incident_id = :incident AND (CAST(:tenant AS text) IS NULL OR tenant = :tenant)"
    " ORDER BY obligation_id, revision DESC"
)
_STATED = text(
    "SELECT facts FROM stated_facts WHERE incident_id = :incident ORDER BY version DESC LIMIT 1"
)
_TOLD = text(
    "SELECT tenant, min(sent_at) AS at FROM notifications"
    " WHERE incident_id = :incident AND state = 'sent'"
    " AND (CAST(:tenant AS text) IS NULL OR tenant = :tenant) GROUP BY tenant"
)
_INSERT = text(
    "INSERT INTO obligations (obligation_id, revision, incident_id, regime, tenant, state, due_at,"
    " detail, digest, computed_at) VALUES (:id, :revision, :incident, :regime, :tenant, :state,"
    " :due_at, :detail, :digest, :at)"
)


class ObligationBook:
    """Brings the obligations of an incident in line with its facts and its newest list."""

    def __init__(
        self, keeper: InventoryKeeper, operator: OperatorProfile, regimes: Regimes
    ) -> None:
        self._keeper, self._operator, self._regimes = keeper, operator, regimes

    async def evaluate(
        self,
        connection: AsyncConnection,
        incident: Incident,
        at: datetime,
        tenant: str | None = None,
    ) -> list[Contract]:
        """Write what changed and return its messages; nothing is owed before confirmation.

        Of one *tenant*: only what is owed to it, or by it. The caller holds the incident's lock.
        """
        if incident.state in ("dismissed", "retracted"):
            # Of all at once, when the verdict falls.
            return [] if tenant else await self._take_back(connection, incident.id, at)
        if incident.state != "confirmed":
            return []
        parties = await self._parties(connection, incident.id, tenant)
        stated = (await connection.execute(_STATED, {"incident": incident.id})).scalar()
        done = await submissions(connection, incident.id)
        facts = _facts(incident, json.loads(stated) if stated else {}, done)
        of = {"incident": incident.id, "tenant": tenant}
        rows = (await connection.execute(_CURRENT, of)).all()
        current = {row.obligation_id: row for row in rows}
        known = {_key(json.loads(row.detail)) for row in rows}
        found = {
            obligation_id(incident.id, o): o
            for o in identify(facts, self._operator, parties, self._regimes, known)
            if tenant in {None, o.tenant}
        }
        for key, row in current.items():
            if key not in found:
                gone = parse_obligation(json.loads(row.detail))
                why = "the tenant is not on the newest affected list any more"
                if gone.tenant is None:
                    why = "no enabled regime asks for it any more"
                found[key] = withdrawn(gone, why)
        changed: dict[UUID, Obligation] = {}
        messages: list[Contract] = []
        for key, obligation in found.items():
            revised, message = await _revise(connection, incident.id, key, obligation, current, at)
            if revised:
                changed[key] = obligation
            if message is not None:
                messages.append(message)
        await refresh_board(connection, incident.id, changed)
        return messages

    async def _take_back(
        self, connection: AsyncConnection, incident_id: UUID, at: datetime
    ) -> list[Contract]:
        """Leave what was owed to a person's decision: the verdict it stood on was taken back."""
        of = {"incident": incident_id, "tenant": None}
        rows = (await connection.execute(_CURRENT, of)).all()
        current = {row.obligation_id: row for row in rows}
        changed: dict[UUID, Obligation] = {}
        messages: list[Contract] = []
        for key, row in current.items():
            why = "the confirmation was taken back"
            obligation = withdrawn(parse_obligation(json.loads(row.detail)), why)
            revised, message = await _revise(connection, incident_id, key, obligation, current, at)
            if revised:
                changed[key] = obligation
            if message is not None:
                messages.append(message)
        await refresh_board(connection, incident_id, changed)
        return messages

    async def _parties(
        self, connection: AsyncConnection, incident_id: UUID, tenant: str | None
    ) -> Iterable[AffectedParty]:
        newest = await newest_list(connection, incident_id)
        if newest is None:
            return []
        listed = await listed_tenants(connection, newest.list_id, tenant)
        tenants = await self._keeper.tenants(connection, newest.inventory_version, listed)
        of = {"incident": incident_id, "tenant": tenant}
        told = (await connection.execute(_TOLD, of)).all()
        told_at = {row.tenant: row.at for row in told}
        return [
            AffectedParty(tenant=tenants[name], confidence=confidence, told_at=told_at.get(name))
            for name, (confidence, _) in listed.items()
        ]


def _key(detail: Mapping[str, Any]) -> Key:
    return detail["regime"], detail["phase"], detail["recipient"], detail["tenant"] or ""


def obligation_id(incident_id: UUID, obligation: Obligation) -> UUID:
    """Return the id that a duty keeps through every recomputation."""
    return derived_id(
        "obligation",
        incident_id,
        obligation.regime,
        obligation.phase,
        obligation.recipient,
        obligation.tenant or "",
    )


def _facts(
    incident: Incident,
    stated: Mapping[str, object],
    done: Mapping[tuple[str, str, str], datetime],
) -> IncidentFacts:
    """Return what is known: the clocks that cases recorded, and what a person stated last."""
    clocks = {name: incident.instant(f"{name}_at") for name in CLOCKS}
    return IncidentFacts(
        clocks={name: at for name, at in clocks.items() if at is not None},
        inputs={**incident.facts.get("inputs", {}), **stated},
        submissions=done,
    )


async def _revise(
    connection: AsyncConnection,
    incident_id: UUID,
    key: UUID,
    obligation: Obligation,
    current: dict[UUID, Any],
    at: datetime,
) -> tuple[bool, Contract | None]:
    """Return whether a revision was written, and what is to be told of it."""
    detail = json.dumps(obligation_json(obligation), sort_keys=True)
    digest = hashlib.sha256(detail.encode()).hexdigest()
    known = current.get(key)
    if known is not None and known.digest == digest:
        return False, None
    revision = known.revision + 1 if known else 1
    await connection.execute(
        _INSERT,
        {
            "id": key,
            "revision": revision,
            "incident": incident_id,
            "regime": obligation.regime,
            "tenant": obligation.tenant,
            "state": obligation.state.value,
            "due_at": obligation.due_at,
            "detail": detail,
            "digest": digest,
            "at": at,
        },
    )
    if obligation.holder is Holder.CUSTOMER:
        return True, None  # nothing for us to do
    if obligation.state is ObligationState.NOT_REQUIRED:
        was = json.loads(known.detail)["state"] if known else obligation.state.value
        if was == obligation.state.value:
            return True, None
        return True, _ruled_out(incident_id, key, revision, obligation, at)
    return True, ObligationIdentifiedV1(
        event_id=derived_id("obligation-identified", key, revision),
        occurred_at=at,
        obligation_id=key,
        incident_id=incident_id,
        regime=obligation.regime,
        phase=obligation.phase,
        recipient=obligation.recipient,
        tenant=obligation.tenant,
        clock=obligation.clock,
        clock_at=obligation.clock_at,
        due_at=obligation.due_at,
        state=obligation.state.value,
        basis=obligation.basis,
    )


def _ruled_out(
    incident_id: UUID, key: UUID, revision: int, obligation: Obligation, at: datetime
) -> ObligationDecidedV1:
    """Return the message that what was owed is not owed any more, because of what is known now."""
    why = [c for c in obligation.trigger if c.holds is False]
    return ObligationDecidedV1(
        event_id=derived_id("obligation-ruled-out", key, revision),
        occurred_at=at,
        obligation_id=key,
        incident_id=incident_id,
        regime=obligation.regime,
        phase=obligation.phase,
        recipient=obligation.recipient,
        tenant=obligation.tenant,
        decision="not_required",
        reason="; ".join(f"{c.what}: {c.because}" for c in why),
        decided_by="system",
    )

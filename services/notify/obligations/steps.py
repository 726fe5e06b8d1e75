"""Steps as kept: append one if nothing speaks against it, and bring the board in line."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.obligations.identify import Holder, Obligation
from services.notify.obligations.lifecycle import (
    Kind,
    Stage,
    Standing,
    Step,
    Unmet,
    alarms,
    refusals,
    stands,
)
from services.notify.obligations.record import parse_obligation
from services.notify.obligations.regimes import HoldKind, Regimes
from shared.contracts.base import Contract
from shared.contracts.notify import (
    ObligationDecidedV1,
    ObligationMetV1,
    ObligationReopenedV1,
    ObligationWaivedV1,
)
from shared.ids import derived_id

__all__ = [
    "Kept", "NotTakenError", "add", "owed_to", "read", "refresh_board", "submissions", "take",
]  # fmt: skip

_ALL = text(
    "SELECT DISTINCT ON (obligation_id) obligation_id, incident_id, detail"
    " FROM obligations WHERE obligation_id = ANY(:ids) ORDER BY obligation_id, revision DESC"
)
_STEPS = text(
    "SELECT obligation_id, step, kind, at, by_whom, detail FROM obligation_steps"
    " WHERE obligation_id = ANY(:ids) ORDER BY obligation_id, step"
)
_ADD = text(
    "INSERT INTO obligation_steps (obligation_id, step, kind, at, by_whom, detail)"
    " VALUES (:id, :step, :kind, :at, :by, :detail)"
)
_BOARD = text(
    """
    INSERT INTO obligation_board AS b (obligation_id, incident_id, regime, phase, recipient, tenant,
        holder, stage, provisional, internal_target, held, late_reason_missing, clock_at, due_at,
        next_alarm_at, reopened)
    VALUES (:id, :incident, :regime, :phase, :recipient, :tenant, :holder, :stage, :provisional,
        :target, :held, :unexplained, :clock_at, :due_at, :alarm, :reopened)
    ON CONFLICT (obligation_id) DO UPDATE SET stage = excluded.stage, reopened = excluded.reopened,
        provisional = excluded.provisional, internal_target = excluded.internal_target,
        held = excluded.held, late_reason_missing = excluded.late_reason_missing,
        -- Alarms that were given for this due time are not given again.
        next_alarm_at = CASE WHEN excluded.next_alarm_at IS NULL THEN NULL
            WHEN b.due_at = excluded.due_at AND b.clock_at = excluded.clock_at
                AND b.next_alarm_at IS NOT NULL THEN b.next_alarm_at
            ELSE excluded.next_alarm_at END,
        clock_at = excluded.clock_at, due_at = excluded.due_at
    """
)
_SUBMITTED = text(
    "SELECT DISTINCT ON (s.obligation_id) s.obligation_id, s.kind, s.detail"
    " FROM obligation_steps s JOIN obligation_board b USING (obligation_id)"
    " WHERE b.incident_id = :incident AND s.kind IN ('submit', 'reopen')"
    " ORDER BY s.obligation_id, s.step DESC"
)
_PLACES = text(
    "SELECT obligation_id, regime, phase, tenant FROM obligation_board"
    " WHERE incident_id = :incident"
)
_TO_TENANTS = text(
    "SELECT obligation_id, tenant FROM obligation_board WHERE incident_id = :incident"
    " AND tenant = ANY(:tenants) AND recipient = 'tenant' AND holder = 'provider'"
    " AND stage = ANY(:stages) ORDER BY tenant, obligation_id"
)


class NotTakenError(Exception):
    """The step was refused, for the reasons in ``unmet``."""

    def __init__(self, unmet: Sequence[Unmet]) -> None:
        super().__init__("; ".join(one.detail for one in unmet))
        self.unmet = tuple(unmet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An obligation, what was done about it, and where it stands."""

    id: UUID
    incident_id: UUID
    obligation: Obligation
    steps: tuple[Step, ...]

    @property
    def standing(self) -> Standing:
        return stands(self.obligation, self.steps)


async def read(connection: AsyncConnection, obligation_id: UUID) -> Kept | None:
    """Return the obligation as it is now; None for an unknown one."""
    found = await read_all(connection, [obligation_id])
    return found[0] if found else None


async def read_all(connection: AsyncConnection, ids: Sequence[UUID]) -> list[Kept]:
    """Return the obligations of *ids* as they are now, those that are known, in their order."""
    rows = (await connection.execute(_ALL, {"ids": list(ids)})).all()
    known = {row.obligation_id: row for row in rows}
    steps = await _steps(connection, known)
    return [
        Kept(
            id=key,
            incident_id=known[key].incident_id,
            obligation=parse_obligation(json.loads(known[key].detail)),
            steps=steps.get(key, ()),
        )
        for key in ids
        if key in known
    ]


async def take(
    connection: AsyncConnection, kept: Kept, step: Step, regimes: Regimes
) -> tuple[Kept, list[Contract]]:
    """Append *step* and return what stands then, and what is to be told; NotTakenError if refused.

    The caller holds the incident's lock.
    """
    unmet = refusals(kept.obligation, kept.standing, step, hold_kind(kept.obligation, regimes))
    if unmet:
        raise NotTakenError(unmet)
    told = await add(connection, [(kept, step)])
    return replace(kept, steps=(*kept.steps, step)), told


async def owed_to(
    connection: AsyncConnection, incident_id: UUID, tenants: Iterable[str], stages: Iterable[Stage]
) -> list[Kept]:
    """Return what we owe to *tenants* themselves that is in one of *stages*."""
    values = {
        "incident": incident_id,
        "tenants": list(tenants),
        "stages": [stage.value for stage in stages],
    }
    ids = (await connection.execute(_TO_TENANTS, values)).scalars().all()
    return await read_all(connection, ids) if ids else []


async def add(connection: AsyncConnection, taken: Sequence[tuple[Kept, Step]]) -> list[Contract]:
    """Append to each obligation a step that nothing speaks against; return what is to be told."""
    if not taken:
        return []
    rows = [
        {
            "id": kept.id,
            "step": len(kept.steps) + 1,
            "kind": step.kind.value,
            "at": step.at,
            "by": step.by,
            "detail": json.dumps(dict(step.detail), sort_keys=True),
        }
        for kept, step in taken
    ]
    await connection.execute(_ADD, rows)
    after = [replace(kept, steps=(*kept.steps, step)) for kept, step in taken]
    await connection.execute(_BOARD, [_board_row(one) for one in after])
    return [
        told
        for (kept, step), then in zip(taken, after, strict=True)
        for told in _told(kept, then, step, len(then.steps))
    ]


async def refresh_board(
    connection: AsyncConnection, incident_id: UUID, obligations: Mapping[UUID, Obligation]
) -> None:
    """Write where *obligations* stand now."""
    steps = await _steps(connection, list(obligations))
    rows = [
        _board_row(
            Kept(
                id=key,
                incident_id=incident_id,
                obligation=obligation,
                steps=steps.get(key, ()),
            )
        )
        for key, obligation in obligations.items()
    ]
    if rows:
        await connection.execute(_BOARD, rows)


async def submissions(
    connection: AsyncConnection, incident_id: UUID
) -> dict[tuple[str, str, str], datetime]:
    """Return when which phase was submitted, by regime, phase and tenant ("": the operator)."""
    places = (await connection.execute(_PLACES, {"incident": incident_id})).all()
    by_id = {row.obligation_id: (row.regime, row.phase, row.tenant or "") for row in places}
    rows = (await connection.execute(_SUBMITTED, {"incident": incident_id})).all()
    found: dict[tuple[str, str, str], datetime] = {}
    for row in rows:
        if row.kind != Kind.SUBMIT.value:
            continue  # taken back
        at = datetime.fromisoformat(json.loads(row.detail)["submitted_at"])
        key = by_id[row.obligation_id]
        # Handed to several recipients, what follows runs from the first (the strict reading).
        found[key] = min(at, found.get(key, at))
    return found


def hold_kind(obligation: Obligation, regimes: Regimes) -> HoldKind:
    """Return what an authority may do to this duty; nothing for a row that is gone."""
    kinds = {row.id: row.hold for row in regimes.rows}
    return kinds.get(obligation.regime, HoldKind.NONE)


async def _steps(connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, tuple[Step, ...]]:
    rows = (await connection.execute(_STEPS, {"ids": list(ids)})).all()
    found: dict[UUID, tuple[Step, ...]] = {}
    for row in rows:
        step = Step(kind=Kind(row.kind), at=row.at, by=row.by_whom, detail=json.loads(row.detail))
        found[row.obligation_id] = (*found.get(row.obligation_id, ()), step)
    return found


def _board_row(kept: Kept) -> dict[str, Any]:
    obligation, standing = kept.obligation, kept.standing
    ours = obligation.holder is Holder.PROVIDER
    first = alarms(obligation.clock_at, standing.due_at)
    return {
        "id": kept.id,
        "incident": kept.incident_id,
        "regime": obligation.regime,
        "phase": obligation.phase,
        "recipient": obligation.recipient,
        "tenant": obligation.tenant,
        "holder": obligation.holder.value,
        "stage": standing.stage.value,
        "provisional": obligation.provisional,
        "target": obligation.internal_target,
        "held": standing.hold is not None,
        "unexplained": standing.late and not standing.late_reason,
        "clock_at": obligation.clock_at,
        "due_at": standing.due_at,
        "alarm": first[0][0] if ours and standing.open and first else None,
        "reopened": sum(step.kind is Kind.REOPEN for step in kept.steps),
    }


def _told(before: Kept, kept: Kept, step: Step, number: int) -> list[Contract]:
    """Return the contract of a step that others act on."""
    one, standing = kept.obligation, kept.standing
    common: dict[str, Any] = {
        "event_id": derived_id("obligation-step", kept.id, number),
        "occurred_at": step.at,
        "obligation_id": kept.id,
        "incident_id": kept.incident_id,
        "regime": one.regime,
        "phase": one.phase,
        "recipient": one.recipient,
        "tenant": one.tenant,
    }
    match step.kind:
        case Kind.DECIDE:
            decision = "required" if step.detail["required"] else "not_required"
            return [
                ObligationDecidedV1(
                    **common, decision=decision, reason=step.detail["reason"], decided_by=step.by
                )
            ]
        case Kind.END_SERIES:
            why = f"nothing further: {step.detail['reason']}"
            return [
                ObligationDecidedV1(
                    **common, decision="not_required", reason=why, decided_by=step.by
                )
            ]
        case Kind.DRAFT if before.standing.ended is not None:
            why = "a further notice was drafted after all"
            return [
                ObligationDecidedV1(**common, decision="required", reason=why, decided_by=step.by)
            ]
        case Kind.SUBMIT:
            return [
                ObligationMetV1(
                    **common,
                    met_at=standing.submitted_at or step.at,
                    due_at=standing.due_at,
                    reference=standing.reference,
                    late_reason=standing.late_reason,
                    document_sha256=step.detail.get("document_sha256", ""),
                )
            ]
        case Kind.REOPEN:
            was = before.standing
            return [
                ObligationReopenedV1(
                    **common,
                    reason=step.detail["reason"],
                    met_at=was.submitted_at or step.at,
                    reference=was.reference,
                    due_at=standing.due_at,
                    state=standing.stage.value,
                )
            ]
        case Kind.APPROVE_WAIVER if standing.waiver is not None:
            return [
                ObligationWaivedV1(
                    **common,
                    reason=standing.waiver["reason"],
                    owner=standing.waiver["by"],
                    approver=step.by,
                )
            ]
        case _:
            return []

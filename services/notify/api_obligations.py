"""Regimes, what-if, and the facts that legal states of an incident (§4)."""

import asyncio
import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text

from services.notify import incidents
from services.notify.obligations.conditions import FACTS
from services.notify.obligations.preview import PreviewBody, PreviewError, preview
from services.notify.obligations.record import obligation_json
from services.notify.obligations.regimes import Phase, Regime, submitted
from services.notify.obligations.rule_shown import condition_words, rule_json, rule_sentence
from services.notify.state import READERS, snapshot
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.cloudevents import outgoing
from shared.outbox import enqueue
from shared.problems import ProblemError
from shared.zones import TZDB

__all__ = ["router"]

router = APIRouter(tags=["obligations"])

_NEWEST = text(
    "SELECT version, facts, stated_by, stated_at, reason FROM stated_facts"
    " WHERE incident_id = :incident ORDER BY version DESC"
)
_STATE = text(
    "INSERT INTO stated_facts (incident_id, version, facts, stated_by, stated_at, reason)"
    " VALUES (:incident, :version, :facts, :by, :at, :reason)"
)


class StatementBody(BaseModel):
    """Facts beyond the inputs of the severity; null takes one back to not known."""

    model_config = ConfigDict(extra="forbid")

    facts: dict[str, bool | int | list[str] | None] = Field(max_length=len(FACTS))
    reason: str = Field(min_length=1, max_length=2000, description="how this is known")


@router.get("/v1/regimes", summary="Every row: enabled or not, its status, source and phases")
async def regimes(
    request: Request, _: Annotated[Principal, allow(*READERS, Role.POLICY_ADMIN)]
) -> dict[str, Any]:
    return {"tzdb": TZDB, "items": [_regime(row) for row in request.state.regimes.rows]}


@router.post("/v1/obligations/preview", summary="What would be owed; changes nothing")
async def preview_obligations(
    request: Request,
    body: PreviewBody,
    _: Annotated[Principal, allow(*READERS, Role.POLICY_ADMIN)],
) -> dict[str, Any]:
    try:
        found = await asyncio.to_thread(
            preview, body, request.state.operator, request.state.regimes
        )
    except PreviewError as error:
        raise ProblemError(422, "obligations_unanswerable", str(error)) from error
    return {"tzdb": TZDB, "items": [obligation_json(obligation) for obligation in found]}


@router.get("/v1/incidents/{incident_id}/facts", summary="What was stated, newest first")
async def stated_facts(
    request: Request, incident_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        rows = (await connection.execute(_NEWEST, {"incident": incident_id})).all()
    return {
        "items": [
            {
                "version": row.version,
                "facts": json.loads(row.facts),
                "stated_by": row.stated_by,
                "stated_at": rfc3339(row.stated_at),
                "reason": row.reason,
            }
            for row in rows
        ]
    }


@router.post("/v1/incidents/{incident_id}/facts", summary="State facts; obligations follow at once")
async def state_facts(
    request: Request,
    incident_id: UUID,
    body: StatementBody,
    principal: Annotated[Principal, allow(Role.LEGAL)],
) -> dict[str, Any]:
    if unknown := sorted(set(body.facts) - set(FACTS)):
        known = ", ".join(FACTS)
        detail = f"No regime asks for {', '.join(unknown)}. Facts: {known}."
        raise ProblemError(422, "unknown_fact", detail)
    kinds = {"flag": bool, "number": int, "set": list}
    for name, value in body.facts.items():
        if value is not None and type(value) is not kinds[FACTS[name]]:
            raise ProblemError(422, "unknown_fact", f"{name} is a {FACTS[name]}.")
    state = request.state
    async with state.engine.begin() as connection:
        incident = await incidents.lock(connection, incident_id)
        if incident is None:
            raise ProblemError(404, "not_found", "Nothing is known of this incident yet.")
        newest = (await connection.execute(_NEWEST, {"incident": incident_id})).first()
        merged = {**(json.loads(newest.facts) if newest else {}), **body.facts}
        facts = {name: value for name, value in merged.items() if value is not None}
        at = state.clock()
        values = {
            "incident": incident_id,
            "version": newest.version + 1 if newest else 1,
            "facts": json.dumps(facts, sort_keys=True),
            "by": principal.id,
            "at": at,
            "reason": body.reason,
        }
        await connection.execute(_STATE, values)
        owed = await state.book.evaluate(connection, incident, at)
        await enqueue(connection, [outgoing(o, source="notify") for o in owed])
    state.wake()
    return {"version": values["version"], "facts": facts, "obligations_changed": len(owed)}


def _regime(row: Regime) -> dict[str, Any]:
    return {
        "id": row.id,
        "version": row.version,
        "title": row.title,
        "enabled": row.enabled,
        "status": row.status.value,
        "duty": row.duty.value,
        "in_force_from": row.in_force_from and row.in_force_from.isoformat(),
        "in_force_to": row.in_force_to and row.in_force_to.isoformat(),
        "capacities": sorted(row.capacities),
        "when": [condition_words(part) for part in row.trigger.when],
        "unless": [condition_words(part) for part in row.trigger.unless],
        "hold": row.hold.value,
        "late_reasons_required": row.late_reasons_required,
        "source": row.source,
        "basis": row.basis,
        "verified_on": row.verified_on and row.verified_on.isoformat(),
        "verified_by": row.verified_by,
        "notes": row.notes,
        "phases": [
            {
                "id": phase.id,
                "clock": phase.clock,
                "after": phase.after,
                "when": [condition_words(part) for part in phase.when],
                "rule": rule_json(phase.rule),
                "sentence": rule_sentence(phase.rule, phase.clock),
                "recipients": list(phase.recipients),
                "content": list(phase.content),
                "repeats": phase.repeats,
                "again": _again(phase),
            }
            for phase in row.phases
        ],
    }


def _again(phase: Phase) -> dict[str, Any] | None:
    """Return by which rule a recurring phase comes again."""
    if not phase.repeats:
        return None
    rule = phase.again or phase.rule
    return {"rule": rule_json(rule), "sentence": rule_sentence(rule, submitted(phase.id))}

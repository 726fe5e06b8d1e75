"""Drafts of an incident: the notices to customers and to authorities, and what each still lacks."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from sqlalchemy import text

from services.notify import incidents
from services.notify.affected_lists import newest_list
from services.notify.approval import subject_of
from services.notify.forms.build import build
from services.notify.message import render
from services.notify.notice_plan import Variant
from services.notify.notices_to_send import ToSend, notices_to_send
from services.notify.obligations.lifecycle import OPEN
from services.notify.obligations.steps import read
from services.notify.state import READERS, snapshot
from services.notify.told import told
from services.notify.used_templates import used_template
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.ids import derived_id
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["drafts and templates"])

_STATUTORY = text(
    "SELECT obligation_id FROM obligation_board WHERE incident_id = :incident"
    " AND holder = 'provider' AND recipient <> 'tenant' AND stage = ANY(:stages)"
    " ORDER BY due_at, obligation_id LIMIT 500"
)


@router.get("/v1/incidents/{incident_id}/drafts", summary="Every notice to come, and what it lacks")
async def drafts(
    request: Request, incident_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        incident = await _incident(connection, incident_id)
        to_send = await _to_send(connection, incident, request.state)
        customers = [_variant(incident_id, one, to_send) for one in to_send.planned]
        rows = await connection.execute(
            _STATUTORY, {"incident": incident_id, "stages": [stage.value for stage in OPEN]}
        )
        statutory = []
        for key in rows.scalars().all():
            kept = await read(connection, key)
            if kept is not None:
                statutory.append(_summary(await build(connection, kept, request.state)))
    return {"customers": customers, "authorities": statutory}


@router.get(
    "/v1/incidents/{incident_id}/drafts/{draft_id}", summary="One draft: its text, its fields"
)
async def draft(
    request: Request, incident_id: UUID, draft_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        incident = await _incident(connection, incident_id)
        kept = await read(connection, draft_id)
        if kept is not None and kept.incident_id == incident_id:
            document = await build(connection, kept, request.state)
            return {**_summary(document), "fields": document["fields"]}
        to_send = await _to_send(connection, incident, request.state)
    for variant in to_send.planned:
        if _draft_id(incident_id, variant) == draft_id:
            shown = _variant(incident_id, variant, to_send)
            return {**shown, **_sample(incident, variant, to_send, request.state)}
    raise ProblemError(404, "not_found", "There is no such draft of this incident.")


@router.get("/v1/templates", summary="The templates in force, with their digests")
async def templates(
    request: Request, _: Annotated[Principal, allow(*READERS, Role.POLICY_ADMIN)]
) -> dict[str, Any]:
    wording = request.state.wording.current
    return {
        "default_locale": wording.default_locale,
        "items": [
            {
                **template.ref.shown(),
                "kind": template.kind.value,
                "channels": list(template.channels),
                "regimes": list(template.regimes),
                "requires": list(template.requires),
                "origin": template.origin,
            }
            for template in wording.templates
        ],
    }


@router.get("/v1/templates/{digest}", summary="What a template says, or said when it was used")
async def template_of(
    request: Request, digest: str, _: Annotated[Principal, allow(*READERS, Role.POLICY_ADMIN)]
) -> dict[str, Any]:
    for template in request.state.wording.current.templates:
        if template.ref.digest == digest:
            return {"digest": digest, "in_force": True, "template": template.document()}
    async with request.state.engine.connect() as connection:
        found = await used_template(connection, digest)
    if found is None:
        raise ProblemError(404, "not_found", "No template of this digest is in force or was used.")
    document, used_at = found
    return {
        "digest": digest,
        "in_force": False,
        "first_used_at": rfc3339(used_at),
        "template": document,
    }


async def _incident(connection: Any, incident_id: UUID) -> incidents.Incident:
    incident = await incidents.find(connection, incident_id)
    if incident is None:
        raise ProblemError(404, "not_found", "Nothing is known of this incident yet.")
    return incident


async def _to_send(connection: Any, incident: incidents.Incident, state: Any) -> ToSend:
    newest = await newest_list(connection, incident.id)
    if newest is None:
        return ToSend(planned={}, drafts={}, listed={}, written=None)
    words = await told(connection, incident.id)
    return await notices_to_send(
        connection,
        incident,
        list_id=newest.list_id,
        keeper=state.keeper,
        version=newest.inventory_version,
        told=[(word.tenant, word.channel) for word in words if word.counts],
        settings=state.settings,
        regimes=state.regimes,
        wording=state.wording.current,
    )


def _draft_id(incident_id: UUID, variant: Variant) -> UUID:
    return derived_id("notice-draft", incident_id, *variant.key, *variant.names)


def _variant(incident_id: UUID, variant: Variant, to_send: ToSend) -> dict[str, Any]:
    messages, draft = to_send.planned[variant], to_send.drafts[variant]
    regimes = dict.fromkeys(d.regime for one in messages for d in one.demands)
    return {
        "draft_id": str(_draft_id(incident_id, variant)),
        "template": variant.template.ref.shown(),
        "messages": len(messages),
        "tenants": sorted({one.tenant.name for one in messages})[:100],
        "regimes": list(regimes),
        "author": to_send.author,
        "required": list(variant.names),
        "missing": [
            {"name": gap.name, "asked_by": list(gap.asked_by)} for gap in to_send.gaps(variant)
        ],
        "fields": [
            {"name": name, "value": value or None, "filled_by": draft.filled_by.get(name)}
            for name, value in draft.values.items()
        ],
    }


def _sample(
    incident: incidents.Incident, variant: Variant, to_send: ToSend, state: Any
) -> dict[str, Any]:
    """Return the notice as its first reader would get it; nothing while something is missing."""
    draft = to_send.drafts[variant]
    if draft.missing or draft.erased:
        return {"sample": None}
    one = to_send.planned[variant][0]
    content = render(
        draft,
        subject_of(one.tenant, *to_send.listed[one.tenant.name]),
        state.wording.current,
        number=incident.number,
        notification_id=UUID(int=0),
        operator_name=state.settings.operator_name,
        at=state.clock(),
    )
    shown = {"tenant": one.tenant.name, "subject": content.subject, "text": content.text}
    return {"sample": shown}


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    names = ("regime", "phase", "period", "recipient", "tenant", "stage", "due_at", "template",
             "missing")  # fmt: skip
    return {"draft_id": document["obligation_id"], **{name: document[name] for name in names}}

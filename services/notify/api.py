"""Affected lists and obligations of an incident: read them, write the notice, sign the list."""

import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text

from services.notify import incidents
from services.notify.approval import approve
from services.notify.known import known_of
from services.notify.message import REQUIRED, compose
from services.notify.notices import newest_notice, write_notice
from services.notify.state import READERS, snapshot
from services.notify.wording.catalogue import Kind
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["affected customers"])

_COLUMNS = (
    "list_id, incident_id, version, scope_version, inventory_version, state, compiled_by,"
    " compiled_at, approved_by, approved_at, notified_at, confirmed, probable, possible, warnings,"
    " nobody_reason"
)
_LISTS = text(
    f"SELECT {_COLUMNS} FROM affected_lists"  # noqa: S608 - a constant
    " WHERE incident_id = :incident ORDER BY version DESC"
)
_LIST = text(f"SELECT {_COLUMNS} FROM affected_lists WHERE list_id = :list")  # noqa: S608 - same
_CHANGES = text(
    "SELECT change, count(*) AS n FROM affected_tenants WHERE list_id = :list GROUP BY change"
)
_TENANTS = text(
    "SELECT t.tenant, t.change, t.explanation, EXISTS (SELECT 1 FROM notifications n"
    "   WHERE n.incident_id = :incident AND n.tenant = t.tenant"
    "   AND n.state = 'sent' AND n.kind = 'notice') AS told,"
    " EXISTS (SELECT 1 FROM notifications n WHERE n.incident_id = :incident"
    "   AND n.tenant = t.tenant AND n.kind = 'correction') AS corrected"
    " FROM affected_tenants t WHERE t.list_id = :list AND t.tenant > :after"
    " ORDER BY t.tenant LIMIT :limit"
)
_OBLIGATIONS = text(
    "SELECT DISTINCT ON (obligation_id) obligation_id, revision, detail, computed_at"
    " FROM obligations WHERE incident_id = :incident ORDER BY obligation_id, revision DESC"
)


class ApproveBody(BaseModel):
    """Nothing, but for a list that names nobody."""

    model_config = ConfigDict(extra="forbid")

    nobody_reason: str | None = Field(
        None, max_length=2000, description="why no customer is affected (R34)"
    )


_Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,79}$")]
_Locale = Annotated[str, Field(pattern="^[a-z]{2,3}(-[A-Z]{2})?$")]
_Words = Annotated[str, Field(max_length=8000)]


class NoticeBody(BaseModel):
    """What the notice says; a field left out comes from the incident or the standing text."""

    model_config = ConfigDict(extra="forbid")

    description: str | None = Field(None, max_length=8000)
    effect_on_customer_data: str | None = Field(None, max_length=8000)
    actions_taken: str | None = Field(None, max_length=8000)
    suggested_actions: str | None = Field(None, max_length=8000)
    next_update: str | None = Field(None, max_length=2000)
    content: dict[_Name, _Words] = Field(
        default_factory=dict, max_length=60, description="what regimes or contracts ask for besides"
    )
    translations: dict[_Locale, dict[_Name, _Words]] = Field(
        default_factory=dict, max_length=20, description="the same by language, e.g. de"
    )

    def fields(self) -> dict[str, str]:
        """Return what was written, blanks left out; a translation's name ends in its language."""
        plain = self.model_dump(exclude={"content", "translations"}, exclude_none=True)
        spoken = {
            f"{name}@{locale}": words
            for locale, given in self.translations.items()
            for name, words in given.items()
        }
        every = {**plain, **self.content, **spoken}
        return {name: words.strip() for name, words in every.items() if words.strip()}


@router.get("/v1/incidents/{incident_id}/affected-lists", summary="Every version, newest first")
async def affected_lists(
    request: Request, incident_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        rows = (await connection.execute(_LISTS, {"incident": incident_id})).all()
    return {"items": [_list(row) for row in rows]}


@router.get("/v1/affected-lists/{list_id}", summary="One version, explained for each tenant")
async def affected_list(
    request: Request,
    list_id: UUID,
    _: Annotated[Principal, allow(*READERS)],
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    after: Annotated[str, Query(max_length=500)] = "",
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        row = (await connection.execute(_LIST, {"list": list_id})).one_or_none()
        if row is None:
            raise ProblemError(404, "not_found", "There is no such affected list.")
        changes = (await connection.execute(_CHANGES, {"list": list_id})).all()
        values = {"list": list_id, "incident": row.incident_id, "after": after, "limit": limit}
        tenants = (await connection.execute(_TENANTS, values)).all()
    return {
        **_list(row),
        "changes": {"added": 0, "unchanged": 0, "removed": 0, **{c.change: c.n for c in changes}},
        "tenants": [
            # A tenant that was told and is not on the list any more is owed a correction (§5).
            {
                "tenant": t.tenant,
                "change": t.change,
                "told": t.told,
                "corrected": t.corrected,
                **json.loads(t.explanation),
            }
            for t in tenants
        ],
        "next_after": tenants[-1].tenant if len(tenants) == limit else None,
    }


@router.post("/v1/affected-lists/{list_id}/approve", summary="The second signature; sends notices")
async def approve_list(
    request: Request,
    list_id: UUID,
    principal: Annotated[Principal, allow(Role.INCIDENT_COMMUNICATIONS)],
    body: ApproveBody | None = None,
) -> dict[str, Any]:
    state = request.state
    async with state.engine.begin() as connection:
        made = await approve(
            connection,
            list_id,
            by=principal.id,
            at=state.clock(),
            keeper=state.keeper,
            settings=state.settings,
            regimes=state.regimes,
            wording=state.wording.current,
            nobody_reason=body.nobody_reason if body else None,
        )
        row = (await connection.execute(_LIST, {"list": list_id})).one()
    state.wake()
    return {
        **_list(row),
        "notifications_created": made.notices,
        "corrections_created": made.corrections,
    }


@router.get("/v1/incidents/{incident_id}/notice", summary="The notice as it would be sent now")
async def get_notice(
    request: Request, incident_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        return await _notice(connection, incident_id, request.state)


@router.put("/v1/incidents/{incident_id}/notice", summary="Write the notice; its author is you")
async def put_notice(
    request: Request,
    incident_id: UUID,
    body: NoticeBody,
    principal: Annotated[
        Principal,
        allow(Role.SERVICE_TEAM, Role.SECURITY_RESPONSE, Role.INCIDENT_COMMUNICATIONS, Role.LEGAL),
    ],
) -> dict[str, Any]:
    async with request.state.engine.begin() as connection:
        if await incidents.lock(connection, incident_id) is None:
            raise ProblemError(404, "not_found", "Nothing is known of this incident yet.")
        at = request.state.clock()
        await write_notice(connection, incident_id, principal.id, body.fields(), at)
        return await _notice(connection, incident_id, request.state)


@router.get("/v1/obligations", summary="What is owed, to whom, by when, and why")
async def obligations(
    request: Request, incident_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        rows = (await connection.execute(_OBLIGATIONS, {"incident": incident_id})).all()
    items = [
        {
            "obligation_id": str(row.obligation_id),
            "revision": row.revision,
            "computed_at": rfc3339(row.computed_at),
            **json.loads(row.detail),
        }
        for row in rows
    ]
    return {"items": sorted(items, key=lambda item: (item["due_at"], item["obligation_id"]))}


async def _notice(connection: Any, incident_id: UUID, state: Any) -> dict[str, Any]:
    incident = await incidents.find(connection, incident_id)
    if incident is None:
        raise ProblemError(404, "not_found", "Nothing is known of this incident yet.")
    written = await newest_notice(connection, incident_id)
    template = state.wording.current.choose(Kind.NOTICE, "email", None)
    fields, author = (written.fields, written.author) if written else ({}, "")
    known = await known_of(connection, incident, state.settings)
    draft = compose(REQUIRED, template, state.wording.current, known, fields, author)
    return {
        "incident_id": str(incident_id),
        "version": written.version if written else 0,
        "author": written.author if written else None,
        "written": sorted(written.fields) if written else [],
        "required": list(REQUIRED),
        "template": template.ref.shown(),
        "missing": list(draft.missing),
        "filled_by": dict(draft.filled_by),
        "notice": dict(draft.values),
    }


def _list(row: Any) -> dict[str, Any]:
    return {
        "list_id": str(row.list_id),
        "incident_id": str(row.incident_id),
        "version": row.version,
        "scope_version": row.scope_version,
        "inventory_version": row.inventory_version,
        "state": row.state,
        "compiled_by": row.compiled_by,
        "compiled_at": rfc3339(row.compiled_at),
        "approved_by": row.approved_by,
        "approved_at": row.approved_at and rfc3339(row.approved_at),
        "notified_at": row.notified_at and rfc3339(row.notified_at),
        "counts": {
            "confirmed": row.confirmed,
            "probable": row.probable,
            "possible": row.possible,
        },
        "warnings": json.loads(row.warnings),
        "nobody_reason": row.nobody_reason,
    }

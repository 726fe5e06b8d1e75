"""Support cases over HTTP: customers see their own tenant's, incident communications works them."""

import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.severity import InputError
from services.escalate.state import READERS
from services.escalate.support import attachments
from services.escalate.support.bodies import CaseBody, ReportBody, TextBody, TriageBody
from services.escalate.support.book import (
    KeyReusedError,
    events_of,
    load_case,
    page_of_cases,
)
from services.escalate.support.case import (
    Attach,
    Case,
    Note,
    Outcome,
    RefusedError,
    Reply,
    Say,
    Triage,
)
from services.escalate.support.desk import Desk, Report
from services.escalate.support.tokens import TokenExpiredError, case_behind, issue
from services.escalate.support.views import brief, for_customer, for_staff, for_token
from shared.auth import Principal, allow, public
from shared.clock import parse_instant, rfc3339
from shared.http import BodyBound
from shared.identity import Role
from shared.ids import derived_id, uuid7
from shared.problems import ProblemError

__all__ = ["BOUNDS", "router"]

STAFF = (*READERS, Role.LEGAL)
router = APIRouter(tags=["support cases"])
Customer = Annotated[Principal, allow(Role.CUSTOMER_CONTACT)]
Either = Annotated[Principal, allow(Role.CUSTOMER_CONTACT, *STAFF)]
Communications = Annotated[Principal, allow(Role.INCIDENT_COMMUNICATIONS)]
Staff = Annotated[Principal, allow(*STAFF)]
Reporter = Annotated[Principal, allow(*STAFF, Role.SUBJECT_MATTER_EXPERT)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="the same key and body are the same case or entry, however often sent",
    ),
]
BOUNDS = (
    BodyBound(
        "POST", re.compile(r"/v1/support-cases/[^/]+/attachments"), attachments.MAX_BYTES
    ),
)  # fmt: skip
MOST_IN_A_PAGE = 200


@router.post("/v1/support-cases", status_code=201, summary="Report something as a customer")
async def open_case(
    request: Request, body: CaseBody, principal: Customer, key: Key = None
) -> dict[str, Any]:
    tenant = _tenant(principal)
    report = Report(source_kind="customer_case", tenant=tenant, **_told(body, principal))
    case = await _open(request, report, body, principal, key)
    async with request.state.engine.begin() as connection:
        secret, expires = await issue(connection, case.id, request.state.clock())
    return {
        **brief(case, staff=False),
        "status_address": {"path": f"/v1/case-status/{secret}", "expires_at": rfc3339(expires)},
    }


@router.post("/v1/reports", status_code=201, summary="Report something that you saw or were told")
async def open_report(
    request: Request, body: ReportBody, principal: Reporter, key: Key = None
) -> dict[str, Any]:
    if (body.source_kind == "customer_case") != (body.tenant is not None):
        raise _malformed("body.tenant", "a customer's case has a tenant, and no other report")
    report = Report(source_kind=body.source_kind, tenant=body.tenant, **_told(body, principal))
    return brief(await _open(request, report, body, principal, key), staff=True)


@router.get("/v1/support-cases", summary="Support cases, newest first; a customer's are their own")
async def list_cases(
    request: Request,
    principal: Either,
    limit: Annotated[int, Query(ge=1, le=MOST_IN_A_PAGE)] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the answer before")] = None,
    state: Literal["open", "need_info", "escalated", "closed"] | None = None,
) -> dict[str, Any]:
    staff = principal.has(*STAFF)
    tenant = None if staff else _tenant(principal)
    async with request.state.engine.connect() as connection:
        found = await page_of_cases(
            connection, limit + 1, _place(cursor), own=not staff, tenant=tenant, status=state
        )
    following = _cursor(found[limit - 1]) if len(found) > limit else None
    items = [brief(case, staff=staff) for case in found[:limit]]
    return {"items": items, "next_cursor": following}


@router.get("/v1/support-cases/{case_id}", summary="One case; another tenant's is not there")
async def get_case(request: Request, case_id: UUID, principal: Either) -> dict[str, Any]:
    async with request.state.engine.connect() as connection:
        return await _shown(connection, await _mine(connection, case_id, principal), principal)


@router.post("/v1/support-cases/{case_id}/replies", summary="Add something to your own case")
async def reply(
    request: Request, case_id: UUID, body: TextBody, principal: Customer, key: Key = None
) -> dict[str, Any]:
    desk: Desk = request.state.desk
    async with _work(request) as connection:
        await _mine(connection, case_id, principal)
        action = Reply(text=body.text, patience=desk.patience)
        now = request.state.clock()
        case = await desk.do(connection, case_id, action, principal.id, now, key)
        return await _shown(connection, case, principal)


@router.post(
    "/v1/support-cases/{case_id}/attachments",
    status_code=201,
    summary="Add a file of at most 5 MiB; the body is its content",
    openapi_extra={"requestBody": {"content": {"application/octet-stream": {}}}},
)
async def attach(
    request: Request,
    case_id: UUID,
    principal: Either,
    name: Annotated[str, Query(min_length=1, max_length=255)],
) -> dict[str, Any]:
    data = await request.body()
    if not data:
        raise _malformed("body", "the file is empty")
    shown = attachments.display_name(name)
    desk: Desk = request.state.desk
    async with _work(request) as connection:
        await _mine(connection, case_id, principal)
        digest = await attachments.keep(connection, data)
        action = Attach(digest=digest, name=shown, size=len(data))
        # The same file again, by whoever, is the file that is there.
        await desk.do(
            connection, case_id, action, principal.id, request.state.clock(), f"file:{digest}"
        )
    return {"digest": digest, "name": shown, "size": len(data)}


@router.get("/v1/support-cases/{case_id}/attachments/{digest}", summary="One file, as it was sent")
async def get_attachment(
    request: Request, case_id: UUID, digest: str, principal: Either
) -> Response:
    async with request.state.engine.connect() as connection:
        await _mine(connection, case_id, principal)
        data = await attachments.content(connection, case_id, digest)
    if data is None:
        raise ProblemError(404, "not_found", "The case has no such file.")
    # Whatever it is, a browser is to save it and never to show it.
    headers = {"Content-Disposition": f'attachment; filename="{digest}"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.post("/v1/support-cases/{case_id}/acknowledge", summary="Take a case: its timer stops")
async def acknowledge(request: Request, case_id: UUID, principal: Communications) -> dict[str, Any]:
    async with _work(request) as connection:
        await _mine(connection, case_id, principal)
        desk: Desk = request.state.desk
        case = await desk.acknowledge(connection, case_id, principal.id, request.state.clock())
        return await _shown(connection, case, principal)


@router.post(
    "/v1/support-cases/{case_id}/triage",
    summary="Give the verdict; one that escalates makes it an incident and calls every team",
)
async def triage(
    request: Request, case_id: UUID, body: TriageBody, principal: Communications
) -> dict[str, Any]:
    for name, value in body.inputs.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise _malformed(f"body.inputs.{name}", "must be a word or a number")
    verdict = Triage(
        outcome=Outcome(body.outcome),
        message=body.message,
        services=tuple(body.services),
        regions=tuple(body.regions),
    )
    async with _work(request) as connection:
        await _mine(connection, case_id, principal)
        desk: Desk = request.state.desk
        now = request.state.clock()
        case = await desk.triage(connection, case_id, verdict, body.inputs, principal.id, now)
        return await _shown(connection, case, principal)


@router.post("/v1/support-cases/{case_id}/messages", summary="Tell the customer something")
async def say(
    request: Request, case_id: UUID, body: TextBody, principal: Communications, key: Key = None
) -> dict[str, Any]:
    return await _add(request, case_id, Say(text=body.text), principal, key)


@router.post("/v1/support-cases/{case_id}/notes", summary="A note that the customer never sees")
async def note(
    request: Request, case_id: UUID, body: TextBody, principal: Staff, key: Key = None
) -> dict[str, Any]:
    return await _add(request, case_id, Note(text=body.text), principal, key)


@router.get("/v1/case-status/{secret}", summary="Status and messages; the address is the key")
@public
async def case_status(request: Request, secret: str, response: Response) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    async with request.state.engine.connect() as connection:
        try:
            case_id = await case_behind(connection, secret, request.state.clock())
        except TokenExpiredError as error:
            raise ProblemError(410, "link_expired", "This status address has expired.") from error
        case = await load_case(connection, case_id) if case_id else None
        if case is None:
            raise ProblemError(404, "not_found", "There is no such status address.")
        return for_token(case, await events_of(connection, case.id, public=True))


async def _add(
    request: Request, case_id: UUID, action: Say | Note, principal: Principal, key: str | None
) -> dict[str, Any]:
    desk: Desk = request.state.desk
    async with _work(request) as connection:
        await _mine(connection, case_id, principal)
        now = request.state.clock()
        case = await desk.do(connection, case_id, action, principal.id, now, key)
        return await _shown(connection, case, principal)


async def _open(
    request: Request, report: Report, body: BaseModel, principal: Principal, key: str | None
) -> Case:
    mine = (principal.tenant, principal.id, key)
    case_id = derived_id("support-case", *mine) if key else uuid7()
    digest = hashlib.sha256(f"{request.url.path}\n{body.model_dump_json()}".encode()).hexdigest()
    desk: Desk = request.state.desk
    try:
        async with _work(request) as connection:
            return await desk.open(connection, case_id, report, digest, request.state.clock())
    except KeyReusedError as error:
        raise ProblemError(
            422, "key_reused", "The Idempotency-Key was used for another case."
        ) from error


@asynccontextmanager
async def _work(request: Request) -> AsyncIterator[AsyncConnection]:
    """Yield a transaction; what it ordered goes out once it is committed."""
    try:
        async with request.state.engine.begin() as connection:
            yield connection
    except RefusedError as error:
        raise ProblemError(409, error.code, str(error)) from error
    except InputError as error:
        raise _malformed(f"body.inputs.{error.field}", error.reason) from error
    request.state.wake()


async def _mine(connection: AsyncConnection, case_id: UUID, principal: Principal) -> Case:
    """Return the case if *principal* may know of it; to others it is not there (R15a)."""
    case = await load_case(connection, case_id)
    staff = principal.has(*STAFF)
    if case is None or not (staff or case.tenant == _tenant(principal)):
        raise ProblemError(404, "not_found", "There is no such support case.")
    return case


async def _shown(
    connection: AsyncConnection, case: Case, principal: Principal
) -> dict[str, Any]:  # fmt: skip
    if principal.has(*STAFF):
        return for_staff(case, await events_of(connection, case.id))
    return for_customer(case, await events_of(connection, case.id, public=True))


def _tenant(principal: Principal) -> str:
    if not principal.tenant:
        raise ProblemError(403, "tenant_missing", "The token names no tenant.")
    return principal.tenant


def _told(body: CaseBody, principal: Principal) -> dict[str, Any]:
    return {
        "title": body.title,
        "statement": body.statement,
        "reporter": principal.id,
        "observed_at": body.observed_at,
        "services": tuple(body.services),
        "regions": tuple(body.regions),
    }


def _malformed(at: str, problem: str) -> ProblemError:
    errors = [{"at": at, "problem": problem}]
    return ProblemError(422, "malformed", f"{at}: {problem}.", errors=errors)


def _cursor(case: Case) -> str:
    return base64.urlsafe_b64encode(f"{rfc3339(case.opened_at)}|{case.id}".encode()).decode()


def _place(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    try:
        at, _, identity = base64.urlsafe_b64decode(cursor).decode().partition("|")
        return parse_instant(at), UUID(identity)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise _malformed("cursor", "is not one of ours") from error

"""Evidence over HTTP: announce, read, and one verb a command. The bytes are in `api_content`."""

from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Request, Response

from services.cases.edge import IdempotencyKey, IfMatch, body_digest, expected_version
from services.cases.evidence.bodies import VERBS, EvidenceBody, Register, VerifyIntegrity
from services.cases.evidence.domain import commands as c
from services.cases.evidence.domain.item import fold
from services.cases.evidence.domain.rules import RULES
from services.cases.evidence.edge import (
    EvidenceAnswer,
    answer,
    bytes_of,
    do,
    item_at,
    roles_of,
    under_holds,
    who_is,
)
from services.cases.evidence.integrity import failures, found_digest
from services.cases.evidence.report import custody_report, manifest
from services.cases.evidence.store import StoreError
from services.cases.evidence.view import summary
from services.cases.need_to_know import RECORDED
from services.cases.views import Document
from shared.auth import Principal, Role, allow
from shared.ids import derived_id
from shared.problems import ProblemError

__all__ = ["READERS", "router"]

READERS = (Role.EVIDENCE_CUSTODIAN, Role.SECURITY_RESPONSE, Role.LEGAL, Role.AUDITOR)
Reader = Annotated[Principal, allow(*READERS)]

log = structlog.get_logger()
router = APIRouter(tags=["evidence"])


def _unknown() -> ProblemError:
    return ProblemError(404, "not_found", "There is no such item of evidence for you.")


async def _seen(request: Request, principal: Principal, incident_id: str | UUID) -> None:
    """Record who looked (§7); only reading the bytes is an event of the chain, as every event is a
    version and a look must not make what was just seen stale."""
    if RECORDED not in request.scope:
        now = request.state.clock()
        await request.state.sight.record(principal, UUID(str(incident_id)), request.url.path, now)


@router.post("/v1/incidents/{incident_id}/evidence", status_code=201, summary="Announce an item")
async def register(
    request: Request,
    response: Response,
    incident_id: UUID,
    body: Register,
    principal: Annotated[Principal, allow(*roles_of(c.RegisterEvidence))],
    idempotency_key: IdempotencyKey = None,
) -> EvidenceAnswer:
    bytes_of(request)  # no promise is taken that cannot be kept
    if not (await request.state.store.read(incident_id)).version:
        raise ProblemError(404, "not_found", "There is no such incident for you.")
    who = who_is(request, principal, idempotency_key)
    digest = body_digest(request, body)
    if body.copy_of is not None:
        # Read, not looked up: no such item and one of another incident are the same refusal.
        original = fold((await request.state.store.read_evidence(body.copy_of)).events)
        if original.incident_id != incident_id:
            raise ProblemError(422, "malformed", "copy_of names no item of this incident.")
    evidence_id = derived_id("evidence", who.command_id)
    done = await do(
        request,
        evidence_id,
        body.order(who, incident_id),
        command_id=who.command_id,
        digest=digest,
        registers=True,
    )
    response.headers["Location"] = f"/v1/evidence/{evidence_id}"
    return answer(done, response)


@router.get("/v1/incidents/{incident_id}/evidence", summary="The items of an incident")
async def of_incident(request: Request, incident_id: UUID, principal: Reader) -> dict[str, Any]:
    documents: list[Document] = await request.state.evidence.queries.of_incident(incident_id)
    if not documents and not (await request.state.store.read(incident_id)).version:
        raise ProblemError(404, "not_found", "There is no such incident for you.")
    await _seen(request, principal, incident_id)
    return {"items": documents, "summary": summary(documents)}


@router.get(
    "/v1/incidents/{incident_id}/evidence/manifest",
    summary="Ids, digests and chains of all items, for an export",
)
async def evidence_manifest(
    request: Request, incident_id: UUID, principal: Reader
) -> dict[str, Any]:
    documents: list[Document] = await request.state.evidence.queries.of_incident(incident_id)
    if not documents and not (await request.state.store.read(incident_id)).version:
        raise ProblemError(404, "not_found", "There is no such incident for you.")
    chains = {
        document["evidence_id"]: await request.state.evidence.queries.custody(
            UUID(document["evidence_id"])
        )
        for document in documents
    }
    await _seen(request, principal, incident_id)
    return manifest(str(incident_id), documents, chains, request.state.clock())


@router.get("/v1/evidence/{evidence_id}", summary="An item with its chain of custody")
async def one(
    request: Request, response: Response, evidence_id: UUID, principal: Reader
) -> dict[str, Any]:
    document: Document | None = await request.state.evidence.queries.one(evidence_id)
    if document is None:
        raise _unknown()
    await _seen(request, principal, document["item"]["incident_id"])
    response.headers["ETag"] = f'"{document["version"]}"'
    return {**document, "custody": await request.state.evidence.queries.custody(evidence_id)}


@router.get("/v1/evidence/{evidence_id}/custody-report", summary="Who had it when, and why")
async def report_of(request: Request, evidence_id: UUID, principal: Reader) -> dict[str, Any]:
    document: Document | None = await request.state.evidence.queries.one(evidence_id)
    if document is None:
        raise _unknown()
    await _seen(request, principal, document["item"]["incident_id"])
    chain = await request.state.evidence.queries.custody(evidence_id)
    return custody_report(document, chain, request.state.clock())


@router.post("/v1/evidence/{evidence_id}/verify-integrity", summary="Hash the bytes now")
async def verify_integrity(
    request: Request,
    response: Response,
    evidence_id: UUID,
    body: VerifyIntegrity,
    principal: Annotated[Principal, allow(*roles_of(c.VerifyIntegrity))],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> EvidenceAnswer:
    """Answers with EvidenceIntegrityVerified or EvidenceIntegrityFailed among its events."""
    blobs, expected = bytes_of(request), expected_version(if_match)
    who = who_is(request, principal, idempotency_key)
    item, version = await item_at(request, evidence_id)
    found = None
    if version == expected and item.has_bytes:  # else the command refuses without reading a byte
        try:
            found = await found_digest(blobs, item.sha256 or "")
        except StoreError as error:
            raise ProblemError(
                503,
                "evidence_store_unavailable",
                "The evidence store cannot be used now; retry.",
                headers={"Retry-After": "30"},
            ) from error
    command = c.VerifyIntegrity(
        actor=who.actor, now=request.state.clock(), found_sha256=found, reason=body.reason
    )
    done = await do(
        request,
        evidence_id,
        command,
        command_id=who.command_id,
        digest=body_digest(request, body),
        expected=expected,
    )
    if "EvidenceIntegrityFailed" in done.events:
        failures.inc()
        log.error("evidence is not what was collected", evidence_id=str(evidence_id))
    return answer(done, response)


def _add_verb(body_type: type[EvidenceBody]) -> None:
    """Add the route of one verb."""
    rule = RULES[body_type.COMMAND]

    async def verb(
        request: Request,
        response: Response,
        evidence_id: UUID,
        body: Any,
        principal: Annotated[Principal, allow(*roles_of(body_type.COMMAND))],
        if_match: IfMatch = None,
        idempotency_key: IdempotencyKey = None,
    ) -> EvidenceAnswer:
        bytes_of(request)
        expected = expected_version(if_match)
        who = who_is(request, principal, idempotency_key)
        done = await do(
            request,
            evidence_id,
            await under_holds(request, evidence_id, body.order(who)),
            command_id=who.command_id,
            digest=body_digest(request, body),
            expected=expected,
        )
        if "EvidenceDisposed" in done.events:
            request.state.evidence.clear_away()  # the bytes go now, not at the janitor's next hour
        return answer(done, response)

    verb.__annotations__["body"] = body_type  # known only now; FastAPI reads it from here
    verb.__doc__ = body_type.__doc__
    router.add_api_route(
        f"/v1/evidence/{{evidence_id}}/{rule.verb}",
        verb,
        methods=["POST"],
        name=rule.verb,
        operation_id=f"{rule.verb.replace('-', '_')}_evidence",
        summary=rule.verb.replace("-", " ").capitalize(),
        response_model=EvidenceAnswer,
    )


for _body_type in VERBS:
    _add_verb(_body_type)

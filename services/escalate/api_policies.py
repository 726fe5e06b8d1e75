"""What one may ask of the policies: content, versions, and what they make of given inputs."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from services.escalate.policy_versions import Kind, PolicyBook, PolicyRefusedError, Refused
from services.escalate.preview import (
    nciss_from_mapping,
    priority_from_mapping,
    severity_from_mapping,
)
from services.escalate.proposal import Policies
from services.escalate.severity import InputError
from services.escalate.state import ASSESSORS
from shared.auth import Principal, Role, allow
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["policies"])
Assessor = Annotated[Principal, allow(*ASSESSORS)]
PolicyAdmin = Annotated[Principal, allow(Role.POLICY_ADMIN)]
Version = Annotated[
    str | None, Query(description="a version or digest; without it, the one in force")
]


class SeverityInputs(BaseModel):
    """The eight criteria of R23; one that is left out is unknown."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "privacy": "suspected",
                    "impact": "no_impact_to_services",
                    "scope": "server",
                    "affected_tenants": 1,
                    "region": "standard",
                    "service": "tier2",
                    "details": "engage",
                    "industry_regulation": "general_privacy_law",
                }
            ]
        },
    )

    privacy: StrictStr | None = None
    impact: StrictStr | None = None
    scope: StrictStr | None = None
    affected_tenants: StrictInt | StrictStr | None = Field(None, description="or `unknown`")
    region: StrictStr | None = None
    service: StrictStr | None = None
    details: StrictStr | None = None
    industry_regulation: StrictStr | None = None


class PriorityInputs(BaseModel):
    """The three factors of R24; a list where several values apply, of which the highest counts."""

    model_config = ConfigDict(extra="forbid")

    functional: StrictStr | list[StrictStr]
    informational: StrictStr | list[StrictStr]
    recoverability: StrictStr | list[StrictStr]
    extra_factors: dict[str, StrictStr] = Field(
        default_factory=dict, description="further factors of the policy (R24b)"
    )
    nciss: dict[str, StrictStr] | None = Field(
        None, description="the eight categories of NCISS, for that score beside the priority"
    )


class NewVersion(BaseModel):
    """A policy as YAML, under a version name that is not used yet."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=100_000)
    reason: str = Field(min_length=10, max_length=2000)


class Decision(BaseModel):
    """Why a version is approved or rejected."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=10, max_length=2000)


@router.post("/v1/severity/preview", summary="Which severity do these inputs give, and why?")
async def preview_severity(
    request: Request, body: SeverityInputs, _: Assessor, version: Version = None
) -> dict[str, Any]:
    policies = await _policies(request, "severity", version)
    try:
        return severity_from_mapping(body.model_dump(), policies.severity)
    except InputError as error:
        raise _refusal(error) from error


@router.post("/v1/priority/preview", summary="Which priority do these factors give, and why?")
async def preview_priority(
    request: Request, body: PriorityInputs, _: Assessor, version: Version = None
) -> dict[str, Any]:
    policies = await _policies(request, "priority", version)
    named = body.model_dump(exclude={"extra_factors", "nciss"})
    try:
        # The three come last, so that no extra factor can pose as one of them.
        found = priority_from_mapping({**body.extra_factors, **named}, policies.priority)
        if body.nciss is not None:
            found["nciss"] = nciss_from_mapping(body.nciss, policies.nciss)
    except InputError as error:
        raise _refusal(error) from error
    return found


@router.get("/v1/policies/{kind}", summary="The policy in force")
async def policy_in_force(request: Request, kind: Kind, _: Assessor) -> dict[str, Any]:
    book: PolicyBook = request.state.book
    policy = book.current.severity if kind == "severity" else book.current.priority
    return {**policy.content(), "digest": policy.digest}


@router.get("/v1/policies/{kind}/versions", summary="All versions, who proposed and decided them")
async def list_versions(request: Request, kind: Kind, _: Assessor) -> dict[str, Any]:
    book: PolicyBook = request.state.book
    return {"items": await book.versions(kind)}


@router.get("/v1/policies/{kind}/versions/{version}", summary="One version, by name or digest")
async def get_version(request: Request, kind: Kind, version: str, _: Assessor) -> dict[str, Any]:
    book: PolicyBook = request.state.book
    found = await book.version(kind, version)
    if found is None:
        raise ProblemError(404, "not_found", "There is no such version.")
    return found


@router.post("/v1/policies/{kind}/versions", status_code=201, summary="Propose a version")
async def propose_version(
    request: Request, kind: Kind, body: NewVersion, who: PolicyAdmin
) -> dict[str, Any]:
    """The answer says what it would have made of the latest proposals (what-if)."""
    book: PolicyBook = request.state.book
    try:
        made = await book.propose(kind, body.text, who.id, body.reason, _now(request))
    except PolicyRefusedError as error:
        raise ProblemError(422, "policy_rejected", f"{error}.", line=error.line) from error
    if isinstance(made, Refused):
        raise _conflict(made)
    request.state.wake()
    return {**made, "effect": asdict(made["effect"]) if made["effect"] else None}


@router.post("/v1/policies/{kind}/versions/{version}/approve", summary="Put it in force")
async def approve_version(
    request: Request, kind: Kind, version: str, body: Decision, who: PolicyAdmin
) -> dict[str, Any]:
    return await _decide(request, kind, version, body, who, approve=True)


@router.post("/v1/policies/{kind}/versions/{version}/reject", summary="Reject a proposed version")
async def reject_version(
    request: Request, kind: Kind, version: str, body: Decision, who: PolicyAdmin
) -> dict[str, Any]:
    return await _decide(request, kind, version, body, who, approve=False)


async def _decide(
    request: Request, kind: Kind, version: str, body: Decision, who: Principal, *, approve: bool
) -> dict[str, Any]:
    book: PolicyBook = request.state.book
    refused = await book.decide(kind, version, who.id, body.reason, _now(request), approve=approve)
    if refused is not None:
        raise _conflict(refused)
    request.state.wake()
    found = await book.version(kind, version)
    return {k: v for k, v in (found or {}).items() if k != "content"}


async def _policies(request: Request, kind: Kind, version: str | None) -> Policies:
    book: PolicyBook = request.state.book
    policies = await book.policies_of(kind, version)
    if policies is None:
        raise ProblemError(404, "not_found", f"There is no version {version} of this policy.")
    return policies


def _now(request: Request) -> datetime:
    now: datetime = request.state.clock()
    return now


def _conflict(refused: Refused) -> ProblemError:
    unmet = [{"code": refused.code, "detail": refused.detail}]
    return ProblemError(409, refused.code, refused.detail, unmet=unmet)


def _refusal(error: InputError) -> ProblemError:
    at = f"body.{error.field}"
    return ProblemError(
        422,
        "malformed",
        f"{at}: {error.reason}.",
        errors=[{"at": at, "problem": error.reason}],
    )

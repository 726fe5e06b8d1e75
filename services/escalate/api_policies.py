"""What one may ask of the policies: their content, and what they make of given inputs."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from services.escalate.preview import priority_from_mapping, severity_from_mapping
from services.escalate.proposal import Policies
from services.escalate.severity import InputError
from services.escalate.state import ASSESSORS
from shared.auth import Principal, allow
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["policies"])
Assessor = Annotated[Principal, allow(*ASSESSORS)]


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


@router.post("/v1/severity/preview", summary="Which severity do these inputs give, and why?")
async def preview_severity(request: Request, body: SeverityInputs, _: Assessor) -> dict[str, Any]:
    policies: Policies = request.state.policies
    try:
        return severity_from_mapping(body.model_dump(), policies.severity)
    except InputError as error:
        raise _refusal(error) from error


@router.post("/v1/priority/preview", summary="Which priority do these factors give, and why?")
async def preview_priority(request: Request, body: PriorityInputs, _: Assessor) -> dict[str, Any]:
    policies: Policies = request.state.policies
    named = body.model_dump(exclude={"extra_factors"})
    try:
        # The three come last, so that no extra factor can pose as one of them.
        return priority_from_mapping({**body.extra_factors, **named}, policies.priority)
    except InputError as error:
        raise _refusal(error) from error


@router.get("/v1/policies/severity", summary="The severity policy in force")
async def severity_policy(request: Request, _: Assessor) -> dict[str, Any]:
    policies: Policies = request.state.policies
    return {**policies.severity.content(), "digest": policies.severity.digest}


def _refusal(error: InputError) -> ProblemError:
    at = f"body.{error.field}"
    return ProblemError(
        422,
        "malformed",
        f"{at}: {error.reason}.",
        errors=[{"at": at, "problem": error.reason}],
    )

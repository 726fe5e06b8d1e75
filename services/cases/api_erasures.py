"""POST /v1/erasures: what was written about a person, or in an incident, is gone for good."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.cases.api_commands import actor_of
from services.cases.domain.personal import person_of
from services.cases.edge import refusals
from services.cases.sealing.eraser import Basis, Eraser, Nothing
from shared.auth import Principal, Role, allow
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["erasures"])


class Erase(BaseModel):
    """What to erase: an incident or a person, one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    incident_id: UUID | None = None
    person: str | None = Field(
        None, min_length=1, max_length=320, description="a name or address, as it was written"
    )
    basis: Basis
    reference: str = Field(
        "",
        max_length=100,
        pattern=r"^[\w./#: -]*$",
        description="the request's number in your register; it stays, so never a name",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.incident_id is None) == (self.person is None):
            raise ValueError("give incident_id or person, one of them")
        if self.person is not None and not person_of(self.person):
            raise ValueError("person is empty")
        return self


class Answer(BaseModel):
    """The erasure; ``already``: it was so before, and nothing happened now."""

    erasure_id: UUID
    at: datetime
    incidents: list[UUID] = Field(description="in which something was erased")
    already: bool


@router.post("/v1/erasures", summary="Destroy the key of an incident's or a person's data")
async def erase(
    request: Request, body: Erase, principal: Annotated[Principal, allow(Role.LEGAL)]
) -> Answer:
    """409 names everything that stands against it: open incidents, holds, retention."""
    eraser: Eraser = request.state.eraser
    subject = body.incident_id or body.person or ""
    try:
        with refusals("incident", Nothing, None):
            done = await eraser.erase(
                subject, actor_of(principal), request.state.clock(), body.basis, body.reference
            )
    except Nothing as error:
        raise ProblemError(404, "not_found", "Nothing is sealed of that.") from error
    return Answer(
        erasure_id=done.erasure_id, at=done.at, incidents=list(done.incidents), already=done.already
    )

"""POST: one verb a command. If-Match is the expected version, Idempotency-Key makes it once.

A missing If-Match is 428, for every verb but add-note, which cannot conflict with anything, and
break-glass, whose giver may not have read it.
"""

import base64
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from services.cases.bodies import VERBS, AddNote, Body, BreakGlass, Open, Who
from services.cases.domain import commands as c
from services.cases.domain.values import ALONE, Actor, indicator_id
from services.cases.domain.vocabulary import Role as DomainRole
from services.cases.domain.workflow import RULES
from services.cases.edge import IdempotencyKey, IfMatch, body_digest, expected_version, refusals
from services.cases.handle import UnknownIncidentError, handle
from services.cases.moves import informed
from services.cases.need_to_know import check_named
from services.cases.numbers import next_number
from services.cases.once import Done
from services.cases.review.opener import open_review
from services.cases.split import open_split
from services.cases.surroundings import around_of
from shared.auth import Principal, Role, allow
from shared.ids import derived_id, uuid7

__all__ = ["actor_of", "router"]

router = APIRouter(tags=["commands"])

_CREATED = ("action_id", "note_id", "escalation_id", "recommendation_id", "new_id")


class Answer(BaseModel):
    """What a command came to; no ``events`` means that it was so already."""

    incident_id: UUID
    version: int
    position: int = Field(description="of the log; `Last-Event-ID` of the stream")
    leaf_hash: str = Field(
        description="base64; with the position a receipt that the log can be held to"
    )
    events: list[str] = Field(description="type names of what happened")
    created: dict[str, UUID] = Field(description="ids of what this command named")


def actor_of(principal: Principal) -> Actor:
    """Return the actor that *principal* is to the domain."""
    known = set(DomainRole) - {DomainRole.SYSTEM}
    return Actor(
        id=principal.id, roles=tuple(sorted(role.value for role in principal.roles & known))
    )


def _roles(command: type[c.Command]) -> Sequence[Role]:
    """Return who may try *command* at all; the decider says more when the incident is known."""
    rule = RULES[command]
    roles = {Role(role.value) for role in rule.roles if role is not DomainRole.SYSTEM}
    return sorted(roles | ({Role.DUTY_MANAGER} if rule.stands_in else set()))


def _who(request: Request, principal: Principal, key: str | None) -> Who:
    command_id = uuid7() if key is None else derived_id("command", principal.id, key)
    return Who(actor_of(principal), request.state.clock(), command_id)


async def _do(
    request: Request,
    who: Who,
    incident_id: UUID,
    command: c.Command,
    body: BaseModel,
    *,
    expected: int | None = None,
    opens: bool = False,
) -> Done:
    digest = body_digest(request, body)
    closes = isinstance(command, c.CloseIncident)
    around = await around_of(request, incident_id) if closes else ALONE
    with refusals("incident", UnknownIncidentError, expected):
        done = await handle(
            request.state.store,
            incident_id,
            [informed(command, request.state.case_policy, around)],
            command_id=who.command_id,
            digest=digest,
            expected=expected,
            opens=opens,
            noticed=request.state.noticed,
        )
    # Who has written reads what was written, on this replica and on any other.
    await request.state.projector.reached(done.position)
    return done


async def _answer(request: Request, done: Done, response: Response, **created: UUID) -> Answer:
    leaf = await request.state.queries.leaf(done.position)
    response.headers["ETag"] = f'"{done.version}"'
    return Answer(
        incident_id=done.stream_id,
        version=done.version,
        position=done.position,
        leaf_hash=base64.b64encode(leaf).decode(),
        events=list(done.events),
        created=created,
    )


def _created(command: c.Command) -> dict[str, UUID]:
    if isinstance(command, c.AddIndicator):
        return {"indicator_id": indicator_id(command.type, command.value)}
    return {name: getattr(command, name) for name in _CREATED if hasattr(command, name)}


@router.post("/v1/incidents", status_code=201, summary="Open an incident by hand")
async def open_incident(
    request: Request,
    response: Response,
    body: Open,
    principal: Annotated[Principal, allow(*_roles(c.OpenIncident))],
    idempotency_key: IdempotencyKey = None,
) -> Answer:
    who = _who(request, principal, idempotency_key)
    incident_id = derived_id("incident", who.command_id)
    number = await next_number(request.state.store, who.now)
    command = body.order(who, number)
    done = await _do(request, who, incident_id, command, body, opens=True)
    response.headers["Location"] = f"/v1/incidents/{incident_id}"
    return await _answer(request, done, response)


def _add_verb(body_type: type[Body]) -> None:
    """Add the route of one verb."""
    rule = RULES[body_type.COMMAND]
    # A note conflicts with nothing; who breaks the glass cannot have read a version.
    required = body_type not in (AddNote, BreakGlass)

    async def verb(
        request: Request,
        response: Response,
        incident_id: UUID,
        body: Any,
        principal: Annotated[Principal, allow(*_roles(body_type.COMMAND))],
        if_match: IfMatch = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Answer:
        expected = expected_version(if_match, required=required)
        who = _who(request, principal, idempotency_key)
        command = body.order(who)
        await check_named(request, principal, command)
        done = await _do(request, who, incident_id, command, body, expected=expected)
        if isinstance(command, c.SplitIncident):
            opened = await open_split(
                request.state.store, incident_id, command.new_id, request.state.noticed
            )
            if opened is not None:
                await request.state.projector.reached(opened.position)
        created = _created(command)
        if isinstance(command, c.StartReview):
            review = await open_review(request.state.store, incident_id, request.state.noticed)
            if review is not None:
                created = {"review_id": review.stream_id}
                await request.state.projector.reached(review.position)
        return await _answer(request, done, response, **created)

    verb.__annotations__["body"] = body_type  # known only now; FastAPI reads it from here
    verb.__doc__ = body_type.__doc__
    router.add_api_route(
        f"/v1/incidents/{{incident_id}}/{rule.verb}",
        verb,
        methods=["POST"],
        name=rule.verb,
        operation_id=f"{rule.verb.replace('-', '_')}_incident",
        summary=rule.verb.replace("-", " ").capitalize(),
        response_model=Answer,
    )


for _body_type in VERBS:
    _add_verb(_body_type)

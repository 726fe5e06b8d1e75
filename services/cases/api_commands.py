"""POST: one verb a command. If-Match is the expected version, Idempotency-Key makes it once.

A missing If-Match is 428, for every verb but add-note, which cannot conflict with anything, and
break-glass, whose giver may not have read it.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, Field
from pydantic_core import PydanticSerializationError

from services.cases.bodies import VERBS, AddNote, Body, BreakGlass, Open, Who
from services.cases.domain import commands as c
from services.cases.domain.errors import NotAllowed
from services.cases.domain.values import Actor, indicator_id
from services.cases.domain.vocabulary import Role as DomainRole
from services.cases.domain.workflow import RULES
from services.cases.handle import Done, UnknownIncidentError, handle
from services.cases.moves import informed
from services.cases.need_to_know import check_named
from services.cases.numbers import next_number
from services.cases.split import open_split
from services.cases.store import CommandReusedError, OverloadedError, VersionConflict
from shared.auth import Principal, Role, allow
from shared.ids import derived_id, uuid7
from shared.problems import ProblemError

__all__ = ["actor_of", "router"]

router = APIRouter(tags=["commands"])

_VERSION = re.compile(r'"(\d{1,9})"')
_CREATED = ("action_id", "note_id", "escalation_id", "recommendation_id", "new_id")

IfMatch = Annotated[
    str | None, Header(alias="If-Match", description='the version that was read: `"7"`')
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="the same key and body get the same answer, once done",
    ),
]


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


def _expected(if_match: str | None, *, required: bool) -> int | None:
    if if_match is None:
        if required:
            raise ProblemError(
                428, "version_missing", "Send If-Match with the version that you have read."
            )
        return None
    if (version := _VERSION.fullmatch(if_match.strip())) is None:
        raise ProblemError(422, "malformed", 'If-Match is one version in quotes: "7".')
    return int(version[1])


@contextmanager
def _as_problems(expected: int | None) -> Iterator[None]:
    """Turn the refusals of the inside into those of the edge."""
    try:
        yield
    except NotAllowed as refusal:
        unmet = [{"code": u.code, "detail": u.detail} for u in refusal.unmet]
        sentence = "; ".join(u.detail for u in refusal.unmet)
        raise ProblemError(409, refusal.code, f"{sentence}.", unmet=unmet) from refusal
    except UnknownIncidentError as error:
        raise ProblemError(404, "not_found", "There is no such incident for you.") from error
    except VersionConflict as conflict:
        if expected is None:
            raise ProblemError(
                503,
                "busy",
                "Others change this incident at the same time; nothing was changed, so retry.",
                headers={"Retry-After": "1"},
            ) from conflict
        raise ProblemError(
            412,
            "stale_version",
            f"The incident is at version {conflict.current}, not {expected}; read it again.",
            headers={"ETag": f'"{conflict.current}"'},
            current_version=conflict.current,
        ) from conflict
    except CommandReusedError as error:
        raise ProblemError(
            422, "key_reused", "This Idempotency-Key was used for something else."
        ) from error
    except OverloadedError as error:
        raise ProblemError(
            503,
            "busy",
            "Too many commands wait for the log; nothing was changed, so retry.",
            headers={"Retry-After": "1"},
        ) from error


def _who(request: Request, principal: Principal, key: str | None) -> Who:
    command_id = uuid7() if key is None else derived_id("command", principal.id, key)
    return Who(actor_of(principal), request.state.clock(), command_id)


def _digest(request: Request, body: BaseModel) -> str:
    """Return what tells this request from another one under the same key."""
    try:
        told = f"{request.url.path}\n{body.model_dump_json()}"
    except PydanticSerializationError as error:
        # JSON can name half a surrogate pair, but no such text can be stored.
        raise ProblemError(422, "malformed", "A text in the body is not Unicode.") from error
    return hashlib.sha256(told.encode()).hexdigest()


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
    digest = _digest(request, body)
    with _as_problems(expected):
        done = await handle(
            request.state.store,
            incident_id,
            [informed(command, request.state.case_policy)],
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
        incident_id=done.incident_id,
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
        expected = _expected(if_match, required=required)
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
        return await _answer(request, done, response, **_created(command))

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

"""Post-incident reviews over HTTP: read, one verb a command, and the items tracked until done."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from services.cases.api_views import READERS, AfterVersion
from services.cases.bodies.base import Who
from services.cases.domain.incident import fold as fold_incident
from services.cases.domain.values import Actor
from services.cases.edge import IdempotencyKey, IfMatch, body_digest, expected_version, refusals
from services.cases.need_to_know import viewer
from services.cases.privilege import entry_for
from services.cases.review.bodies import VERBS, FreezeTimeline, ReviewBody
from services.cases.review.domain import commands as c
from services.cases.review.domain.review import Review, fold
from services.cases.review.domain.rules import RULES
from services.cases.review.domain.vocabulary import ItemTarget, ReviewRole
from services.cases.review.handle import UnknownReviewError, change
from services.cases.review.moves import review_moves
from services.cases.review.opener import reviewed
from services.cases.review.queries import ItemFilter
from services.cases.review.view import Document, entry
from services.cases.store import RecordedReview
from shared.auth import Principal, Role, allow
from shared.ids import derived_id, uuid7
from shared.problems import ProblemError

__all__ = ["REVIEW_READERS", "router"]

REVIEW_READERS = (*READERS, Role.DETECTION_ENGINEER)  # lessons become rules (R14b)
MOST_EVENTS = 500
Reader = Annotated[Principal, allow(*REVIEW_READERS)]

router = APIRouter(tags=["reviews"])


class ReviewAnswer(BaseModel):
    """What a command came to; no ``events`` means that it was so already."""

    review_id: UUID
    version: int
    position: int = Field(description="of the log")
    events: list[str] = Field(description="type names of what happened")
    created: dict[str, UUID] = Field(description="ids of what this command named")


def _roles(command: type[c.ReviewCommand]) -> list[Role]:
    """Return who may try *command* at all."""
    return sorted(Role(r.value) for r in RULES[command].roles - {ReviewRole.SYSTEM})


def _unknown() -> ProblemError:
    return ProblemError(404, "not_found", "There is no such review for you.")


def _who(request: Request, principal: Principal, key: str | None) -> Who:
    known = {role.value for role in ReviewRole} - {ReviewRole.SYSTEM.value}
    roles = {role.value for role in principal.roles}
    actor = Actor(id=principal.id, roles=tuple(sorted(roles & known)))
    command_id = uuid7() if key is None else derived_id("command", principal.id, key)
    return Who(actor, request.state.clock(), command_id)


async def _review_at(request: Request, review_id: UUID) -> tuple[Review, int]:
    history = await request.state.store.read_review(review_id)
    if not history.version:
        raise _unknown()
    return fold(history.events), history.version


async def _reviewed_now(request: Request, review: Review) -> c.Reviewed:
    """Return the incident of *review* as a freeze of its timeline would find it now."""
    if review.incident_id is None:
        raise _unknown()
    history = await request.state.store.read(review.incident_id)
    return reviewed(review.incident_id, fold_incident(history.events), history.version)


async def _do(
    request: Request,
    response: Response,
    review_id: UUID,
    command: c.ReviewCommand,
    who: Who,
    body: BaseModel,
    expected: int | None,
) -> ReviewAnswer:
    """Do *command*; who has written reads what was written."""
    digest = body_digest(request, body)
    with refusals("review", UnknownReviewError, expected):
        done = await change(
            request.state.store,
            review_id,
            command,
            command_id=who.command_id,
            digest=digest,
            expected=expected,
            noticed=request.state.noticed,
        )
    await request.state.projector.reached(done.position)
    response.headers["ETag"] = f'"{done.version}"'
    created = {
        name: getattr(command, name)
        for name, named in (("lesson_id", c.RecordLesson), ("item_id", c.CreateImprovementItem))
        if isinstance(command, named)
    }
    return ReviewAnswer(
        review_id=done.stream_id,
        version=done.version,
        position=done.position,
        events=list(done.events),
        created=created,
    )


@router.get("/v1/incidents/{incident_id}/reviews", summary="The reviews of an incident")
async def of_incident(request: Request, incident_id: UUID, _: Reader) -> dict[str, Any]:
    found: list[Document] = await request.state.reviews.of_incident(incident_id)
    if not found and not (await request.state.store.read(incident_id)).version:
        raise ProblemError(404, "not_found", "There is no such incident for you.")
    return {"items": found}


@router.get("/v1/reviews/{review_id}", summary="A review, with its history")
async def one(request: Request, response: Response, review_id: UUID, _: Reader) -> dict[str, Any]:
    document: Document | None = await request.state.reviews.one(review_id)
    if document is None:
        raise _unknown()
    response.headers["ETag"] = f'"{document["version"]}"'
    log = await request.state.store.stream_after(review_id, 0, MOST_EVENTS)
    told = [entry(r) for r in log if isinstance(r, RecordedReview)]
    return {**document, "history": [row for row in told if row["version"] <= document["version"]]}


@router.get("/v1/reviews/{review_id}/timeline", summary="What is reviewed: the frozen timeline")
async def timeline(
    request: Request,
    review_id: UUID,
    principal: Reader,
    after: AfterVersion = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> dict[str, Any]:
    review, _ = await _review_at(request, review_id)
    rows = await request.state.queries.timeline(review.incident_id, after, limit)
    items = [entry_for(principal, r.document) for r in rows if r.key <= review.incident_version]
    return {
        "incident_id": str(review.incident_id),
        "incident_version": review.incident_version,
        "items": items,
        "next_after": min(rows[-1].key, review.incident_version) if rows else after,
    }


@router.get("/v1/reviews/{review_id}/moves", summary="What you may do now, and what is missing")
async def possible_moves(
    request: Request, response: Response, review_id: UUID, principal: Reader
) -> dict[str, Any]:
    review, version = await _review_at(request, review_id)
    response.headers["ETag"] = f'"{version}"'
    who = _who(request, principal, None)
    found = review_moves(review, await _reviewed_now(request, review), who.actor, who.now)
    return {
        "version": version,
        "state": review.state.value,
        "moves": [
            {
                "verb": verb,
                "permitted": not unmet,
                "unmet": [{"code": u.code, "detail": u.detail} for u in unmet],
            }
            for verb, unmet in found
        ],
    }


@router.get(
    "/v1/improvement-items", summary="What reviews have asked for, the first due before others"
)
async def improvement_items(
    request: Request,
    principal: Reader,
    done: Annotated[bool | None, Query()] = None,
    owner: Annotated[str | None, Query(max_length=200)] = None,
    target: Annotated[ItemTarget | None, Query()] = None,
    after: Annotated[UUID | None, Query(description="the last item of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    wanted = ItemFilter(done=done, owner=owner, target=target.value if target else None)
    found: list[Document] = await request.state.reviews.items(
        wanted, viewer(principal), after, limit
    )
    return {"items": found, "next_after": found[-1]["item_id"] if len(found) == limit else None}


@router.post("/v1/reviews/{review_id}/freeze-timeline", summary="Freeze timeline")
async def freeze_timeline(
    request: Request,
    response: Response,
    review_id: UUID,
    body: FreezeTimeline,
    principal: Annotated[Principal, allow(*_roles(c.FreezeTimeline))],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> ReviewAnswer:
    """Take in what the incident's log has gained since the review began."""
    expected = expected_version(if_match)
    who = _who(request, principal, idempotency_key)
    review, _ = await _review_at(request, review_id)
    now = await _reviewed_now(request, review)
    command = c.FreezeTimeline(actor=who.actor, now=who.now, reviewed=now)
    return await _do(request, response, review_id, command, who, body, expected)


def _add_verb(body_type: type[ReviewBody]) -> None:
    """Add the route of one verb."""
    rule = RULES[body_type.COMMAND]

    async def verb(
        request: Request,
        response: Response,
        review_id: UUID,
        body: Any,
        principal: Annotated[Principal, allow(*_roles(body_type.COMMAND))],
        if_match: IfMatch = None,
        idempotency_key: IdempotencyKey = None,
    ) -> ReviewAnswer:
        expected = expected_version(if_match)
        who = _who(request, principal, idempotency_key)
        return await _do(request, response, review_id, body.order(who), who, body, expected)

    verb.__annotations__["body"] = body_type  # known only now; FastAPI reads it from here
    verb.__doc__ = body_type.__doc__
    router.add_api_route(
        f"/v1/reviews/{{review_id}}/{rule.verb}",
        verb,
        methods=["POST"],
        name=rule.verb,
        operation_id=f"{rule.verb.replace('-', '_')}_review",
        summary=rule.verb.replace("-", " ").capitalize(),
        response_model=ReviewAnswer,
    )


for _body_type in VERBS:
    _add_verb(_body_type)

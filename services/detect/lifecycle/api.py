"""Rules as they come and go, over HTTP: propose, back-test, approve, activate, retire, explain."""

from collections.abc import Callable
from datetime import datetime
from difflib import unified_diff
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import IntegrityError

from services.detect.api import READERS, in_force
from services.detect.explain_event import explain, explain_correlation
from services.detect.lifecycle import domain
from services.detect.lifecycle.backtest import request_replay
from services.detect.lifecycle.domain import Event, Managed, RefusedChangeError
from services.detect.lifecycle.store import change, history, list_rules
from services.detect.lifecycle.text import ProposalText, ProposalTextError, fit, read_proposal
from services.detect.lifecycle.verdicts import ranked
from services.detect.rules.model import LogSource
from services.detect.rules.values import Placeholders
from shared.auth import Principal, Role, allow
from shared.clock import Clock
from shared.contracts.base import Instant
from shared.contracts.ingest import Logsource
from shared.ids import uuid7
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["rule lifecycle"])
Reader = Annotated[Principal, allow(*READERS)]
Author = Annotated[Principal, allow(Role.DETECTION_ENGINEER, Role.SECURITY_RESPONSE)]
Engineer = Annotated[Principal, allow(Role.DETECTION_ENGINEER)]
Decider = Annotated[Principal, allow(Role.DETECTION_ENGINEER, Role.SECURITY_RESPONSE)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Proposal(_Body):
    text: str = Field(
        max_length=512 * 1024,
        description="Sigma: a rule, a correlation with what it counts, or a filter",
    )
    origin: Literal["predefined", "recommendation", "threat_intelligence"] = "recommendation"
    reason: str = Field(min_length=5, max_length=4000)


class Backtest(_Body):
    from_time: Instant
    to_time: Instant
    query: str | None = Field(None, max_length=4000)


class Approval(_Body):
    revision: int = Field(ge=1)
    without_backtest: str | None = Field(None, min_length=10, max_length=2000)


class Rejection(_Body):
    revision: int = Field(ge=1)
    reason: str = Field(min_length=5, max_length=4000)


class Reason(_Body):
    reason: str = Field(min_length=5, max_length=4000)


class ToExplain(_Body):
    rule_id: str | None = Field(None, max_length=64)
    rule: str | None = Field(None, max_length=512 * 1024, description="Sigma, instead of rule_id")
    event: dict[str, Any]
    logsource: Logsource = Logsource()


@router.post("/v1/rule-proposals", status_code=201, summary="Propose a rule, or a new text of one")
async def propose(request: Request, body: Proposal, who: Author) -> dict[str, Any]:
    report = in_force(request).report
    found = _read(body.text, report.placeholders)
    try:
        fit(found, report)
    except ProposalTextError as error:
        raise _rejected(error) from error
    return await _change(
        request,
        found.rule_id,
        lambda rule, now: domain.propose(
            rule, body.text, found.title, body.origin, body.reason, who.id, now
        ),
    )


@router.get("/v1/managed-rules", summary="Managed rules, the last changed first")
async def managed(
    request: Request,
    _: Reader,
    state: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    return {"items": await list_rules(request.state.engine, state, limit)}


@router.get("/v1/rules/{rule_id}/history", summary="What happened to a rule, with every diff")
async def show_history(request: Request, rule_id: UUID, _: Reader) -> dict[str, Any]:
    async with request.state.engine.connect() as connection:
        events = await history(connection, str(rule_id))
    if not events:
        raise ProblemError(404, "not_found", "Nothing has happened to such a rule.")
    rule = domain.fold(str(rule_id), events)
    texts = {revision.number: revision.text for revision in rule.revisions}
    return {
        **_shown(rule),
        "history": [
            {"type": e.type, "actor": e.actor, "at": e.at, **e.body, **_diff(e, texts)}
            for e in events
        ],
    }


@router.post("/v1/rules/{rule_id}/backtest", status_code=202, summary="Try it on stored events")
async def backtest(request: Request, rule_id: UUID, body: Backtest, who: Author) -> dict[str, Any]:
    if body.from_time >= body.to_time:
        raise ProblemError(422, "malformed", "from_time must lie before to_time.")
    replay_id = uuid7()
    try:
        rule = await request_replay(
            request.state.engine, str(rule_id), replay_id, body.from_time, body.to_time,
            body.query, who.id, _now(request),
        )  # fmt: skip
    except RefusedChangeError as refused:
        raise _refusal(refused) from refused
    request.state.outbox.wake()
    return {**_shown(rule), "replay_id": replay_id}


@router.post("/v1/rules/{rule_id}/approve", summary="Approve the pending revision of someone else")
async def approve(request: Request, rule_id: UUID, body: Approval, who: Decider) -> dict[str, Any]:
    return await _change(
        request,
        str(rule_id),
        lambda rule, now: domain.approve(rule, body.revision, who.id, now, body.without_backtest),
    )


@router.post("/v1/rules/{rule_id}/reject", summary="Reject the pending revision")
async def reject(request: Request, rule_id: UUID, body: Rejection, who: Decider) -> dict[str, Any]:
    return await _change(
        request,
        str(rule_id),
        lambda rule, now: domain.reject(rule, body.revision, body.reason, who.id, now),
    )


@router.post("/v1/rules/{rule_id}/activate", summary="Bring the approved revision into force")
async def activate(request: Request, rule_id: UUID, who: Engineer) -> dict[str, Any]:
    return await _change(
        request, str(rule_id), lambda rule, now: domain.activate(rule, who.id, now)
    )


@router.post("/v1/rules/{rule_id}/retire", summary="Take a rule out of force, shipped ones too")
async def retire(request: Request, rule_id: UUID, body: Reason, who: Engineer) -> dict[str, Any]:
    report = in_force(request).report
    loaded = {rule.id: rule.title for rule in (*report.loaded, *report.filters)}
    identity = str(rule_id)
    return await _change(
        request,
        identity,
        lambda rule, now: domain.retire(
            rule, identity in loaded or rule.active is not None, body.reason, who.id, now
        ),
        loaded.get(identity, ""),
    )


@router.post("/v1/rules/{rule_id}/reinstate", summary="Bring a retired rule back, as it was")
async def reinstate(request: Request, rule_id: UUID, body: Reason, who: Engineer) -> dict[str, Any]:
    return await _change(
        request, str(rule_id), lambda rule, now: domain.reinstate(rule, body.reason, who.id, now)
    )


@router.get("/v1/rule-ranking", summary="Rules by impact and by what verdicts say of them (R04a)")
async def ranking(request: Request, _: Reader) -> dict[str, Any]:
    return {"items": await ranked(request.state.engine, in_force(request).report)}


@router.post("/v1/explain", summary="Why a rule fires on an event, or why not")
async def explain_rule(request: Request, body: ToExplain, _: Author) -> dict[str, Any]:
    logsource = LogSource.of(body.logsource.model_dump())
    if (body.rule is None) == (body.rule_id is None):
        raise ProblemError(422, "malformed", "Give either rule_id or rule.")
    report = in_force(request).report
    if body.rule is not None:
        found = _read(body.rule, report.placeholders)
        if found.filter is not None:
            raise ProblemError(
                422, "rule_rejected", "A filter fires on nothing: explain a rule that it narrows."
            )
        rules, plan, wanted = found.rules, found.plan, found.rule_id
    else:
        rules, plan, wanted = report.rules, report.plan, str(body.rule_id)
    for rule in rules:
        if rule.id == wanted:
            return explain(rule, body.event, logsource)
    if any(step.rule.id == wanted for step in plan.steps):
        return explain_correlation(plan, wanted, rules, body.event, logsource)
    raise ProblemError(404, "not_found", "There is no such rule in force.")


def _read(text: str, placeholders: Placeholders) -> ProposalText:
    try:
        return read_proposal(text, placeholders)
    except ProposalTextError as error:
        raise _rejected(error) from error


def _rejected(error: ProposalTextError) -> ProblemError:
    return ProblemError(422, "rule_rejected", f"line {error.line}: {error.reason}")


async def _change(
    request: Request,
    rule_id: str,
    decide: Callable[[Managed, datetime], Event],
    title: str = "",
) -> dict[str, Any]:
    now = _now(request)
    try:
        rule = await change(request.state.engine, rule_id, lambda r: decide(r, now), title)
    except RefusedChangeError as refused:
        raise _refusal(refused) from refused
    except IntegrityError as error:
        raise ProblemError(
            409, "changed_meanwhile", "Somebody changed the rule at the same time."
        ) from error
    request.state.managed.wake()
    return _shown(rule)


def _refusal(refused: RefusedChangeError) -> ProblemError:
    return ProblemError(
        409,
        "rule_change_refused",
        str(refused),
        unmet=[{"code": code, "detail": detail} for code, detail in refused.unmet],
    )


def _shown(rule: Managed) -> dict[str, Any]:
    return {
        "rule_id": rule.rule_id,
        "state": rule.state,
        "active_revision": rule.active,
        "pending_revision": rule.pending,
        "backtest": rule.backtest,
        "approved_by": rule.approved_by,
        "retired": rule.retired,
        "version": rule.version,
    }


def _diff(event: Event, texts: dict[int, str]) -> dict[str, str]:
    if event.type != "proposed":
        return {}
    number = event.body["revision"]
    lines = unified_diff(
        texts.get(number - 1, "").splitlines(),
        texts[number].splitlines(),
        f"revision {number - 1}",
        f"revision {number}",
        lineterm="",
    )
    return {"diff": "\n".join(lines)}


def _now(request: Request) -> datetime:
    clock: Clock = request.state.clock
    return clock()

"""What people do with an obligation: one verb a step (§4.1, §7)."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.notify import incidents
from services.notify.forms.build import build, suggestions
from services.notify.forms.fonts import load_fonts
from services.notify.forms.pdf import form_pdf
from services.notify.forms.store import KeptForm, approved_form, keep
from services.notify.obligations.lifecycle import DONE, Kind, Stage, Step
from services.notify.obligations.record import obligation_json
from services.notify.obligations.steps import Kept, NotTakenError, read, take
from services.notify.state import READERS, snapshot
from services.notify.wording.facts import Filled
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.cloudevents import outgoing
from shared.contracts.base import Instant
from shared.outbox import enqueue
from shared.problems import ProblemError
from shared.zones import zone_names

__all__ = ["router"]

router = APIRouter(tags=["obligations"])

ONE = "/v1/obligations/{obligation_id}"
Shown = dict[str, Any]

Legal = Annotated[Principal, allow(Role.LEGAL)]
Submitter = Annotated[Principal, allow(Role.LEGAL, Role.INCIDENT_COMMUNICATIONS)]
Drafter = Annotated[
    Principal, allow(Role.LEGAL, Role.INCIDENT_COMMUNICATIONS, Role.SECURITY_RESPONSE)
]
Owner = Annotated[Principal, allow(Role.LEGAL, Role.SECURITY_RESPONSE)]
Executive = Annotated[Principal, allow(Role.EXECUTIVE_INCIDENT_MANAGER)]

_WITH_FORM = DONE | {Stage.APPROVED}
Reason = Annotated[str, Field(min_length=1, max_length=2000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DecideBody(_Body):
    """Whether what could not be ruled out is owed."""

    required: bool
    reason: Reason


class DraftBody(_Body):
    """What is to be submitted, by the names of the content that the regime asks for.

    What is not written is filled from the facts of the incident; written blank, it stays missing.
    """

    content: dict[
        Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,79}$")],
        Annotated[str, Field(max_length=20_000)],
    ] = Field(max_length=60)
    fill: bool = Field(True, description="false: nothing is taken from the facts")


class SubmitBody(_Body):
    """That it was handed in, and what the other side gave for it."""

    submitted_at: Instant
    reference: str = Field(min_length=1, max_length=500, description="number of the portal, …")
    late_reason: str = Field("", max_length=2000)


class AcknowledgeBody(_Body):
    """That the recipient has it."""

    reference: str = Field("", max_length=500)


class ReasonBody(_Body):
    """Why."""

    reason: Reason


class HoldBody(_Body):
    """A hold to a date or of days from a statement, or a delay in days."""

    authority: str = Field(min_length=1, max_length=500)
    reference: str = Field("", max_length=500)
    tz: str
    until: date | None = None
    days: int | None = Field(None, ge=1, le=366)
    stated_at: Instant | None = None
    delay_days: int | None = Field(None, ge=1, le=366)

    @model_validator(mode="after")
    def _one(self) -> "HoldBody":
        forms = [self.until is not None, self.days is not None, self.delay_days is not None]
        if sum(forms) != 1 or (self.days is None) != (self.stated_at is None):
            raise ValueError("one of until, days with stated_at, or delay_days")
        if self.tz not in zone_names():
            raise ValueError(f"there is no time zone {self.tz!r}")
        return self


async def _found(connection: Any, obligation_id: UUID) -> Kept:
    kept = await read(connection, obligation_id)
    if kept is None:
        raise ProblemError(404, "not_found", "There is no such obligation.")
    return kept


@dataclass(frozen=True, slots=True)
class _Taking:
    """A step about to be taken on the obligation that the path names."""

    request: Request
    obligation_id: UUID

    async def __call__(self, kind: Kind, who: Principal, body: BaseModel | None = None) -> Shown:
        """Take it; 404 for an unknown obligation, 409 with every unmet condition."""
        state = self.request.state
        detail = body.model_dump(mode="json", exclude_none=True, exclude={"fill"}) if body else {}
        async with state.engine.begin() as connection:
            found = await _found(connection, self.obligation_id)
            incident = await incidents.lock(connection, found.incident_id)
            # Read again: only under the incident's lock does it hold still.
            kept = await _found(connection, self.obligation_id)
            if isinstance(body, DraftBody) and body.fill:
                detail = _filled(detail, await suggestions(connection, kept, state))
            if kind is Kind.SUBMIT and (
                approved := await approved_form(connection, self.obligation_id)
            ):
                detail["document_sha256"] = approved.pdf_sha256
            step = Step(kind=kind, at=state.clock(), by=who.id, detail=detail)
            try:
                after, told = await take(connection, kept, step, state.regimes)
            except NotTakenError as error:
                unmet = [{"code": one.code, "detail": one.detail} for one in error.unmet]
                raise ProblemError(
                    409, f"obligation_not_{kind.value}", "The step cannot be taken so.", unmet=unmet
                ) from error
            if kind is Kind.APPROVE:
                await _keep_form(connection, after, state)
            if kind is Kind.SUBMIT and incident is not None:  # later phases run from here
                told += await state.book.evaluate(connection, incident, state.clock())
            await enqueue(connection, [outgoing(one, source="notify") for one in told])
            form = await approved_form(connection, self.obligation_id)
        state.wake()
        return _shown(after, form)


Taking = Annotated[_Taking, Depends()]


@router.get(ONE, summary="One obligation, its steps, where it stands")
async def get_obligation(
    request: Request, obligation_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> Shown:
    async with snapshot(request.state.engine) as connection:
        kept = await _found(connection, obligation_id)
        return _shown(kept, await approved_form(connection, obligation_id))


@router.post(f"{ONE}/decide", summary="Required, or not, with reason (I7)")
async def decide(taking: Taking, who: Legal, body: DecideBody) -> Shown:
    return await taking(Kind.DECIDE, who, body)


@router.post(f"{ONE}/draft", summary="Write it; a new draft undoes approval")
async def draft(taking: Taking, who: Drafter, body: DraftBody) -> Shown:
    return await taking(Kind.DRAFT, who, body)


@router.post(f"{ONE}/approve", summary="Approve what another wrote")
async def approve(taking: Taking, who: Legal) -> Shown:
    return await taking(Kind.APPROVE, who)


@router.post(f"{ONE}/submit", summary="It was handed in; late needs a reason")
async def submit(taking: Taking, who: Submitter, body: SubmitBody) -> Shown:
    return await taking(Kind.SUBMIT, who, body)


@router.post(f"{ONE}/acknowledge", summary="The recipient has it")
async def acknowledge(taking: Taking, who: Submitter, body: AcknowledgeBody) -> Shown:
    return await taking(Kind.ACKNOWLEDGE, who, body)


@router.post(f"{ONE}/explain-late", summary="Why a notice went out late")
async def explain_late(taking: Taking, who: Submitter, body: ReasonBody) -> Shown:
    return await taking(Kind.EXPLAIN_LATE, who, body)


@router.post(f"{ONE}/hold", summary="An authority holds or delays it")
async def hold(taking: Taking, who: Legal, body: HoldBody) -> Shown:
    return await taking(Kind.HOLD, who, body)


@router.post(f"{ONE}/lift-hold", summary="The hold is over")
async def lift_hold(taking: Taking, who: Legal, body: ReasonBody) -> Shown:
    return await taking(Kind.LIFT_HOLD, who, body)


@router.post(f"{ONE}/propose-waiver", summary="Not to be met, and why")
async def propose_waiver(taking: Taking, who: Owner, body: ReasonBody) -> Shown:
    return await taking(Kind.PROPOSE_WAIVER, who, body)


@router.post(f"{ONE}/approve-waiver", summary="By another person (I6)")
async def approve_waiver(taking: Taking, who: Executive) -> Shown:
    return await taking(Kind.APPROVE_WAIVER, who)


@router.post(f"{ONE}/end-series", summary="Nothing further is owed, and why")
async def end_series(taking: Taking, who: Legal, body: ReasonBody) -> Shown:
    return await taking(Kind.END_SERIES, who, body)


def _filled(detail: dict[str, Any], facts: Mapping[str, Filled]) -> dict[str, Any]:
    """Return the draft with what facts can say of what nobody wrote."""
    taken = {name: one for name, one in facts.items() if name not in detail["content"]}
    content = {**detail["content"], **{name: one.value for name, one in taken.items()}}
    return {"content": content, "filled": {name: one.by for name, one in taken.items()}}


async def _keep_form(connection: Any, kept: Kept, state: Any) -> None:
    """Keep the form that was approved: it is what is handed in, whatever templates say later."""
    document = await build(connection, kept, state)
    pdf = await asyncio.to_thread(form_pdf, document, load_fonts(state.settings.form_fonts))
    await keep(connection, kept.id, len(kept.steps), document, pdf)


def _shown(kept: Kept, form: KeptForm | None) -> dict[str, Any]:
    standing = kept.standing
    return {
        "obligation_id": str(kept.id),
        "incident_id": str(kept.incident_id),
        **obligation_json(kept.obligation),
        "period": kept.obligation.period,
        "stage": standing.stage.value,
        "due_at": rfc3339(standing.due_at),
        "basis": standing.basis,
        "draft": dict(standing.content),
        "filled_from_facts": dict(standing.filled),
        "missing": list(standing.missing),
        "form": form.shown() if form and standing.stage in _WITH_FORM else None,
        "author": standing.author,
        "approved_by": standing.approved_by,
        "submitted_at": standing.submitted_at and rfc3339(standing.submitted_at),
        "reference": standing.reference,
        "late": standing.late,
        "late_reason": standing.late_reason,
        "hold": standing.hold and dict(standing.hold),
        "waiver": standing.waiver and dict(standing.waiver),
        "ended": standing.ended and dict(standing.ended),
        "steps": [
            {
                "kind": step.kind.value,
                "at": rfc3339(step.at),
                "by": step.by,
                "detail": dict(step.detail),
            }
            for step in kept.steps
        ],
    }

"""What the routes of evidence have in common: roles, the item, its store, and the answer."""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, Field

from services.cases.bodies.base import Who
from services.cases.domain.incident import fold as fold_incident
from services.cases.domain.values import Actor
from services.cases.edge import refusals
from services.cases.evidence.domain import commands as c
from services.cases.evidence.domain.commands import EvidenceCommand
from services.cases.evidence.domain.item import Item, fold
from services.cases.evidence.domain.rules import RULES
from services.cases.evidence.domain.vocabulary import EvidenceRole
from services.cases.evidence.handle import UnknownEvidenceError, change
from services.cases.evidence.store import EvidenceStore
from services.cases.legal_holds import holds_on
from services.cases.once import Done
from services.cases.store import EventStore
from shared.auth import Principal, Role
from shared.ids import derived_id, uuid7
from shared.problems import ProblemError

__all__ = [
    "EvidenceAnswer", "answer", "as_problems", "bytes_of", "custodian", "do", "item_at", "roles_of",
    "under_holds", "who_is",
]  # fmt: skip


class EvidenceAnswer(BaseModel):
    """What a command came to; no ``events`` means that it was so already."""

    evidence_id: UUID
    version: int
    position: int = Field(description="of the log")
    events: list[str] = Field(description="type names of what happened")


def roles_of(command: type[EvidenceCommand]) -> list[Role]:
    """Return who may try *command* at all."""
    roles = RULES[command].roles - {EvidenceRole.SYSTEM}
    return sorted(Role(role.value) for role in roles)


def custodian(principal: Principal) -> Actor:
    """Return the actor that *principal* is to evidence."""
    known = {role.value for role in EvidenceRole} - {EvidenceRole.SYSTEM.value}
    roles = {role.value for role in principal.roles}
    return Actor(id=principal.id, roles=tuple(sorted(roles & known)))


def who_is(request: Request, principal: Principal, key: str | None) -> Who:
    """Return who gives the command, when, and under which id."""
    command_id = uuid7() if key is None else derived_id("command", principal.id, key)
    return Who(custodian(principal), request.state.clock(), command_id)


def bytes_of(request: Request) -> EvidenceStore:
    """Return the store of bytes; 503 where none is configured."""
    store: EvidenceStore | None = request.state.evidence.store
    if store is None:
        raise ProblemError(
            503,
            "evidence_not_configured",
            "This installation keeps no evidence: set TOCSIN_CASES_EVIDENCE_DIR or …_URL.",
        )
    return store


async def item_at(request: Request, evidence_id: UUID) -> tuple[Item, int]:
    """Return the item and its version, from the log itself; 404 if there is none."""
    history = await request.state.store.read_evidence(evidence_id)
    if not history.version:
        raise ProblemError(404, "not_found", "There is no such item of evidence for you.")
    return fold(history.events), history.version


async def under_holds(
    request: Request, evidence_id: UUID, command: EvidenceCommand
) -> EvidenceCommand:
    """Return *command* with the legal holds on the item's incident, if it is one that asks."""
    if not isinstance(command, c.RequestDisposal | c.DisposeEvidence | c.ReleaseEvidence):
        return command
    item, _ = await item_at(request, evidence_id)
    if item.incident_id is None:
        return command
    store: EventStore = request.state.store
    incident = fold_incident((await store.read(item.incident_id)).events)
    return replace(command, incident_holds=await holds_on(store, incident))


def as_problems(expected: int | None) -> AbstractContextManager[None]:
    """Turn the refusals of the inside into those of the edge."""
    return refusals("item of evidence", UnknownEvidenceError, expected)


async def do(
    request: Request,
    evidence_id: UUID,
    command: EvidenceCommand,
    *,
    command_id: UUID,
    digest: str,
    expected: int | None = None,
    registers: bool = False,
) -> Done:
    """Do *command*; who has written reads what was written."""
    state: Any = request.state
    with as_problems(expected):
        done = await change(
            state.store,
            evidence_id,
            command,
            command_id=command_id,
            digest=digest,
            expected=expected,
            registers=registers,
            noticed=state.noticed,
        )
    await state.projector.reached(done.position)
    state.evidence.noticed()
    return done


def answer(done: Done, response: Response) -> EvidenceAnswer:
    """Return the body of an answer to a command."""
    response.headers["ETag"] = f'"{done.version}"'
    return EvidenceAnswer(
        evidence_id=done.stream_id,
        version=done.version,
        position=done.position,
        events=list(done.events),
    )

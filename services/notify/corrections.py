"""Corrections: what was told and does not hold any more is taken back in words (R35b, I8).

A correction is a message like any other: one person writes it, another one lets it out. It goes by
the channel and to the contacts that the superseded message went to.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify import incidents
from services.notify.correction_text import render_correction, standing_statement
from services.notify.told import Told, insert, row, told
from services.notify.used_templates import keep_templates
from services.notify.wording.catalogue import Catalogue, Kind
from shared.ids import derived_id
from shared.problems import ProblemError

__all__ = ["Correction", "approve_correction", "audience", "corrections_of", "draft", "queue"]

_COLUMNS = (
    "correction_id, incident_id, number, why, statement, written_by, written_at, approved_by,"
    " approved_at"
)
_ALL = text(
    f"SELECT {_COLUMNS} FROM corrections WHERE incident_id = :incident"  # noqa: S608 - a constant
    " ORDER BY number"
)
_ONE = text(f"SELECT {_COLUMNS} FROM corrections WHERE correction_id = :id")  # noqa: S608 - same
_WRITE = text(
    "INSERT INTO corrections (correction_id, incident_id, number, why, statement, written_by,"
    " written_at) VALUES (:id, :incident, :number, :why, :statement, :by, :at)"
)
_APPROVE = text(
    "UPDATE corrections SET approved_by = :by, approved_at = :at WHERE correction_id = :id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What is taken back, and why; not sent before it is approved."""

    id: UUID
    incident_id: UUID
    number: int
    why: str
    statement: str
    written_by: str
    written_at: datetime
    approved_by: str | None = None
    approved_at: datetime | None = None


async def corrections_of(connection: AsyncConnection, incident_id: UUID) -> list[Correction]:
    """Return the corrections of an incident, oldest first."""
    rows = (await connection.execute(_ALL, {"incident": incident_id})).all()
    return [_correction(found) for found in rows]


async def draft(
    connection: AsyncConnection,
    incident_id: UUID,
    why: str,
    *,
    by: str,
    at: datetime,
    wording: Catalogue,
    statement: str = "",
    other_number: str = "",
) -> Correction | None:
    """Write a correction for all who were told; None where nobody was.

    Without *statement* it says the standing words of *why*. The caller holds the incident's lock.
    """
    if not audience(await told(connection, incident_id), why):
        return None
    before = await corrections_of(connection, incident_id)
    if before and before[-1].why == why and before[-1].approved_by is None and not statement:
        return before[-1]
    number = len(before) + 1
    correction = Correction(
        id=derived_id("correction", incident_id, number),
        incident_id=incident_id,
        number=number,
        why=why,
        statement=statement.strip() or standing_statement(wording, why, other_number),
        written_by=by,
        written_at=at,
    )
    values = {"id": correction.id, "incident": incident_id, "number": number, "why": why}
    words = {"statement": correction.statement, "by": by, "at": at}
    await connection.execute(_WRITE, {**values, **words})
    return correction


async def approve_correction(
    connection: AsyncConnection,
    correction_id: UUID,
    *,
    by: str,
    at: datetime,
    operator_name: str,
    wording: Catalogue,
) -> int:
    """Let a correction out as *by*; return how many messages it makes.

    404 for an unknown one, 409 for its author. Approving it twice is approving it once.
    """
    found = (await connection.execute(_ONE, {"id": correction_id})).one_or_none()
    incident = await incidents.lock(connection, found.incident_id) if found else None
    if incident is None:
        raise ProblemError(404, "not_found", "There is no such correction.")
    correction = _correction((await connection.execute(_ONE, {"id": correction_id})).one())
    if correction.approved_by is not None:
        return 0
    if correction.written_by == by:
        unmet = {
            "code": "approver_is_author",
            "detail": f"{by} wrote it; somebody else has to approve it.",
        }
        raise ProblemError(
            409, "correction_not_approvable", "The correction cannot be approved so.", unmet=[unmet]
        )
    await connection.execute(_APPROVE, {"id": correction_id, "by": by, "at": at})
    words = audience(await told(connection, incident.id), correction.why)
    return await queue(
        connection,
        incident,
        words,
        why=correction.why,
        statement=correction.statement,
        operator_name=operator_name,
        wording=wording,
        at=at,
    )


async def queue(
    connection: AsyncConnection,
    incident: incidents.Incident,
    words: Sequence[Told],
    *,
    why: str,
    statement: str,
    operator_name: str,
    wording: Catalogue,
    at: datetime,
    list_id: UUID | None = None,
) -> int:
    """Queue one correction for each of *words*, under an id derived from what it supersedes."""

    def rows() -> list[dict[str, Any]]:
        return [
            row(
                id=(key := derived_id("correction-of", word.id)),
                list_id=list_id or word.list_id,
                incident_id=incident.id,
                tenant=word.tenant,
                channel=word.channel,
                recipients=word.recipients,
                content=render_correction(
                    word,
                    wording,
                    why=why,
                    statement=statement,
                    number=incident.number,
                    notification_id=key,
                    operator_name=operator_name,
                    at=at,
                ),
                at=at,
                why=why,
                supersedes=word.id,
            )
            for word in words
        ]

    made = await asyncio.to_thread(rows)
    await insert(connection, made)
    templates = [wording.choose(Kind.CORRECTION, word.channel, word.locale) for word in words]
    await keep_templates(connection, templates, at)
    return len(made)


def audience(words: Sequence[Told], why: str, only: Collection[str] | None = None) -> list[Told]:
    """Return whom a correction is for: all (of *only*) who still believe what it takes back."""
    return [
        word
        for word in words
        if word.counts
        and (word.why != why or why == "content")
        and (only is None or word.tenant in only)
    ]


def _correction(found: Any) -> Correction:
    return Correction(
        id=found.correction_id,
        incident_id=found.incident_id,
        number=found.number,
        why=found.why,
        statement=found.statement,
        written_by=found.written_by,
        written_at=found.written_at,
        approved_by=found.approved_by,
        approved_at=found.approved_at,
    )

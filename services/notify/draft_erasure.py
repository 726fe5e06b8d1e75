"""Drafts of what is handed in to authorities, after an erasure: which go, and when (ADR 0023)."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Written", "blot_drafts", "spent"]

BATCH = 200
OPEN = frozenset({"undecided", "triggered", "drafted", "approved"})

# Of obligations that have a draft left, all drafts and submissions: which is which follows from
# their order. What came after the erasure is the business of another one.
_STEPS = text(
    "SELECT s.obligation_id, s.step, s.kind, s.at, s.detail, b.stage FROM obligation_steps s"
    " JOIN obligation_board b USING (obligation_id) JOIN erasures e USING (incident_id)"
    " WHERE s.kind IN ('draft', 'submit') AND s.at <= e.erased_at AND EXISTS ("
    " SELECT 1 FROM obligation_steps d WHERE d.obligation_id = s.obligation_id"
    " AND d.kind = 'draft' AND d.erased_at IS NULL AND d.at <= e.erased_at)"
    " ORDER BY s.obligation_id, s.step"
)
_BLOT = text("SELECT blot_draft(:id, :step, :digest, :now)")


@dataclass(frozen=True, slots=True)
class Written:
    """A draft or a submission of one obligation."""

    step: int
    kind: str
    at: datetime
    detail: str


def spent(steps: Sequence[Written], stage: str, kept_since: datetime) -> list[Written]:
    """Return the drafts of *steps* (in their order) that nobody needs any more.

    One that was handed in is proof from then on, for as long as proof is kept; the newest one of an
    obligation that is still open is to be handed in yet; every other was superseded.
    """
    found = []
    for number, draft in enumerate(steps):
        if draft.kind != "draft":
            continue
        following = steps[number + 1] if number + 1 < len(steps) else None
        if following is None:
            needed = stage in OPEN
        else:
            needed = following.kind == "submit" and following.at > kept_since
        if not needed:
            found.append(draft)
    return found


async def blot_drafts(connection: AsyncConnection, now: datetime, kept_since: datetime) -> int:
    """Blot out the drafts of erased incidents that are spent, their SHA-256 stays; return how many.

    At most BATCH of them.
    """
    steps: dict[tuple[UUID, str], list[Written]] = defaultdict(list)
    for row in await connection.execute(_STEPS):
        one = Written(row.step, row.kind, row.at, row.detail)
        steps[row.obligation_id, row.stage].append(one)
    gone: list[dict[str, Any]] = [
        {"id": key, "step": draft.step, "digest": digest_of(draft.detail), "now": now}
        for (key, stage), written in steps.items()
        for draft in spent(written, stage, kept_since)
        if "content_sha256" not in json.loads(draft.detail)
    ][:BATCH]
    for values in gone:
        await connection.execute(_BLOT, values)
    return len(gone)


def digest_of(detail: str) -> str:
    """Return the SHA-256 of a draft's content as canonical JSON (RFC 8785 for texts)."""
    content = json.loads(detail)["content"]
    told = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()

"""The page ledger: every page is a row before it is sent, and stays one (R11)."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.oncall.targets import Recipient
from services.escalate.sighting import printable
from shared.ids import derived_id

__all__ = [
    "Asks",
    "Page",
    "claim_pages",
    "end_chains",
    "mark_failed",
    "mark_sent",
    "order_page",
    "write_pages",
]

Asks = Literal["", "severity", "case", "source", "v_team"]
"""What a chain asks for, besides to answer: what settles that ends the chain."""

_ORDER = text(
    "INSERT INTO page_chains (id, incident_id, team, severity, reason, people, channel,"
    " engagement_id, started_at, due_at, asks)"
    " VALUES (:id, :incident, :team, :severity, :reason, :people, :channel, :engagement, :now,"
    " :now, :asks) ON CONFLICT (id) DO NOTHING"
)
_WRITE = text(
    "INSERT INTO pages (id, incident_id, team, channel, reason, created_at, next_attempt_at,"
    " chain_id, turn, person, recipient, due_at)"
    " VALUES (:id, :incident, :team, :channel, :reason, :now, :now, :chain, :turn, :person, :to,"
    " :due) ON CONFLICT (id) DO NOTHING"
)
# Of a release before 0006 nobody wrote down what a chain asks for; one without a severity asked for
# that, or to take on a case.
_END = text(
    "UPDATE page_chains SET due_at = NULL, ended = coalesce(ended, :why), settled_at = :now"
    " WHERE incident_id = :incident AND settled_at IS NULL"
    " AND (CAST(:asks AS text) IS NULL OR asks = :asks"
    " OR (asks IS NULL AND severity IS NULL)) RETURNING id"
)
_DROP = text(
    "UPDATE pages SET dropped_at = :now WHERE chain_id = ANY(:chains)"
    " AND sent_at IS NULL AND dropped_at IS NULL"
)
# The lease ends by itself: whoever died while sending gives the page back.
_CLAIM = text(
    "UPDATE pages SET attempts = pages.attempts + 1, next_attempt_at = :lease FROM ("
    " SELECT id FROM pages WHERE sent_at IS NULL AND dropped_at IS NULL"
    " AND next_attempt_at <= :now AND ((channel = ANY(:channels)) = :among)"
    " ORDER BY next_attempt_at, id LIMIT :n FOR UPDATE SKIP LOCKED) AS due"
    " WHERE pages.id = due.id"
    " RETURNING pages.id, incident_id, team, channel, reason, attempts, chain_id, person,"
    " recipient, created_at, due_at,"
    " (SELECT severity FROM page_chains c WHERE c.id = pages.chain_id),"
    " (SELECT asks FROM page_chains c WHERE c.id = pages.chain_id)"
)
_SENT = text(
    "UPDATE pages SET sent_at = :now, last_error = NULL WHERE id = :id AND sent_at IS NULL"
)
_FAILED = text(
    "UPDATE pages SET next_attempt_at = :next, last_error = :error"
    " WHERE id = :id AND sent_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class Page:
    """One message to one recipient. ``id`` is what a receiver recognises a repeat by."""

    id: UUID
    incident_id: UUID
    team: str
    channel: str
    reason: str
    attempts: int = 0
    chain_id: UUID | None = None
    person: str | None = None
    recipient: str = ""
    created_at: datetime | None = None
    due_at: datetime | None = None
    severity: str | None = None
    asks: str | None = None


async def order_page(
    connection: AsyncConnection,
    cause: UUID,
    incident_id: UUID,
    team: str,
    channel: str,
    reason: str,
    now: datetime,
    *,
    severity: str | None = None,
    people: Sequence[str] = (),
    engagement_id: UUID | None = None,
    asks: Asks = "",
) -> UUID:
    """Begin to page a team; for one *cause* that is begun once, however often asked.

    Who is paged and when follows from the escalation policy of *severity*; *channel* is used where
    nobody of the team can be reached. Returns the chain's id.
    """
    identity = derived_id("page", cause, team)
    row = {
        "id": identity,
        "incident": incident_id,
        "team": team,
        "severity": severity,
        "reason": printable(reason, 500),
        "people": list(people),
        "channel": channel,
        "engagement": engagement_id,
        "asks": asks,
        "now": now,
    }
    await connection.execute(_ORDER, row)
    return identity


async def end_chains(
    connection: AsyncConnection,
    incident_id: UUID,
    why: str,
    now: datetime,
    *,
    asks: Asks | None = None,
) -> None:
    """Ask nobody any more for what is settled: all chains of an incident, or those that *asks*
    names; pages of them that wait to be sent are dropped."""
    values = {"incident": incident_id, "why": why, "asks": asks, "now": now}
    ended = [row.id for row in await connection.execute(_END, values)]
    if ended:
        await connection.execute(_DROP, {"chains": ended, "now": now})


@dataclass(frozen=True, slots=True)
class Written:
    """The chain a page belongs to, as far as its row needs it."""

    chain_id: UUID
    incident_id: UUID
    team: str
    reason: str
    turn: int
    due: datetime


async def write_pages(
    connection: AsyncConnection,
    wanted: Iterable[tuple[Written, Sequence[Recipient]]],
    now: datetime,
) -> int:
    """Put the pages of turns on the ledger; return how many. One written before stays as it is."""
    rows = [
        {
            "id": derived_id("page", of.chain_id, of.turn, recipient.channel, recipient.to),
            "incident": of.incident_id,
            "team": of.team,
            "channel": recipient.channel,
            "reason": of.reason,
            "now": now,
            "chain": of.chain_id,
            "turn": of.turn,
            "person": recipient.person,
            "to": recipient.to,
            "due": of.due,
        }
        for of, recipients in wanted
        for recipient in recipients
    ]
    if rows:
        await connection.execute(_WRITE, rows)
    return len(rows)


async def claim_pages(
    connection: AsyncConnection,
    channels: Collection[str],
    limit: int,
    now: datetime,
    lease: datetime,
    *,
    among: bool = True,
) -> list[Page]:
    """Return up to *limit* due pages of *channels* (of all others, if not *among*), leased."""
    values = {
        "channels": list(channels), "among": among, "n": limit, "now": now, "lease": lease,
    }  # fmt: skip
    return [Page(*row) for row in await connection.execute(_CLAIM, values)]


async def mark_sent(connection: AsyncConnection, page: Page, now: datetime) -> bool:
    """Write down that the channel took *page*; False if somebody else has already."""
    return (await connection.execute(_SENT, {"id": page.id, "now": now})).rowcount == 1


async def mark_failed(
    connection: AsyncConnection, page: Page, error: str, retry_at: datetime
) -> None:
    """Write down that the channel did not take *page*, and when to try again."""
    row = {"id": page.id, "error": printable(error, 500), "next": retry_at}
    await connection.execute(_FAILED, row)

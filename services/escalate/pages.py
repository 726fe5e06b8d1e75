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
    "Order",
    "Page",
    "drop_pages",
    "due_pages",
    "end_chains",
    "give_back",
    "lease_pages",
    "order_page",
    "order_pages",
    "write_fates",
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
# Whoever takes locks on several pages takes them by id: what is answered and what is written down
# of it at the same time wait for each other, and do not deadlock.
_DROP = text(
    "UPDATE pages SET dropped_at = :now FROM ("
    " SELECT id FROM pages WHERE chain_id = ANY(CAST(:chains AS uuid[]))"
    " AND sent_at IS NULL AND dropped_at IS NULL ORDER BY id FOR UPDATE) AS held"
    " WHERE pages.id = held.id"
)
_DUE = text(
    "SELECT p.id, incident_id, team, channel, reason, attempts + 1, chain_id, person, recipient,"
    " created_at, due_at, (SELECT severity FROM page_chains c WHERE c.id = p.chain_id),"
    " (SELECT asks FROM page_chains c WHERE c.id = p.chain_id)"
    " FROM pages p WHERE sent_at IS NULL AND dropped_at IS NULL AND next_attempt_at <= :now"
    " AND NOT EXISTS (SELECT FROM unnest(CAST(:channels AS text[]), CAST(:recipients AS text[]))"
    " AS busy (channel, recipient)"
    " WHERE busy.channel = p.channel AND busy.recipient = p.recipient)"
    " ORDER BY next_attempt_at, p.id LIMIT :n FOR UPDATE OF p SKIP LOCKED"
)
# The lease ends by itself: whoever died while sending gives the page back.
_LEASE = text(
    "UPDATE pages SET attempts = attempts + 1, next_attempt_at = :until, claimed_by = :by"
    " WHERE id = ANY(CAST(:ids AS uuid[]))"
)
_GIVE_BACK = text(
    "UPDATE pages SET next_attempt_at = :now, claimed_by = NULL"
    " WHERE claimed_by = :by AND sent_at IS NULL"
)
# Where another has taken a page up since its lease ended, the other says when it is tried again.
_FATES = text(
    "WITH fates AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[]),"
    " CAST(:sent AS timestamptz[]), CAST(:errors AS text[]), CAST(:next AS timestamptz[]))"
    " AS f (id, attempts, sent, error, next)),"
    " held AS (SELECT p.id FROM pages p JOIN fates USING (id) ORDER BY p.id FOR UPDATE OF p)"
    " UPDATE pages AS p SET sent_at = f.sent, last_error = f.error, claimed_by = NULL,"
    " next_attempt_at = coalesce(f.next, p.next_attempt_at)"
    " FROM fates AS f JOIN held USING (id) WHERE p.id = f.id AND p.sent_at IS NULL"
    " AND (f.sent IS NOT NULL OR p.attempts = f.attempts)"
    " RETURNING p.id, p.sent_at"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A team is to be paged for one *cause*. Who of it and when follows from the escalation policy
    of *severity*; *channel* is used where nobody of the team can be reached."""

    cause: UUID
    incident_id: UUID
    team: str
    channel: str
    reason: str
    severity: str | None = None
    people: Sequence[str] = ()
    engagement_id: UUID | None = None
    asks: Asks = ""

    @property
    def chain_id(self) -> UUID:
        """Return the id of the chain that the order begins."""
        return derived_id("page", self.cause, self.team)


async def order_pages(connection: AsyncConnection, orders: Iterable[Order], now: datetime) -> None:
    """Begin to page teams; for one cause and team that is begun once, however often asked."""
    rows = [
        {
            "id": order.chain_id,
            "incident": order.incident_id,
            "team": order.team,
            "severity": order.severity,
            "reason": printable(order.reason, 500),
            "people": list(order.people),
            "channel": order.channel,
            "engagement": order.engagement_id,
            "asks": order.asks,
            "now": now,
        }
        for order in orders
    ]
    if rows:
        await connection.execute(_ORDER, rows)


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
    """Begin to page one team, as `order_pages`; return the chain's id."""
    order = Order(
        cause=cause,
        incident_id=incident_id,
        team=team,
        channel=channel,
        reason=reason,
        severity=severity,
        people=people,
        engagement_id=engagement_id,
        asks=asks,
    )
    await order_pages(connection, [order], now)
    return order.chain_id


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
        await drop_pages(connection, ended, now)


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


async def drop_pages(connection: AsyncConnection, chains: Sequence[UUID], now: datetime) -> None:
    """Send no more of the pages of *chains* that wait to be sent."""
    await connection.execute(_DROP, {"chains": chains, "now": now})


async def due_pages(
    connection: AsyncConnection, limit: int, now: datetime, busy: Collection[tuple[str, str]]
) -> list[Page]:
    """Return and lock up to *limit* due pages, the longest due first, none that somebody else has.

    Of *busy* recipients (channel, address) none is taken.
    """
    values = {
        "n": limit,
        "now": now,
        "channels": [channel for channel, _ in busy],
        "recipients": [recipient for _, recipient in busy],
    }
    return [Page(*row) for row in await connection.execute(_DUE, values)]


async def lease_pages(
    connection: AsyncConnection, pages: Sequence[Page], until: datetime, by: str
) -> None:
    """Keep *pages*, which are locked, from everybody but *by* until then."""
    row = {"ids": [page.id for page in pages], "until": until, "by": by}
    await connection.execute(_LEASE, row)


async def give_back(connection: AsyncConnection, by: str, now: datetime) -> int:
    """Have whatever *by* was sending when it died be due now; return how many pages."""
    return (await connection.execute(_GIVE_BACK, {"by": by, "now": now})).rowcount


async def write_fates(
    connection: AsyncConnection,
    taken: Sequence[tuple[Page, datetime]],
    failed: Sequence[tuple[Page, str, datetime]],
) -> set[UUID]:
    """Write down which pages a channel took, and of the others why not and when to try again.

    Returns the pages that are now sent and were not before, whoever sent them.
    """
    pages = [page for page, _ in taken] + [page for page, _, _ in failed]
    row = {
        "ids": [page.id for page in pages],
        "attempts": [page.attempts for page in pages],
        "sent": [at for _, at in taken] + [None] * len(failed),
        "errors": [None] * len(taken) + [printable(error, 500) for _, error, _ in failed],
        "next": [None] * len(taken) + [retry for *_, retry in failed],
    }
    rows = await connection.execute(_FATES, row)
    return {UUID(str(row.id)) for row in rows if row.sent_at is not None}

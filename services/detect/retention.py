"""What detect noted so as not to do a thing twice is forgotten once nothing can come again.

The broker keeps no message for longer than 30 days (`shared/topology.py`), so a block or a message
that was handled before that needs no row any more: what its row told the ledger is in `evaluated`,
one row a source. Detections, rules and who suppressed what are records and stay.
"""

from datetime import datetime
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["AT_ONCE", "forget"]

AT_ONCE = 5_000
"""Rows of one kind in one transaction."""

_forgotten = Counter("tocsin_detect_forgotten_total", "Rows forgotten by age", ["table"])

# The parts of a back-test before itself; one that never ended goes, too. Its id says when it began.
_STATEMENTS = (
    (
        "blocks",
        text(
            "DELETE FROM blocks WHERE id IN (SELECT id FROM blocks WHERE counted"
            " AND evaluated_at < :before LIMIT :n)"
        ),
    ),
    (
        "inbox",
        text(
            "DELETE FROM inbox WHERE (consumer, event_id) IN (SELECT consumer, event_id FROM inbox"
            " WHERE received_at < :before LIMIT :n)"
        ),
    ),
    (
        "backtest_blocks",
        text(
            "DELETE FROM backtest_blocks WHERE (replay_id, block_id) IN (SELECT replay_id, block_id"
            " FROM backtest_blocks WHERE replay_id < :first LIMIT :n)"
        ),
    ),
    (
        "backtests",
        text(
            "DELETE FROM backtests WHERE replay_id IN (SELECT replay_id FROM backtests b"
            " WHERE replay_id < :first AND NOT EXISTS (SELECT FROM backtest_blocks p"
            " WHERE p.replay_id = b.replay_id) LIMIT :n)"
        ),
    ),
)


async def forget(engine: AsyncEngine, before: datetime, at_once: int = AT_ONCE) -> int:
    """Forget what was noted before then, at most *at_once* rows of each kind; return how many.

    A block that is not in the totals of its sources yet stays, however old it is.
    """
    done = 0
    given = {"before": before, "first": _first_id(before), "n": at_once}
    for table, statement in _STATEMENTS:
        async with engine.begin() as connection:
            wanted = {name: given[name] for name in statement.compile().params}
            rows = (await connection.execute(statement, wanted)).rowcount
        if rows:
            _forgotten.labels(table).inc(rows)
        done += rows
    return done


def _first_id(at: datetime) -> UUID:
    """Return the smallest time-ordered id of that instant (RFC 9562, version 7)."""
    return UUID(int=int(at.timestamp() * 1000) << 80)

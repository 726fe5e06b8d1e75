"""The number that people say: TOCSIN-<year>-<nnnn>, unique, in order of drawing, gaps allowed."""

from datetime import datetime

from services.cases.store import EventStore

__all__ = ["next_number"]


async def next_number(store: EventStore, now: datetime) -> str:
    """Return the next number of the year of *now*."""
    return f"TOCSIN-{now.year}-{await store.draw_number(now.year):04d}"

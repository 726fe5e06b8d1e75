"""The legal holds that bind an incident: its own, and those of the one as which it goes on."""

from services.cases.domain.incident import fold
from services.cases.domain.state import Incident
from services.cases.store import EventStore

__all__ = ["holds_on"]


async def holds_on(store: EventStore, incident: Incident) -> tuple[str, ...]:
    """Return the names of all holds in force; of another incident with its number."""
    found, seen = list(incident.holds), set()
    while (target := incident.merged_into) is not None and target not in seen:
        seen.add(target)
        incident = fold((await store.read(target)).events)
        found += [f"{hold} ({incident.number})" for hold in incident.holds]
    return tuple(found)

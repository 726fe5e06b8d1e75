"""What a command says about another incident is read here, so that the core can decide on it."""

from dataclasses import replace
from uuid import UUID

from services.cases.domain import commands as c
from services.cases.domain.incident import Incident, fold
from services.cases.domain.state import UNOPENED
from services.cases.domain.values import Counterpart
from services.cases.domain.vocabulary import State
from services.cases.store import EventStore

__all__ = ["MERGE", "home_of", "informed"]

MERGE = "merge"  # two merges at once could lead in a circle that neither of them sees
_MOST_HOPS = 64


async def informed(store: EventStore, incident_id: UUID, command: c.Command) -> c.Command:
    """Return *command* with what is true of the incident that it names now."""
    match command:
        case c.MergeInto():
            target = await _counterpart(store, incident_id, command.target_id)
            return replace(command, target=target)
        case c.LinkIncident():
            return replace(command, other=await _counterpart(store, incident_id, command.other_id))
        case _:
            return command


async def home_of(store: EventStore, incident_id: UUID) -> UUID:
    """Return the incident as which *incident_id* goes on: itself, unless it was merged."""
    return (await _chain(store, incident_id))[-1][0]


async def _counterpart(store: EventStore, incident_id: UUID, other_id: UUID) -> Counterpart:
    chain = await _chain(store, other_id)
    other = chain[0][1]
    return Counterpart(
        state=None if other.state is State.UNOPENED else other.state,
        itself=other_id == incident_id,
        leads_back=incident_id in {key for key, _ in chain[1:]},
        claims=frozenset(relation for key, relation in other.links if key == incident_id),
    )


async def _chain(store: EventStore, incident_id: UUID) -> list[tuple[UUID, Incident]]:
    """Return the incident, what it was merged into, and so on."""
    found: list[tuple[UUID, Incident]] = []
    following: UUID | None = incident_id
    while following is not None and len(found) < _MOST_HOPS:
        history = await store.read(following)
        incident = fold(history.events) if history.version else UNOPENED
        found.append((following, incident))
        following = incident.merged_into
    return found

"""The log to the CASES stream, in order: the log is the outbox, the stream's tail the cursor.

A crash needs no cursor table and an emptied broker is filled again from the start (delivery
reference §2.3). Each message is fenced by the one before it, so two relays never interleave.
"""

import asyncio
from collections import OrderedDict
from dataclasses import replace
from uuid import UUID

import structlog
from prometheus_client import Gauge

from services.cases.domain.events import PersonalDataErased
from services.cases.domain.incident import Incident, evolve, fold
from services.cases.evidence.publish import evidence_contract
from services.cases.leader import Leader
from services.cases.ledger.announce import Announcer, Newest
from services.cases.publish import to_contract
from services.cases.review.publish import review_contract
from services.cases.store import AnyRecorded, EventStore, Recorded, RecordedEvidence, RecordedReview
from services.cases.tail import ForeignTailError, tail_of
from shared.bus import Bus
from shared.cloudevents import Outgoing, outgoing
from shared.contracts.base import Contract

__all__ = ["LEADER_KEY", "STREAM", "Relay"]

BATCH = 200
STREAM = "CASES"
REMEMBERED = 512
LEADER_KEY = 7_046_029_254_386_353_401

log = structlog.get_logger()
_published = Gauge("tocsin_cases_published_position", "Position that the CASES stream has reached")


class Relay:
    """Publishes what is not published yet; `once` is the work of a reconciler."""

    def __init__(
        self, store: EventStore, bus: Bus, leader: Leader | None, newest: Newest | None = None
    ) -> None:
        self._announcer = Announcer(store, bus, newest) if newest else None
        self._store = store
        self._bus = bus
        self._leader = leader
        self.turn = asyncio.Lock()
        """Held by whoever publishes to the stream: each message names the one before it."""
        self._incidents: OrderedDict[UUID, tuple[int, Incident]] = OrderedDict()

    async def once(self) -> int:
        """Publish the next events after the stream's tail; return how many.

        BusUnavailableError when the broker does not confirm; what is left is found by the next run.
        """
        if not await self.leads():
            return 0
        async with self.turn:
            return await self._publish()

    async def leads(self) -> bool:
        """Tell whether this replica is the one that publishes."""
        return self._leader is None or await self._leader.leads()

    async def _publish(self) -> int:
        tail = await tail_of(self._bus, STREAM)
        position, tail_id = tail.position, tail.message_id
        events = await self._store.after(position, BATCH)
        if not events and position and not await self._store.after(position - 1, 1):
            raise ForeignTailError(
                f"{STREAM} is at position {position}, beyond the log: was a backup restored?"
            )
        for done, event in enumerate(events):
            message = await self.message(event)
            if tail_id is None:  # nothing to name yet: fence the first by the stream's sequence
                fence = {"Nats-Expected-Last-Sequence": str(tail.sequence)}
                message = replace(message, headers={**message.headers, **fence})
            ack = await self._bus.publish(message, stream=STREAM, expected_last_msg_id=tail_id)
            if ack.duplicate:  # another relay was here: look at the tail again
                return done
            tail_id, position = message.id, event.position
            _published.set(event.position)
        if self._announcer and tail_id is not None and len(events) < BATCH:
            return len(events) + await self._announcer.announce(STREAM, position, tail_id)
        return len(events)

    async def message(self, event: AnyRecorded) -> Outgoing:
        """Return *event* as the stream has it, the same whenever it is asked."""
        contract: Contract
        if isinstance(event, RecordedEvidence):
            contract = evidence_contract(event)
        elif isinstance(event, RecordedReview):
            contract = review_contract(event)
        else:
            contract = to_contract(await self._incident_at(event), event)
        return outgoing(contract, source="cases", sequence=event.version, position=event.position)

    async def _incident_at(self, event: Recorded) -> Incident:
        """Return the incident as it was right after *event*."""
        version, incident = self._incidents.pop(event.stream_id, (0, None))
        if isinstance(event.event, PersonalDataErased):
            incident = None  # what is remembered may hold what was erased
        if incident is not None and version == event.version - 1:
            incident = evolve(incident, event.event)
        else:
            history = await self._store.read(event.stream_id)
            incident = fold(history.events[: event.version])
        self._incidents[event.stream_id] = (event.version, incident)
        while len(self._incidents) > REMEMBERED:
            self._incidents.popitem(last=False)
        return incident

"""Checkpoints to the CASES stream, between the events, so that the stream keeps its one order.

A checkpoint carries the position of the message before it in ``ce-position``: the relay's cursor,
which is the stream's tail, therefore stays what it was. It is never ahead of the events it covers.
"""

import base64
from collections.abc import Awaitable, Callable

import nats.errors
from nats.js.errors import NotFoundError

from services.cases.ledger.verifier import parse_checkpoint
from services.cases.store import EventStore
from shared.bus import Bus, BusUnavailableError
from shared.cloudevents import outgoing
from shared.contracts.cases import LogCheckpointV1
from shared.ids import derived_id

__all__ = ["Announcer", "Newest"]

Newest = Callable[[], Awaitable[tuple[int, str] | None]]


class Announcer:
    """Publishes the newest checkpoint, if the stream does not have it yet."""

    def __init__(self, store: EventStore, bus: Bus, newest: Newest) -> None:
        self._store = store
        self._bus = bus
        self._newest = newest
        self._known: tuple[int, int] = (0, 0)  # position of the stream's tail, size announced

    async def announce(self, stream: str, position: int, tail_id: str) -> int:
        """Publish after the tail, which is at *position*; return how many were published."""
        if position < self._known[0]:
            self._known = (0, 0)  # the stream was lost and filled again
        newest = await self._newest()
        if newest is None or not self._known[1] < newest[0] <= position:
            return 0
        size, note = newest
        done = await self._published(stream)
        if done < size:
            message = outgoing(await self._contract(size, note), source="cases", position=position)
            await self._bus.publish(message, stream=stream, expected_last_msg_id=tail_id)
        self._known = (position, max(done, size))
        return int(done < size)

    async def _published(self, stream: str) -> int:
        """Return the size of the newest checkpoint in the stream, 0 without one."""
        try:
            found = await self._bus.jetstream().get_last_msg(stream, LogCheckpointV1.SUBJECT)
        except NotFoundError:
            return 0
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise BusUnavailableError(f"{stream} does not answer: {error!r}") from error
        return LogCheckpointV1.from_json(found.data or b"").size

    async def _contract(self, size: int, note: str) -> LogCheckpointV1:
        checkpoint = parse_checkpoint(note.rpartition("\n\n")[0] + "\n")
        covered = await self._store.after(size - 1, 1)
        return LogCheckpointV1(
            event_id=derived_id("checkpoint", checkpoint.origin, size),
            occurred_at=covered[0].recorded_at,  # the same whenever it is announced
            origin=checkpoint.origin,
            size=size,
            root=base64.b64encode(checkpoint.root).decode(),
            note=note,
        )

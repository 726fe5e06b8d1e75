"""Quarantine: what could not be understood is kept with its bytes and cause, to be seen."""

import asyncio
import base64
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import nats.js.errors
from nats.js import JetStreamContext
from prometheus_client import Counter

from services.ingest.envelope import Rejected, digest
from services.ingest.sources import Source
from shared.bus import Bus
from shared.clock import rfc3339
from shared.cloudevents import outgoing
from shared.contracts.ingest import QuarantinedItem, QuarantinedV1
from shared.ids import derived_id
from shared.topology import QUARANTINE

__all__ = ["keep", "page"]

PART_BYTES = 700 * 1024  # as base64 it fits into a message of 1 MiB
MESSAGE_BYTES = 960_000  # of the items in one
MESSAGE_ITEMS = 500
CONCURRENT = 16

_quarantined = Counter("tocsin_ingest_quarantined_total", "Items kept aside", ["source", "cause"])


def records(
    rejected: Sequence[Rejected],
    source: Source,
    door: str,
    request_id: str,
    key: str | None,
    now: datetime,
) -> Iterator[QuarantinedV1]:
    """Yield the messages that hold *rejected*, items of one request: every item's bytes whole, in
    as many parts as they need, and as many items in a message as it may hold.

    With the client's *key* a repeated request is recognised and kept once.
    """
    for first, *more in _runs(part for item in rejected for part in _parts(item)):
        causes = [source.id, key or request_id, first.offset, first.sha256, first.part]
        if more:  # the same items again are the same message, others another one
            causes.append(
                digest(" ".join(f"{i.offset}:{i.sha256}:{i.part}" for i in more).encode())
            )
        yield QuarantinedV1(
            event_id=derived_id("quarantine", *causes),
            occurred_at=now,
            source_id=source.id,
            door=door,
            **dict(first),
            request_id=request_id,
            observed_time=now,
            more=more,
        )


def _parts(rejected: Rejected) -> Iterator[QuarantinedItem]:
    data, sha256 = rejected.item.data, digest(rejected.item.data)
    parts = [data[i : i + PART_BYTES] for i in range(0, len(data), PART_BYTES)] or [b""]
    for number, part in enumerate(parts):
        yield QuarantinedItem(
            cause=rejected.cause,
            detail=rejected.detail,
            offset=rejected.item.index,
            sha256=sha256,
            raw_base64=base64.b64encode(part).decode(),
            part=number,
            parts=len(parts),
        )


def _runs(items: Iterable[QuarantinedItem]) -> Iterator[list[QuarantinedItem]]:
    """Yield consecutive runs of *items*, each as long as one message may be."""
    run: list[QuarantinedItem] = []
    held = 0
    for item in items:
        size = len(item.model_dump_json()) + 1
        if run and (held + size > MESSAGE_BYTES or len(run) == MESSAGE_ITEMS):
            yield run
            run, held = [], 0
        run.append(item)
        held += size
    if run:
        yield run


async def keep(
    bus: Bus,
    rejected: Sequence[Rejected],
    source: Source,
    door: str,
    request_id: str,
    key: str | None,
    now: datetime,
) -> None:
    """Return once every item is durable in QUARANTINE; BusUnavailableError when in doubt."""
    messages = records(rejected, source, door, request_id, key, now)

    async def some() -> None:
        for message in messages:  # each of the loops takes the next one
            await bus.publish(outgoing(message, source="ingest"), stream=QUARANTINE.name)

    # As many loops as there are messages at most; few requests need a second one.
    loops = min(CONCURRENT, 1 + len(rejected) // MESSAGE_ITEMS)
    await asyncio.gather(*(some() for _ in range(loops)))
    for item in rejected:
        _quarantined.labels(source.id, item.cause).inc()


def cursor_of(sequence: int, items: int) -> int:
    """Return the cursor of a page that begins with the first *items* of message *sequence*."""
    return sequence * 1000 + items


async def page(bus: Bus, cursor: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """Return up to *limit* items, newest first, and the cursor for the next page (or None)."""
    js = bus.jetstream()
    state = (await js.stream_info(QUARANTINE.name)).state
    sequence, left = divmod(cursor, 1000) if cursor is not None else (state.last_seq, None)
    if sequence > state.last_seq:
        sequence, left = state.last_seq, None
    items: list[dict[str, Any]] = []
    while sequence >= max(1, state.first_seq) and len(items) < limit:
        found = [] if left == 0 else await _items(js, sequence)
        upto = len(found) if left is None else min(left, len(found))
        begin = max(0, upto - (limit - len(items)))
        items += reversed(found[begin:upto])
        if begin:
            return items, cursor_of(sequence, begin)
        sequence, left = sequence - 1, None
    more = sequence >= max(1, state.first_seq)
    return items, cursor_of(sequence, 999) if more else None


async def _items(js: JetStreamContext, sequence: int) -> list[dict[str, Any]]:
    """Return the items of one message in their order, as they are shown; [] when it is gone."""
    try:
        message = await js.get_msg(QUARANTINE.name, sequence)
    except nats.js.errors.NotFoundError:
        return []
    found = QuarantinedV1.from_json(message.data or b"")
    common = found.model_dump(mode="json", exclude={"event_id", "occurred_at", "more"})
    common |= {"sequence": sequence, "observed_time": rfc3339(found.observed_time)}
    return [common, *({**common, **item.model_dump(mode="json")} for item in found.more)]

"""Quarantine: what could not be understood is kept with its bytes and cause, to be seen."""

import asyncio
import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import nats.js.errors
from prometheus_client import Counter

from services.ingest.envelope import Rejected, digest
from services.ingest.sources import Source
from shared.bus import Bus
from shared.clock import rfc3339
from shared.cloudevents import outgoing
from shared.contracts.ingest import QuarantinedV1
from shared.ids import derived_id
from shared.topology import QUARANTINE

__all__ = ["keep", "page"]

PART_BYTES = 700 * 1024  # as base64 it fits into a message of 1 MiB
CONCURRENT = 64

_quarantined = Counter("tocsin_ingest_quarantined_total", "Items kept aside", ["source", "cause"])


def records(
    rejected: Rejected, source: Source, door: str, request_id: str, key: str | None, now: datetime
) -> list[QuarantinedV1]:
    """Return the quarantine records of one item: its bytes whole, in as many parts as they need.

    With the client's *key* a repeated request is recognised and kept once.
    """
    data, sha256 = rejected.item.data, digest(rejected.item.data)
    parts = [data[i : i + PART_BYTES] for i in range(0, len(data), PART_BYTES)] or [b""]
    return [
        QuarantinedV1(
            event_id=derived_id(
                "quarantine", source.id, key or request_id, rejected.item.index, sha256, number
            ),
            occurred_at=now,
            source_id=source.id,
            door=door,
            cause=rejected.cause,
            detail=rejected.detail,
            offset=rejected.item.index,
            sha256=sha256,
            raw_base64=base64.b64encode(part).decode(),
            part=number,
            parts=len(parts),
            request_id=request_id,
            observed_time=now,
        )
        for number, part in enumerate(parts)
    ]


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
    slots = asyncio.Semaphore(CONCURRENT)

    async def one(item: Rejected) -> None:
        async with slots:
            for record in records(item, source, door, request_id, key, now):
                await bus.publish(outgoing(record, source="ingest"), stream=QUARANTINE.name)
            _quarantined.labels(source.id, item.cause).inc()

    await asyncio.gather(*(one(item) for item in rejected))


async def page(bus: Bus, before: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """Return up to *limit* records, newest first, and the cursor for the next page (or None)."""
    js = bus.jetstream()
    state = (await js.stream_info(QUARANTINE.name)).state
    sequence = min(before - 1, state.last_seq) if before is not None else state.last_seq
    items: list[dict[str, Any]] = []
    while sequence >= max(1, state.first_seq) and len(items) < limit:
        try:
            message = await js.get_msg(QUARANTINE.name, sequence)
        except nats.js.errors.NotFoundError:
            sequence -= 1
            continue
        found = QuarantinedV1.from_json(message.data or b"")
        items.append(
            {
                "sequence": sequence,
                **found.model_dump(mode="json", exclude={"event_id", "occurred_at"}),
                "observed_time": rfc3339(found.observed_time),
            }
        )
        sequence -= 1
    more = sequence >= max(1, state.first_seq)
    return items, sequence + 1 if more else None

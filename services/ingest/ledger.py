"""The ledger (R13a): accepted, stored and evaluated events per source, and blocks that are missing.

*accepted* is what the doors wrote on each block before the broker confirmed it, *stored* is counted
in the files that were written of them, *evaluated* is what detect says. After the queues have
drained they are equal; a number of EVENTS that was acknowledged and is nowhere is named.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from nats.errors import Error as NatsError
from prometheus_client import Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.auth import Principal, Role, allow
from shared.bus import Bus, BusUnavailableError
from shared.clock import Clock, rfc3339
from shared.consume import Delivery, TransientError
from shared.contracts.detect import EvaluationProgressedV1
from shared.db import is_transient
from shared.topology import EVENTS

__all__ = ["LedgerUpdates", "measure_once", "router"]

router = APIRouter(tags=["ledger"])
LOOKED_AT = 200_000  # newest numbers that are looked through for holes

_events = Gauge(
    "tocsin_ingest_ledger_events", "Events by source: accepted, stored, evaluated",
    ["source", "stage"],
)  # fmt: skip
_missing = Gauge("tocsin_ingest_ledger_missing_blocks", "Acknowledged blocks that are nowhere")

_EVALUATED = text(
    "INSERT INTO ledger (source_id, evaluated, changed_at) SELECT *, :now FROM"
    " unnest(CAST(:sources AS text[]), CAST(:events AS bigint[]))"
    " ON CONFLICT (source_id) DO UPDATE SET evaluated ="
    " greatest(ledger.evaluated, excluded.evaluated), changed_at = excluded.changed_at"
)
_SOURCES = text("SELECT source_id, accepted, stored, evaluated, changed_at FROM ledger ORDER BY 1")
_HOLES = text(
    "SELECT stream_seq + 1 AS first, following - 1 AS last FROM (SELECT stream_seq,"
    " lead(stream_seq) OVER (ORDER BY stream_seq) AS following FROM store_blocks"
    " WHERE stream_seq > :from AND stream_seq <= :to) AS numbered"
    " WHERE following > stream_seq + 1 AND following <= CAST(:floor AS bigint) + 1"
    " ORDER BY 1 LIMIT 50"
)
_STORED = text("SELECT max(stream_seq) FROM store_blocks WHERE stream_seq <= :to")
_DEAD = text("SELECT count(*) FROM store_blocks WHERE events = 0 AND NOT again")


class LedgerUpdates:
    """Handles detect's totals; the highest one counts, so repeats and late ones change nothing."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock

    async def __call__(self, delivery: Delivery) -> None:
        told = EvaluationProgressedV1.from_json(delivery.data)
        ordered = sorted({t.source_id: t.events for t in told.totals}.items())
        values = {
            "sources": [source for source, _ in ordered],
            "events": [events for _, events in ordered],
            "now": self._clock(),
        }
        try:
            async with self._engine.begin() as connection:
                await connection.execute(_EVALUATED, values)
        except Exception as error:
            if is_transient(error):
                raise TransientError(str(error)) from error
            raise


async def _broker(bus: Bus) -> dict[str, int]:
    """Return the numbers of EVENTS and of the store's consumer."""
    try:
        js = bus.jetstream()
        state = (await js.stream_info(EVENTS.name)).state
        consumer = await js.consumer_info(EVENTS.name, "ingest-store")
    except (NatsError, TimeoutError, OSError) as error:
        raise BusUnavailableError(f"EVENTS cannot be looked at: {error!r}") from error
    return {
        "last_seq": state.last_seq,
        "held_blocks": state.messages,
        "held_bytes": state.bytes,
        "unstored_blocks": (consumer.num_pending or 0) + (consumer.num_ack_pending or 0),
        "floor": consumer.ack_floor.stream_seq if consumer.ack_floor else 0,
    }


async def _ledger(engine: AsyncEngine, bus: Bus) -> dict[str, Any]:
    broker = await _broker(bus)
    floor = broker.pop("floor")
    window = {"from": max(0, floor - LOOKED_AT), "to": broker["last_seq"], "floor": floor}
    async with engine.connect() as connection:
        sources = (await connection.execute(_SOURCES)).all()
        holes = (await connection.execute(_HOLES, window)).all()
        through = await connection.scalar(_STORED, {"to": broker["last_seq"]})
        dead = await connection.scalar(_DEAD)
    items = [
        {
            "source_id": row.source_id,
            "accepted": row.accepted,
            "stored": row.stored,
            "evaluated": row.evaluated,
            "changed_at": rfc3339(row.changed_at),
        }
        for row in sources
    ]
    equal = all(i["accepted"] == i["stored"] == i["evaluated"] for i in items)
    return {
        "complete": equal and not holes and not broker["unstored_blocks"],
        "stream": broker,
        "stored_through_seq": through or 0,
        "missing": [{"first_seq": hole.first, "last_seq": hole.last} for hole in holes],
        "dead_blocks": dead,
        "sources": items,
    }


@router.get("/v1/ledger", summary="Accepted, stored and evaluated events per source")
async def get_ledger(
    request: Request,
    _: Annotated[
        Principal,
        allow(Role.OPERATOR, Role.AUDITOR, Role.SECURITY_RESPONSE, Role.DETECTION_ENGINEER),
    ],
) -> dict[str, Any]:
    """`complete`: nothing waits, nothing is missing, and for every source the three are equal."""
    return await _ledger(request.state.engine, request.state.bus)


async def measure_once(engine: AsyncEngine, bus: Bus) -> int:
    """Read the ledger into the metrics; a reconciler's work, so it returns 0."""
    ledger = await _ledger(engine, bus)
    for item in ledger["sources"]:
        for stage in ("accepted", "stored", "evaluated"):
            _events.labels(item["source_id"], stage).set(item[stage])
    _missing.set(sum(hole["last_seq"] - hole["first_seq"] + 1 for hole in ledger["missing"]))
    return 0

"""How full the streams of ingest are: a full one refuses, and that should surprise nobody."""

from prometheus_client import Gauge

from shared.bus import Bus
from shared.topology import EVENTS, QUARANTINE

__all__ = ["look_once"]

_fill = Gauge("tocsin_ingest_stream_fill_ratio", "Bytes held ÷ bytes allowed", ["stream"])


async def look_once(bus: Bus) -> int:
    """Read the fill of each stream into the metric; a reconciler's work, so it returns 0."""
    for stream in (EVENTS, QUARANTINE):
        _fill.labels(stream.name).set(await bus.fill(stream.name))
    return 0

"""How full the streams of ingest are: a full one refuses, and that should surprise nobody."""

import asyncio
import shutil
from pathlib import Path

from prometheus_client import Gauge

from shared.bus import Bus
from shared.topology import EVENTS, QUARANTINE

__all__ = ["Fill"]

MIN_FREE = 0.10
FULL = 0.999

_fill = Gauge("tocsin_ingest_stream_fill_ratio", "Bytes held ÷ bytes allowed", ["stream"])
_free = Gauge("tocsin_ingest_volume_free_ratio", "Free space of the volume of the streams")


class Fill:
    """Looks at the streams, and at the volume they lie on where that is known."""

    def __init__(self, bus: Bus, volume: Path | None) -> None:
        self._bus, self._volume = bus, volume
        self._reason: str | None = None

    def reason(self) -> str | None:
        """Return why nothing more should be taken, or None."""
        return self._reason

    async def look_once(self) -> int:
        """Read everything into the metrics; a reconciler's work, so it returns 0."""
        reason = None
        for stream in (EVENTS, QUARANTINE):
            fill = await self._bus.fill(stream.name)
            _fill.labels(stream.name).set(fill)
            if fill >= FULL:
                reason = f"The stream {stream.name} is full; nothing is forgotten for new events."
        if self._volume is not None:
            usage = await asyncio.to_thread(shutil.disk_usage, self._volume)
            _free.set(usage.free / usage.total)
            if usage.free / usage.total < MIN_FREE:
                reason = "The volume of the streams has less than 10 % free."
        self._reason = reason
        return 0

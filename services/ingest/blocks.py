"""Envelopes into blocks: at most 500 events and 512 KiB, compressed, with provable headers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import zstandard

from services.ingest.envelope import Sealed
from shared.clock import rfc3339
from shared.cloudevents import Outgoing
from shared.contracts.ingest import BLOCK_SUBJECT, MAX_BLOCK_BYTES, MAX_BLOCK_EVENTS
from shared.ids import derived_id

__all__ = ["build_block", "split"]


@dataclass(frozen=True, slots=True)
class _Room:
    events: int = 0
    size: int = 2  # the array's brackets

    def with_one(self, data: bytes) -> "_Room":
        return _Room(self.events + 1, self.size + len(data) + 1)

    @property
    def fits(self) -> bool:
        return self.events <= MAX_BLOCK_EVENTS and self.size <= MAX_BLOCK_BYTES


def split(envelopes: Sequence[Sealed]) -> Iterator[Sequence[Sealed]]:
    """Yield consecutive runs of *envelopes*, each as long as one block may be."""
    start, room = 0, _Room()
    for index, envelope in enumerate(envelopes):
        grown = room.with_one(envelope.data)
        if not grown.fits and index > start:
            yield envelopes[start:index]
            start, grown = index, _Room().with_one(envelope.data)
        room = grown
    if start < len(envelopes):
        yield envelopes[start:]


def build_block(envelopes: Sequence[Sealed], now: datetime) -> Outgoing:
    """Return the message of one block. Its id follows from its events', so that a republish after
    a lost PubAck is recognised; its headers let a reader prove that nothing is missing."""
    body = b"[" + b",".join(e.data for e in envelopes) + b"]"
    packed = zstandard.ZstdCompressor(level=1).compress(body)
    block_id = derived_id("block", *(e.id for e in envelopes))
    headers = {
        "ce-specversion": "1.0",
        "ce-id": str(block_id),
        "ce-type": BLOCK_SUBJECT,
        "ce-source": "/tocsin/ingest",
        "ce-time": rfc3339(now),
        "ce-datacontenttype": "application/zstd",
        "tocsin-count": str(len(envelopes)),
        "tocsin-sha256": sha256(packed).hexdigest(),
    }
    return Outgoing(str(block_id), BLOCK_SUBJECT, packed, headers)

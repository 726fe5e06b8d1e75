"""Envelopes into blocks: at most 500 events and 512 KiB, compressed, with provable headers."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256

import msgspec
import zstandard

from services.ingest.envelope import Sealed
from shared.clock import rfc3339
from shared.cloudevents import Outgoing
from shared.contracts.ingest import BLOCK_SUBJECT, MAX_BLOCK_BYTES, MAX_BLOCK_EVENTS
from shared.ids import derived_id

__all__ = ["Part", "build_block", "split"]

_compressor = zstandard.ZstdCompressor(level=1)  # used from the event loop only


class Part(msgspec.Struct, frozen=True, gc=False):
    """What of a block came from one request."""

    source_id: str
    count: int
    observed: datetime


def split(envelopes: Sequence[Sealed]) -> Iterator[Sequence[Sealed]]:
    """Yield consecutive runs of *envelopes*, each as long as one block may be."""
    start, size = 0, 2  # the array's brackets
    for index, envelope in enumerate(envelopes):
        grown = size + len(envelope.data) + 1
        if (index - start == MAX_BLOCK_EVENTS or grown > MAX_BLOCK_BYTES) and index > start:
            yield envelopes[start:index]
            start, grown = index, len(envelope.data) + 3
        size = grown
    if start < len(envelopes):
        yield envelopes[start:]


def build_block(envelopes: Sequence[Sealed], now: datetime, parts: Sequence[Part] = ()) -> Outgoing:
    """Return the message of one block. Its id follows from its events', so that a republish after
    a lost PubAck is recognised; its headers let a reader prove that nothing is missing: how many
    events, of which sources how many, observed from when to when (*parts*), and the checksum."""
    body = b"[" + b",".join([e.data for e in envelopes]) + b"]"
    packed = _compressor.compress(body)
    block_id = str(derived_id("block", "\x1f".join([e.id for e in envelopes])))
    headers = {
        "ce-specversion": "1.0",
        "ce-id": block_id,
        "ce-type": BLOCK_SUBJECT,
        "ce-source": "/tocsin/ingest",
        "ce-time": rfc3339(now),
        "ce-datacontenttype": "application/zstd",
        "tocsin-count": str(len(envelopes)),
        "tocsin-sha256": sha256(packed).hexdigest(),
    }
    if parts:
        counts: dict[str, int] = {}
        for part in parts:
            counts[part.source_id] = counts.get(part.source_id, 0) + part.count
        observed = [part.observed for part in parts]
        headers["tocsin-sources"] = " ".join([f"{name}={n}" for name, n in counts.items()])
        headers["tocsin-observed-from"] = rfc3339(min(observed))
        headers["tocsin-observed-to"] = rfc3339(max(observed))
    return Outgoing(block_id, BLOCK_SUBJECT, packed, headers)

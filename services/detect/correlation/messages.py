"""Matches on their way to the partition of their group: which one, and as which bytes.

Subject ``tocsin.v1.detect.match.<partition>``, stream MATCHES: detect talks to itself, so this is
no contract. A message carries the matched events too, since EVENTS lets go of them before a window
closes. A tick is a message without matches: it only says how late it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from uuid import UUID

import msgspec
import orjson
import zstandard

from services.detect.correlation.extract import reference
from services.detect.correlation.firing import SEPARATOR, Matched
from services.detect.correlation.plan import Plan
from services.detect.rules.text import fold
from shared.cloudevents import Outgoing
from shared.contracts.ingest import Envelope
from shared.ids import uuid7

__all__ = ["Batch", "decode", "match_subject", "partition_of", "spread", "tick"]

MAX_ITEMS = 1_000  # what `reference` has room for
MAX_BYTES = 512 * 1024
MAX_INFLATED = 8 << 20
MAX_EVENT = 16 * 1024
_FORMAT = 1


class Batch(msgspec.Struct, array_like=True):
    """What one message holds; *at* is when it was sent, in microseconds since 1970.

    A match's *ref* is the index of its event in *events*, JSON envelopes.
    """

    format: int
    at: int
    matches: list[Matched]
    events: list[bytes]

    def matches_at(self, seq: int) -> Iterator[Matched]:
        """Yield the matches, their events to be found in the message with sequence *seq*."""
        for match in self.matches:
            yield match._replace(ref=reference(seq, match.ref))

    def envelopes(self) -> list[Envelope]:
        """Return the events."""
        return [orjson.loads(event) for event in self.events]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Batch)


def match_subject(partition: int) -> str:
    """Return the subject of *partition*."""
    return f"tocsin.v1.detect.match.{partition}"


def partition_of(plan: Plan, match: Matched, partitions: int) -> int:
    """Return where all matches of *match*'s group meet."""
    for feed in plan.feeds[match.rule_id]:
        step = plan.steps[feed.step]
        if step.family == match.family:
            # Alone in its family, a correlation may call the field of each rule otherwise.
            alone = step.spread == step.rule.group_by
            names: Sequence[str] = feed.group if alone else step.spread
            values = (fold(match.fields.get(name, "")) for name in names)
            key = SEPARATOR.join((step.family, *values))
            digest = blake2b(key.encode("utf-8", "replace"), digest_size=8).digest()
            return int.from_bytes(digest, "big") % partitions
    raise KeyError(match.family)


def spread(
    plan: Plan,
    matches: Iterable[Matched],
    envelopes: Mapping[int, Envelope],
    partitions: int,
    block_id: UUID,
    now: int,
) -> Iterator[Outgoing]:
    """Yield the messages of a block's *matches*; the same block gives the same ids.

    A match's *ref* is the index of its event in *envelopes*.
    """
    by_partition: dict[int, list[Matched]] = {}
    for match in matches:
        by_partition.setdefault(partition_of(plan, match, partitions), []).append(match)
    packed: dict[int, bytes] = {}
    for partition, found in sorted(by_partition.items()):
        for number, (chunk, events) in enumerate(_chunks(found, envelopes, packed)):
            body = _encoder.encode(Batch(_FORMAT, now, chunk, events))
            yield Outgoing(
                f"{block_id}:{partition}:{number}", match_subject(partition), _compress(body)
            )


def _chunks(
    matches: Sequence[Matched], envelopes: Mapping[int, Envelope], packed: dict[int, bytes]
) -> Iterator[tuple[list[Matched], list[bytes]]]:
    chunk: list[Matched] = []
    events: dict[int, int] = {}  # index in the block → index in the message
    size = 0
    for match in matches:
        event = packed.get(match.ref)
        if event is None:
            event = packed[match.ref] = _event(envelopes[match.ref])
        weight = 160 + sum(len(k) + 4 * len(v) for k, v in match.fields.items())
        weight += 0 if match.ref in events else len(event)
        if chunk and (len(chunk) >= MAX_ITEMS or size + weight > MAX_BYTES):
            yield chunk, [packed[index] for index in events]
            chunk, events, size = [], {}, 0
        chunk.append(match._replace(ref=events.setdefault(match.ref, len(events))))
        size += weight
    if chunk:
        yield chunk, [packed[index] for index in events]


def _event(envelope: Mapping[str, object]) -> bytes:
    """Return *envelope* as evidence: an event larger than is ever shown is cut to a text."""
    data = orjson.dumps(envelope)
    if len(data) <= MAX_EVENT:
        return data
    raw = envelope["raw"]
    text = raw if isinstance(raw, str) else orjson.dumps(raw).decode()
    kept = {k: v for k, v in envelope.items() if k not in ("raw", "fields")}
    return orjson.dumps({**kept, "raw": text[:MAX_EVENT]})


def _compress(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(body)


def tick(partition: int, now: int) -> Outgoing:
    """Return the message that lets time pass in *partition*."""
    body = _encoder.encode(Batch(_FORMAT, now, [], []))
    return Outgoing(f"tick:{uuid7()}", match_subject(partition), _compress(body))


def decode(data: bytes) -> Batch:
    """Return the batch in *data*; ValueError where it is none of this format."""
    try:
        body = zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_INFLATED)
        batch = _decoder.decode(body)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise ValueError(f"not a batch of matches: {error}") from error
    if batch.format != _FORMAT:
        raise ValueError(f"a batch of format {batch.format}, {_FORMAT} expected")
    return batch

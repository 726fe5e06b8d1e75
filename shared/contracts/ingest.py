"""What ingest publishes: blocks of raw events, and items that could not be understood.

A block is not one contract object but up to 500 of them: the message body is the zstd-compressed
JSON array of envelopes, with the original event verbatim under ``raw``; its facts stand in headers
so that a reader can prove completeness without decoding.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from uuid import UUID

import orjson
import zstandard
from pydantic import Field

from shared.contracts.base import Contract, ContractError, Instant, Part

__all__ = [
    "BLOCK_SUBJECT", "MAX_BLOCK_BYTES", "MAX_BLOCK_EVENTS", "REPLAY_BLOCK_SUBJECT",
    "REPLAY_ID_HEADER", "REPLAY_PURPOSE_HEADER", "Envelope", "LogSourceResumedV1",
    "LogSourceSilentV1", "Logsource", "QuarantinedItem", "QuarantinedV1",
    "ReplayFinishedV1", "check_block", "decode_block",
]  # fmt: skip

BLOCK_SUBJECT = "tocsin.v1.ingest.block.accepted"
REPLAY_BLOCK_SUBJECT = "tocsin.v1.ingest.replay.block"  # a block like any other, from the store
REPLAY_ID_HEADER = "tocsin-replay-id"
REPLAY_PURPOSE_HEADER = "tocsin-replay-purpose"  # detect or backtest
MAX_BLOCK_EVENTS = 500
MAX_BLOCK_BYTES = 512 * 1024  # compressed or not, a block never exceeds it

Envelope = dict[str, Any]
"""One event as it travels: ``id``, ``time`` (as claimed, may be absent), ``observed_time``,
``source_id``, ``tenant``, ``region``, ``datacenter``, ``service``, ``server`` (where known),
``logsource`` {product, category, service} as its source was registered or its request said, where
it is empty perhaps ``observed_logsource``: what the event itself says (for search; detect reads the
event), and ``raw``: the event, or its text as a string."""


class Logsource(Part):
    """Sigma's routing key."""

    product: str | None = None
    category: str | None = None
    service: str | None = None


def check_block(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return *body*; ContractError when its checksum does not fit."""
    if hashlib.sha256(body).hexdigest() != headers.get("tocsin-sha256"):
        raise ContractError("block checksum does not fit its body")
    return body


def decode_block(headers: Mapping[str, str], body: bytes) -> list[Envelope]:
    """Return the envelopes of a block; ContractError when count or checksum do not fit."""
    check_block(headers, body)
    try:
        raw = zstandard.ZstdDecompressor().decompress(body, max_output_size=8 * MAX_BLOCK_BYTES)
        envelopes = orjson.loads(raw)
    except (zstandard.ZstdError, orjson.JSONDecodeError) as error:
        raise ContractError(f"block cannot be decoded: {error}") from error
    if not isinstance(envelopes, list) or str(len(envelopes)) != headers.get("tocsin-count"):
        raise ContractError("block does not hold as many events as its header says")
    return envelopes


class QuarantinedItem(Part):
    """A further item of the same request."""

    cause: str
    detail: str
    offset: int = Field(description="index of the item in its request, from 0")
    sha256: str
    raw_base64: str = Field(description="the bytes as received, base64")
    part: int = Field(0, ge=0)
    parts: int = Field(1, ge=1)


class QuarantinedV1(Contract):
    """Items of an authenticated source that could not be understood, kept with their bytes: one,
    and under ``more`` others of the same request."""

    SUBJECT: ClassVar[str] = "tocsin.v1.ingest.quarantine.recorded"

    source_id: str
    door: str = Field(description="the protocol it came in by")
    cause: str = Field(description="unparseable, oversize, too_deep, bad_encoding, …")
    detail: str
    offset: int = Field(description="index of the item in its request, from 0")
    sha256: str
    raw_base64: str = Field(description="the bytes as received, base64")
    part: int = Field(0, ge=0, description="a large item stands in several messages, from 0")
    parts: int = Field(1, ge=1)
    request_id: str
    observed_time: Instant
    more: list[QuarantinedItem] = Field(
        default_factory=list, description="items of the same request that stand in this message"
    )


class LogSourceSilentV1(Contract):
    """A source has sent nothing for longer than it may (R12a); told once."""

    SUBJECT: ClassVar[str] = "tocsin.v1.ingest.source.silent"

    source_id: str
    kind: str = Field(description="server, network, router, firewall, load_balancer, …")
    service: str | None = None
    tenant: str | None = None
    region: str | None = None
    datacenter: str | None = None
    server: str | None = None
    last_received_at: Instant | None = Field(None, description="None: it has never sent anything")
    silent_since: Instant
    max_silence_seconds: int = Field(ge=1)

    @property
    def about(self) -> str:
        return self.source_id


class LogSourceResumedV1(Contract):
    """A source that was silent is heard again, or may be silent now."""

    SUBJECT: ClassVar[str] = "tocsin.v1.ingest.source.resumed"

    source_id: str
    silent_since: Instant
    last_received_at: Instant

    @property
    def about(self) -> str:
        return self.source_id


class ReplayFinishedV1(Contract):
    """The last message of a replay: all its blocks stand before it in the stream."""

    SUBJECT: ClassVar[str] = "tocsin.v1.ingest.replay.finished"

    replay_id: UUID
    purpose: Literal["detect", "backtest"]
    outcome: Literal["complete", "cancelled", "failed"]
    reason: str | None = None
    events: int = Field(ge=0, description="events published")
    blocks: int = Field(ge=0, description="blocks published")

    @property
    def about(self) -> str:
        return str(self.replay_id)

"""The broker, seen from a service: one connection; publish and await the PubAck.

A `Bus` is usable before the server is: it connects in the background and says what is missing.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import nats
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import StreamInfo
from prometheus_client import Counter

from shared.cloudevents import Outgoing
from shared.ids import jitter

__all__ = ["PUBLISH_TIMEOUT", "Bus", "BusUnavailableError", "PubAck", "Stored"]

PUBLISH_TIMEOUT = 5.0
REFUSAL_SECONDS = 30.0

log = structlog.get_logger()
_published = Counter(
    "tocsin_bus_published_total", "Messages acknowledged by the broker", ["subject"]
)


def _is_refusal(error: Exception) -> bool:
    """Tell whether the stream takes nothing, rather than not this message."""
    if isinstance(error, nats.js.errors.APIError):
        return (error.code or 0) >= 500
    return isinstance(error, TimeoutError)


class BusUnavailableError(Exception):
    """The broker cannot take or give anything now; nothing was confirmed."""


@dataclass(frozen=True, slots=True)
class PubAck:
    """The broker has it on disk. ``duplicate``: it had it already."""

    seq: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """A message read from a stream by its sequence."""

    seq: int
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Bus:
    """One connection of one service identity."""

    def __init__(self, url: str, identity: str, seed: str | None) -> None:
        self.identity = identity
        self._url = url
        self._seed = seed
        self._client: Client | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._refusing: dict[str, tuple[float, str]] = {}
        self.reconnects = 0
        """Counts up each time; what was asked of the broker before may be forgotten by it."""

    async def __aenter__(self) -> Self:
        self._connecting = asyncio.create_task(self._connect(), name="bus-connect")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connecting:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._client:
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                await asyncio.wait_for(self._client.close(), 5)

    async def _connect(self) -> None:
        """Keep a connection: it reconnects by itself, and is replaced if the client gave up."""
        delay = 0.1
        while True:
            closed = asyncio.Event()

            async def on_closed(closed: asyncio.Event = closed) -> None:
                closed.set()

            try:
                self._client = await nats.connect(
                    self._url,
                    name=f"tocsin-{self.identity}",
                    nkeys_seed_str=self._seed,
                    inbox_prefix=f"_INBOX_{self.identity}",
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1,
                    ping_interval=10,
                    pending_size=16 << 20,
                    error_cb=self._on_error,
                    closed_cb=on_closed,
                    reconnected_cb=self._on_reconnected,
                )
            except (OSError, nats.errors.Error, TimeoutError) as error:
                log.warning("broker not reachable", error=str(error) or repr(error))
                await asyncio.sleep(jitter(delay))
                delay = min(delay * 2, 5.0)
            else:
                delay = 0.1
                await closed.wait()
                log.warning("broker connection was closed")

    async def _on_reconnected(self) -> None:
        self.reconnects += 1
        self._refusing.clear()

    async def _on_error(self, error: Exception) -> None:
        log.warning("broker", error=str(error) or repr(error))

    @property
    def client(self) -> Client:
        """Return the live connection; BusUnavailableError while there is none."""
        if self._client is None or not self._client.is_connected:
            raise BusUnavailableError("NATS is not connected")
        return self._client

    @property
    def connected(self) -> bool:
        """Tell whether there is a connection now; nothing is asked of the broker."""
        return self._client is not None and self._client.is_connected

    async def wait_connected(self, timeout: float) -> None:  # noqa: ASYNC109 - a bound, not a scope
        """Return once connected; BusUnavailableError after *timeout* seconds."""
        deadline = asyncio.get_running_loop().time() + timeout
        while self._client is None or not self._client.is_connected:
            if asyncio.get_running_loop().time() > deadline:
                raise BusUnavailableError(f"NATS at {self._url} did not answer in {timeout:g} s")
            await asyncio.sleep(0.02)

    def jetstream(self) -> JetStreamContext:
        return self.client.jetstream(timeout=PUBLISH_TIMEOUT)

    async def problem(self) -> str | None:
        """Return what keeps the broker from being usable, or None (a readiness check)."""
        try:
            await self.jetstream().account_info()
        except BusUnavailableError as error:
            return str(error)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            return f"JetStream does not answer: {error or type(error).__name__}"
        return self._refused()

    def _refused(self) -> str | None:
        """Return what was not confirmed lately; a broker with a full disk answers all else.

        Forgotten after a while, as who is not ready is sent nothing that could succeed.
        """
        now = asyncio.get_running_loop().time()
        for stream, (at, reason) in self._refusing.items():
            if now - at < REFUSAL_SECONDS:
                return f"{stream} takes nothing ({reason}); is the broker's disk full?"
        return None

    async def publish(
        self, message: Outgoing, *, stream: str, expected_last_msg_id: str | None = None
    ) -> PubAck:
        """Publish and return once *stream* has it on disk; BusUnavailableError when in doubt."""
        headers = {**message.headers, "Nats-Msg-Id": message.id, "Nats-Expected-Stream": stream}
        if expected_last_msg_id is not None:
            headers["Nats-Expected-Last-Msg-Id"] = expected_last_msg_id
        try:
            ack = await self.jetstream().publish(
                message.subject, message.payload, timeout=PUBLISH_TIMEOUT, headers=headers
            )
        except (nats.errors.Error, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            if _is_refusal(error):
                self._refusing[stream] = (asyncio.get_running_loop().time(), reason)
            raise BusUnavailableError(f"{stream} did not confirm: {reason}") from error
        self._refusing.pop(stream, None)
        _published.labels(message.subject).inc()
        return PubAck(ack.seq, bool(ack.duplicate))

    async def stored(
        self, stream: str, subject: str, after: int, limit: int, max_bytes: int = 4 << 20
    ) -> list[Stored]:
        """Return what *stream* holds on *subject* after sequence *after*, the oldest *limit*.

        Needs a stream that allows direct gets; leaves no trace in the server. [] when there is
        nothing; BusUnavailableError when it does not answer.
        """
        request = {
            "seq": after + 1, "next_by_subj": subject, "batch": limit, "max_bytes": max_bytes,
        }  # fmt: skip
        client = self.client
        inbox = client.new_inbox()
        found: list[Stored] = []
        subscription = await client.subscribe(inbox)
        try:
            payload = json.dumps(request).encode()
            await client.publish(f"$JS.API.DIRECT.GET.{stream}", payload, reply=inbox)
            while True:
                message = await subscription.next_msg(timeout=PUBLISH_TIMEOUT)
                headers = message.headers or {}
                if "Nats-Sequence" not in headers:
                    if headers.get("Status") in {"204", "404"}:  # the end; nothing there
                        return found
                    said = headers.get("Description") or headers.get("Status") or "no answer"
                    raise BusUnavailableError(f"{stream} cannot be read: {said}")
                found.append(Stored(int(headers["Nats-Sequence"]), message.data, headers))
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise BusUnavailableError(f"{stream} cannot be read: {error!r}") from error
        finally:
            with contextlib.suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()

    async def last_sequence(self, stream: str) -> int:
        """Return the number of the newest message that *stream* ever held."""
        return int((await self._info(stream)).state.last_seq)

    async def fill(self, stream: str) -> float:
        """Return how full *stream* is, from 0 to 1; a full one refuses what comes."""
        info = await self._info(stream)
        return info.state.bytes / info.config.max_bytes if info.config.max_bytes else 0.0

    async def _info(self, stream: str) -> StreamInfo:
        try:
            return await self.jetstream().stream_info(stream)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise BusUnavailableError(f"{stream} cannot be looked at: {error!r}") from error

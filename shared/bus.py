"""The broker, seen from a service: publish and await the PubAck; consume with explicit fates.

A `Bus` is usable before the server is: it connects in the background and says what is missing.
Every consumed message meets exactly one of four fates: acknowledged after its effect is committed;
tried again later (the world failed); held in place (ordered consumers); or moved to the dead
letters (the message itself is bad, or fails time after time).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self

import nats
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from prometheus_client import Counter, Histogram

from shared.cloudevents import Outgoing
from shared.contracts.base import ContractError
from shared.ids import jitter
from shared.topology import ConsumerSpec
from shared.trace import traced

__all__ = ["Bus", "BusUnavailableError", "Delivery", "Handler", "PubAck", "TransientError"]

PUBLISH_TIMEOUT = 5.0
HEARTBEAT = 10.0  # a third of the consumers' ack_wait
RETRY_DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0)
MAX_FAILURES = 8

log = structlog.get_logger()
_published = Counter(
    "tocsin_bus_published_total", "Messages acknowledged by the broker", ["subject"]
)
_consumed = Counter("tocsin_bus_consumed_total", "Messages by fate", ["consumer", "fate"])
_handling = Histogram("tocsin_bus_handling_seconds", "Time to handle a message", ["consumer"])


class BusUnavailableError(Exception):
    """The broker cannot take or give anything now; nothing was confirmed."""


class TransientError(Exception):
    """Raised by a handler: the world failed, not the message. It is tried again without end."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as a handler sees it."""

    subject: str
    headers: Mapping[str, str]
    data: bytes
    stream_seq: int
    attempt: int


@dataclass(frozen=True, slots=True)
class PubAck:
    """The broker has it on disk. ``duplicate``: it had it already."""

    seq: int
    duplicate: bool


Handler = Callable[[Delivery], Awaitable[None]]


class Bus:
    """One connection of one service identity."""

    def __init__(self, url: str, identity: str, seed: str | None) -> None:
        self.identity = identity
        self._url = url
        self._seed = seed
        self._client: Client | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._failures: dict[tuple[str, int], int] = {}

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
        delay = 0.1
        while True:
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
                )
            except (OSError, nats.errors.Error, TimeoutError) as error:
                log.warning("broker not reachable", url=self._url, error=str(error) or repr(error))
                await asyncio.sleep(jitter(delay))
                delay = min(delay * 2, 5.0)
            else:
                return

    async def _on_error(self, error: Exception) -> None:
        log.warning("broker", error=str(error) or repr(error))

    @property
    def client(self) -> Client:
        """Return the live connection; BusUnavailableError while there is none."""
        if self._client is None or not self._client.is_connected:
            raise BusUnavailableError("NATS is not connected")
        return self._client

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
            raise BusUnavailableError(f"{stream} did not confirm: {reason}") from error
        _published.labels(message.subject).inc()
        return PubAck(ack.seq, bool(ack.duplicate))

    async def consume(self, spec: ConsumerSpec, handler: Handler) -> None:
        """Hand every message of *spec* to *handler* until cancelled, broker there or not."""
        while True:
            try:
                subscription = await self.jetstream().pull_subscribe_bind(
                    durable=spec.durable, stream=spec.stream
                )
                try:
                    await self._pull(subscription, spec, handler)
                finally:
                    with contextlib.suppress(nats.errors.Error, OSError):
                        await subscription.unsubscribe()
            except BusUnavailableError:
                await asyncio.sleep(jitter(0.5))
            except (nats.errors.Error, OSError) as error:
                log.warning("consumer interrupted", consumer=spec.durable, error=repr(error))
                await asyncio.sleep(jitter(1.0))

    async def _pull(
        self,
        subscription: JetStreamContext.PullSubscription,
        spec: ConsumerSpec,
        handler: Handler,
    ) -> None:
        # A pull request can be lost in a broker restart without an error; after some empty rounds
        # the subscription is made anew, so that a silent stop cannot last.
        empty = 0
        while empty < 6:
            try:
                messages = await subscription.fetch(spec.batch, timeout=5)
            except TimeoutError:
                empty += 1
                continue
            empty = 0
            waiting = list(messages)
            heartbeat = asyncio.create_task(self._keep_alive(waiting))
            try:
                while waiting:
                    await self._handle(waiting[0], spec, handler)
                    del waiting[0]
            finally:
                heartbeat.cancel()

    async def _handle(self, message: Msg, spec: ConsumerSpec, handler: Handler) -> None:
        meta = message.metadata
        headers = dict(message.headers or {})
        seq = meta.sequence.stream
        key = (spec.durable, seq)
        delivery = Delivery(message.subject, headers, message.data, seq, meta.num_delivered)
        with traced(headers), _handling.labels(spec.durable).time():
            try:
                await self._attempt(delivery, spec, handler)
            except TransientError as error:
                delay = RETRY_DELAYS[min(meta.num_delivered - 1, 2)]
                log.warning("will retry", consumer=spec.durable, seq=seq, error=str(error))
                _consumed.labels(spec.durable, "retried").inc()
                await message.nak(delay=jitter(delay))
            except ContractError as error:
                await self._bury(message, spec, str(error))
            except Exception as error:
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                log.exception("handler failed", consumer=spec.durable, seq=seq, failures=failures)
                if failures >= MAX_FAILURES and not spec.in_order:
                    await self._bury(message, spec, repr(error))
                else:
                    _consumed.labels(spec.durable, "failed").inc()
                    await message.nak(delay=jitter(RETRY_DELAYS[min(failures - 1, 4)]))
            else:
                await message.ack_sync(timeout=PUBLISH_TIMEOUT)
                self._failures.pop(key, None)
                _consumed.labels(spec.durable, "acknowledged").inc()

    @staticmethod
    async def _attempt(delivery: Delivery, spec: ConsumerSpec, handler: Handler) -> None:
        """Run the handler; an ordered consumer waits out the world's failures in place."""
        delay = 0.2
        while True:
            try:
                await handler(delivery)
            except TransientError as error:
                if not spec.in_order:
                    raise
                log.warning("holding the line", consumer=spec.durable, error=str(error))
                await asyncio.sleep(jitter(delay))
                delay = min(delay * 2, 10.0)
            else:
                return

    @staticmethod
    async def _keep_alive(messages: list[Msg]) -> None:
        """Tell the broker that fetched messages are still worked on and not to be given away."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            for message in list(messages):
                with contextlib.suppress(nats.errors.Error, OSError):
                    await message.in_progress()

    async def _bury(self, message: Msg, spec: ConsumerSpec, reason: str) -> None:
        """Move *message* to the dead letters; it leaves the consumer only once it is there."""
        headers = dict(message.headers or {})
        original = headers.get("Nats-Msg-Id", str(message.metadata.sequence.stream))
        dead = Outgoing(
            f"{spec.durable}:{original}",
            f"tocsin.v1.dlq.{spec.durable}",
            message.data,
            {
                **{k: v for k, v in headers.items() if not k.startswith("Nats-")},
                "tocsin-reason": reason[:1000]
                .encode("ascii", "replace")
                .decode()
                .replace("\n", " "),
                "tocsin-subject": message.subject,
                "tocsin-stream-seq": str(message.metadata.sequence.stream),
            },
        )
        try:
            await self.publish(dead, stream="DLQ")
        except BusUnavailableError:
            await message.nak(delay=jitter(RETRY_DELAYS[1]))
            return
        log.error("dead letter", consumer=spec.durable, reason=reason, id=original)
        _consumed.labels(spec.durable, "dead").inc()
        await message.term()
        self._failures.pop((spec.durable, message.metadata.sequence.stream), None)

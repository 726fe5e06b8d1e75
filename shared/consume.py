"""Consume a durable: every message meets exactly one fate.

Acknowledged, after its effect is committed; tried again later, because the world failed; held in
place, on an ordered consumer; or moved to the dead letters, because the message itself is bad or
fails time after time.
"""

import asyncio
import contextlib
import itertools
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import nats.errors
import structlog
from nats.aio.msg import Msg
from prometheus_client import Counter, Histogram

from shared.bus import PUBLISH_TIMEOUT, Bus, BusUnavailableError
from shared.cloudevents import Outgoing
from shared.contracts.base import ContractError
from shared.ids import jitter
from shared.topology import DLQ, ConsumerSpec
from shared.trace import traced

__all__ = [
    "HEARTBEAT", "MAX_FAILURES", "BatchHandler", "Delivery", "Handler", "TransientError", "consume",
    "consume_batches", "dead_letter",
]  # fmt: skip

HEARTBEAT = 10.0  # a third of the usual ack_wait
EXPIRES = 5.0  # of a pull request, seconds
LOOK = 0.5
RETRY_DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0)
WORLD_DELAYS = RETRY_DELAYS[:3]
MAX_FAILURES = 8

log = structlog.get_logger()
_consumed = Counter("tocsin_bus_consumed_total", "Messages by fate", ["consumer", "fate"])
_handling = Histogram("tocsin_bus_handling_seconds", "Time to handle a message", ["consumer"])


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


Handler = Callable[[Delivery], Awaitable[None]]
BatchHandler = Callable[[Sequence[Delivery]], Awaitable[None]]


async def consume(bus: Bus, spec: ConsumerSpec, handler: Handler) -> None:
    """Hand every message of *spec* to *handler* until cancelled, broker there or not."""
    await _forever(bus, spec, _Fates(bus, spec, handler))


async def consume_batches(bus: Bus, spec: ConsumerSpec, handler: BatchHandler) -> None:
    """Hand the messages of *spec* to *handler* as many at once as have come, in their order.

    The handler does all or nothing. Where it fails for a message's sake, each of them is handed to
    it alone, so that one bad message meets its own fate and the others theirs.
    """
    await _forever(bus, spec, _BatchFates(bus, spec, handler))


async def _forever(bus: Bus, spec: ConsumerSpec, fates: "_Fates") -> None:
    while True:
        try:
            await _pull(bus, spec, fates)
        except BusUnavailableError:
            await asyncio.sleep(jitter(0.5))
        except (nats.errors.Error, OSError, ValueError) as error:
            log.warning("consumer interrupted", consumer=spec.durable, error=repr(error))
            await asyncio.sleep(jitter(1.0))


async def _pull(bus: Bus, spec: ConsumerSpec, fates: "_Fates") -> None:
    """Ask for messages and handle them, as they come, until the broker no longer answers.

    One request is open at a time; what it brings is handled at once, without waiting until it is
    full. A request can be lost in a broker's restart without an error: one that outlives its own
    expiry without a word ends this subscription, and the caller makes another.
    """
    client, connection = bus.client, bus.reconnects
    inbox = client.new_inbox()
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{spec.durable}"
    # Not max_bytes: with it NATS 2.15 gave messages up to 5 s late (the demo took 28 s, not 10).
    request = json.dumps({"batch": spec.batch, "expires": int(EXPIRES * 1e9)}).encode()
    waiting: deque[Msg] = deque()
    arrived = asyncio.Event()

    async def on_message(message: Msg) -> None:
        waiting.append(message)
        arrived.set()

    subscription = await client.subscribe(inbox, cb=on_message)
    heartbeat = asyncio.create_task(_keep_alive(waiting, spec.ack_wait / 3))
    open_for = 0
    try:
        while True:
            if open_for == 0:
                await client.publish(subject, request, reply=inbox)
                open_for = spec.batch
            silent = 0.0
            while not waiting:
                if silent > EXPIRES * 2 or bus.reconnects != connection:
                    return
                arrived.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(arrived.wait(), LOOK)
                silent += LOOK
            message = waiting[0]
            if status := _status(message):
                open_for = 0
                if status not in {"404", "408"}:  # nothing there, or expired: both ordinary
                    log.warning("consumer", consumer=spec.durable, status=status)
                    await asyncio.sleep(jitter(1.0))
            else:
                taken = _run_of(waiting, fates.most)
                open_for -= len(taken)
                await fates.meet_all(taken)
                for _ in taken[1:]:
                    waiting.popleft()
            waiting.popleft()
    finally:
        heartbeat.cancel()
        with contextlib.suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()
            for message in waiting:  # given back at once, not after ack_wait
                if not _status(message):
                    await message.nak()


def _run_of(waiting: deque[Msg], most: int) -> list[Msg]:
    """Return the messages at the head of *waiting*, up to the first that is a status."""
    return list(itertools.takewhile(lambda m: not _status(m), itertools.islice(waiting, most)))


def _status(message: Msg) -> str | None:
    return (message.headers or {}).get("Status") if not message.data else None


async def _keep_alive(waiting: deque[Msg], every: float) -> None:
    """Tell the broker that what is here is still being worked on and not to be given away."""
    while True:
        await asyncio.sleep(every)
        for message in list(waiting):
            if not _status(message):
                with contextlib.suppress(nats.errors.Error, OSError):
                    await message.in_progress()


class _Fates:
    """Decides and carries out the fate of each message of one consumer."""

    most = 1

    def __init__(self, bus: Bus, spec: ConsumerSpec, handler: Handler) -> None:
        self._bus, self._spec, self._handler = bus, spec, handler
        self._failures: dict[int, int] = {}

    async def meet_all(self, messages: Sequence[Msg]) -> None:
        for message in messages:
            await self.meet(message)

    async def meet(self, message: Msg) -> None:
        meta = message.metadata
        seq = meta.sequence.stream
        delivery = _delivery(message)
        headers = delivery.headers
        with traced(headers), _handling.labels(self._spec.durable).time():
            try:
                await self._attempt(delivery)
            except TransientError as error:
                log.warning("will retry", consumer=self._spec.durable, seq=seq, error=str(error))
                delay = WORLD_DELAYS[min(meta.num_delivered, len(WORLD_DELAYS)) - 1]
                await self._again(message, delay, "retried")
            except ContractError as error:
                await self._bury(message, str(error))
            except Exception as error:
                failures = self._failures[seq] = self._failures.get(seq, 0) + 1
                log.exception(
                    "handler failed", consumer=self._spec.durable, seq=seq, times=failures
                )
                if failures >= MAX_FAILURES and not self._spec.in_order:
                    await self._bury(message, repr(error))
                else:
                    delay = RETRY_DELAYS[min(failures, len(RETRY_DELAYS)) - 1]
                    await self._again(message, delay, "failed")
            else:
                await message.ack_sync(timeout=PUBLISH_TIMEOUT)
                self._failures.pop(seq, None)
                _consumed.labels(self._spec.durable, "acknowledged").inc()

    async def _attempt(self, delivery: Delivery) -> None:
        """Run the handler; an ordered consumer waits out the world's failures in place."""
        delay = 0.2
        while True:
            try:
                await self._handler(delivery)
            except TransientError as error:
                if not self._spec.in_order:
                    raise
                log.warning("holding the line", consumer=self._spec.durable, error=str(error))
                await asyncio.sleep(jitter(delay))
                delay = min(delay * 2, 10.0)
            else:
                return

    async def _again(self, message: Msg, delay: float, fate: str) -> None:
        _consumed.labels(self._spec.durable, fate).inc()
        await message.nak(delay=jitter(delay))

    async def _bury(self, message: Msg, reason: str) -> None:
        """Move *message* to the dead letters; it leaves the consumer only once it is there."""
        seq = message.metadata.sequence.stream
        dead = dead_letter(
            self._spec, message.subject, message.headers or {}, message.data, seq, reason
        )
        try:
            await self._bus.publish(dead, stream=DLQ.name)
        except BusUnavailableError:
            await self._again(message, RETRY_DELAYS[1], "retried")
            return
        log.error("dead letter", consumer=self._spec.durable, reason=reason, seq=seq)
        _consumed.labels(self._spec.durable, "dead").inc()
        await message.term()
        self._failures.pop(seq, None)


class _BatchFates(_Fates):
    """The same for a handler that takes many at once: they share a fate, if it is a good one."""

    def __init__(self, bus: Bus, spec: ConsumerSpec, handler: BatchHandler) -> None:
        async def alone(delivery: Delivery) -> None:
            await handler([delivery])

        super().__init__(bus, spec, alone)
        self.most = spec.batch
        self._together = handler

    async def meet_all(self, messages: Sequence[Msg]) -> None:
        if len(messages) == 1:
            await self.meet(messages[0])
            return
        deliveries = [_delivery(message) for message in messages]
        try:
            with _handling.labels(self._spec.durable).time():
                await self._together(deliveries)
        except TransientError as error:
            log.warning("will retry", consumer=self._spec.durable, error=str(error))
            for message, delivery in zip(messages, deliveries, strict=True):
                delay = WORLD_DELAYS[min(delivery.attempt, len(WORLD_DELAYS)) - 1]
                await self._again(message, delay, "retried")
            return
        except Exception:
            log.exception("batch failed; one by one", consumer=self._spec.durable)
            for message in messages:
                await self.meet(message)
            return
        for message in messages[:-1]:
            await message.ack()
        # The last answer comes after those of all before it, on one connection.
        await messages[-1].ack_sync(timeout=PUBLISH_TIMEOUT)
        for message in messages:
            self._failures.pop(message.metadata.sequence.stream, None)
        _consumed.labels(self._spec.durable, "acknowledged").inc(len(messages))


def _delivery(message: Msg) -> Delivery:
    meta = message.metadata
    headers = dict(message.headers or {})
    return Delivery(
        message.subject, headers, message.data, meta.sequence.stream, meta.num_delivered
    )


def dead_letter(
    spec: ConsumerSpec,
    subject: str,
    headers: Mapping[str, str],
    data: bytes,
    stream_seq: int,
    reason: str,
) -> Outgoing:
    """Return what goes to DLQ of a message that *spec* can do nothing with."""
    printable = " ".join(reason[:1000].encode("ascii", "replace").decode().split())
    return Outgoing(
        f"{spec.durable}:{headers.get('Nats-Msg-Id', stream_seq)}",
        f"tocsin.v1.dlq.{spec.durable}",
        data,
        {
            **{k: v for k, v in headers.items() if not k.startswith("Nats-")},
            "tocsin-reason": printable,
            "tocsin-subject": subject,
            "tocsin-stream-seq": str(stream_seq),
        },
    )

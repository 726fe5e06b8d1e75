"""Create the streams and durable consumers, or bring them in line; safe to repeat."""

import asyncio
from dataclasses import replace

import nats
import nats.errors
import nats.js.errors
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.client import JetStreamContext

from shared.errors import UserError
from shared.topology import CONSUMERS, EVENTS, STREAMS, ConsumerSpec, StreamSpec

__all__ = ["BootstrapError", "bootstrap"]

DUPLICATE_WINDOW = 600.0  # seconds; a republish after a lost PubAck is dropped inside it


class BootstrapError(UserError):
    """The broker refused; the message says what."""


def _stream(spec: StreamSpec, replicas: int) -> StreamConfig:
    return StreamConfig(
        name=spec.name,
        subjects=list(spec.subjects),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        # The default would forget the oldest unread message; here a full stream refuses instead.
        discard=DiscardPolicy.NEW if spec.when_full == "refuse" else DiscardPolicy.OLD,
        max_age=spec.max_age.total_seconds(),
        max_bytes=spec.max_bytes,
        num_replicas=replicas,
        duplicate_window=DUPLICATE_WINDOW,
        deny_delete=True,
        deny_purge=True,
        allow_direct=spec.direct,
    )


def _consumer(spec: ConsumerSpec) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=spec.durable,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=spec.ack_wait,
        max_deliver=-1,  # the consumer itself moves what is bad to the dead letters
        # One message in flight is what keeps the order, whatever number of replicas pull.
        max_ack_pending=1 if spec.in_order else spec.max_ack_pending,
        filter_subject=spec.filter_subject,
    )


async def _ensure_stream(js: JetStreamContext, spec: StreamSpec, replicas: int) -> None:
    config = _stream(spec, replicas)
    try:
        found = (await js.stream_info(spec.name)).config
    except nats.js.errors.NotFoundError:
        await js.add_stream(config)
        return
    # An operator may have given a stream more room; that is kept.
    await js.update_stream(
        replace(
            config,
            retention=found.retention,
            max_bytes=max(config.max_bytes or 0, found.max_bytes or 0),
            max_age=max(config.max_age or 0, found.max_age or 0),
        )
    )


async def _ensure_retention(js: JetStreamContext, spec: StreamSpec) -> None:
    """Set what *spec* wants: last, since without consumers an interest stream keeps nothing."""
    config = (await js.stream_info(spec.name)).config
    wanted = RetentionPolicy(spec.retention)
    if config.retention != wanted:
        await js.update_stream(replace(config, retention=wanted))


async def bootstrap(
    url: str, seed: str | None, *, replicas: int = 1, events_gib: int | None = None
) -> list[str]:
    """Ensure every stream and consumer of `shared.topology`; return their names.

    *events_gib* is the room of EVENTS, where the default of 8 GiB is too little or too much.

    Raises BootstrapError, naming the object, when the broker refuses or does not answer.
    """
    try:
        client = await nats.connect(
            url,
            name="tocsin-bootstrap",
            nkeys_seed_str=seed,
            inbox_prefix="_INBOX_bootstrap",
            connect_timeout=5,
            max_reconnect_attempts=3,
            allow_reconnect=False,
        )
    except (OSError, nats.errors.Error, TimeoutError) as error:
        raise BootstrapError(f"NATS at {url}: {error or type(error).__name__}") from error
    done: list[str] = []
    try:
        js = client.jetstream(timeout=10)
        for stream in STREAMS:
            done.append(stream.name)
            if stream.name == EVENTS.name and events_gib is not None:
                await _ensure_stream(js, replace(stream, max_bytes=events_gib << 30), replicas)
            else:
                await _ensure_stream(js, stream, replicas)
        for spec in CONSUMERS:
            done.append(f"{spec.stream}/{spec.durable}")
            await js.add_consumer(spec.stream, _consumer(spec))
        for stream in STREAMS:
            await _ensure_retention(js, stream)
    except (nats.errors.Error, TimeoutError) as error:
        raise BootstrapError(f"{done[-1]}: {error or type(error).__name__}") from error
    finally:
        await asyncio.shield(client.close())
    return done

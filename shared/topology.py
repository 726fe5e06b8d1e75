"""Streams, durable consumers and who may touch which subject: the broker's shape, as data.

Subjects read ``tocsin.v1.<service>.<aggregate>.<event>``; the second token is the major version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

__all__ = [
    "CASES", "CONSUMERS", "DETECTIONS", "DLQ", "ESCALATIONS", "EVENTS", "IDENTITIES", "MATCHES",
    "NOTIFICATIONS", "QUARANTINE", "REPLAYS", "SERVICES", "SOURCES", "STREAMS", "ConsumerSpec",
    "Permissions",
    "StreamSpec", "consumer", "permissions", "role_name",
]  # fmt: skip

SERVICES = ("ingest", "detect", "escalate", "cases", "notify")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """A JetStream stream. ``discard=new``: a full stream refuses, it does not forget, but for one
    that a service talks to itself on (``when_full``). ``direct``: read by sequence, no consumer.

    ``retention="interest"``: the server lets go of a message once every consumer of the stream has
    acknowledged it (ADR 0013); nobody needs the right to purge.
    """

    name: str
    subjects: Sequence[str]
    max_bytes: int
    max_age: timedelta = timedelta(days=7)
    retention: Literal["limits", "interest"] = "limits"
    when_full: Literal["refuse", "forget"] = "refuse"
    direct: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSpec:
    """A durable pull consumer.

    ``in_order``: one message at a time, a failing one holds the line; otherwise messages may be
    processed in any order and one that fails for reasons of its own goes to the dead letters.
    ``ack_wait``: seconds after which what a dead process held is given to another.
    """

    durable: str
    stream: str
    service: str
    filter_subject: str
    in_order: bool = False
    batch: int = 1
    max_ack_pending: int = 64
    ack_wait: float = 30.0


MIB = 1 << 20
# Kept until stored and evaluated: raw events are too many to lie here for a week.
EVENTS = StreamSpec(
    name="EVENTS",
    subjects=["tocsin.v1.ingest.block.>"],
    max_bytes=8192 * MIB,
    retention="interest",
)
REPLAYS = StreamSpec(
    name="REPLAYS",
    subjects=["tocsin.v1.ingest.replay.>"],
    max_bytes=1024 * MIB,
    retention="interest",
)
# What ingest says of its sources: silent, heard again.
SOURCES = StreamSpec(
    name="SOURCES",
    subjects=["tocsin.v1.ingest.source.>"],
    max_bytes=64 * MIB,
    max_age=timedelta(days=30),
)
QUARANTINE = StreamSpec(
    name="QUARANTINE", subjects=["tocsin.v1.ingest.quarantine.>"], max_bytes=1024 * MIB
)
DETECTIONS = StreamSpec(
    name="DETECTIONS",
    subjects=[
        f"tocsin.v1.detect.{aggregate}.>"
        for aggregate in ("detection", "evaluation", "replay", "rule", "suppression")
    ],
    max_bytes=1024 * MIB,
)
# Matches of correlated rules by partition of their group (ADR 0018): detect to itself, read by
# sequence. A worker that was away for gigabytes counts what it missed; detection goes on.
MATCHES = StreamSpec(
    name="MATCHES",
    subjects=["tocsin.v1.detect.match.>"],
    max_bytes=2048 * MIB,
    when_full="forget",
    direct=True,
)
ESCALATIONS = StreamSpec(
    name="ESCALATIONS", subjects=["tocsin.v1.escalate.>"], max_bytes=1024 * MIB
)
CASES = StreamSpec(
    name="CASES",
    subjects=["tocsin.v1.cases.>"],
    max_bytes=2048 * MIB,
    max_age=timedelta(days=30),
    direct=True,  # cases reads it again, to see what the broker has lost (ADR 0021)
)
NOTIFICATIONS = StreamSpec(
    name="NOTIFICATIONS", subjects=["tocsin.v1.notify.>"], max_bytes=1024 * MIB
)
DLQ = StreamSpec(
    name="DLQ", subjects=["tocsin.v1.dlq.>"], max_bytes=512 * MIB, max_age=timedelta(days=30)
)
STREAMS = (
    EVENTS, REPLAYS, SOURCES, QUARANTINE, DETECTIONS, MATCHES, ESCALATIONS, CASES, NOTIFICATIONS,
    DLQ,
)  # fmt: skip

CONSUMERS = (
    ConsumerSpec(
        durable="detect-events",
        stream="EVENTS",
        service="detect",
        filter_subject="tocsin.v1.ingest.block.>",
        batch=4,
        ack_wait=6.0,  # less than correlations wait for late events
    ),
    ConsumerSpec(
        durable="ingest-store",
        stream="EVENTS",
        service="ingest",
        filter_subject="tocsin.v1.ingest.block.>",
        batch=64,
        max_ack_pending=2048,
        ack_wait=6.0,  # searches see what a dead process held as soon after
    ),
    ConsumerSpec(
        durable="detect-replays",
        stream="REPLAYS",
        service="detect",
        filter_subject="tocsin.v1.ingest.replay.>",
        in_order=True,  # when a replay's end is handled, all its blocks have been
    ),
    ConsumerSpec(
        durable="ingest-replays",
        stream="DETECTIONS",
        service="ingest",
        filter_subject="tocsin.v1.detect.replay.requested",
    ),
    ConsumerSpec(
        durable="ingest-ledger",
        stream="DETECTIONS",
        service="ingest",
        filter_subject="tocsin.v1.detect.evaluation.progressed",
    ),
    ConsumerSpec(
        durable="escalate-detections",
        stream="DETECTIONS",
        service="escalate",
        filter_subject="tocsin.v1.detect.detection.raised",
        batch=512,  # as many as one transaction of triage takes
        max_ack_pending=2048,
    ),
    ConsumerSpec(
        durable="escalate-sources",
        stream="SOURCES",
        service="escalate",
        filter_subject="tocsin.v1.ingest.source.>",
        in_order=True,  # that it is heard again comes after that it was silent
    ),
    ConsumerSpec(
        durable="escalate-cases",
        stream="CASES",
        service="escalate",
        filter_subject="tocsin.v1.cases.>",
        in_order=True,
    ),
    ConsumerSpec(
        durable="detect-cases",
        stream="CASES",
        service="detect",
        filter_subject="tocsin.v1.cases.>",
        in_order=True,
    ),
    ConsumerSpec(
        durable="escalate-notifications",
        stream="NOTIFICATIONS",
        service="escalate",
        filter_subject="tocsin.v1.notify.affected_list.identified",
        in_order=True,
    ),
    ConsumerSpec(
        durable="escalate-obligations",
        stream="NOTIFICATIONS",
        service="escalate",
        filter_subject="tocsin.v1.notify.obligation.>",
    ),
    ConsumerSpec(
        durable="escalate-undeliverable",
        stream="NOTIFICATIONS",
        service="escalate",
        filter_subject="tocsin.v1.notify.notification.undeliverable",
    ),
    ConsumerSpec(
        durable="cases-escalations",
        stream="ESCALATIONS",
        service="cases",
        filter_subject="tocsin.v1.escalate.>",
        in_order=True,
    ),
    ConsumerSpec(
        durable="cases-notifications",
        stream="NOTIFICATIONS",
        service="cases",
        filter_subject="tocsin.v1.notify.>",
        in_order=True,
    ),
    ConsumerSpec(
        durable="notify-cases",
        stream="CASES",
        service="notify",
        filter_subject="tocsin.v1.cases.>",
        in_order=True,
    ),
)

# bootstrap creates streams and consumers; operator only listens (`tocsin events tail`).
IDENTITIES = (*SERVICES, "bootstrap", "operator")


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that one identity may publish to and subscribe to; everything else is refused."""

    publish: Sequence[str]
    subscribe: Sequence[str]


def consumer(durable: str) -> ConsumerSpec:
    """Return the consumer of that name; KeyError if there is none."""
    return {spec.durable: spec for spec in CONSUMERS}[durable]


def role_name(service: str) -> str:
    """Return the database role that *service* logs in as."""
    return f"tocsin_{service}"


def permissions(identity: str) -> Permissions:
    """Return the least that *identity* needs; KeyError for an unknown one."""
    inbox = f"_INBOX_{identity}.>"
    if identity == "bootstrap":
        return Permissions(["$JS.API.>"], [inbox])
    if identity == "operator":
        return Permissions(["$JS.API.INFO", "$JS.API.STREAM.INFO.*"], ["tocsin.v1.>", inbox])
    if identity not in SERVICES:
        raise KeyError(f"no identity named {identity}")
    publish = ["$JS.API.INFO", f"tocsin.v1.{identity}.>"]
    publish += [  # a relay looks whether its stream has lost anything, ingest how full its own are
        f"$JS.API.STREAM.INFO.{stream.name}"
        for stream in STREAMS
        if any(subject.startswith(f"tocsin.v1.{identity}.") for subject in stream.subjects)
    ]
    for spec in CONSUMERS:
        if spec.service == identity:
            # The server hashes ACK subjects since 2.15, so they cannot be narrowed to a consumer.
            publish += [
                f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{spec.durable}",
                f"$JS.API.CONSUMER.INFO.{spec.stream}.{spec.durable}",
                f"tocsin.v1.dlq.{spec.durable}",
                "$JS.ACK.>",
            ]
    if identity == "ingest":  # GET /v1/quarantine reads the stream, nothing consumes it
        publish.append("$JS.API.STREAM.MSG.GET.QUARANTINE")
    if identity == "detect":  # correlation reads its partitions by sequence
        publish.append("$JS.API.DIRECT.GET.MATCHES")
    if identity == "cases":  # the relay resumes from its own stream's tail
        publish += ["$JS.API.STREAM.MSG.GET.CASES", "$JS.API.DIRECT.GET.CASES"]
    return Permissions(list(dict.fromkeys(publish)), [inbox])

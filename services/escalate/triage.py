"""Detection triage (P1): detections join their groups; a group over the threshold is proposed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.desk import Settled, Verdict, settle
from services.escalate.pages import Order, order_pages
from services.escalate.proposal import Policies, propose
from services.escalate.reassessment import note_proposed, worsened
from services.escalate.sighting import sighting_of
from services.escalate.standing import Standing
from services.escalate.store import (
    mark_told,
    record,
    record_proposals,
    telling_detections,
    what_is_known,
)
from shared.cloudevents import outgoing
from shared.contracts.detect import DetectionRaisedV1
from shared.outbox import enqueue

__all__ = ["propose_all", "triage"]

# A group may touch many services; asking every team who should answer has nobody answer.
MOST_TEAMS = 5

_proposals = Counter("tocsin_escalate_proposals_total", "Incidents proposed", ["level"])
_suppressed = Counter("tocsin_escalate_suppressed_total", "Detections that were suppressed")


async def triage(
    connection: AsyncConnection,
    detections: Mapping[UUID, tuple[DetectionRaisedV1, bytes]],
    policies: Policies,
    channel: str,
    now: datetime,
) -> Settled:
    """Put *detections*, by id and verbatim, into groups; propose those that are over the threshold.

    To be called once for a detection, in a transaction that its caller commits.
    """
    rules = policies.rules
    sightings = [sighting_of(detection) for detection, _ in detections.values()]
    known = await what_is_known(connection, sightings, rules, now)
    done = settle(known, sightings, rules, now)
    levels = {identity: detection.level for identity, (detection, _) in detections.items()}
    bodies = {identity: body for identity, (_, body) in detections.items()}
    await record(connection, done, levels, bodies, rules, now)
    at_hand = {identity: detection for identity, (detection, _) in detections.items()}
    await propose_all(connection, done.verdicts, done.standings, policies, channel, now, at_hand)
    await worsened(connection, done.turned(known), policies, now)
    _suppressed.inc(sum(done.hits.values()))
    return done


async def propose_all(
    connection: AsyncConnection,
    verdicts: Sequence[Verdict],
    standings: Mapping[UUID, Standing],
    policies: Policies,
    channel: str,
    now: datetime,
    at_hand: Mapping[UUID, DetectionRaisedV1] = MappingProxyType({}),
) -> None:
    """Propose an incident of each group, and page the teams whose services it touches.

    Detections that are *at_hand*, by id, are not read again.
    """
    if not verdicts:
        return
    telling = await telling_detections(connection, [v.group.id for v in verdicts], at_hand)
    proposals = [
        propose(
            verdict.group, telling[verdict.group.id], policies, now,
            cause=verdict.cause, standing=standings.get(verdict.group.key),
        )
        for verdict in verdicts
    ]  # fmt: skip
    await enqueue(connection, [outgoing(p, source="escalate") for p in proposals])
    proposed = [
        (v.group.id, p, v.cause, v.rule_id) for v, p in zip(verdicts, proposals, strict=True)
    ]
    await record_proposals(connection, proposed, now)
    await mark_told(connection, [d for found in telling.values() for d in found])
    await note_proposed(connection, {p.incident_id: p.severity for p in proposals})
    orders = [
        Order(
            cause=proposal.event_id,
            incident_id=proposal.incident_id,
            team=team,
            channel=channel,
            reason=f"set the severity of {proposal.title}",
            asks="severity",
        )
        for proposal in proposals
        for team in policies.directory.teams_of(proposal.services)[:MOST_TEAMS]
    ]
    await order_pages(connection, orders, now)
    for proposal in proposals:
        _proposals.labels(proposal.severity.level).inc()

"""Detection triage (P1): a detection joins its group; a group over the threshold is proposed."""

from datetime import datetime

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.grouping import Group, Outcome, receive
from services.escalate.pages import order_page
from services.escalate.proposal import Policies, propose
from services.escalate.sighting import Sighting, sighting_of
from services.escalate.store import (
    mark_told,
    open_groups,
    record_detection,
    record_proposal,
    save_group,
    telling_detections,
)
from shared.cloudevents import outgoing
from shared.contracts.detect import DetectionRaisedV1
from shared.outbox import enqueue

__all__ = ["triage"]

# Of each rule this many detections of a group are kept verbatim: more than a message ever shows.
# All of them stay with detect, and the counts are of all.
KEPT_OF_A_RULE = 20
# A group may touch many services; asking every team who should answer has nobody answer.
MOST_TEAMS = 5

_proposals = Counter("tocsin_escalate_proposals_total", "Incidents proposed", ["level"])


async def triage(
    connection: AsyncConnection,
    detection: DetectionRaisedV1,
    verbatim: str,
    policies: Policies,
    channel: str,
    now: datetime,
) -> Outcome:
    """Put *detection* into its group, and propose an incident if that lifts it over the threshold.

    To be called once for a detection, in a transaction that its caller commits.
    """
    rules = policies.rules
    sighting = sighting_of(detection)
    known = await open_groups(connection, sighting, rules.gap)
    outcome = receive(known, sighting, rules)
    group = outcome.group
    await save_group(
        connection,
        group,
        outcome.absorbed,
        urgent=group.proposed and outcome.new_rule,
        now=now,
    )
    body = verbatim if _is_kept(group, sighting) else None
    await record_detection(connection, group.id, sighting, detection.level, body, now)
    if outcome.crosses:
        await _propose(connection, group, policies, channel, now)
    return outcome


def _is_kept(group: Group, sighting: Sighting) -> bool:
    tally = group.tallies.get(sighting.rule_id)
    return tally is not None and tally.count <= KEPT_OF_A_RULE


async def _propose(
    connection: AsyncConnection, group: Group, policies: Policies, channel: str, now: datetime
) -> None:
    telling = await telling_detections(connection, group.id)
    proposal = propose(group, telling, policies, now)
    await enqueue(connection, [outgoing(proposal, source="escalate")])
    await record_proposal(connection, group.id, proposal, now)
    await mark_told(connection, telling)
    for team in policies.directory.teams_of(proposal.services)[:MOST_TEAMS]:
        reason = f"set the severity of {proposal.title}"
        await order_page(
            connection, proposal.event_id, proposal.incident_id, team, channel, reason, now
        )
    _proposals.labels(proposal.severity.level).inc()

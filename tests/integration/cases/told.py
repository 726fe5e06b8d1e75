"""What escalate and notify would tell cases, as contracts."""

from datetime import timedelta
from uuid import UUID

from shared.clock import utc_now
from shared.contracts.detect import DetectionRaisedV1, Entity, Reason, SampleEvent
from shared.contracts.escalate import (
    Assessment,
    Contribution,
    EscalationRaisedV1,
    Grouping,
    IncidentProposedV1,
    PriorityAssessment,
    ProposalExtendedV1,
    TeamPagedV1,
)
from shared.contracts.notify import (
    AffectedCustomersIdentifiedV1,
    CustomersNotifiedV1,
    NotificationSentV1,
    ObligationIdentifiedV1,
)
from shared.ids import uuid7


def detection(ip: str = "203.0.113.9") -> DetectionRaisedV1:
    now = utc_now()
    return DetectionRaisedV1(
        event_id=uuid7(),
        occurred_at=now,
        detection_id=uuid7(),
        rule_id="rule-ssh",
        rule_version="a" * 64,
        title="SSH brute force",
        level="high",
        risk_score=70,
        entities=[Entity(type="ip", value=ip), Entity(type="user", value="root")],
        first_seen=now - timedelta(minutes=5),
        last_seen=now,
        source_id="sshd@m1",
        service="mail",
        reasons=[
            Reason(
                selection="failed", field="user", operator="equals", pattern="root", value="root"
            )
        ],
        samples=[SampleEvent(id=uuid7(), raw="Failed password for root\x00")],
    )


def proposed(incident_id: UUID, *detections: DetectionRaisedV1) -> IncidentProposedV1:
    found = list(detections) or [detection()]
    return IncidentProposedV1(
        event_id=uuid7(),
        occurred_at=utc_now(),
        incident_id=incident_id,
        title="SSH brute force on m1",
        grouping=Grouping(
            entity=Entity(type="host", value="m1"),
            window_start=utc_now(),
            window_end=utc_now(),
            explanation="same host within an hour",
        ),
        severity=Assessment(
            level="SEV2",
            points=40,
            contributions=[
                Contribution(criterion="privacy", value="suspected", points=15, reason="suspected")
            ],
            unknown_inputs=["region"],
            inputs={"privacy": "suspected"},
            policy="severity",
            version="2026.11.0",
            digest="d" * 64,
        ),
        priority=PriorityAssessment(
            priority="P3",
            functional="low",
            informational="privacy_breach",
            recoverability="regular",
            reason="s = 3",
            policy="priority",
            version="2026.11.0",
        ),
        services=["mail"],
        regions=["eu-west"],
        detections=found,
        detection_count=len(found),
    )


def extended(incident_id: UUID, count: int, *detections: DetectionRaisedV1) -> ProposalExtendedV1:
    return ProposalExtendedV1(
        event_id=uuid7(),
        occurred_at=utc_now(),
        incident_id=incident_id,
        detections=list(detections),
        detection_count=count,
        risk_score=80,
    )


def raised(incident_id: UUID) -> EscalationRaisedV1:
    return EscalationRaisedV1(
        event_id=uuid7(),
        occurred_at=utc_now(),
        escalation_id=uuid7(),
        incident_id=incident_id,
        severity="SEV2",
        owning_team="sr-eu",
    )


def paged(incident_id: UUID) -> TeamPagedV1:
    return TeamPagedV1(
        event_id=uuid7(),
        occurred_at=utc_now(),
        page_id=uuid7(),
        incident_id=incident_id,
        team="sr-eu",
        channel="webhook",
        reason="SEV2 escalated",
    )


def identified(incident_id: UUID, version: int = 1) -> AffectedCustomersIdentifiedV1:
    return AffectedCustomersIdentifiedV1(
        event_id=uuid7(),
        occurred_at=utc_now(),
        list_id=uuid7(),
        incident_id=incident_id,
        version=version,
        inventory_version="7",
        confirmed=0,
        probable=2,
        possible=1,
        tenants=["t1", "t2"],
    )


def owed(incident_id: UUID) -> ObligationIdentifiedV1:
    now = utc_now()
    return ObligationIdentifiedV1(
        event_id=uuid7(),
        occurred_at=now,
        obligation_id=uuid7(),
        incident_id=incident_id,
        regime="gdpr_33_1",
        phase="initial",
        recipient="lead_supervisory_authority",
        clock="aware",
        clock_at=now,
        due_at=now + timedelta(hours=72),
        basis="aware + 72 h",
    )


def sent(incident_id: UUID) -> NotificationSentV1:
    return NotificationSentV1(
        event_id=uuid7(),
        occurred_at=utc_now(),
        notification_id=uuid7(),
        incident_id=incident_id,
        tenant="t1",
        channel="email",
        recipient="security@t1.example",
        attempt=1,
        sent_at=utc_now(),
        proof="<1@tocsin> 250 ok",
    )


def notified(incident_id: UUID) -> CustomersNotifiedV1:
    return CustomersNotifiedV1(
        event_id=uuid7(),
        occurred_at=utc_now(),
        list_id=uuid7(),
        incident_id=incident_id,
        version=1,
        tenants=2,
        sent=3,
        completed_at=utc_now(),
    )

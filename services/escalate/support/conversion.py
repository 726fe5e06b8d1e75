"""From a support case to the proposal of an incident, in the shape of every other one (R07, R15c).

What was reported becomes the one detection of the proposal, verbatim; the severity is proposed from
what incident communications knows, and set by the service team like any other (R23).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from services.escalate.policy import UNKNOWN
from services.escalate.priority import assess_priority
from services.escalate.proposal import Policies
from services.escalate.routing import Routing, route
from services.escalate.severity import Value, assess
from services.escalate.sighting import printable
from services.escalate.support.case import Case
from shared.contracts.detect import DetectionRaisedV1, Entity, SampleEvent
from shared.contracts.escalate import Assessment, Grouping, IncidentProposedV1, PriorityAssessment
from shared.ids import derived_id

__all__ = ["OLD_KINDS", "incident_of", "known_inputs", "proposal_of", "teams_for"]

# What the first release of the contract could say; the others travel in ``reported_as``.
OLD_KINDS = ("customer_case", "employee_report")
_SAMPLE = 16 * 1024
_OF_PERSONS = ("none",)


def incident_of(case_id: UUID) -> UUID:
    """Return the id of the incident that this case becomes, if it does: however often asked."""
    return derived_id("incident-of-case", case_id)


def known_inputs(
    policies: Policies, case: Case, stated: Mapping[str, Value]
) -> Mapping[str, Value]:
    """Return the severity's inputs: what was *stated*, else what the directory tells."""
    directory = policies.directory
    looked_up: dict[str, Value] = {
        "service": directory.tier(case.services) or UNKNOWN,
        "region": directory.region_class(case.regions) or UNKNOWN,
    }
    return {**looked_up, **stated}


def teams_for(policies: Policies, case: Case, inputs: Mapping[str, Value]) -> Routing:
    """Return every team that the routing rules name; InputError as `assess`."""
    level = assess(policies.severity, inputs).level
    facts: dict[str, object] = {**inputs}
    if industries := policies.directory.industries_of([case.tenant] if case.tenant else []):
        facts["tenant_industry"] = sorted(industries)
    return route(
        policies.directory,
        level,
        facts,
        case.services,
        case.regions,
        source_kind=case.source_kind,
        rules=policies.routing,
    )


def proposal_of(
    policies: Policies, case: Case, inputs: Mapping[str, Value], now: datetime
) -> IncidentProposedV1:
    """Return the proposal that *case* becomes; InputError for an input the policy lacks."""
    assessed = assess(policies.severity, inputs)
    harmless = inputs.get("privacy", UNKNOWN) in _OF_PERSONS
    factors = assess_priority(
        policies.priority,
        {
            "functional": ("low",),
            "informational": ("none" if harmless else "privacy_breach",),
            "recoverability": ("regular",),
        },
    )
    report = _as_detection(case, now)
    return IncidentProposedV1(
        event_id=derived_id("proposal-of-case", case.id),
        occurred_at=now,
        incident_id=incident_of(case.id),
        title=printable(case.title),
        source_kind="customer_case" if case.source_kind == "customer_case" else "employee_report",
        reported_as=None if case.source_kind in OLD_KINDS else case.source_kind,
        grouping=Grouping(
            entity=report.entities[0],
            window_start=report.first_seen,
            window_end=now,
            explanation=(
                f"Reported as {case.reference} ({case.source_kind.replace('_', ' ')});"
                " found to be a matter of security at triage."
            ),
        ),
        severity=Assessment.model_validate(asdict(assessed)),
        priority=PriorityAssessment.model_validate(
            {
                **asdict(factors),
                "reason": f"Estimated before anything is measured. {factors.reason}",
            }
        ),
        services=list(case.services),
        regions=list(case.regions),
        detections=[report],
        detection_count=1,
    )


def _as_detection(case: Case, now: datetime) -> DetectionRaisedV1:
    """Return the report as one detection; the whole statement travels with the link."""
    when = min(case.observed_at or case.opened_at, now)
    identity = derived_id("report-as-detection", case.id)
    about = Entity(type="tenant", value=printable(case.tenant)) if case.tenant else None
    raw = case.statement.encode()[:_SAMPLE].decode(errors="ignore")
    return DetectionRaisedV1(
        event_id=identity,
        occurred_at=now,
        detection_id=identity,
        rule_id=f"report:{case.source_kind}",
        rule_version=hashlib.sha256(case.statement.encode()).hexdigest(),
        title=printable(case.title),
        level="medium",
        risk_score=50,
        entities=[about or Entity(type="service", value=next(iter(case.services), case.reference))],
        first_seen=when,
        last_seen=when,
        source_id=case.reference,
        tenant=case.tenant,
        region=next(iter(case.regions), None),
        service=next(iter(case.services), None),
        samples=[
            SampleEvent(id=identity, time=when, raw=raw, truncated=len(raw) < len(case.statement))
        ],
    )

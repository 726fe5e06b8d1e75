"""What the case-management policy demands in each phase, and what is missing of it (R29)."""

from collections.abc import Callable, Mapping, Sequence

from services.cases.domain.state import Incident
from services.cases.domain.values import Phase, Policy
from services.cases.domain.vocabulary import AttackVector, RootCauseStatus, State

__all__ = ["FIELDS", "PHASES", "missing", "phases_until"]

# What a policy may demand: a name, and how to tell that it is filled.
FIELDS: Mapping[str, Callable[[Incident], bool]] = {
    "title": lambda i: bool(i.title.strip()),
    "source": lambda i: bool(i.source_kind),
    "services": lambda i: bool(i.services),
    "regions": lambda i: bool(i.regions),
    "detected_at": lambda i: i.detected_at is not None,
    "occurred_at": lambda i: i.occurred_at is not None,
    "detections": lambda i: bool(i.detection_ids),
    "severity": lambda i: i.severity is not None,
    "priority": lambda i: i.priority is not None,
    "owning_team": lambda i: bool(i.owning_team),
    "v_team": lambda i: not i.missing_kinds(),
    "summary": lambda i: bool(i.summary.strip()),
    "potential_impact": lambda i: bool(i.potential_impact.strip()),
    "indicators": lambda i: bool(i.indicators),
    "indicators_assessed": lambda i: (
        bool(i.indicators) and all(x.verdict is not None for x in i.indicators.values())
    ),
    "attack_vector": lambda i: any(
        x.attack_vector is not AttackVector.UNKNOWN for x in i.indicators.values()
    ),
    "scope": lambda i: i.scope is not None,
    "root_cause": lambda i: i.root_cause is not RootCauseStatus.OPEN,
    "recovery_plan": lambda i: i.plan is not None,
}
# The order in which phases are gone through; a policy may say something about any of them.
PHASES = (
    State.OPENED,
    State.ESCALATED,
    State.INVESTIGATING,
    State.CONFIRMED,
    State.CONTAINED,
    State.ERADICATED,
    State.RECOVERED,
    State.IN_REVIEW,
)


def missing(incident: Incident, phase: Phase) -> tuple[str, ...]:
    """Return the fields that *phase* demands and that are not filled."""
    return tuple(name for name in phase.fields if not FIELDS[name](incident))


def phases_until(policy: Policy, state: State) -> Sequence[Phase]:
    """Return what *policy* demands up to the end of the phase *state*."""
    reached = PHASES[: PHASES.index(state) + 1]
    return [phase for phase in policy.phases if phase.state in reached]

"""From a group over the threshold to the proposal of an incident: what is known, what is not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.escalate.desk import Cause
from services.escalate.directory import REGION_CLASSES, TIERS, Directory
from services.escalate.grouping import STORM, Group, Rules
from services.escalate.nciss import NcissPolicy, load_nciss_policy
from services.escalate.oncall.steps import PagingPolicy
from services.escalate.policy import UNKNOWN, Criterion, SeverityPolicy
from services.escalate.priority import PriorityPolicy, assess_priority
from services.escalate.progression import advance, path
from services.escalate.routing_file import RoutingRule
from services.escalate.severity import Value, assess
from services.escalate.sighting import SOURCE, printable
from services.escalate.stage import CREDENTIALS, DATA, IMPACT, STAGES, stage_of
from services.escalate.standing import Standing, explained, risk_at
from services.escalate.verbatim import fitted, most_telling
from shared.clock import rfc3339
from shared.contracts.detect import DetectionRaisedV1, Entity
from shared.contracts.escalate import Assessment, Grouping, IncidentProposedV1, PriorityAssessment
from shared.errors import UserError
from shared.ids import derived_id

__all__ = [
    "Policies", "explanation_of", "priority_inputs", "propose", "severity_inputs", "title_of",
]  # fmt: skip

_LISTED_RULES = 5
USED: Mapping[str, Collection[str]] = {
    "privacy": ("credentials", "suspected"),
    "scope": ("server", "server_farm", "service", "region", "multi_region"),
    "region": REGION_CLASSES,
    "service": TIERS,
    "details": STAGES,
    "functional": ("none", "low", "medium", "high"),
    "informational": ("none", "privacy_breach"),
    "recoverability": ("regular", "supplemented", "extended"),
}


@dataclass(frozen=True, slots=True)
class Policies:
    """All that decides besides the detections themselves."""

    rules: Rules
    directory: Directory
    severity: SeverityPolicy
    priority: PriorityPolicy
    nciss: NcissPolicy = field(default_factory=load_nciss_policy)
    routing: tuple[RoutingRule, ...] | None = None
    paging: Mapping[str, PagingPolicy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse policies that lack a word which proposals use, before any detection needs it."""
        known: dict[str, Collection[str]] = dict(self.priority.factors)
        for name, criterion in self.severity.criteria.items():
            if isinstance(criterion, Criterion):
                known[name] = criterion.points
        missing = [f"{n} {w}" for n, words in USED.items() for w in words if w not in known[n]]
        if missing:
            raise UserError(f"the policies have no {', no '.join(missing)}, which proposals use")


def severity_inputs(group: Group, directory: Directory) -> dict[str, Value]:
    """Return the inputs of the severity policy that *group* shows; all others are unknown.

    Impact, tenants and regulation are for people to say: no log line tells them.
    """
    facts = group.facts
    privacy = UNKNOWN
    if facts.tactics & CREDENTIALS:
        privacy = "credentials"
    elif facts.tactics & DATA:
        privacy = "suspected"
    return {
        "privacy": privacy,
        "impact": UNKNOWN,
        "scope": _scope(group),
        "affected_tenants": UNKNOWN,
        "region": directory.region_class(sorted(facts.regions)) or UNKNOWN,
        "service": directory.tier(sorted(facts.services)) or UNKNOWN,
        "details": stage_of(facts.tactics) or UNKNOWN,
        "industry_regulation": UNKNOWN,
    }


def _scope(group: Group) -> str:
    """Return the least scope that holds all places where something was detected."""
    facts = group.facts
    if len(facts.regions) > 1:
        return "multi_region"
    if len(facts.datacenters) > 1:
        return "region"
    if len(facts.servers) > 1:
        return "server_farm" if len(facts.services) <= 1 else "service"
    if facts.servers:
        return "server"
    return "service" if len(facts.services) == 1 else UNKNOWN


def priority_inputs(group: Group, tier: str | None) -> Mapping[str, tuple[str, ...]]:
    """Return the three factors of §2.2, which have no word for unknown.

    Functional impact that nobody has measured is low, not none, except where the activity has only
    prepared; recoverability follows the stage.
    """
    tactics, stage = group.facts.tactics, stage_of(group.facts.tactics)
    functional = "none" if stage == "prepare" else "low"
    if tactics & IMPACT:
        functional = "high" if tier in ("tier0", "tier1") else "medium"
    leak = bool(tactics & (CREDENTIALS | DATA))
    recoverability = {"effect": "extended", "presence": "supplemented"}.get(stage or "", "regular")
    return {
        "functional": (functional,),
        "informational": ("privacy_breach" if leak else "none",),
        "recoverability": (recoverability,),
    }


def title_of(group: Group) -> str:
    """Return what people call it: its weightiest rule, and where."""
    tallies = sorted(group.tallies.values(), key=lambda t: (-t.top, -t.times, t.title))
    more = len(tallies) - 1
    others = f" and {more} other rule{'s' if more > 1 else ''}" if more else ""
    return printable(f"{tallies[0].title[:140]}{others} on {_entity(group)}")


def explanation_of(
    group: Group, rules: Rules, cause: Cause = "group", standing: Standing | None = None
) -> str:
    """Return why these detections are one proposal, in sentences."""
    sentences = [_what(group, rules), *_progression(group, rules)]
    if group.suppressed:
        sentences.append(f"{group.suppressed} of them are suppressed: counted, not weighed.")
    match cause:
        case "storm":
            sentences.append(
                f"One rule found this on {group.members} entities or more at about the same time,"
                f" more than {rules.storm_groups} within {rules.storm_window.total_seconds():g}"
                " seconds: they are one incident, not one each."
            )
        case "entity":
            sentences.append(_accumulated(group, rules, standing))
        case "group":
            sentences.append(_weighed(group, rules))
    return " ".join(sentences)


def _what(group: Group, rules: Rules) -> str:
    many, rule_count = group.count, len(group.tallies)
    whose = f" of tenant {group.tenant}" if group.tenant else ""
    apart = _minutes(rules.gap.total_seconds())
    if rules.stage_points and len(group.stages) > 1:
        apart += f", or {_minutes(rules.reach.total_seconds())} where the attack goes on,"
    return (
        f"{many} detection{'s' if many > 1 else ''} of {rule_count}"
        f" rule{'s' if rule_count > 1 else ''} on {_entity(group)}{whose}, from"
        f" {rfc3339(group.first)} to {rfc3339(group.last)}, none more than {apart} from the next."
    )


def _progression(group: Group, rules: Rules) -> list[str]:
    """Return what tells that the attack advanced, if it did."""
    steps = advance(group.stages)
    if not steps:
        return []
    order = ", ".join(
        f"{stage} from {rfc3339(group.stages[stage][0])}" for stage in path(group.stages)
    )
    added = f": {steps * rules.stage_points} points" if rules.stage_points else ""
    return [f"The activity advanced by {steps} stage{'s' if steps > 1 else ''} ({order}){added}."]


def _accumulated(group: Group, rules: Rules, standing: Standing | None) -> str:
    if standing is None:
        return "The risk of the entity reached its threshold."
    at = max(heat.at for heat in standing.heats.values())
    risk = risk_at(standing, at, rules.half_life)
    parts = explained(standing, at, rules.half_life)[:_LISTED_RULES]
    days = rules.half_life / timedelta(days=1)
    return (
        f"This group alone weighs {group.risk(rules)} of {rules.threshold}, but the risk of"
        f" {_entity(group)} has accumulated to {risk} ({'; '.join(parts)}), fading by half in"
        f" {days:g} days, and reaches the threshold of {rules.entity_threshold}."
    )


def _weighed(group: Group, rules: Rules) -> str:
    weighty = sorted(group.tallies.items(), key=lambda item: (-item[1].risk, item[0]))
    parts = [f"{t.title} ×{t.times}: {t.risk}" for _, t in weighty[:_LISTED_RULES]]
    if (more := len(weighty) - _LISTED_RULES) > 0:
        parts.append(f"{more} more: {sum(t.risk for _, t in weighty[_LISTED_RULES:])}")
    return (
        f"Risk {group.risk(rules)} ({'; '.join(parts)}) reaches the threshold of {rules.threshold}."
    )


def propose(
    group: Group,
    detections: Sequence[DetectionRaisedV1],
    policies: Policies,
    now: datetime,
    *,
    cause: Cause = "group",
    standing: Standing | None = None,
) -> IncidentProposedV1:
    """Return the proposal of *group*; *detections* are those of it that are kept verbatim."""
    directory, facts = policies.directory, group.facts
    assessed = assess(policies.severity, severity_inputs(group, directory))
    factors = assess_priority(
        policies.priority, priority_inputs(group, directory.tier(sorted(facts.services)))
    )
    return IncidentProposedV1(
        event_id=derived_id("proposal", group.id),
        occurred_at=now,
        incident_id=derived_id("incident", group.id),
        title=title_of(group),
        grouping=Grouping(
            entity=_contract_entity(group),
            window_start=group.first,
            window_end=group.last + policies.rules.gap,
            explanation=explanation_of(group, policies.rules, cause, standing),
        ),
        severity=Assessment.model_validate(assessed, from_attributes=True),
        priority=PriorityAssessment.model_validate(
            replace(factors, reason=f"Estimated from the stage reached. {factors.reason}"),
            from_attributes=True,
        ),
        services=sorted(facts.services),
        regions=sorted(facts.regions),
        detections=fitted(most_telling(detections)),
        detection_count=group.count,
    )


def _entity(group: Group) -> str:
    if group.kind == STORM:
        return "many entities"
    return f"{'log source' if group.kind == SOURCE else group.kind} {group.value}"


def _contract_entity(group: Group) -> Entity:
    # The contract has no kind for a log source or a storm; they stand in for a service here.
    kind = "service" if group.kind in (SOURCE, STORM) else group.kind
    return Entity.model_validate({"type": kind, "value": group.value})


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:g} minute{'s' if minutes != 1 else ''}"

"""Detections that belong together: one group an entity, a tenant and a run of event time. Pure.

A detection joins the group of its entity and tenant if its time lies no more than the gap before
the group's first or after its last detection, or within a longer gap if it continues the attack
(`progression`); one that closes the gap between two groups makes them one. So detections give the
same groups in whatever order they come, but for two bounds that keep a group finite: it never spans
more than `Rules.span`, and groups that were both proposed stay apart, as each is an incident
already.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.escalate.progression import Spans, advance, continues, merged
from services.escalate.risk import Tally, risk_of
from services.escalate.sighting import Facts, Sighting
from shared.ids import derived_id

__all__ = ["STORM", "Group", "Outcome", "Rules", "absorb", "is_near", "receive"]

MAX_RULES = 500
STORM = "storm"
"""Kind of a group that one rule raised about many entities at once."""
OTHER_RULES = "(other rules)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings of triage."""

    gap: timedelta = timedelta(minutes=60)
    progression_gap: timedelta = timedelta(hours=4)
    span: timedelta = timedelta(hours=24)
    threshold: int = 40
    stage_points: int = 10
    entity_threshold: int = 100
    half_life: timedelta = timedelta(days=7)
    storm_groups: int = 10
    storm_window: timedelta = timedelta(seconds=60)

    @property
    def reach(self) -> timedelta:
        """Return how far in time a detection can be from a group that it joins."""
        return max(self.gap, self.progression_gap)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Detections that are looked at as one thing."""

    id: UUID
    key: UUID
    kind: str
    value: str
    tenant: str | None
    first: datetime
    last: datetime
    count: int
    tallies: Mapping[str, Tally]
    facts: Facts
    stages: Spans = field(default_factory=dict)
    members: int = 1  # of a storm: the groups in it
    proposed: bool = False
    snoozed_until: datetime | None = None

    def risk(self, rules: Rules) -> int:
        """Return what the detections of the group weigh together, and how far they advanced."""
        weight = risk_of(self.tallies)
        return weight + rules.stage_points * advance(self.stages) if weight else 0

    @property
    def suppressed(self) -> int:
        """Return how many of its detections are suppressed: counted, not weighed."""
        return sum(tally.suppressed for tally in self.tallies.values())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a detection led to. ``over``: the group weighs enough to be proposed, and is not yet."""

    group: Group
    founded: bool
    absorbed: tuple[UUID, ...]
    over: bool
    new_rule: bool


def receive(known: Iterable[Group], sighting: Sighting, rules: Rules) -> Outcome:
    """Return the group that *sighting* is part of now; *known* are the open groups of its key.

    Seeing the same detection twice is for the caller to prevent.
    """
    others = sorted(known, key=lambda g: (g.first, g.id))
    near = [g for g in others if is_near(g, sighting, rules)]
    if not near:
        return _outcome(_founded(sighting), rules, founded=True)
    target = next((g for g in near if g.proposed), near[0])
    group = _joined(target, sighting)
    absorbed: list[UUID] = []
    candidates = [g for g in others if g.id != target.id and not g.proposed]
    while met := next((g for g in candidates if is_near(g, group, rules)), None):
        candidates.remove(met)
        group = absorb(group, met)
        absorbed.append(met.id)
    new_rule = len(group.tallies) > len(target.tallies)
    return _outcome(group, rules, absorbed=absorbed, new_rule=new_rule)


def absorb(group: Group, other: Group) -> Group:
    """Return *group* with everything in *other*."""
    return replace(
        group,
        value=min(group.value, other.value),
        first=min(group.first, other.first),
        last=max(group.last, other.last),
        count=group.count + other.count,
        tallies=_sum(group.tallies, other.tallies),
        facts=group.facts.plus(other.facts),
        stages=merged(group.stages, other.stages),
        snoozed_until=max(filter(None, (group.snoozed_until, other.snoozed_until)), default=None),
    )


def is_near(group: Group, other: Group | Sighting, rules: Rules) -> bool:
    """Tell whether time and progression make one of both."""
    if group.first <= other.first and other.last <= group.last:
        return True
    if other.first - group.last > rules.gap:
        joined = continues(group.stages, other.stages, rules.progression_gap)
    elif group.first - other.last > rules.gap:
        joined = continues(other.stages, group.stages, rules.progression_gap)
    else:
        joined = True
    together = max(group.last, other.last) - min(group.first, other.first)
    # What lies within the group does not stretch it, however long a single detection lasted.
    return joined and together <= max(
        rules.span, group.last - group.first, other.last - other.first
    )


def _joined(group: Group, sighting: Sighting) -> Group:
    """Return *group* with *sighting* in it."""
    return replace(
        group,
        value=min(group.value, sighting.value),
        first=min(group.first, sighting.first),
        last=max(group.last, sighting.last),
        count=group.count + 1,
        tallies=_sum(group.tallies, _tallied(sighting)),
        facts=group.facts.plus(sighting.facts),
        stages=merged(group.stages, sighting.stages),
    )


def _founded(sighting: Sighting) -> Group:
    """Return the group that *sighting* is the first of."""
    return Group(
        id=derived_id("group", sighting.key, sighting.detection_id),
        key=sighting.key,
        kind=sighting.kind,
        value=sighting.value,
        tenant=sighting.tenant,
        first=sighting.first,
        last=sighting.last,
        count=1,
        tallies=_tallied(sighting),
        facts=sighting.facts,
        stages=sighting.stages,
    )


def _tallied(sighting: Sighting) -> Mapping[str, Tally]:
    weight = sighting.weight
    return {sighting.rule_id: Tally(sighting.title, 1, weight, weight, int(sighting.suppressed))}


def _outcome(
    group: Group,
    rules: Rules,
    *,
    founded: bool = False,
    absorbed: Sequence[UUID] = (),
    new_rule: bool = True,
) -> Outcome:
    over = not group.proposed and group.risk(rules) >= rules.threshold
    return Outcome(group, founded, tuple(absorbed), over, new_rule)


def _sum(one: Mapping[str, Tally], other: Mapping[str, Tally]) -> Mapping[str, Tally]:
    result = dict(one)
    for rule_id, tally in other.items():
        # Bounded; what is beyond counts still, as one rule.
        place = rule_id if rule_id in result or len(result) < MAX_RULES else OTHER_RULES
        result[place] = result[place].plus(tally) if place in result else tally
    return result

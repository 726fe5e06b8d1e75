"""Detections that belong together: one group an entity, a tenant and a run of event time. Pure.

A detection joins the group of its entity and tenant if its time lies no more than the gap before
the group's first or after its last detection; one that closes the gap between two groups makes them
one. So detections give the same groups in whatever order they come, but for two bounds that keep a
group finite: it never spans more than `Rules.span`, and groups that were both proposed stay apart,
as each is an incident already.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.escalate.risk import Tally, risk_of
from services.escalate.sighting import Facts, Sighting
from shared.ids import derived_id

__all__ = ["Group", "Outcome", "Rules", "absorb", "receive"]

MAX_RULES = 500
OTHER_RULES = "(other rules)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings of grouping."""

    gap: timedelta = timedelta(minutes=60)
    span: timedelta = timedelta(hours=24)
    threshold: int = 40


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
    proposed: bool = False

    @property
    def risk(self) -> int:
        """Return what the detections of the group weigh together."""
        return risk_of(self.tallies)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a detection led to. ``crosses``: the group is to be proposed now, for the first time."""

    group: Group
    founded: bool
    absorbed: tuple[UUID, ...]
    crosses: bool
    new_rule: bool


def receive(known: Iterable[Group], sighting: Sighting, rules: Rules) -> Outcome:
    """Return the group that *sighting* is part of now; *known* are the open groups of its key.

    Seeing the same detection twice is for the caller to prevent.
    """
    near = sorted(
        (g for g in known if _near(g, sighting, rules)), key=lambda g: (g.first, str(g.id))
    )
    single = _found(sighting)
    if not near:
        return _outcome(single, rules, founded=True)
    target = next((g for g in near if g.proposed), near[0])
    new_rule = sighting.rule_id not in target.tallies
    group = absorb(target, single)
    absorbed = []
    for other in near:
        bridged = absorb(group, other)
        if other.id == target.id or other.proposed or bridged.last - bridged.first > rules.span:
            continue
        group = bridged
        new_rule = new_rule or bool(other.tallies.keys() - target.tallies.keys())
        absorbed.append(other.id)
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
    )


def _near(group: Group, sighting: Sighting, rules: Rules) -> bool:
    if sighting.start - group.last > rules.gap or group.first - sighting.end > rules.gap:
        return False
    together = max(group.last, sighting.end) - min(group.first, sighting.start)
    # What lies within the group does not stretch it, however long a single detection lasted.
    return together <= max(rules.span, group.last - group.first)


def _found(sighting: Sighting) -> Group:
    return Group(
        id=derived_id("group", sighting.key, sighting.detection_id),
        key=sighting.key,
        kind=sighting.kind,
        value=sighting.value,
        tenant=sighting.tenant,
        first=sighting.start,
        last=sighting.end,
        count=1,
        tallies={sighting.rule_id: Tally(sighting.title, 1, sighting.weight, sighting.weight)},
        facts=sighting.facts,
    )


def _outcome(
    group: Group,
    rules: Rules,
    *,
    founded: bool = False,
    absorbed: Sequence[UUID] = (),
    new_rule: bool = True,
) -> Outcome:
    crosses = not group.proposed and group.risk >= rules.threshold
    return Outcome(group, founded, tuple(absorbed), crosses, new_rule)


def _sum(one: Mapping[str, Tally], other: Mapping[str, Tally]) -> Mapping[str, Tally]:
    result = dict(one)
    for rule_id, tally in other.items():
        # Bounded; what is beyond counts still, as one rule.
        place = rule_id if rule_id in result or len(result) < MAX_RULES else OTHER_RULES
        result[place] = result[place].plus(tally) if place in result else tally
    return result

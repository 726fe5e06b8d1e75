"""Triage of many detections at once: which groups change, and which are to be proposed. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Literal
from uuid import UUID

from services.escalate.grouping import STORM, Group, Rules, absorb, is_near, receive
from services.escalate.sighting import Sighting
from services.escalate.standing import Standing, observe, risk_at
from services.escalate.suppression import Suppressions
from shared.ids import derived_id

__all__ = ["KEPT_OF_A_RULE", "Cause", "Known", "Settled", "Verdict", "settle", "storm_key"]

# Of each rule this many detections of a group are kept verbatim: more than a message ever shows.
# All of them stay with detect, and the counts are of all.
KEPT_OF_A_RULE = 20
REARMED = 0.5  # of the threshold: an entity that was proposed has to cool down before it is again

Cause = Literal["group", "entity", "storm"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is on record about the entities and rules of the detections at hand."""

    groups: Collection[Group] = ()
    standings: Mapping[UUID, Standing] = field(default_factory=dict)
    suppressions: Suppressions = field(default_factory=Suppressions)
    recent: Mapping[str, int] = field(default_factory=dict)  # proposals by rule in the storm window


@dataclass(frozen=True, slots=True)
class Verdict:
    """A group to be proposed, and what made it one."""

    group: Group
    cause: Cause
    rule_id: str


@dataclass(slots=True)
class Settled:
    """What is to be written. ``placed``: detection, its group, whether its words are kept."""

    groups: dict[UUID, Group] = field(default_factory=dict)
    absorbed: dict[UUID, UUID] = field(default_factory=dict)
    placed: list[tuple[Sighting, UUID, bool]] = field(default_factory=list)
    standings: dict[UUID, Standing] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    urgent: set[UUID] = field(default_factory=set)
    grown: set[UUID] = field(default_factory=set)
    hits: Counter[UUID] = field(default_factory=Counter)

    def turned(self, known: Known) -> list[Group]:
        """Return the proposed groups whose detections were where, or of what, none was before."""
        before = {group.id: group.facts for group in known.groups}
        grown = (self.groups[identity] for identity in self.grown if identity in self.groups)
        return [group for group in grown if group.facts != before.get(group.id)]

    def final(self, group: UUID) -> UUID:
        """Return the group that *group* is part of in the end."""
        while group in self.absorbed:
            group = self.absorbed[group]
        return group


@lru_cache(maxsize=4096)
def storm_key(rule_id: str) -> UUID:
    """Return the key of the storm of a rule."""
    return derived_id("storm-key", rule_id)


def settle(known: Known, sightings: Sequence[Sighting], rules: Rules, now: datetime) -> Settled:
    """Return what becomes of *sightings*, none of which was seen before."""
    done = Settled()
    open_groups: dict[UUID, dict[UUID, Group]] = defaultdict(dict)
    for group in known.groups:
        open_groups[group.key][group.id] = group
    over: dict[UUID, Cause] = {}
    for sighting in sightings:
        _take(done, over, open_groups[sighting.key], known, sighting, rules, now)
    for identity in _hot(done, known, rules, now):
        if not done.groups[identity].proposed:
            over.setdefault(identity, "entity")
    ready = [
        done.groups[identity]
        for identity in over
        if identity in done.groups and not _is_snoozed(done.groups[identity], now)
    ]
    _propose(done, over, open_groups, known, ready, rules)
    for gone in done.absorbed:
        done.groups.pop(gone, None)
    done.placed = [(s, done.final(g), kept) for s, g, kept in done.placed]
    _keep_few_of_a_storm(done)
    return done


def _take(
    done: Settled,
    over: dict[UUID, Cause],
    siblings: dict[UUID, Group],
    known: Known,
    sighting: Sighting,
    rules: Rules,
    now: datetime,
) -> None:
    if suppression := known.suppressions.of(sighting):
        done.hits[suppression.id] += 1
        sighting = replace(sighting, weight=0, suppressed=True)
    outcome = receive(siblings.values(), sighting, rules)
    group = outcome.group
    for gone in outcome.absorbed:
        siblings.pop(gone)
        done.groups.pop(gone, None)
        over.pop(gone, None)
        done.absorbed[gone] = group.id
    siblings[group.id] = done.groups[group.id] = group
    tally = group.tallies.get(sighting.rule_id)
    kept = tally is not None and tally.times <= KEPT_OF_A_RULE
    done.placed.append((sighting, group.id, kept))
    if group.proposed:
        done.grown.add(group.id)
        if outcome.new_rule and not sighting.suppressed:
            done.urgent.add(group.id)
    done.standings[sighting.key] = _warmed(done, known, sighting, rules, now)
    if outcome.over:
        over[group.id] = "group"


def _warmed(
    done: Settled, known: Known, sighting: Sighting, rules: Rules, now: datetime
) -> Standing:
    """Return the standing of the entity with this detection."""
    standing = done.standings.get(sighting.key) or known.standings.get(sighting.key)
    standing = standing or Standing(sighting.kind, sighting.value, sighting.tenant)
    # A line that is dated to the future would make everything before it look faded.
    at = min(sighting.last, now)
    return observe(standing, sighting.rule_id, sighting.title, sighting.weight, at, rules.half_life)


def _hot(done: Settled, known: Known, rules: Rules, now: datetime) -> list[UUID]:
    """Return the groups that an entity's risk makes proposals: of each, the one that grew last."""
    latest = {s.key: (s, group) for s, group, _ in done.placed if s.weight}
    found = []
    for key, (sighting, group) in latest.items():
        standing, at = done.standings[key], min(sighting.last, now)
        before = known.standings.get(key)
        if before and not before.armed:
            cooled = risk_at(before, at, rules.half_life) < REARMED * rules.entity_threshold
            standing = done.standings[key] = replace(standing, armed=cooled)
        # One rule alone is judged by its group; more than one in different groups is the point.
        if (
            standing.armed
            and len(standing.heats) > 1
            and risk_at(standing, at, rules.half_life) >= rules.entity_threshold
        ):
            found.append(done.final(group))
    return found


def _propose(
    done: Settled,
    over: Mapping[UUID, Cause],
    open_groups: Mapping[UUID, Mapping[UUID, Group]],
    known: Known,
    ready: Sequence[Group],
    rules: Rules,
) -> None:
    """Decide which of the groups that are *ready* are proposed alone, and which are a storm."""
    by_rule: dict[str, list[Group]] = defaultdict(list)
    for group in ready:
        single = len(group.tallies) == 1 and over[group.id] == "group"
        if single:
            by_rule[next(iter(group.tallies))].append(group)
        else:
            done.verdicts.append(Verdict(group, over[group.id], _weightiest(group)))
    for rule_id, groups in by_rule.items():
        storms = open_groups.get(storm_key(rule_id), {}).values()
        raging = next((s for s in storms if any(is_near(s, g, rules) for g in groups)), None)
        if raging is None and known.recent.get(rule_id, 0) + len(groups) <= rules.storm_groups:
            done.verdicts += [Verdict(group, "group", rule_id) for group in groups]
            continue
        storm = raging or _storm(rule_id, groups[0])
        for group in groups:
            if raging is not None and not is_near(storm, group, rules):
                done.verdicts.append(Verdict(group, "group", rule_id))
                continue
            members = storm.members + 1
            storm = replace(
                absorb(storm, group),
                members=members,
                value=storm.value,
                tenant=storm.tenant if storm.tenant == group.tenant else None,
            )
            done.absorbed[group.id] = storm.id
        done.groups[storm.id] = storm
        if raging is None:
            done.verdicts.append(Verdict(storm, "storm", rule_id))
        else:
            done.grown.add(storm.id)
    for verdict in done.verdicts:
        if standing := done.standings.get(verdict.group.key):
            at = max((heat.at for heat in standing.heats.values()), default=None)
            if at and risk_at(standing, at, rules.half_life) >= rules.entity_threshold:
                done.standings[verdict.group.key] = replace(standing, armed=False)


def _keep_few_of_a_storm(done: Settled) -> None:
    """Keep the words of no more detections than of any group, though each came by itself."""
    fresh = Counter(group for _, group, _ in done.placed)
    room = {
        identity: KEPT_OF_A_RULE - (group.count - fresh[identity])
        for identity, group in done.groups.items()
        if group.kind == STORM
    }
    for index, (sighting, group, kept) in enumerate(done.placed):
        if kept and group in room:
            done.placed[index] = (sighting, group, room[group] > 0)
            room[group] -= 1


def _storm(rule_id: str, first: Group) -> Group:
    key = storm_key(rule_id)
    title = first.tallies[rule_id].title
    return replace(
        first,
        id=derived_id("group", key, first.id),
        key=key,
        kind=STORM,
        value=title,
        count=0,
        tallies={},
        members=0,
        proposed=False,
        snoozed_until=None,
    )


def _weightiest(group: Group) -> str:
    return min(group.tallies, key=lambda rule: (-group.tallies[rule].top, rule))


def _is_snoozed(group: Group, now: datetime) -> bool:
    return group.snoozed_until is not None and group.snoozed_until > now

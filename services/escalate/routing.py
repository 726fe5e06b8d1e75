"""Who owns an escalation and who is engaged: the routing rules of §6, as a pure function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from services.escalate.directory import Directory
from services.escalate.policy import UNKNOWN
from services.escalate.routing_file import (
    CRITERIA,
    Alternative,
    Engage,
    RoutingRule,
    load_routing,
)

__all__ = ["AUTO_ESCALATED", "Engaged", "Routing", "escalates_by_policy", "route"]

# SEV3 and SEV4 wait for the service team's own EscalateIncident (§3.8 P2).
AUTO_ESCALATED = frozenset({"SEV0", "SEV1", "SEV2"})


@dataclass(frozen=True, slots=True)
class Engaged:
    """One engaged team, for which kind, by which rules; *people*: only those (RT6)."""

    team: str
    kind: str
    required: bool
    rules: tuple[str, ...]
    people: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Routing:
    """Exactly one owner (R08); all engaged teams, the owner first; the rules that said so."""

    owning_team: str
    engaged: tuple[str, ...]
    rules: tuple[str, ...]
    engagements: tuple[Engaged, ...] = ()


def escalates_by_policy(level: str) -> bool:
    """Tell whether an incident of this severity escalates without being told to."""
    return level in AUTO_ESCALATED


def route(
    directory: Directory,
    level: str,
    inputs: Mapping[str, object],
    services: Sequence[str],
    regions: Sequence[str],
    *,
    source_kind: str = "",
    rules: Sequence[RoutingRule] | None = None,
) -> Routing:
    """Return the owner and the teams of an escalation; a criterion not given counts as unknown.

    Every rule that matches applies; a kind that no team stands for is not engaged.
    """
    facts = _facts(directory, level, inputs, services, source_kind)
    owner = directory.security_response(services, regions)
    found: dict[str, Engaged] = {}
    matched = []
    for rule in rules if rules is not None else _shipped():
        if rule.when and not any(_holds(alternative, facts) for alternative in rule.when):
            continue
        matched.append(rule.id)
        for wanted in rule.engage:
            for engaged in _teams(directory, owner, wanted, (services, regions), facts, rule.id):
                found[engaged.team] = _joined(found.get(engaged.team), engaged)
    ordered = sorted(found.values(), key=lambda engaged: engaged.team != owner)  # it is stable
    return Routing(owner, tuple(e.team for e in ordered), tuple(matched), tuple(ordered))


@cache
def _shipped() -> tuple[RoutingRule, ...]:
    return load_routing()


def _facts(
    directory: Directory,
    level: str,
    inputs: Mapping[str, object],
    services: Sequence[str],
    source_kind: str,
) -> Mapping[str, frozenset[str]]:
    """Return what is known by field; people may send any JSON, so only words and truths count."""
    facts = dict.fromkeys(CRITERIA, frozenset({UNKNOWN}))
    for name, value in inputs.items():
        if isinstance(value, bool):
            facts[name] = frozenset({str(value).lower()})
        elif isinstance(value, str):
            facts[name] = frozenset({value})
        elif isinstance(value, list):
            facts[name] = frozenset(word for word in value if isinstance(word, str))
    facts["severity"] = frozenset({level})
    if source_kind:
        facts["source_kind"] = frozenset({source_kind})
    facts["component"] = facts.get("component", frozenset()) | {*directory.components_of(services)}
    return facts


def _holds(alternative: Alternative, facts: Mapping[str, frozenset[str]]) -> bool:
    return all(
        bool(known - test.values) if test.negated else bool(known & test.values)
        for test in alternative
        for known in (facts.get(test.field, frozenset()),)
    )


def _teams(
    directory: Directory,
    owner: str,
    wanted: Engage,
    where: tuple[Sequence[str], Sequence[str]],
    facts: Mapping[str, frozenset[str]],
    rule: str,
) -> list[Engaged]:
    if wanted.kind == "owner":
        return [Engaged(owner, "security_response", wanted.required, (rule,))]
    if wanted.kind == "service_teams":
        teams = directory.teams_of(where[0])
        return [Engaged(team, "service_team", wanted.required, (rule,)) for team in teams]
    names = [directory.teams[wanted.kind]] if wanted.kind in directory.teams else []
    names += [t.name for t in directory.roster.of_kind(wanted.kind) if t.serves(*where)]
    found = []
    for name in dict.fromkeys(names):
        people: tuple[str, ...] = ()
        if wanted.competent:
            people = _competent(directory, name, facts["component"])
            if not people:  # nobody there knows it: the coverage report says so
                continue
        found.append(Engaged(name, wanted.kind, wanted.required, (rule,), people))
    return found


def _competent(directory: Directory, team: str, components: frozenset[str]) -> tuple[str, ...]:
    roster = directory.roster
    members = [roster.people[name] for name in roster.team(team).members]
    return tuple(person.id for person in members if person.competencies & components)


def _joined(known: Engaged | None, more: Engaged) -> Engaged:
    if known is None:
        return more
    return Engaged(
        team=known.team,
        kind=known.kind,
        required=known.required or more.required,
        rules=tuple(dict.fromkeys((*known.rules, *more.rules))),
        # Whoever is engaged as a whole team stays so.
        people=() if not known.people or not more.people
        else tuple(dict.fromkeys((*known.people, *more.people))),
    )  # fmt: skip

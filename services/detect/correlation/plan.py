"""Correlation rules resolved: what each one counts, in which order, and where its groups live."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from services.detect.correlation.model import Correlation, Type
from services.detect.rules.model import AllOf, AtLeast, Item, Level, Node, Not, Rule, RuleError

__all__ = ["NO_PLAN", "Feed", "Plan", "Step", "has_negation", "make_plan"]

MAX_DEPTH = 16
_LEVELS = tuple(Level)


@dataclass(frozen=True, slots=True)
class Feed:
    """How matches of one rule enter one correlation: as which of its rules, read by which names."""

    step: int
    position: int
    group: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A correlation whose rules are all there.

    *members* are their ids, in the order written. *family* names the correlations that feed each
    other: they share a partition, found by the values of *spread* (none: the family has one).
    """

    index: int
    rule: Correlation
    members: tuple[str, ...]
    names: tuple[str, ...]
    family: str
    spread: tuple[str, ...]
    level: Level


@dataclass(frozen=True, slots=True)
class Plan:
    """All correlations in force, those that feed others first.

    *feeds*: rule id → where its matches go. *needed*: id of a detection rule → the fields its
    matches have to carry. *silent*: rules that do not raise detections of their own, since a
    correlation names them and none asks to `generate` them.
    """

    steps: tuple[Step, ...]
    feeds: Mapping[str, tuple[Feed, ...]]
    needed: Mapping[str, tuple[str, ...]]
    silent: frozenset[str]
    errors: tuple[RuleError, ...] = ()


NO_PLAN = Plan((), {}, {}, frozenset())


class _UnresolvedError(Exception):
    """A correlation names what is not there, or itself."""


def make_plan(rules: Sequence[Rule], correlations: Sequence[Correlation]) -> Plan:
    """Return the plan of *correlations* over *rules*; what cannot be resolved is in its errors."""
    if not correlations:
        return NO_PLAN
    book = _Book(rules, correlations)
    order: list[Correlation] = []
    errors: list[RuleError] = []
    for correlation in correlations:
        try:
            book.visit(correlation, order, ())
        except _UnresolvedError as error:
            errors.append(RuleError(correlation.path, correlation.line, str(error)))
    steps = _steps(order, book)
    feeds: dict[str, list[Feed]] = {}
    for step in steps:
        for position, (name, member) in enumerate(zip(step.names, step.members, strict=True)):
            feeds.setdefault(member, []).append(_feed(step, position, name))
    return Plan(
        steps=steps,
        feeds={member: tuple(found) for member, found in feeds.items()},
        needed=_needed(steps, feeds, {rule.id for rule in rules}),
        silent=_silent(steps),
        errors=tuple(errors),
    )


class _Book:
    """Rules by id and by name; correlations resolved so far."""

    def __init__(self, rules: Iterable[Rule], correlations: Iterable[Correlation]) -> None:
        self.found: dict[str, Rule | Correlation] = {}
        self._by_name: dict[str, list[Rule | Correlation]] = {}
        self.members: dict[str, tuple[str, ...]] = {}
        self._failed: dict[str, str] = {}
        everything: list[Rule | Correlation] = [*rules, *correlations]
        for rule in everything:
            self.found[rule.id] = rule
            if rule.name:
                self._by_name.setdefault(rule.name, []).append(rule)

    def visit(
        self, correlation: Correlation, order: list[Correlation], path: tuple[str, ...]
    ) -> None:
        """Append *correlation* to *order*, after what it names, or raise _UnresolvedError."""
        if correlation.id in self.members:
            return
        if correlation.id in self._failed:
            raise _UnresolvedError(self._failed[correlation.id])
        if correlation.id in path:
            raise _UnresolvedError(f"correlation {correlation.title!r} refers to itself")
        if len(path) >= MAX_DEPTH:
            raise _UnresolvedError(f"correlations are chained deeper than {MAX_DEPTH}")
        try:
            members = self._members(correlation, order, path)
        except _UnresolvedError as error:
            self._failed[correlation.id] = str(error)
            raise
        self.members[correlation.id] = members
        order.append(correlation)

    def _members(
        self, correlation: Correlation, order: list[Correlation], path: tuple[str, ...]
    ) -> tuple[str, ...]:
        members: list[str] = []
        for reference in correlation.rules:
            target = self._look_up(reference)
            if isinstance(target, Correlation):
                self.visit(target, order, (*path, correlation.id))
            if target.id in members:
                raise _UnresolvedError(f"rule {reference!r} stands twice in 'rules'")
            members.append(target.id)
        return tuple(members)

    def _look_up(self, reference: str) -> Rule | Correlation:
        found = self.found.get(reference.lower())
        if found is not None:
            return found
        named = self._by_name.get(reference, [])
        if not named:
            raise _UnresolvedError(f"no rule in force has the id or name {reference!r}")
        if len(named) > 1:
            raise _UnresolvedError(f"{len(named)} rules have the name {reference!r}")
        return named[0]


def _steps(order: Sequence[Correlation], book: _Book) -> tuple[Step, ...]:
    families = _families(order, book.members)
    spread = {family: _spread(members) for family, members in families.items()}
    home = {c.id: family for family, members in families.items() for c in members}
    versions: dict[str, str] = {}
    levels: dict[str, Level] = {}
    steps = []
    for index, correlation in enumerate(order):
        members = book.members[correlation.id]
        # What it finds changes with what its rules find, and so do the ids of its detections.
        content = [correlation.version]
        below = []
        for member in members:
            found = book.found[member]
            content.append(versions.get(member) or found.version)
            below.append(levels.get(member) or found.level or Level.MEDIUM)
        versions[correlation.id] = sha256("\n".join(content).encode()).hexdigest()
        highest = max(below, key=_LEVELS.index)
        levels[correlation.id] = correlation.level or highest
        family = home[correlation.id]
        steps.append(
            Step(
                index=index,
                rule=replace(correlation, version=versions[correlation.id]),
                members=members,
                names=correlation.rules,
                family=family,
                spread=spread[family],
                level=levels[correlation.id],
            )
        )
    return tuple(steps)


def _families(
    order: Sequence[Correlation], members: Mapping[str, tuple[str, ...]]
) -> dict[str, list[Correlation]]:
    """Return the correlations that are chained with each other, by the least of their ids."""
    home = {correlation.id: correlation.id for correlation in order}
    for correlation in order:
        chained = [m for m in members[correlation.id] if m in home]
        joined = {home[correlation.id], *(home[m] for m in chained)}
        for identity, family in home.items():
            if family in joined:
                home[identity] = min(joined)
    families: dict[str, list[Correlation]] = {}
    for correlation in order:
        families.setdefault(home[correlation.id], []).append(correlation)
    return families


def _spread(family: Sequence[Correlation]) -> tuple[str, ...]:
    """Return the fields by whose values the groups of *family* may live apart.

    Chained correlations meet only in what all of them group by under one name; an alias may stand
    for different fields in each, so then the family stays together.
    """
    if len(family) == 1:
        return family[0].group_by
    if any(correlation.aliases for correlation in family):
        return ()
    common = set.intersection(*(set(correlation.group_by) for correlation in family))
    return tuple(sorted(common))


def _feed(step: Step, position: int, name: str) -> Feed:
    aliases = step.rule.aliases or {}

    def source(field: str) -> str:
        return aliases.get(field, {}).get(name, field)

    condition = step.rule.condition
    return Feed(
        step.index,
        position,
        tuple(map(source, step.rule.group_by)),
        tuple(map(source, condition.fields)) if condition else (),
    )


def _needed(
    steps: Sequence[Step], feeds: Mapping[str, Sequence[Feed]], base: set[str]
) -> dict[str, tuple[str, ...]]:
    def names(identity: str) -> set[str]:
        found: set[str] = set()
        for feed in feeds.get(identity, ()):
            above = steps[feed.step]
            found |= {*feed.group, *feed.values}
            # A correlation further up reads the same event, except for names given here.
            found |= names(above.rule.id) - set(above.rule.aliases or ())
        return found

    return {identity: tuple(sorted(names(identity))) for identity in feeds if identity in base}


def _silent(steps: Sequence[Step]) -> frozenset[str]:
    named = {member for step in steps for member in step.members}
    wanted = {member for step in steps if step.rule.generate for member in step.members}
    return frozenset(named - wanted)


def has_negation(node: Node) -> bool:
    """Return whether *node* asks for something that did not happen."""
    match node:
        case Not():
            return True
        case AllOf(nodes=nodes) | AtLeast(nodes=nodes):
            return any(map(has_negation, nodes))
        case Item():
            return False
        case _:
            return False


def closes(rule: Correlation) -> bool:
    """Return whether *rule* is decided when its window closes, not at an event.

    Only a number that cannot fall back may be decided early; an average, a percentile, an upper
    bound and something that must not happen are known when the window is over.
    """
    if rule.type is Type.TEMPORAL:
        return rule.expression is not None and has_negation(rule.expression)
    if rule.type is Type.TEMPORAL_ORDERED:
        return False
    if rule.type in (Type.EVENT_COUNT, Type.VALUE_COUNT, Type.VALUE_SUM):
        return rule.condition is not None and not rule.condition.rising
    return True

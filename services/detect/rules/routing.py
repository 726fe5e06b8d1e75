"""Which events a rule's logsource means: a rule never sees an event of another log."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product as combinations
from typing import Any

from .fields import Aliases, texts_of
from .model import LogSource, Rule
from .text import fold

_MAX_PLANS = 4096  # kinds of events; beyond it, plans are made anew

Conditions = tuple[tuple[str, frozenset[str]], ...]
OtherNames = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Source:
    """One log, and the conditions on an event that make it part of that log."""

    logsource: LogSource
    by_service: Conditions = ()
    when: Conditions = ()
    aliases: OtherNames = ()

    @property
    def hinted(self) -> bool:
        """Return whether only the envelope can tell that an event belongs here."""
        named = self.logsource.category is not None and self.logsource.service is None
        return named and not self.when


@dataclass(frozen=True, slots=True)
class Product:
    """The logs of one product, and what makes an event without any hint one of it."""

    name: str | None
    unmarked: tuple[str, ...]
    aliases: OtherNames
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Routing:
    """The routing table."""

    products: tuple[Product, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rules (by index) that read an event under the same aliases."""

    aliases: Aliases
    rules: tuple[int, ...]


class Router:
    """Rules indexed by the kinds of events they may see."""

    def __init__(self, rules: Sequence[Rule], routing: Routing) -> None:
        self._routing = routing
        self._by_logsource: dict[LogSource, list[int]] = {}
        self._by_source: dict[int, list[int]] = {}
        sources = [source for part in routing.products for source in part.sources]
        unrouted: list[Rule] = []
        targets: dict[LogSource, list[Source]] = {}
        for index, rule in enumerate(rules):
            if rule.logsource not in targets:
                targets[rule.logsource] = _widest(sources, rule.logsource)
            self._by_logsource.setdefault(rule.logsource, []).append(index)
            for source in targets[rule.logsource]:
                self._by_source.setdefault(id(source), []).append(index)
            if not targets[rule.logsource]:
                unrouted.append(rule)
        self.unrouted = tuple(unrouted)
        self._facts = _facts(routing)
        self.marks = tuple(
            dict.fromkeys(name for part in routing.products for name in part.unmarked)
        )
        self.columns = frozenset(name for _, names, _ in self._facts for name in names)
        self._plans: dict[object, tuple[Group, ...]] = {}

    def route(self, fields: Mapping[str, Any], hint: LogSource) -> tuple[Group, ...]:
        """Return the rules that may see this event, grouped by how they read it."""
        facts = tuple(
            _fact(fields, names, known) for _, names, known in self._facts
        )  # only values the table knows, so that events cannot invent kinds
        unmarked = self._unmarked(fields, hint)
        key = (hint, unmarked, facts)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            named = {name: fact for (name, _, _), fact in zip(self._facts, facts, strict=True)}
            plan = self._plans[key] = self._plan(hint, unmarked, named)
        return plan

    def asked(self, fields: Mapping[str, Any], hint: LogSource) -> tuple[str, ...]:
        """Return the fields whose values decide the route of events that, like this one, have
        *hint*, or without a hint the same ones of `marks`."""
        unmarked = self._unmarked(fields, hint)
        wanted = {
            name
            for part in self._routing.products
            if part.name is None or part.name == hint.product or part.name in unmarked
            for source in part.sources
            for name, _ in source.by_service + source.when
        }
        names = [names for name, names, _ in self._facts if name in wanted]
        return tuple(dict.fromkeys(each for own in names for each in own))

    def _unmarked(self, fields: Mapping[str, Any], hint: LogSource) -> tuple[str | None, ...]:
        if hint != LogSource():
            return ()
        return tuple(
            part.name
            for part in self._routing.products
            if part.unmarked and all(name in fields for name in part.unmarked)
        )

    def _plan(
        self, hint: LogSource, unmarked: Sequence[str | None], facts: Mapping[str, str | None]
    ) -> tuple[Group, ...]:
        aliases: dict[int, dict[str, tuple[str, ...]]] = {}
        for part in self._routing.products:
            marked = part.name is not None and part.name == hint.product
            if marked:
                for logsource in _wider(hint):
                    for index in self._by_logsource.get(logsource, ()):
                        aliases.setdefault(index, {}).update(part.aliases)
            if not (part.name is None or marked or part.name in unmarked):
                continue
            for source in part.sources:
                if _holds(source, hint, facts):
                    for index in self._by_source.get(id(source), ()):
                        aliases.setdefault(index, {}).update(part.aliases + source.aliases)
        for logsource in _wider(hint):
            for index in self._by_logsource.get(logsource, ()):
                aliases.setdefault(index, {})
        groups: dict[OtherNames, list[int]] = {}
        for index in sorted(aliases):
            groups.setdefault(tuple(sorted(aliases[index].items())), []).append(index)
        return tuple(Group(dict(names), tuple(indexes)) for names, indexes in groups.items())


def _widest(sources: Sequence[Source], wanted: LogSource) -> list[Source]:
    """Return the sources inside *wanted*, without those that another of them holds already.

    So a rule for service security reads 4688 as it is logged, and only a rule for the category
    process_creation reads it under Sysmon's names.
    """
    inside = [source for source in sources if source.logsource.within(wanted)]
    return [
        source
        for source in inside
        if not any(
            not other.hinted
            and other.logsource != source.logsource
            and other.logsource.product == source.logsource.product
            and source.logsource.within(other.logsource)
            for other in inside
        )
    ]


def _wider(hint: LogSource) -> Iterator[LogSource]:
    """Yield the logsources of rules that an event with *hint* belongs to: any part may be open."""
    choices = (
        (part, None) if part else (None,) for part in (hint.product, hint.category, hint.service)
    )
    for parts in combinations(*choices):
        if any(parts):
            yield LogSource(*parts)


def _holds(source: Source, hint: LogSource, facts: Mapping[str, str | None]) -> bool:
    if source.hinted:
        return hint.category == source.logsource.category
    service = source.logsource.service
    named = service is None or hint.service == service
    seen = bool(source.by_service) and _agree(source.by_service, facts)
    return (named or seen) and _agree(source.when, facts)


def _agree(conditions: Conditions, facts: Mapping[str, str | None]) -> bool:
    return all(facts[name] in accepted for name, accepted in conditions)


def _facts(routing: Routing) -> tuple[tuple[str, tuple[str, ...], frozenset[str]], ...]:
    """Return the fields that any condition asks for, their other names, and the values known."""
    known: dict[str, set[str]] = {}
    names: dict[str, tuple[str, ...]] = {}
    for part in routing.products:
        for source in part.sources:
            for name, accepted in source.by_service + source.when:
                known.setdefault(name, set()).update(accepted)
                names[name] = (name, *dict(part.aliases).get(name, ()))
    return tuple((name, names[name], frozenset(values)) for name, values in known.items())


def _fact(fields: Mapping[str, Any], names: Sequence[str], known: frozenset[str]) -> str | None:
    for name in names:
        if name in fields:
            for text in texts_of(fields[name]):
                if (folded := fold(text)) in known:
                    return folded
            return None
    return None

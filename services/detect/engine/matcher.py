"""The fast matcher: routes an event once, asks the rules of its route together, proves the rest."""

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

from services.detect.engine.bucket import Bucket, Learned, Run, at_once
from services.detect.engine.clauses import Clause, necessary
from services.detect.engine.memo import Memo
from services.detect.engine.switch import Switch, switch_of
from services.detect.rules.evaluate import check
from services.detect.rules.fields import Aliases, View
from services.detect.rules.match import UNKNOWN, Event, Match
from services.detect.rules.model import LogSource, Rule
from services.detect.rules.routing import Group, Router, Routing
from services.detect.rules.routing_table import default_routing

__all__ = ["FastMatcher"]

_ABSENT: Any = object()
_ABSENTS = repeat(_ABSENT)
_Plan = tuple[tuple[Group, Bucket], ...]
_Example = tuple[dict[str, Any], LogSource]
_MAX_EXAMPLES, _MAX_EXAMPLE_TEXT = 1_024, 256
_ALIKE = 0.5  # of two routes' rules, to be one and the same route


class FastMatcher:
    """Gives what the plain matcher gives (tests hold it to that), some hundred times faster."""

    def __init__(
        self,
        rules: Sequence[Rule],
        routing: Routing | None = None,
        *,
        after: "FastMatcher | None" = None,
        run: Run = at_once,
    ) -> None:
        """Take *rules*, and what the matcher *after* which these are in force has learned.

        What that one had to make ready for its events is made ready here, too; where a route's
        rules are the same objects, it is the same bucket. *run* makes lookups anew when more was
        learned: elsewhere, if events should not wait for it.
        """
        self._rules = tuple(rules)
        self._run = run
        self._router = Router(self._rules, routing or default_routing())
        # Marks whose values are asked for besides are not looked for; few events have the others.
        self._seldom = tuple(m for m in self._router.marks if m not in self._router.columns)
        self._often = tuple(m for m in self._router.marks if m in self._router.columns)
        self._checks: list[Callable[[View], bool] | None] = [None] * len(self._rules)
        self._clauses: dict[int, list[Clause]] = {}
        self._buckets: dict[tuple[Any, ...], tuple[Group, Bucket]] = {}
        self._switches: dict[tuple[Any, ...], Switch | None] = {}
        self._asked: Memo[Any, tuple[str, ...]] = Memo(1_024, 1 << 20, 512)
        self._plans: Memo[Any, _Plan] = Memo(4_096, 1 << 20, 512)
        self._examples: dict[tuple[Any, ...], _Example] = {}
        self._before = after.learned() if after else ()
        self._same: dict[Any, Bucket] = {}
        self._same_switches: dict[Any, Switch | None] = {}
        if after is not None:
            self._follow(after)

    @property
    def unrouted(self) -> tuple[Rule, ...]:
        """Return the rules that no source of the table feeds: only an envelope can reach them."""
        return self._router.unrouted

    def match(self, event: Event) -> Sequence[Match]:
        """Return a match for every rule that *event* fulfils, in the order of the rules."""
        fields = event.fields
        if not isinstance(fields, dict):
            return []
        found: list[tuple[int, View]] = []
        for group, bucket in self._plan(fields, event.logsource):
            if bucket.sample is not None:
                bucket.learn(fields)
            bits = bucket.lookup.candidates(fields, event.text)
            if bits:
                self._prove(bits, group, fields, found)
        if not found:
            return []
        found.sort(key=lambda hit: hit[0])
        return [Match(self._rules[index], view) for index, view in found]

    def learned(self) -> tuple[tuple[frozenset[str], Aliases, Learned], ...]:
        """Return what events told: (ids of a route's rules, other names of its fields, that)."""
        return tuple(
            (frozenset(self._rules[index].id for index in group.rules), group.aliases, found)
            for group, bucket in list(self._buckets.values())
            if (found := bucket.learned) is not None
        )

    def _follow(self, before: "FastMatcher") -> None:
        """Make ready what *before* had ready; what no change of rules touched is taken over."""
        places = {rule: place for place, rule in enumerate(before._rules)}
        for index, rule in enumerate(self._rules):
            if (place := places.get(rule)) is not None:
                self._checks[index] = before._checks[place]
                if place in before._clauses:
                    self._clauses[index] = before._clauses[place]
        # Copies: that matcher goes on learning of routes while this one is being made.
        for group, bucket in list(before._buckets.values()):
            self._same[_content(before._rules, _key(group))] = bucket
        for key, switch in list(before._switches.items()):
            self._same_switches[_content(before._rules, key)] = switch
        for fields, hint in list(before._examples.values()):
            self._plan(fields, hint)
        self._same.clear()
        self._same_switches.clear()

    def _prove(
        self, bits: int, group: Group, fields: Mapping[str, Any], found: list[tuple[int, View]]
    ) -> None:
        view = View(fields, group.aliases)
        checks = self._checks
        while bits:
            low = bits & -bits
            bits ^= low
            index = group.rules[low.bit_length() - 1]
            holds = checks[index]
            if holds is None:
                holds = checks[index] = check(self._rules[index].condition)
            if holds(view):
                found.append((index, view))

    def _plan(self, fields: Mapping[str, Any], hint: LogSource | Mapping[str, Any]) -> _Plan:
        if not hint or hint is UNKNOWN:
            said: Any = self._marks(fields)
        elif isinstance(hint, LogSource):
            said = hint
        else:
            said = (hint.get("product"), hint.get("category"), hint.get("service"))
        try:
            columns = self._asked.get(said)
            if columns is None:
                return self._made(fields, hint, said)
            raw = tuple(map(fields.get, columns, _ABSENTS))
            key = (said, *raw, *map(type, raw))
            plan = self._plans.get(key)
        except TypeError:  # an object or array, not to be kept
            return self._made(fields, hint, None)
        if plan is None:
            plan = self._made(fields, hint, said)
            if self._asked.get(said) is columns:
                size = sum(len(value) if type(value) is str else 8 for value in raw)
                self._plans.keep(key, plan, size)
        return plan

    def _made(
        self, fields: Mapping[str, Any], hint: LogSource | Mapping[str, Any], said: Any
    ) -> _Plan:
        if not isinstance(hint, LogSource):
            hint = LogSource.of(hint) if hint else UNKNOWN
        # What says nothing is known by its marks, so it must not be kept under its hint.
        keep = said is not None and (hint != UNKNOWN or said == self._marks(fields))
        plan: list[tuple[Group, Bucket]] = []
        columns = [*self._often, *self._router.asked(fields, hint)] if keep else []
        for group in self._router.route(fields, hint):
            switch = self._switch(group)
            if switch is None:
                part = group
            else:
                columns.append(switch.field)
                part = Group(group.aliases, tuple(group.rules[i] for i in switch.rules(fields)))
            if part.rules:
                plan.append((part, self._bucket(part)))
        if keep:
            self._remember(plan, fields, hint, (*self._router.marks, *columns))
            known = self._asked.get(said, ())
            if not set(columns) <= set(known):
                names = tuple(dict.fromkeys((*known, *columns)))
                self._asked.keep(said, names, 64)
        return tuple(plan)

    def _remember(
        self, plan: list[tuple[Group, Bucket]], fields: Mapping[str, Any], hint: LogSource,
        names: Sequence[str],
    ) -> None:  # fmt: skip
        """Keep what of an event leads to *plan*, for the rules that come after these."""
        key = tuple(id(bucket) for _, bucket in plan)
        if key in self._examples or len(self._examples) >= _MAX_EXAMPLES:
            return
        values = {name: fields[name] for name in names if name in fields}
        if all(len(str(value)) <= _MAX_EXAMPLE_TEXT for value in values.values()):
            self._examples[key] = values, hint

    def _marks(self, fields: Mapping[str, Any]) -> tuple[bool, ...]:
        if fields.keys().isdisjoint(self._seldom):
            return ()
        return tuple(map(fields.__contains__, self._seldom))

    def _switch(self, group: Group) -> Switch | None:
        key = _key(group)
        if key not in self._switches:
            same = _content(self._rules, key) if self._same_switches else None
            if same in self._same_switches:
                self._switches[key] = self._same_switches[same]
            else:
                clauses = [self._necessary(index) for index in group.rules]
                self._switches[key] = switch_of(clauses, group.aliases)
        return self._switches[key]

    def _bucket(self, group: Group) -> Bucket:
        key = _key(group)
        if key not in self._buckets:
            bucket = self._same.get(_content(self._rules, key)) if self._same else None
            if bucket is None:
                rules = [(self._rules[i].condition, self._necessary(i)) for i in group.rules]
                bucket = Bucket(rules, group.aliases, self._known_of(group), self._run)
            self._buckets[key] = group, bucket
        return self._buckets[key][1]

    def _known_of(self, group: Group) -> Learned | None:
        ids = frozenset(self._rules[index].id for index in group.rules)
        best, found = _ALIKE, None
        for theirs, aliases, learned in self._before:
            alike = len(ids & theirs) / len(ids | theirs)
            if alike >= best and aliases == group.aliases:
                best, found = alike, learned
        return found

    def _necessary(self, index: int) -> list[Clause]:
        if index not in self._clauses:
            self._clauses[index] = necessary(self._rules[index].condition)
        return self._clauses[index]


def _key(group: Group) -> tuple[Any, ...]:
    return group.rules, tuple(sorted(group.aliases.items()))


def _content(rules: Sequence[Rule], key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return *key* with the rules themselves, in their order: what a bucket is made of."""
    return tuple(rules[index] for index in key[0]), key[1]

"""The plain matcher: every rule that may see an event is asked; what faster ones are held to."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from .evaluate import check
from .explain import Leaf, leaves, reasons
from .fields import View
from .model import LogSource, Rule
from .routing import Router, Routing
from .routing_table import default_routing

UNKNOWN = LogSource()


class Event(NamedTuple):
    """A decoded event, and the log its envelope says it came from (no part is known: {}).

    *text* is the JSON that it was decoded from, where that is at hand: it saves work.
    """

    fields: Mapping[str, Any]
    logsource: LogSource | Mapping[str, Any] = UNKNOWN
    text: bytes | None = None


class Match:
    """A rule that an event fulfils; why it does is worked out when it is asked for."""

    __slots__ = ("_leaves", "_view", "rule")

    def __init__(self, rule: Rule, view: View) -> None:
        self.rule = rule
        self._view = view
        self._leaves: tuple[Leaf, ...] | None = None

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Return the leaves of the rule that made it hold."""
        if self._leaves is None:
            self._leaves = leaves(self.rule, self._view)
        return self._leaves

    def values(self, field: str) -> tuple[Any, ...] | None:
        """Return the event's values of *field* as the rule reads it, None where it is absent."""
        return self._view.values[field]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Match):
            return NotImplemented
        return self.rule is other.rule and self.leaves == other.leaves

    __hash__ = None  # type: ignore[assignment]  # equal by what the event holds

    def reasons(self) -> list[dict[str, Any]]:
        """Return [{selection, field, op, pattern, value}], ready for JSON."""
        return reasons(self.leaves)


class Matcher(Protocol):
    """Rules in force, asked about one event at a time; never fails, whatever the event."""

    def match(self, event: Event) -> Sequence[Match]:
        """Return a match for every rule that *event* fulfils, in the order of the rules."""


class PlainMatcher:
    """Evaluates each routed rule on its own."""

    def __init__(self, rules: Sequence[Rule], routing: Routing | None = None) -> None:
        self._rules = tuple(rules)
        self._checks = tuple(check(rule.condition) for rule in self._rules)
        self._router = Router(self._rules, routing or default_routing())

    @property
    def unrouted(self) -> tuple[Rule, ...]:
        """Return the rules that no source of the table feeds: only an envelope can reach them."""
        return self._router.unrouted

    def match(self, event: Event) -> Sequence[Match]:
        """Return a match for every rule that *event* fulfils, in the order of the rules."""
        fields = event.fields
        # Envelopes come off the wire: what is no JSON object has no fields to ask for.
        if not isinstance(fields, dict):
            return []
        hint = event.logsource
        if not isinstance(hint, LogSource):
            hint = LogSource.of(hint) if hint else UNKNOWN
        found: list[tuple[int, View]] = []
        for group in self._router.route(fields, hint):
            view = View(fields, group.aliases)
            found.extend((index, view) for index in group.rules if self._checks[index](view))
        found.sort(key=lambda hit: hit[0])
        return [Match(self._rules[index], view) for index, view in found]

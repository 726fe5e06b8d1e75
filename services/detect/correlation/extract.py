"""An event that fulfils a detection rule, as correlations see it: what they group and count."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, product
from uuid import UUID

from services.detect.correlation.firing import SEPARATOR, Matched
from services.detect.correlation.plan import Plan
from services.detect.rules.explain import Leaf, leaves
from services.detect.rules.fields import View, texts_of
from services.detect.rules.match import UNKNOWN, Event
from services.detect.rules.model import LogSource, Rule
from services.detect.rules.routing import Router, Routing
from services.detect.rules.routing_table import default_routing
from shared.clock import parse_instant
from shared.contracts.ingest import Envelope

__all__ = ["Extractor", "event_time", "instant_of", "microseconds", "reference", "referenced"]

MAX_TEXT = 512
MAX_COMBINATIONS = 16
AHEAD = timedelta(minutes=5)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Extractor:
    """Reads the fields that a plan needs, under the names that each rule's route knows."""

    def __init__(self, plan: Plan, rules: Sequence[Rule], routing: Routing | None = None) -> None:
        self.plan = plan
        self._rules = tuple(rule for rule in rules if rule.id in plan.needed)
        self._index = {rule.id: index for index, rule in enumerate(self._rules)}
        self._router = Router(self._rules, routing or default_routing())
        self._families: dict[str, tuple[str, ...]] = {
            rule_id: tuple(
                dict.fromkeys(plan.steps[feed.step].family for feed in plan.feeds[rule_id])
            )
            for rule_id in plan.needed
        }

    def matches(
        self, rule_id: str, event: Event, envelope: Envelope, ref: int
    ) -> Iterator[Matched]:
        """Yield what *event*, which fulfils *rule_id*, gives to correlations; often nothing.

        A field with several values (an array) gives one match each, as any of them may be meant.
        """
        needed = self.plan.needed.get(rule_id)
        if needed is None:
            return
        view = self._view(rule_id, event)
        present: dict[str, tuple[str, ...]] = {}
        for name in needed:
            found = tuple(
                text[:MAX_TEXT].replace(SEPARATOR, " ")
                for value in view.values[name] or ()
                for text in texts_of(value)[:1]
            )
            if found:
                present[name] = tuple(dict.fromkeys(found))
        identity = UUID(envelope["id"]).bytes
        time = microseconds(event_time(envelope))
        combinations = islice(product(*present.values()), MAX_COMBINATIONS)
        for values in combinations:
            fields = dict(zip(present, values, strict=True))
            for family in self._families[rule_id]:
                yield Matched(rule_id, identity, time, fields, ref, family)

    def reasons(self, rule_id: str, event: Event) -> tuple[Leaf, ...]:
        """Return why *rule_id* holds for *event*."""
        index = self._index.get(rule_id)
        return () if index is None else leaves(self._rules[index], self._view(rule_id, event))

    def _view(self, rule_id: str, event: Event) -> View:
        index = self._index[rule_id]
        hint = event.logsource
        if not isinstance(hint, LogSource):
            hint = LogSource.of(hint) if hint else UNKNOWN
        aliases: Mapping[str, Sequence[str]] = {}
        for group in self._router.route(event.fields, hint):
            if index in group.rules:
                aliases = group.aliases
        return View(event.fields, aliases)


def event_time(envelope: Envelope) -> datetime:
    """Return when the event happened: as it claims, unless that lies ahead of when it came."""
    observed = parse_instant(envelope["observed_time"])
    claimed = envelope.get("time")
    if not claimed:
        return observed
    when = parse_instant(claimed)
    return observed if when > observed + AHEAD else when


def microseconds(instant: datetime) -> int:
    """Return *instant* as the engine counts time."""
    return (instant - _EPOCH) // _MICROSECOND


def instant_of(time: int) -> datetime:
    """Return the instant that the engine calls *time*."""
    return _EPOCH + timedelta(microseconds=time)


def reference(stream_seq: int, index: int) -> int:
    """Return where event *index* of the message with *stream_seq* can be read again."""
    return stream_seq << 10 | index


def referenced(ref: int) -> tuple[int, int]:
    """Return the message's stream sequence and the event's index that *ref* stands for."""
    return ref >> 10, ref & 0x3FF

"""Correlation rules on a table of events: seconds, rule, fields."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from services.detect.correlation.engine import Engine
from services.detect.correlation.firing import Firing, Matched, Outcome
from services.detect.correlation.model import SECOND, Correlation
from services.detect.correlation.plan import Plan, make_plan
from services.detect.rules.model import Rule, RuleError
from services.detect.rules.parse import parse_rules
from shared.ids import derived_id

EPOCH = 1_700_000_000 * SECOND
HOUR = 3600 * SECOND


def base(*names: str) -> str:
    """Return detection rules called *names*."""
    return "\n---\n".join(
        f"title: rule {name}\nname: {name}\nid: {derived_id('test-rule', name)}\n"
        f"logsource: {{product: test}}\ndetection:\n  s: {{kind: {name}}}\n  condition: s"
        for name in names
    )


def correlation(body: str, *, title: str = "a correlation", head: str = "") -> str:
    """Return a correlation document; *body* are the lines under `correlation`."""
    lines = "\n".join(f"  {line}" for line in body.strip("\n").split("\n"))
    return f"title: {title}\n{head}correlation:\n{lines}\n"


def plan_of(*documents: str) -> Plan:
    """Return the plan of *documents*; they must all be good."""
    found = list(parse_rules("\n---\n".join(documents), "r.yml"))
    errors = [item for item in found if isinstance(item, RuleError)]
    assert not errors, [str(error) for error in errors]
    return make_plan(
        [item for item in found if isinstance(item, Rule)],
        [item for item in found if isinstance(item, Correlation)],
    )


def refused(*documents: str) -> str:
    """Return why one of *documents* is refused: `file:line: reason`."""
    found = list(parse_rules("\n---\n".join(documents), "r.yml"))
    errors = [str(item) for item in found if isinstance(item, RuleError)]
    if not errors:
        rules = [item for item in found if isinstance(item, Rule)]
        errors = [
            str(error)
            for error in make_plan(rules, [i for i in found if isinstance(i, Correlation)]).errors
        ]
    assert errors, "nothing was refused"
    return errors[0]


def matched(
    plan: Plan, second: float, rule: str, fields: Mapping[str, Any], event: object = None
) -> Matched:
    """Return the match of *rule* (its name) at *second*."""
    identity = derived_id("test-event", second, (rule, fields) if event is None else event)
    texts = {name: str(value) for name, value in fields.items() if value is not None}
    rule_id = str(derived_id("test-rule", rule))
    assert rule_id in plan.feeds, rule
    return Matched(rule_id, identity.bytes, EPOCH + int(second * SECOND), texts)


def run(plan: Plan, events: Iterable[Matched], **options: Any) -> Outcome:
    """Return what *events*, all given at once, lead to in the end."""
    engine = Engine(plan, **options)
    engine.feed(events, EPOCH)
    return engine.finish()


def fire(plan: Plan, *events: tuple[Any, ...]) -> list[Firing]:
    """Return the firings of *events*: (second, rule, fields)."""
    return run(plan, [matched(plan, *event) for event in events]).firings


def seconds(firing: Firing) -> tuple[float, float]:
    """Return when the evidence of *firing* began and ended, in the table's seconds."""
    return (firing.start - EPOCH) / SECOND, (firing.end - EPOCH) / SECOND


def ids(firings: Iterable[Firing]) -> list[UUID]:
    """Return the ids of the detections that *firings* are."""
    return sorted(firing.detection_id for firing in firings)

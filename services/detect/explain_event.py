"""Whether a rule fires on an event, and if not, what was in its way (`POST /v1/explain`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.detect.correlation.plan import Plan
from services.detect.rules.evaluate import check
from services.detect.rules.explain import leaves, reasons
from services.detect.rules.fields import View
from services.detect.rules.model import LogSource, Rule
from services.detect.rules.routing import Router
from services.detect.rules.routing_table import default_routing
from services.detect.rules.why_not import asked
from services.detect.shapes.shapes import shaped

__all__ = ["explain", "explain_correlation"]


def explain(rule: Rule, fields: Mapping[str, Any], logsource: LogSource) -> dict[str, Any]:
    """Return whether *rule* fires on the event, why, or every leaf with what was in its way.

    An event of another log is told apart (``routed``): there the rule is never asked. Its leaves
    are shown all the same, under the field names as they are.
    """
    event = shaped(fields, logsource)
    fields, known = event.fields, event.logsource
    hint = known if isinstance(known, LogSource) else LogSource.of(known)
    groups = Router([rule], default_routing()).route(fields, hint)
    routed = bool(groups)
    view = View(fields, groups[0].aliases if groups else {})
    holds = check(rule.condition)(view)
    fires = routed and holds
    answer: dict[str, Any] = {
        "rule_id": rule.id,
        "title": rule.title,
        "version": rule.version,
        "fires": fires,
        "routed": routed,
        "reasons": reasons(leaves(rule, view)) if fires else [],
        "leaves": [
            {
                "selection": leaf.selection,
                "field": leaf.field or None,
                "op": leaf.op,
                "pattern": leaf.pattern,
                "value": leaf.value,
                "held": leaf.held,
                "cause": leaf.cause or None,
                "negated": leaf.negated,
            }
            for leaf in asked(rule, view)
        ],
    }
    if not routed:
        wanted = rule.logsource
        parts = {"product": wanted.product, "category": wanted.category, "service": wanted.service}
        answer["wanted_logsource"] = {name: part for name, part in parts.items() if part}
    return answer


def explain_correlation(
    plan: Plan, rule_id: str, rules: Sequence[Rule], fields: Mapping[str, Any], logsource: LogSource
) -> dict[str, Any]:
    """Return what the event is to the rules that a correlation rests on; one event fires none."""
    steps = {step.rule.id: step for step in plan.steps}
    by_id = {rule.id: rule for rule in rules}
    pending, members = [rule_id], []
    while pending:
        for member in steps[pending.pop()].members:
            if member in steps:
                pending.append(member)
            elif member in by_id:
                members.append(explain(by_id[member], fields, logsource))
    step = steps[rule_id]
    return {
        "rule_id": rule_id,
        "title": step.rule.title,
        "version": step.rule.version,
        "fires": False,
        "counts": any(member["fires"] for member in members),
        "group_by": list(step.rule.group_by),
        "timespan_seconds": step.rule.timespan // 1_000_000,
        "condition": step.rule.condition.shown if step.rule.condition else step.rule.words or None,
        "members": members,
    }

"""Filters put on the rules they name: a narrowed rule is a rule like any other, of its own version.

Sigma 2.1, filters specification, read as its prose says: rule and filter must both hold.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from .model import AllOf, AtLeast, Filter, Item, Node, Not, Rule, RuleError, Selection

__all__ = ["apply_filters"]


def apply_filters(
    rules: Sequence[Rule], correlations: Sequence[str], filters: Sequence[Filter]
) -> tuple[tuple[Rule, ...], tuple[RuleError, ...]]:
    """Return *rules*, narrowed, and why some filters narrow none of them.

    *correlations*: ids and names of the correlation rules, which no filter can name. A filter is
    in force as a whole or not at all; one that finds none of its rules is `unsupported`, as rules
    come and go, one that names what it cannot narrow is an error.
    """
    chosen: dict[str, list[Filter]] = {}
    refused: list[RuleError] = []
    for each in filters:
        try:
            targets = _targets(each, rules, correlations)
        except LookupError as error:
            refused.append(RuleError(each.path, each.line, str(error.args[0])))
            continue
        if not targets:
            reason = "a filter of rules none of which is in force"
            refused.append(RuleError(each.path, each.line, reason, unsupported=True))
        for rule in targets:
            chosen.setdefault(rule.id, []).append(each)
    narrowed = (_narrowed(rule, chosen[rule.id]) if rule.id in chosen else rule for rule in rules)
    return tuple(narrowed), tuple(refused)


def _targets(each: Filter, rules: Sequence[Rule], correlations: Sequence[str]) -> list[Rule]:
    if each.rules is None:
        return [rule for rule in rules if rule.logsource.within(each.logsource)]
    wanted = {name.lower() for name in each.rules}
    barred = wanted & {name.lower() for name in correlations}
    if barred:
        raise LookupError(f"{min(barred)} is a correlation rule; a filter narrows plain rules")
    named = [
        rule for rule in rules if rule.id in wanted or (rule.name or rule.id).lower() in wanted
    ]
    for rule in named:
        if not rule.logsource.within(each.logsource):
            raise LookupError(f"rule {rule.id} is not of the filter's logsource")
    return named


def _narrowed(rule: Rule, filters: Sequence[Filter]) -> Rule:
    versions = "\n".join([rule.version, *(each.version for each in filters)])
    return replace(
        rule,
        condition=AllOf((rule.condition, *(_apart(each.condition, each) for each in filters))),
        version=hashlib.sha256(versions.encode()).hexdigest(),
    )


def _apart(node: Node, of: Filter) -> Node:
    """Return *node* with its selections named as the filter's, apart from the rule's own."""
    match node:
        case Selection(name=name, node=inner):
            return Selection(f"{of.title}: {name}", inner)
        case Not(node=inner):
            return Not(_apart(inner, of))
        case AllOf(nodes=nodes):
            return AllOf(tuple(_apart(inner, of) for inner in nodes))
        case AtLeast(count=count, nodes=nodes):
            return AtLeast(count, tuple(_apart(inner, of) for inner in nodes))
        case Item():
            return node

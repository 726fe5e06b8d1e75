"""The text of a proposal: one rule, or one correlation together with the rules it rests on."""

from dataclasses import dataclass

from services.detect.correlation.model import Correlation
from services.detect.correlation.plan import Plan, make_plan
from services.detect.rules.model import Filter, Rule, RuleError
from services.detect.rules.parse import parse_rules

__all__ = ["ProposalText", "ProposalTextError", "read_proposal"]

MAX_DOCUMENTS = 100


class ProposalTextError(Exception):
    """The text is no rule that could come into force."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ProposalText:
    """What a proposal's text says: *rule_id* is its one rule, or its outermost correlation."""

    rule_id: str
    title: str
    rules: tuple[Rule, ...]
    plan: Plan


def read_proposal(text: str) -> ProposalText:
    """Return what *text* says; ProposalTextError with line and reason where it cannot be meant."""
    found: list[Rule | Correlation] = []
    for item in parse_rules(text, "proposal"):
        if isinstance(item, RuleError):
            raise ProposalTextError(item.line, item.reason)
        if isinstance(item, Filter):
            raise ProposalTextError(
                item.line, "a filter lies in a rule file; propose the rule's own text, narrowed"
            )
        found.append(item)
        if len(found) > MAX_DOCUMENTS:
            raise ProposalTextError(item.line, f"more than {MAX_DOCUMENTS} rules")
    rules = tuple(item for item in found if isinstance(item, Rule))
    plan = make_plan(rules, [item for item in found if isinstance(item, Correlation)])
    if plan.errors:
        raise ProposalTextError(plan.errors[0].line, plan.errors[0].reason)
    named = {member for step in plan.steps for member in step.members}
    tops = [item for item in found if item.id not in named]
    if len(tops) != 1:
        raise ProposalTextError(
            1, f"one rule, or one correlation with what it counts, is needed; found {len(tops)}"
        )
    return ProposalText(tops[0].id, tops[0].title, rules, plan)

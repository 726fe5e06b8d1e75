"""The text of a proposal: one rule, one correlation with what it counts, or one filter."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.detect.correlation.model import Correlation
from services.detect.correlation.plan import NO_PLAN, Plan, make_plan
from services.detect.rules.filters import apply_filters
from services.detect.rules.load import LoadReport
from services.detect.rules.model import Filter, Rule, RuleError
from services.detect.rules.parse import parse_rules
from services.detect.rules.values import Placeholders

__all__ = ["ProposalText", "ProposalTextError", "fit", "read_proposal"]

MAX_DOCUMENTS = 100


class ProposalTextError(Exception):
    """The text is no rule that could come into force."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ProposalText:
    """What a proposal's text says: *rule_id* is its one rule, outermost correlation or filter."""

    rule_id: str
    title: str
    rules: tuple[Rule, ...]
    plan: Plan
    filter: Filter | None = None


def read_proposal(text: str, placeholders: Placeholders | None = None) -> ProposalText:
    """Return what *text* says; ProposalTextError with line and reason where it cannot be meant."""
    found: list[Rule | Correlation | Filter] = []
    for item in parse_rules(text, "proposal", placeholders):
        if isinstance(item, RuleError):
            raise ProposalTextError(item.line, item.reason)
        found.append(item)
        if len(found) > MAX_DOCUMENTS:
            raise ProposalTextError(item.line, f"more than {MAX_DOCUMENTS} rules")
    for item in found:
        if isinstance(item, Filter):
            if len(found) > 1:
                raise ProposalTextError(item.line, "a filter is proposed by itself")
            return ProposalText(item.id, item.title, (), NO_PLAN, item)
    return _rules(found)


def fit(proposal: ProposalText, report: LoadReport) -> None:
    """Return if *proposal* could come into force beside the rules of *report*.

    ProposalTextError where a filter would narrow none of them, names what no filter narrows, or
    bears the id of a rule; or a rule that of a filter.
    """
    filters = {each.id for each in report.filters}
    others = {rule.id for rule in report.whole} | {each.id for each in report.correlations}
    proposed = proposal.filter
    if proposed is None:
        if proposal.rule_id in filters:
            raise ProposalTextError(1, f"id {proposal.rule_id} is that of a filter")
        return
    if proposed.id in others:
        raise ProposalTextError(proposed.line, f"id {proposed.id} is that of a rule")
    names = [name for each in report.correlations for name in (each.id, each.name) if name]
    _, refused = apply_filters(report.whole, names, [proposed])
    for error in refused:
        raise ProposalTextError(error.line, error.reason)


def _rules(found: Sequence[Rule | Correlation | Filter]) -> ProposalText:
    rules = tuple(item for item in found if isinstance(item, Rule))
    plan = make_plan(rules, [item for item in found if isinstance(item, Correlation)])
    if plan.errors:
        raise ProposalTextError(plan.errors[0].line, plan.errors[0].reason)
    named = {member for step in plan.steps for member in step.members}
    tops = [item for item in found if item.id not in named]
    if len(tops) != 1:
        raise ProposalTextError(
            1,
            "one rule, one correlation with what it counts, or one filter is needed;"
            f" found {len(tops)}",
        )
    return ProposalText(tops[0].id, tops[0].title, rules, plan)

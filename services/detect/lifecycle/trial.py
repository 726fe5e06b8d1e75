"""A proposed text meets stored events: what it would find, or what a filter would leave out.

Pure: events in, matches out, and what is said of them at the end.
"""

from collections.abc import Iterable
from typing import Any, Protocol
from uuid import UUID

from services.detect.correlation.engine import Engine
from services.detect.correlation.extract import Extractor
from services.detect.correlation.firing import Matched
from services.detect.detection import event_of
from services.detect.engine.matcher import FastMatcher
from services.detect.lifecycle.text import ProposalText
from services.detect.rules.filters import apply_filters
from services.detect.rules.load import LoadReport
from services.detect.rules.match import PlainMatcher
from services.detect.rules.model import Filter
from shared.contracts.ingest import Envelope

__all__ = ["Trial", "trial_of"]

MAX_SAMPLES = 20


class Trial(Protocol):
    """A proposed text, ready to meet events."""

    @property
    def rule_id(self) -> str:
        """Return whose text it is."""

    def matches(self, envelopes: Iterable[Envelope]) -> list[Matched]:
        """Return what counts of *envelopes*."""

    def result(self, found: list[Matched]) -> dict[str, Any]:
        """Return what is said of the back-test: matches, and some of the events behind them."""


def trial_of(rule_id: str, proposal: ProposalText, report: LoadReport) -> Trial:
    """Return the trial of *proposal*; a filter is tried on the rules in force by *report*."""
    if proposal.filter is None:
        return _OfRules(rule_id, proposal)
    return _OfFilter(proposal.filter, report)


class _OfRules:
    """Matches of a rule, or firings of a correlation."""

    def __init__(self, rule_id: str, proposal: ProposalText) -> None:
        self.rule_id, self.proposal = rule_id, proposal
        self._matcher = PlainMatcher(proposal.rules)
        self._extractor = Extractor(proposal.plan, proposal.rules)

    def matches(self, envelopes: Iterable[Envelope]) -> list[Matched]:
        """Return what the rule itself, or what its correlation counts, finds."""
        found: list[Matched] = []
        for envelope in envelopes:
            event = event_of(envelope)
            for match in self._matcher.match(event):
                if match.rule.id == self.rule_id:
                    found.append(Matched(match.rule.id, UUID(envelope["id"]).bytes, 0, {}))
                found += self._extractor.matches(match.rule.id, event, envelope, 0)
        return found

    def result(self, found: list[Matched]) -> dict[str, Any]:
        steps = {step.rule.id for step in self.proposal.plan.steps}
        if self.rule_id not in steps:
            events = [match.event_id for match in found if match.rule_id == self.rule_id]
            return {"matches": len(events), "samples": _ids(events)}
        engine = Engine(self.proposal.plan)
        engine.feed(sorted(found, key=lambda match: match.time), 1)
        firings = [f for f in engine.finish().firings if f.step.rule.id == self.rule_id]
        events = [event.event_id for firing in firings for event in firing.evidence]
        return {"matches": len(firings), "samples": _ids(events)}


class _OfFilter:
    """Matches that a filter takes from the rules in force, and those that it leaves them.

    Filters in force narrow both sides alike, but for an earlier revision of this one.
    """

    def __init__(self, proposed: Filter, report: LoadReport) -> None:
        self.rule_id = proposed.id
        others = [each for each in report.filters if each.id != proposed.id]
        before, _ = apply_filters(report.whole, (), others)
        after, _ = apply_filters(report.whole, (), [*others, proposed])
        both = zip(before, after, strict=True)
        pairs = [(old, new) for old, new in both if old.version != new.version]
        self._before = FastMatcher([old for old, _ in pairs])
        self._after = FastMatcher([new for _, new in pairs])

    def matches(self, envelopes: Iterable[Envelope]) -> list[Matched]:
        """Return the matches of the rules it narrows; those it takes away under its own id."""
        found: list[Matched] = []
        for envelope in envelopes:
            event = event_of(envelope)
            if matched := self._before.match(event):
                left = {match.rule.id for match in self._after.match(event)}
                identity = UUID(envelope["id"]).bytes
                for match in matched:
                    counts_for = match.rule.id if match.rule.id in left else self.rule_id
                    found.append(Matched(counts_for, identity, 0, {}))
        return found

    def result(self, found: list[Matched]) -> dict[str, Any]:
        taken = [match.event_id for match in found if match.rule_id == self.rule_id]
        return {"matches": len(taken), "left": len(found) - len(taken), "samples": _ids(taken)}


def _ids(events: list[bytes]) -> list[str]:
    return [str(UUID(bytes=event)) for event in dict.fromkeys(events)][:MAX_SAMPLES]

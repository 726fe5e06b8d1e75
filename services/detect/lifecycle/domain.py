"""What may happen to a rule: pure decisions over its history (R14a, R14b)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

__all__ = [
    "Event", "Managed", "Origin", "RefusedChangeError", "Revision", "activate", "approve",
    "evolve", "finish_backtest", "fold", "propose", "reinstate", "reject", "request_backtest",
    "retire",
]  # fmt: skip

Origin = Literal["predefined", "recommendation", "lesson", "threat_intelligence"]


class RefusedChangeError(Exception):
    """The rule's state does not permit it; *unmet* lists every condition that is not met."""

    def __init__(self, *unmet: tuple[str, str]) -> None:
        super().__init__("; ".join(detail for _, detail in unmet))
        self.unmet = unmet


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a rule; *body* is plain JSON."""

    type: str
    actor: str
    at: datetime
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Revision:
    """One text of the rule, and who wants it for what reason."""

    number: int
    text: str
    title: str
    author: str
    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Managed:
    """A rule: its texts, the one in force, the one that is on its way, and how far that is."""

    rule_id: str
    version: int = 0
    revisions: tuple[Revision, ...] = ()
    active: int | None = None
    pending: int | None = None
    backtest: Mapping[str, Any] | None = None
    backtesting: str | None = None
    approved_by: str | None = None
    retired: bool = False

    @property
    def state(self) -> str:
        """Return the state that people see; of an active rule with a new text, that of the text."""
        if self.pending is not None:
            if self.approved_by:
                return "approved"
            return "backtested" if self.backtest else "proposed"
        if self.retired:
            return "retired"
        if self.active is None:
            return "rejected"
        return "active" if self.active == 1 else "tuned"

    def revision(self, number: int) -> Revision:
        """Return the revision with *number*; KeyError if there is none."""
        for revision in self.revisions:
            if revision.number == number:
                return revision
        raise KeyError(number)


def fold(rule_id: str, events: Iterable[Event]) -> Managed:
    """Return the rule that *events* lead to."""
    rule = Managed(rule_id)
    for event in events:
        rule = evolve(rule, event)
    return rule


def evolve(rule: Managed, event: Event) -> Managed:
    """Return *rule* after *event*; it never refuses, and ignores types it does not know."""
    rule = replace(rule, version=rule.version + 1)
    body = event.body
    match event.type:
        case "proposed":
            revision = Revision(
                body["revision"], body["text"], body["title"], event.actor, body["origin"],
                body["reason"],
            )  # fmt: skip
            return replace(
                rule, revisions=(*rule.revisions, revision), pending=revision.number,
                backtest=None, backtesting=None, approved_by=None,
            )  # fmt: skip
        case "backtest_requested":
            return replace(rule, backtesting=body["replay_id"])
        case "backtested":
            return replace(rule, backtest=body, backtesting=None)
        case "approved":
            return replace(rule, approved_by=event.actor)
        case "rejected":
            return replace(rule, pending=None, backtest=None, backtesting=None, approved_by=None)
        case "activated":
            return replace(
                rule, active=rule.pending, pending=None, approved_by=None, backtest=None,
                backtesting=None, retired=False,
            )  # fmt: skip
        case "retired":
            return replace(rule, retired=True)
        case "reinstated":
            return replace(rule, retired=False)
        case _:
            return rule


def propose(
    rule: Managed, text: str, title: str, origin: Origin, reason: str, actor: str, now: datetime,
    causes: Mapping[str, Any] | None = None,
) -> Event:  # fmt: skip
    """Return the event that a new text is proposed."""
    if rule.pending is not None:
        raise RefusedChangeError(("pending", f"Revision {rule.pending} is still to be decided."))
    if rule.active is not None and rule.revision(rule.active).text == text and not rule.retired:
        raise RefusedChangeError(("unchanged", "The rule in force has this very text."))
    number = len(rule.revisions) + 1
    body = {"revision": number, "text": text, "title": title, "origin": origin, "reason": reason}
    return Event("proposed", actor, now, {**body, **(causes or {})})


def request_backtest(
    rule: Managed, replay_id: str, period: Mapping[str, Any], actor: str, now: datetime
) -> Event:
    """Return the event that the pending text is to be tried on stored events."""
    _pending(rule)
    return Event("backtest_requested", actor, now, {"replay_id": replay_id, **period})


def finish_backtest(
    rule: Managed, replay_id: str, result: Mapping[str, Any], now: datetime
) -> Event | None:
    """Return the event that the back-test gave *result*; None if it is not awaited any more."""
    if rule.backtesting != replay_id:
        return None
    return Event("backtested", "detect", now, {"replay_id": replay_id, **result})


def approve(
    rule: Managed, revision: int, actor: str, now: datetime, without_backtest: str | None
) -> Event:
    """Return the event that the pending text may come into force."""
    pending = _pending(rule)
    unmet = []
    if pending.number != revision:
        unmet.append(("stale", f"Revision {pending.number} is pending, not {revision}."))
    if pending.author == actor:
        unmet.append(("own_rule", "Whoever proposed a rule cannot approve it (§7)."))
    if rule.backtest is None and not without_backtest:
        unmet.append(("not_backtested", "The revision has not been back-tested."))
    if rule.approved_by:
        unmet.append(("approved", f"{rule.approved_by} approved it already."))
    if unmet:
        raise RefusedChangeError(*unmet)
    return Event(
        "approved", actor, now, {"revision": revision, "without_backtest": without_backtest}
    )


def reject(rule: Managed, revision: int, reason: str, actor: str, now: datetime) -> Event:
    """Return the event that the pending text will not come into force."""
    pending = _pending(rule)
    if pending.number != revision:
        raise RefusedChangeError(
            ("stale", f"Revision {pending.number} is pending, not {revision}.")
        )
    return Event("rejected", actor, now, {"revision": revision, "reason": reason})


def activate(rule: Managed, actor: str, now: datetime) -> Event:
    """Return the event that the approved text is in force."""
    pending = _pending(rule)
    if rule.approved_by is None:
        raise RefusedChangeError(("not_approved", "The revision has not been approved."))
    return Event("activated", actor, now, {"revision": pending.number})


def retire(rule: Managed, in_force: bool, reason: str, actor: str, now: datetime) -> Event:
    """Return the event that the rule is in force no more; rules of files can be retired too."""
    if rule.retired or not in_force:
        raise RefusedChangeError(("not_in_force", "The rule is not in force."))
    return Event("retired", actor, now, {"reason": reason})


def reinstate(rule: Managed, reason: str, actor: str, now: datetime) -> Event:
    """Return the event that a retired rule is in force again, as it was."""
    if not rule.retired:
        raise RefusedChangeError(("not_retired", "The rule is not retired."))
    return Event("reinstated", actor, now, {"reason": reason})


def _pending(rule: Managed) -> Revision:
    if rule.pending is None:
        raise RefusedChangeError(("nothing_pending", "No revision of this rule is pending."))
    return rule.revision(rule.pending)

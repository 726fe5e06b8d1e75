"""A support case as a pure decider: what may be done with it, and what that makes of it (R15).

What the customer sees are status words and the messages of incident communications; everything
else stays inside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

__all__ = [
    "MOST_ATTACHMENTS", "MOST_MESSAGES", "Acknowledge", "Action", "Attach", "Case", "Event",
    "Follow", "Note", "Outcome", "RefusedError", "Remind", "Reply", "Say", "Status", "Triage",
    "decide", "evolve", "status_word",
]  # fmt: skip

MOST_ATTACHMENTS = 10
MOST_MESSAGES = 500  # of all kinds: a case is a conversation, not a channel


class Status(StrEnum):
    """Where a case stands."""

    OPEN = "open"
    NEED_INFO = "need_info"
    ESCALATED = "escalated"
    CLOSED = "closed"


class Outcome(StrEnum):
    """What triage says."""

    ESCALATE = "escalate"
    CUSTOMER_REALM = "customer_realm"
    NOT_SECURITY = "not_security"
    NEED_INFO = "need_info"


class RefusedError(Exception):
    """The case does not permit it; ``code`` is stable, the message a sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of a case; ``acknowledge_by`` is None while nobody is waited for."""

    id: UUID
    reference: str
    source_kind: str
    tenant: str | None
    title: str
    statement: str
    opened_by: str
    opened_at: datetime
    team: str
    assignee: str | None = None
    observed_at: datetime | None = None
    services: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    status: Status = Status.OPEN
    outcome: Outcome | None = None
    acknowledge_by: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    reminders: int = 0
    attachments: int = 0
    incident_id: UUID | None = None
    incident_number: str | None = None
    incident_over: bool = False
    events: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the case's log; ``public``: the customer sees it."""

    kind: str
    at: datetime
    actor: str
    text: str = ""
    public: bool = False
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """Somebody of incident communications has it now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remind:
    """Nobody acknowledged in time: *team* is paged, until *again* passes too (None: no more)."""

    team: str
    again: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Triage:
    """The verdict, with the words for the customer; ``incident_id`` when it escalates."""

    outcome: Outcome
    message: str
    incident_id: UUID | None = None
    services: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """A message of incident communications to the customer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The customer adds something; *patience*: how long an acknowledgement may take again."""

    text: str
    patience: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note that stays inside."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """A file was kept under its digest."""

    digest: str
    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """The incident was opened (its number is known) or is over."""

    number: str
    over: bool


Action = Acknowledge | Remind | Triage | Say | Reply | Note | Attach | Follow


def decide(case: Case, action: Action, actor: str, now: datetime) -> Sequence[Event]:
    """Return what *action* causes; nothing, if it is already so. RefusedError if it may not be."""
    data: dict[str, Any] = {}
    match action:
        case Acknowledge():
            if case.acknowledged_at is not None and case.acknowledge_by is None:
                return []
            _need_running(case)
            return [Event(kind="acknowledged", at=now, actor=actor, public=True)]
        case Remind(team=team, again=again):
            if case.acknowledge_by is None or case.acknowledge_by > now:
                return []
            data = {"team": team, "again": again.isoformat() if again else None}
            text = f"{team} was paged: nobody has acknowledged the case."
            return [Event(kind="reminded", at=now, actor=actor, text=text, data=data)]
        case Triage():
            return _triage(case, action, actor, now)
        case Say(text=text):
            _need_room(case)
            return [Event(kind="message", at=now, actor=actor, text=text, public=True)]
        case Reply(text=text, patience=patience):
            _need_room(case)
            _need_running(case)
            if case.status is not Status.ESCALATED:
                data["acknowledge_by"] = (now + patience).isoformat()
            return [Event(kind="reply", at=now, actor=actor, text=text, public=True, data=data)]
        case Note(text=text):
            _need_room(case)
            return [Event(kind="note", at=now, actor=actor, text=text)]
        case Attach(digest=digest, name=name, size=size):
            _need_running(case)
            if case.attachments >= MOST_ATTACHMENTS:
                raise RefusedError("too_many", f"A case has at most {MOST_ATTACHMENTS} files.")
            data = {"digest": digest, "name": name, "size": size}
            return [Event(kind="attached", at=now, actor=actor, public=True, data=data)]
        case Follow(number=number, over=over):
            if case.incident_number == number and case.incident_over == over:
                return []
            data = {"number": number, "over": over}
            return [Event(kind="followed", at=now, actor=actor, public=over, data=data)]


def _triage(case: Case, action: Triage, actor: str, now: datetime) -> Sequence[Event]:
    if case.status is Status.ESCALATED and action.outcome is Outcome.ESCALATE:
        return []
    if case.status is Status.CLOSED and case.outcome is action.outcome:
        return []
    _need_running(case)
    if case.status is Status.ESCALATED:
        raise RefusedError("already_escalated", "It is an incident; that goes its own way now.")
    if not action.message.strip():
        raise RefusedError("message_missing", "The customer is told what triage came to.")
    data = {
        "outcome": action.outcome.value,
        "incident_id": str(action.incident_id) if action.incident_id else None,
        "services": list(action.services),
        "regions": list(action.regions),
        "teams": list(action.teams),
        "rules": list(action.rules),
    }
    triaged = Event(kind="triaged", at=now, actor=actor, data=data)
    said = Event(kind="message", at=now, actor=actor, text=action.message, public=True)
    return [triaged, said]


def evolve(case: Case, event: Event) -> Case:
    """Return *case* after *event*. Never refuses: it has happened."""
    case, data = replace(case, events=case.events + 1), event.data
    match event.kind:
        case "acknowledged":
            return _taken(case, event)
        case "reminded":
            again = datetime.fromisoformat(data["again"]) if data["again"] else None
            return replace(case, acknowledge_by=again, reminders=case.reminders + 1)
        case "triaged":
            return _triaged(_taken(case, event), data)
        case "reply":
            if "acknowledge_by" not in data:
                return case
            due = datetime.fromisoformat(data["acknowledge_by"])
            return replace(case, status=Status.OPEN, acknowledge_by=due, reminders=0)
        case "attached":
            return replace(case, attachments=case.attachments + 1)
        case "followed":
            return replace(case, incident_number=data["number"], incident_over=data["over"])
        case _:
            return case


def _taken(case: Case, event: Event) -> Case:
    return replace(case, acknowledge_by=None, acknowledged_at=event.at, acknowledged_by=event.actor)


def _triaged(case: Case, data: Mapping[str, Any]) -> Case:
    outcome = Outcome(data["outcome"])
    if outcome is Outcome.NEED_INFO:
        return replace(case, status=Status.NEED_INFO, outcome=outcome)
    if outcome is not Outcome.ESCALATE:
        return replace(case, status=Status.CLOSED, outcome=outcome)
    return replace(
        case,
        status=Status.ESCALATED,
        outcome=outcome,
        incident_id=UUID(data["incident_id"]),
        services=tuple(data["services"]),
        regions=tuple(data["regions"]),
    )


def _need_running(case: Case) -> None:
    if case.status is Status.CLOSED:
        raise RefusedError("case_closed", "The case is closed; open a new one that names it.")


def _need_room(case: Case) -> None:
    if case.events >= MOST_MESSAGES:
        raise RefusedError("too_many", f"A case has at most {MOST_MESSAGES} entries.")


def status_word(case: Case) -> str:
    """Return what the customer is told of where it stands."""
    if case.status is Status.CLOSED:
        return "closed"
    if case.status is Status.NEED_INFO:
        return "waiting_for_you"
    if case.status is Status.ESCALATED:
        return "resolved" if case.incident_over else "under_investigation"
    return "received" if case.acknowledged_at is None else "being_looked_at"

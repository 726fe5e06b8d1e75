"""Pure: whom a step of an escalation policy means right now, and how they are reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.escalate.directory import Directory
from services.escalate.oncall.roster import Contact, Roster, Team

__all__ = ["Recipient", "recipients"]


@dataclass(frozen=True, slots=True)
class Recipient:
    """One message: to whom (None: a team's own channel), by which channel, to which address."""

    person: str | None
    channel: str
    to: str


def recipients(
    directory: Directory,
    roster: Roster,
    team_name: str,
    targets: Sequence[str],
    people: Sequence[str],
    at: datetime,
) -> tuple[Recipient, ...]:
    """Return who is paged for *targets* at *at*; empty if nobody can be reached.

    *people* (RT6) narrows the team's first and second to those who know the component: whoever of
    them is on call, else all of them. A team's own channel is told along with its first.
    """
    team = roster.team(team_name)
    found: list[Recipient] = []
    for target in targets:
        match target.partition(":"):
            case ("primary", _, _):
                found += _on_duty(roster, team, 0, people, at)
                found += _of_team(team)
            case ("secondary", _, _):
                found += _on_duty(roster, team, 1, people, at)
            case ("lead", _, _):
                found += _of(roster, team.lead)
            case ("team", "", _):
                found += _of_team(team)
            case ("person", _, name):
                found += _of(roster, name)
            case ("team", _, name):
                found += _first(roster, roster.team(name), at)
            case (kind, _, _):  # a manager: paging_file knows no other
                found += _first(roster, roster.team(directory.teams[kind]), at)
    return tuple(dict.fromkeys(found))


def _first(roster: Roster, team: Team, at: datetime) -> list[Recipient]:
    return [*_on_duty(roster, team, 0, (), at), *_of_team(team)]


def _on_duty(
    roster: Roster, team: Team, which: int, people: Sequence[str], at: datetime
) -> list[Recipient]:
    if people:
        able = [name for name in people if name in roster.people]
        duty = roster.all_on_duty(at)
        chosen = [name for name in able if name in duty] or able
        return [r for name in (chosen if which == 0 else able) for r in _of(roster, name)]
    return _of(roster, roster.on_duty(team, at)[which])


def _of(roster: Roster, person: str | None) -> list[Recipient]:
    if person is None or person not in roster.people:
        return []
    return [Recipient(person, c.channel, c.to) for c in roster.people[person].contacts]


def _of_team(team: Team) -> list[Recipient]:
    contacts: Sequence[Contact] = team.contacts
    return [Recipient(None, contact.channel, contact.to) for contact in contacts]

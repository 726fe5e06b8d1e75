"""Gaps and coverage: when nobody, nobody second, or nobody competent is on call (R06, §6)."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from services.escalate.oncall.roster import COMPONENTS, SME_KINDS, Roster, Team
from services.escalate.oncall.rotation import Shift, shifts

__all__ = ["AHEAD", "Finding", "coverage", "gap_report"]

AHEAD = timedelta(days=30)
DEEP_KINDS = ("security_response", "incident_communications")
Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Finding:
    """*what* of *name* is not covered in *spans*, and why."""

    what: Literal["component", "service", "kind", "team"]
    name: str
    why: str
    spans: tuple[Span, ...]


def gap_report(
    roster: Roster, critical_teams: Collection[str], start: datetime, end: datetime
) -> list[Finding]:
    """Return per team when nobody is on call.

    Security response, incident communications and the teams of tier0 and tier1 services also need a
    second who is not the first (§6).
    """
    found = []
    for team in roster.teams.values():
        deep = team.kind in DEEP_KINDS or team.name in critical_teams
        if team.primary is None:
            if deep or team.kind in SME_KINDS:
                found.append(Finding("team", team.name, "no_schedule", ((start, end),)))
            continue
        first = shifts(roster.schedules[team.primary], start, end)
        if spans := _where(first, lambda shift: shift.person is None):
            found.append(Finding("team", team.name, "nobody_on_call", spans))
        if deep and team.secondary is None:
            found.append(Finding("team", team.name, "no_secondary", ((start, end),)))
        elif deep and team.secondary is not None:
            second = shifts(roster.schedules[team.secondary], start, end)
            if spans := _where(second, lambda shift: shift.person is None):
                found.append(Finding("team", team.name, "nobody_second", spans))
            if spans := _same(first, second):
                found.append(Finding("team", team.name, "second_is_first", spans))
    return found


def coverage(
    roster: Roster,
    services: Mapping[str, str],
    engaged_kinds: Mapping[str, str],
    start: datetime,
    end: datetime,
) -> list[Finding]:
    """Return the components, services and kinds with nobody competent on call in [start, end).

    *services*: service → its team. *engaged_kinds*: kind → team, of what routing may engage.
    """
    duty = {
        person: tuple(spans)
        for person, spans in _duties(roster, roster.teams.values(), start, end).items()
    }
    found = []
    for component in COMPONENTS:
        able = [p for p in roster.people.values() if component in p.competencies]
        if spans := _uncovered([s for p in able for s in duty.get(p.id, ())], start, end):
            why = "nobody_competent" if not able else "nobody_competent_on_call"
            found.append(Finding("component", component, why, spans))
    for service, owner in sorted(services.items()):
        covered = list(_duty_of(roster, roster.team(owner), start, end))
        covered += [
            span
            for person in roster.people.values()
            if service in person.services
            for span in duty.get(person.id, ())
        ]
        if spans := _uncovered(covered, start, end):
            found.append(Finding("service", service, "nobody_on_call", spans))
    for kind in dict.fromkeys([*SME_KINDS, *engaged_kinds]):
        teams = [*roster.of_kind(kind)]
        if kind in engaged_kinds and engaged_kinds[kind] in roster.teams:
            teams.append(roster.teams[engaged_kinds[kind]])
        covered = [span for team in teams for span in _duty_of(roster, team, start, end)]
        if spans := _uncovered(covered, start, end):
            why = "no_team" if not teams else "nobody_on_call"
            found.append(Finding("kind", kind, why, spans))
    return found


def _duties(
    roster: Roster, teams: Iterable[Team], start: datetime, end: datetime
) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    names = {n for team in teams for n in (team.primary, team.secondary) if n is not None}
    for name in sorted(names):
        for shift in shifts(roster.schedules[name], start, end):
            if shift.person is not None:
                found.setdefault(shift.person, []).append((shift.start, shift.end))
    return found


def _duty_of(roster: Roster, team: Team, start: datetime, end: datetime) -> Iterable[Span]:
    for spans in _duties(roster, [team], start, end).values():
        yield from spans


def _where(found: Sequence[Shift], holds: Callable[[Shift], bool]) -> tuple[Span, ...]:
    return tuple((shift.start, shift.end) for shift in found if holds(shift))


def _same(first: Sequence[Shift], second: Sequence[Shift]) -> tuple[Span, ...]:
    found = []
    for one in first:
        for other in second:
            start, end = max(one.start, other.start), min(one.end, other.end)
            if one.person is not None and one.person == other.person and start < end:
                found.append((start, end))
    return tuple(found)


def _uncovered(spans: Iterable[Span], start: datetime, end: datetime) -> tuple[Span, ...]:
    """Return what of [start, end) none of *spans* covers."""
    found, reached = [], start
    for begins, ends in sorted(spans):
        if begins > reached:
            found.append((reached, begins))
        reached = max(reached, ends)
    if reached < end:
        found.append((reached, end))
    return tuple(found)

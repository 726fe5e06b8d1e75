"""People, teams and their schedules: who can do what, and how they are reached (R05, R06, R22)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from services.escalate.oncall.rotation import Override, Schedule, on_call

__all__ = [
    "COMPONENTS", "EMPTY_ROSTER", "MEMBER_KINDS", "SME_KINDS", "Contact", "Person", "Roster",
    "Team",
]  # fmt: skip

COMPONENTS = ("network", "router", "firewall", "load_balancer", "operating_system", "application")
SME_KINDS = (
    "security_compliance", "threat_intelligence", "vulnerability_response_centre", "legal",
    "cloud_platform_security", "product_engineering",
)  # fmt: skip
# What a team of a kind stands for on the v-team (R25b); every other kind is expertise.
MEMBER_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "security_response": "security_response",
        "service_team": "service_team",
        "incident_communications": "incident_communications",
        "legal": "legal",
        "duty_manager": "other",
        "executive_incident_manager": "other",
    }
)


@dataclass(frozen=True, slots=True)
class Contact:
    """A way to reach somebody: an address for e-mail, else a name in the paging secrets."""

    channel: str
    to: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can be paged. ``id`` is also the subject of the tokens that they carry."""

    id: str
    name: str
    contacts: tuple[Contact, ...]
    competencies: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    languages: tuple[str, ...] = ()
    slack_user: str | None = None
    pagerduty_user: str | None = None


@dataclass(frozen=True, slots=True)
class Team:
    """A team, what it is for, who leads it, and the schedules of its first and second on call."""

    name: str
    kind: str
    members: tuple[str, ...] = ()
    primary: str | None = None
    secondary: str | None = None
    lead: str | None = None
    contacts: tuple[Contact, ...] = ()
    services: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    competencies: frozenset[str] = frozenset()

    def serves(self, services: Sequence[str], regions: Sequence[str]) -> bool:
        """Tell whether it is for any of these; one that names none is for all."""
        return (not self.services or not self.services.isdisjoint(services)) and (
            not self.regions or not self.regions.isdisjoint(regions)
        )

    @property
    def member_kind(self) -> str:
        """Return the kind of v-team membership that it stands for."""
        return MEMBER_KINDS.get(self.kind, "subject_matter_expert")


@dataclass(frozen=True, slots=True)
class Roster:
    """All that is known about who can be paged."""

    people: Mapping[str, Person] = field(default_factory=lambda: MappingProxyType({}))
    teams: Mapping[str, Team] = field(default_factory=lambda: MappingProxyType({}))
    schedules: Mapping[str, Schedule] = field(default_factory=lambda: MappingProxyType({}))

    def team(self, name: str) -> Team:
        """Return the team of that name; one that nobody described has no people."""
        return self.teams.get(name) or Team(name=name, kind="other")

    def by_slack(self, user: str) -> Person | None:
        """Return whose id at Slack that is."""
        return next((p for p in self.people.values() if p.slack_user == user), None)

    def by_pagerduty(self, user: str) -> Person | None:
        """Return whose id at PagerDuty that is."""
        return next((p for p in self.people.values() if p.pagerduty_user == user), None)

    def of_kind(self, kind: str) -> tuple[Team, ...]:
        """Return the teams of *kind* in the order of the file."""
        return tuple(team for team in self.teams.values() if team.kind == kind)

    def on_duty(self, team: Team, at: datetime) -> tuple[str | None, str | None]:
        """Return first and second on call of *team* at *at*."""
        return self._holder(team.primary, at), self._holder(team.secondary, at)

    def all_on_duty(self, at: datetime) -> frozenset[str]:
        """Return everybody who is on call for some team at *at*."""
        found = (person for t in self.teams.values() for person in self.on_duty(t, at))
        return frozenset(person for person in found if person is not None)

    def with_overrides(self, overrides: Mapping[str, Sequence[Override]]) -> "Roster":
        """Return the roster with *overrides* by schedule; those of people it lacks do not count."""
        schedules = {
            name: replace(schedule, overrides=self._usable(overrides.get(name, ())))
            for name, schedule in self.schedules.items()
        }
        return replace(self, schedules=MappingProxyType(schedules))

    def _usable(self, overrides: Iterable[Override]) -> tuple[Override, ...]:
        return tuple(override for override in overrides if override.person in self.people)

    def _holder(self, schedule: str | None, at: datetime) -> str | None:
        return on_call(self.schedules[schedule], at)[0] if schedule else None


EMPTY_ROSTER = Roster()

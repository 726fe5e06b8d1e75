"""Who answers for a support case, and who when they do not: one place to ask the directory."""

from dataclasses import dataclass
from datetime import datetime

from services.escalate.directory import Directory
from services.escalate.oncall.roster import Roster

__all__ = ["OnDuty", "communications", "stand_in"]


@dataclass(frozen=True, slots=True)
class OnDuty:
    """A team, and who of it is on call; None if nobody is, or the directory names no people."""

    team: str
    person: str | None = None


def communications(directory: Directory, roster: Roster, at: datetime) -> OnDuty:
    """Return incident communications as it is on call at *at* (R15b); *roster* with overrides."""
    team = directory.teams["incident_communications"]
    first, second = roster.on_duty(roster.team(team), at)
    return OnDuty(team, first or second)


def stand_in(directory: Directory) -> str:
    """Return the team that acts when nobody else does (§7)."""
    return directory.teams["duty_manager"]

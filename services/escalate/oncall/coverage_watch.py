"""Looks every hour who will be on call for the next 30 days, and warns of what is not (R06)."""

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.oncall.coverage import AHEAD, Finding, coverage, gap_report
from services.escalate.oncall.overrides import overrides
from services.escalate.proposal import Policies
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.escalate import CoverageGapFoundV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["CoverageWatch"]


class CoverageWatch:
    """The work of a reconciler. Without any person in the directory there is nothing to watch."""

    def __init__(self, engine: AsyncEngine, policies: Callable[[], Policies], clock: Clock) -> None:
        self._engine, self._policies, self._clock = engine, policies, clock

    async def findings(self) -> list[Finding]:
        """Return what is not covered from now on, as the overrides in force have it."""
        now, directory = self._clock(), self._policies().directory
        async with self._engine.connect() as connection:
            roster = directory.roster.with_overrides(await overrides(connection, now))
        return [
            *gap_report(roster, directory.critical_teams(), now, now + AHEAD),
            *coverage(roster, directory.service_teams, directory.teams, now, now + AHEAD),
        ]

    async def look(self) -> int:
        """Tell of each gap, once a day while it lasts; return 0: there is nothing to do at once."""
        if not self._policies().directory.roster.people:
            return 0
        now = self._clock()
        gaps = [
            CoverageGapFoundV1(
                event_id=derived_id(
                    "coverage-gap", finding.what, finding.name, finding.why, now.date()
                ),
                occurred_at=now,
                what=finding.what,
                name=finding.name,
                why=finding.why,
                starts_at=finding.spans[0][0],
                ends_at=finding.spans[0][1],
            )
            for finding in await self.findings()
        ]
        async with self._engine.begin() as connection:
            await enqueue(connection, [outgoing(gap, source="escalate") for gap in gaps])
        return 0

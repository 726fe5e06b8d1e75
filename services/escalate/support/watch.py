"""The timers of support cases: a row's `acknowledge_by`, looked at until it has passed (R15b)."""

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.support.book import act, load_case
from services.escalate.support.case import Remind
from services.escalate.support.desk import Desk
from services.escalate.support.duty import stand_in
from shared.clock import Clock
from shared.ids import derived_id

__all__ = ["Watch"]

WATCHER = "tocsin"
MOST_REMINDERS = 10
LONGEST = timedelta(hours=4)

_DUE = text(
    "SELECT id FROM support_cases WHERE acknowledge_by <= :now"
    " ORDER BY acknowledge_by LIMIT 1 FOR UPDATE SKIP LOCKED"
)


class Watch:
    """The work of a reconciler: one case a run.

    The timer is a column, so it is as old as the case and survives whatever the process does not.
    First the assigned team is paged again, from then on the duty manager, ever more seldom.
    """

    def __init__(
        self, engine: AsyncEngine, desk: Desk, clock: Clock, on_page: Callable[[], None]
    ) -> None:
        self._engine, self._desk = engine, desk
        self._clock, self._on_page = clock, on_page

    async def once(self) -> int:
        """Remind of the case that waits longest; return how many (0 or 1)."""
        async with self._engine.begin() as connection:
            now = self._clock()
            case_id = await connection.scalar(_DUE, {"now": now})
            if case_id is None:
                return 0
            case = await load_case(connection, case_id)
            if case is None:
                raise AssertionError("a locked case is there")
            manager = stand_in(self._desk.policies.directory)
            team = case.team if case.reminders == 0 else manager
            pause = min(self._desk.patience * 2**case.reminders, LONGEST)
            again = now + pause if case.reminders + 1 < MOST_REMINDERS else None
            _, events = await act(connection, case_id, Remind(team=team, again=again), WATCHER, now)
            if events:
                cause = derived_id("case-reminder", case_id, case.events)
                await self._desk.page(connection, case, team, "acknowledge", cause, now)
        self._on_page()
        return 1

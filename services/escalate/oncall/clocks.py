"""Legal clocks of notify that run out page who has to act on them (I6, §4)."""

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.gate import widen
from services.escalate.known import note_fact
from services.escalate.once import once
from services.escalate.pages import order_page
from services.escalate.proposal import Policies
from shared.clock import Clock, rfc3339
from shared.consume import Delivery
from shared.contracts.notify import (
    ObligationDueSoonV1,
    ObligationIdentifiedV1,
    ObligationOverdueV1,
)
from shared.ids import derived_id

__all__ = ["CLOCKS_CONSUMER", "ClockHandler"]

CLOCKS_CONSUMER = "escalate-obligations"
_LEFT = {
    "half": "half of the time is over",
    "four_fifths": "four fifths of the time are over",
    "two_hours": "less than two hours are left",
}
_TEAMS = {
    "half": ("legal",),
    "four_fifths": ("legal", "incident_communications"),
    "two_hours": ("legal", "incident_communications"),
    "overdue": ("legal", "incident_communications", "executive_incident_manager"),
}
SHORT = timedelta(hours=72)
_Alarm = ObligationDueSoonV1 | ObligationOverdueV1
_NUMBER = text("SELECT number FROM incidents WHERE id = :id")


class ClockHandler:
    """Pages legal, then communications, then the executive incident manager.

    A deadline of 72 hours or less engages legal as soon as it is known (RT2).
    """

    def __init__(
        self,
        engine: AsyncEngine,
        policies: Callable[[], Policies],
        channel: str,
        clock: Clock,
        on_ordered: Callable[[], None],
    ) -> None:
        self._engine, self._policies, self._channel = engine, policies, channel
        self._clock, self._on_ordered = clock, on_ordered

    async def __call__(self, delivery: Delivery) -> None:
        """Handle one message; of notify's many only these matter here."""
        match delivery.subject:
            case ObligationIdentifiedV1.SUBJECT:
                await self._identified(ObligationIdentifiedV1.from_json(delivery.data))
            case ObligationDueSoonV1.SUBJECT:
                soon = ObligationDueSoonV1.from_json(delivery.data)
                await self._page(soon, soon.level, _LEFT[soon.level])
            case ObligationOverdueV1.SUBJECT:
                overdue = ObligationOverdueV1.from_json(delivery.data)
                await self._page(overdue, "overdue", "the deadline has passed")
            case _:
                return
        self._on_ordered()

    async def _identified(self, owed: ObligationIdentifiedV1) -> None:
        if owed.due_at - owed.clock_at > SHORT:
            return
        async with once(self._engine, CLOCKS_CONSUMER, owed) as connection:
            if connection and await note_fact(
                connection, owed.incident_id, "shortest_regime", "within_72h"
            ):
                now = self._clock()
                await widen(connection, owed.incident_id, self._policies(), self._channel, now)

    async def _page(self, told: _Alarm, level: str, left: str) -> None:
        async with once(self._engine, CLOCKS_CONSUMER, told) as connection:
            if connection:
                await self._order(connection, told, level, left)

    async def _order(
        self, connection: AsyncConnection, told: _Alarm, level: str, left: str
    ) -> None:
        number = await connection.scalar(_NUMBER, {"id": told.incident_id})
        whom = f"{told.recipient} ({told.tenant})" if told.tenant else told.recipient
        reason = (
            f"{number or told.incident_id}: {told.regime} ({told.phase}) to {whom} is due at"
            f" {rfc3339(told.due_at)}; {left}"
        )
        # By level and deadline, not by message: told twice it is one alarm. What counted as met by
        # a notice that came back is owed, and paged for, anew.
        anew = [told.reopened] if told.reopened else []
        cause = derived_id(
            "obligation-alarm", told.obligation_id, level, rfc3339(told.due_at), *anew
        )
        for kind in _TEAMS[level]:
            await order_page(
                connection,
                cause,
                told.incident_id,
                self._policies().directory.teams[kind],
                self._channel,
                reason,
                self._clock(),
                severity="overdue" if level == "overdue" else "due_soon",
            )

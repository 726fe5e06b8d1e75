"""A tenant that no contact of could be reached: communications is paged to find another way."""

from collections.abc import Callable
from datetime import UTC

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.once import once
from services.escalate.pages import order_page
from services.escalate.proposal import Policies
from shared.clock import Clock
from shared.consume import Delivery
from shared.contracts.notify import NotificationUndeliverableV1
from shared.ids import derived_id

__all__ = ["UNDELIVERABLE_CONSUMER", "UndeliverableHandler"]

UNDELIVERABLE_CONSUMER = "escalate-undeliverable"
_NUMBER = text("SELECT number FROM incidents WHERE id = :id")


class UndeliverableHandler:
    """Pages incident communications once an hour of an incident, as for a legal clock that runs."""

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
        """Handle one message; TransientError while the database cannot be asked."""
        told = NotificationUndeliverableV1.from_json(delivery.data)
        async with once(self._engine, UNDELIVERABLE_CONSUMER, told) as connection:
            if connection is None:
                return
            number = await connection.scalar(_NUMBER, {"id": told.incident_id})
            reason = (
                f"{number or told.incident_id}: tenant {told.tenant} could not be notified by"
                f" {told.channel}; contacts tried: {told.contacts}, none is left."
                " Notify's list of notifications has all of this hour"
            )
            # A mail server that refuses everybody is one page an hour, not one a customer.
            hour = told.given_up_at.astimezone(UTC).strftime("%Y-%m-%dT%H")
            await order_page(
                connection,
                derived_id("undeliverable", told.incident_id, hour),
                told.incident_id,
                self._policies().directory.teams["incident_communications"],
                self._channel,
                reason,
                self._clock(),
                severity="due_soon",
            )
        self._on_ordered()

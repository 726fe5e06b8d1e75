"""Messages of escalate and notify become commands of the system, once for each message."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import structlog
from prometheus_client import Counter

from services.cases.counterparts import home_of
from services.cases.domain.commands import AttachDetections, Command, OpenIncident, RecordFact
from services.cases.domain.errors import NotAllowed
from services.cases.handle import UnknownIncidentError, handle
from services.cases.numbers import next_number
from services.cases.store import EventStore, OverloadedError, VersionConflict
from services.cases.translate import Told, from_escalations, from_notifications
from shared.clock import Clock
from shared.consume import Delivery, TransientError
from shared.db import is_transient
from shared.ids import derived_id

__all__ = ["Consumer"]

_REPOINTED = (AttachDetections, RecordFact)

log = structlog.get_logger()
_refused = Counter(
    "tocsin_cases_messages_refused_total", "Messages that a rule refused", ["subject", "code"]
)


class Consumer:
    """Handles the messages of both consumers; *noticed* is called after each commit.

    The command id is derived from the message's id, so `append` itself is the inbox: what is
    delivered again changes nothing.
    """

    def __init__(
        self, store: EventStore, clock: Clock, noticed: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._clock = clock
        self._noticed = noticed

    async def on_escalations(self, delivery: Delivery) -> None:
        """Do what a message of ESCALATIONS asks for; TransientError when the world failed."""
        told = from_escalations(delivery.subject, delivery.data, self._clock())
        if told is not None:
            await self._do(delivery.subject, told)

    async def on_notifications(self, delivery: Delivery) -> None:
        """Do what a message of NOTIFICATIONS asks for; TransientError when the world failed."""
        told = from_notifications(delivery.subject, delivery.data, self._clock())
        if told is not None:
            await self._do(delivery.subject, told)

    async def _do(self, subject: str, told: Told) -> None:
        about = {
            "subject": subject,
            "event_id": str(told.event_id),
            "incident_id": str(told.incident_id),
        }
        try:
            done = await handle(
                self._store,
                await self._addressee(told),
                await self._numbered(told.commands),
                command_id=derived_id("command", told.event_id),
                digest=hashlib.sha256(f"{subject} {told.event_id}".encode()).hexdigest(),
                opens=told.opens,
                noticed=self._noticed,
            )
        # A refusal is an outcome to be written down, never a reason to deliver again.
        except NotAllowed as refusal:
            _refused.labels(subject, refusal.code).inc()
            log.warning("message refused", unmet=[u.code for u in refusal.unmet], **about)
        except UnknownIncidentError:
            _refused.labels(subject, "unknown_incident").inc()
            log.warning("message refused", unmet=["unknown_incident"], **about)
        except (VersionConflict, OverloadedError) as error:
            raise TransientError(str(error)) from error
        except Exception as error:
            if is_transient(error):
                raise TransientError(str(error)) from error
            raise
        else:
            log.info("message applied", events=done.events, replayed=done.replayed, **about)

    async def _addressee(self, told: Told) -> UUID:
        """Return whose log it belongs to: what is told of a merged incident is told of its target.

        Lists of affected customers are numbered for each incident, so they are not re-pointed.
        """
        if all(isinstance(command, _REPOINTED) for command in told.commands):
            return await home_of(self._store, told.incident_id)
        return told.incident_id

    async def _numbered(self, commands: Sequence[Command]) -> list[Command]:
        """Return *commands* with a number drawn for the incident that they open, if they do."""
        return [
            replace(command, number=await next_number(self._store, command.now))
            if isinstance(command, OpenIncident)
            else command
            for command in commands
        ]

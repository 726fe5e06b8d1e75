"""What cases publishes, in order: facts and scopes in; affected lists and obligations out."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notify import incidents, ledger
from services.notify.affected_lists import compile_list
from services.notify.corrections import draft
from services.notify.erasure import erase
from services.notify.incidents import Incident, ScopeRecord
from services.notify.inventory_keeper import InventoryKeeper
from services.notify.obligations.book import ObligationBook
from services.notify.scope import ScopeError, check
from services.notify.wording.keeper import WordingKeeper
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.consume import Delivery, TransientError
from shared.contracts.base import Contract, ContractError
from shared.contracts.cases import (
    ClockSetV1,
    ConfirmationRetractedV1,
    IncidentConfirmedV1,
    IncidentContainedV1,
    IncidentDismissedV1,
    IncidentErasedV1,
    IncidentEvent,
    IncidentMergedV1,
    IncidentReopenedV1,
    IncidentUnmergedV1,
    ScopeSetV1,
)
from shared.db import is_transient
from shared.outbox import enqueue, first_time

__all__ = ["DURABLE", "CasesConsumer"]

DURABLE = "notify-cases"

log = structlog.get_logger()
_UNDERSTOOD: dict[str, type[IncidentEvent]] = {
    contract.SUBJECT: contract
    for contract in (
        ClockSetV1,
        ConfirmationRetractedV1,
        IncidentConfirmedV1,
        IncidentContainedV1,
        IncidentDismissedV1,
        IncidentErasedV1,
        IncidentMergedV1,
        IncidentReopenedV1,
        IncidentUnmergedV1,
        ScopeSetV1,
    )
}

# States of cases in which the verdict stands; all others are before one.
_STATES = {
    "confirmed": "confirmed",
    "contained": "confirmed",
    "eradicated": "confirmed",
    "recovered": "confirmed",
    "in_review": "confirmed",
    "closed": "confirmed",
    "false_positive": "dismissed",
}


class CasesConsumer:
    """Applies each message once; message, effect and what follows from it are one transaction."""

    def __init__(
        self,
        engine: AsyncEngine,
        keeper: InventoryKeeper,
        book: ObligationBook,
        wording: WordingKeeper,
        clock: Clock,
        on_outgoing: Callable[[], None],
        on_erased: Callable[[], None],
    ) -> None:
        self._engine, self._keeper, self._book = engine, keeper, book
        self._clock, self._on_outgoing, self._on_erased = clock, on_outgoing, on_erased
        self._wording = wording

    async def handle(self, delivery: Delivery) -> None:
        """Apply one message; TransientError while the database cannot be asked."""
        contract = _UNDERSTOOD.get(delivery.subject)
        if contract is None:
            return
        event = contract.from_json(delivery.data)
        try:
            async with self._engine.begin() as connection:
                if not await first_time(connection, DURABLE, event.event_id):
                    return
                await self._apply(connection, event)
        except ScopeError as error:
            # Cases lets no such scope pass; taken literally it would mean nobody, or everybody.
            raise ContractError(f"scope of {event.number}: {error}") from error
        except Exception as error:
            if is_transient(error):
                raise TransientError(str(error)) from error
            raise
        self._on_outgoing()
        if isinstance(event, IncidentErasedV1):
            self._on_erased()

    async def compile_waiting(self) -> int:
        """Compile the lists of scopes that came before there was an inventory; return how many."""
        if self._keeper.current is None:
            return 0
        async with self._engine.connect() as connection:
            waiting = await incidents.waiting_scopes(connection)
        for incident_id in waiting:
            async with self._engine.begin() as connection:
                incident = await incidents.lock(connection, incident_id)
                if incident is not None:
                    await self._compile(connection, incident)
            self._on_outgoing()
        return 0

    async def _apply(self, connection: AsyncConnection, event: IncidentEvent) -> None:
        match event:
            case IncidentConfirmedV1():
                facts = _confirmed_facts(event)
                incident = await incidents.note(connection, event, state="confirmed", facts=facts)
                await self._publish(
                    connection, await self._book.evaluate(connection, incident, self._clock())
                )
            case ClockSetV1():
                # Set for the first time or corrected: deadlines follow, older revisions stay (V29).
                clock = {f"{event.clock}_at": event.instant}
                incident = await incidents.note(connection, event, facts=clock)
                await self._publish(
                    connection, await self._book.evaluate(connection, incident, self._clock())
                )
            case IncidentContainedV1():
                await incidents.note(connection, event, facts={"contained_at": event.contained_at})
            case IncidentDismissedV1():
                await self._taken_back(connection, event, "dismissed")
            case ConfirmationRetractedV1():
                await self._taken_back(connection, event, "retracted")
            case IncidentMergedV1():
                await self._merged(connection, event)
            case IncidentUnmergedV1():
                await incidents.note(connection, event, state=_STATES.get(event.state, "open"))
            case IncidentReopenedV1():
                # Under investigation again: nothing is signed until it is confirmed again.
                await incidents.note(connection, event, state="open")
            case IncidentErasedV1():
                await erase(connection, event, self._clock())
            case ScopeSetV1():
                await self._scope_set(connection, event)
            case _:
                raise ContractError(f"no handler of {event.SUBJECT}")

    async def _taken_back(
        self, connection: AsyncConnection, event: IncidentEvent, state: str
    ) -> None:
        """What has not left stays here; what was told is owed a correction, and nothing else is."""
        at = self._clock()
        incident = await incidents.note(connection, event, state=state)
        if incident.state != state:
            return  # a later message has told otherwise already
        await ledger.withdraw(connection, incident.id)
        await draft(
            connection,
            incident.id,
            "no_incident",
            by=event.actor,
            at=at,
            wording=self._wording.current,
        )
        await self._publish(connection, await self._book.evaluate(connection, incident, at))

    async def _merged(self, connection: AsyncConnection, event: IncidentMergedV1) -> None:
        """Signed notices still go out; no more are signed, and those told learn the new number."""
        incident = await incidents.note(connection, event, state="merged")
        if incident.state != "merged":
            return
        target = await incidents.find(connection, event.target_id)
        await draft(
            connection,
            incident.id,
            "merged",
            by=event.actor,
            at=self._clock(),
            wording=self._wording.current,
            other_number=target.number if target else "",
        )

    async def _scope_set(self, connection: AsyncConnection, event: ScopeSetV1) -> None:
        incident = await incidents.note(connection, event)
        newest = await incidents.newest_scope(connection, event.incident_id)
        if newest is not None and newest.version >= event.scope_version:
            return
        record = ScopeRecord(
            event.incident_id, event.scope_version, event.scope, event.set_by, event.occurred_at
        )
        check(event.scope)
        await incidents.record_scope(connection, record)
        await self._compile(connection, incident)

    async def _compile(self, connection: AsyncConnection, incident: Incident) -> None:
        record = await incidents.newest_scope(connection, incident.id)
        inventory = self._keeper.current
        if record is None or inventory is None:
            # Resolved against nothing it would say "nobody"; the scope waits for an inventory.
            log.warning("scope waits for an inventory", incident=incident.number)
            return
        at: datetime = self._clock()
        identified = await compile_list(connection, record, inventory, at)
        if identified is None:
            return
        owed = await self._book.evaluate(connection, incident, at)
        await self._publish(connection, [identified, *owed])

    @staticmethod
    async def _publish(connection: AsyncConnection, contracts: Sequence[Contract]) -> None:
        await enqueue(connection, [outgoing(c, source="notify") for c in contracts])


def _confirmed_facts(event: IncidentConfirmedV1) -> dict[str, Any]:
    return {
        "confirmed_at": event.confirmed_at,
        "aware_at": event.aware_at,
        "detected_at": event.detected_at,
        "severity": event.severity,
        "inputs": event.inputs,
        "title": event.title,
        "summary": event.summary,
        "potential_impact": event.potential_impact,
    }
